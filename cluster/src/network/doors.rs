//! Places for connections before it is known who is on the other side.
//!
//! # Why
//! Whoever reaches the port can connect and say nothing. Places that are held until a time is up would then be
//! held by strangers, one crowd after the other, and a node that comes back would find none. So a newcomer is
//! always let in, and when there are too many, the oldest of those who come from one place in greatest number has
//! to go. A peer needs a moment; a crowd would have to fill all places anew within that moment, and from as many
//! addresses as there are places.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The places.
pub(crate) struct Doors {
    most: usize,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    next: u64,
    /// The oldest first.
    visitors: VecDeque<Visitor>,
}

struct Visitor {
    id: u64,
    from: IpAddr,
    /// Whoever drops it shows the visitor out.
    _stay: oneshot::Sender<()>,
}

/// A place. It is given back when dropped.
pub(crate) struct Door {
    doors: Arc<Doors>,
    id: u64,
    until: oneshot::Receiver<()>,
}

impl Doors {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, inside: Mutex::default() })
    }

    /// Lets somebody in, and shows somebody else out if need be.
    pub(crate) fn enter(self: &Arc<Self>, from: IpAddr) -> Door {
        let from = network(from);
        let (stay, until) = oneshot::channel();
        let mut inside = self.lock();
        if inside.visitors.len() >= self.most
            && let Some(oldest) = inside.oldest_of_the_crowd()
        {
            drop(inside.visitors.remove(oldest));
        }
        let id = inside.next;
        inside.next += 1;
        inside.visitors.push_back(Visitor { id, from, _stay: stay });
        Door { doors: Arc::clone(self), id, until }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn oldest_of_the_crowd(&self) -> Option<usize> {
        let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for visitor in &self.visitors {
            *counts.entry(visitor.from).or_default() += 1;
        }
        let (crowd, _) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        self.visitors.iter().position(|visitor| visitor.from == crowd)
    }
}

impl Door {
    /// Ends when the place was given to somebody else.
    pub(crate) async fn shown_out(&mut self) {
        // The sender is never used, only dropped.
        drop((&mut self.until).await);
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.doors.lock().visitors.retain(|visitor| visitor.id != self.id);
    }
}

/// Whoever has one address of IPv6 has the whole of its network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_out(door: &mut Door) -> bool {
        door.until.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn the_oldest_of_the_greatest_crowd_goes() {
        let doors = Doors::new(4);
        let [crowd, peer, other]: [IpAddr; 3] =
            ["9.9.9.9", "10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().unwrap());
        let mut own = doors.enter(peer);
        let mut strangers: Vec<Door> = (0..3).map(|_| doors.enter(crowd)).collect();
        assert!(!strangers.iter_mut().any(is_out));
        let mut second = doors.enter(other);
        assert_eq!(strangers.iter_mut().map(is_out).collect::<Vec<_>>(), [true, false, false]);
        // A crowd shows itself out.
        strangers.extend((0..10).map(|_| doors.enter(crowd)));
        assert_eq!(strangers.iter_mut().filter_map(|door| Some(is_out(door)).filter(|out| !out)).count(), 2);
        assert!(!is_out(&mut own) && !is_out(&mut second));
        // A place that was left is free, and one that was lost is not given back twice.
        drop(strangers);
        assert_eq!(doors.lock().visitors.len(), 2);
        drop(own);
        assert_eq!(doors.lock().visitors.len(), 1);
    }

    #[test]
    fn a_network_of_ipv6_is_one_visitor() {
        let doors = Doors::new(3);
        let addresses: [IpAddr; 3] =
            ["2001:db8::1", "2001:db8::ffff", "2001:db8:0:1::1"].map(|ip| ip.parse().unwrap());
        let mut inside = addresses.map(|address| doors.enter(address));
        let _new = doors.enter("::ffff:10.0.0.1".parse().unwrap());
        assert_eq!(inside.each_mut().map(is_out), [true, false, false]);
        assert_eq!(doors.lock().visitors[2].from, "10.0.0.1".parse::<IpAddr>().unwrap());
    }
}
