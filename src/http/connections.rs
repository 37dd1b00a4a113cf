//! How many connections may be open, in all and from one address.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::rate::source_of;

/// Counts open connections. Clones count together.
#[derive(Clone)]
pub(super) struct Connections(Arc<Shared>);

struct Shared {
    max: usize,
    max_per_address: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    all: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

impl Connections {
    pub(super) fn new(max: usize, max_per_address: usize) -> Self {
        Self(Arc::new(Shared { max, max_per_address, open: Mutex::default() }))
    }

    /// A place for a connection from `peer`, until it is dropped; `None` when all are taken.
    pub(super) fn take(&self, peer: IpAddr) -> Option<Place> {
        let address = source_of(peer);
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        let from_here = open.by_address.get(&address).copied().unwrap_or_default();
        if open.all >= self.0.max || from_here >= self.0.max_per_address {
            return None;
        }
        open.all += 1;
        open.by_address.insert(address, from_here + 1);
        drop(open);
        Some(Place { connections: self.clone(), address })
    }
}

/// Counts one connection while it lives.
pub(super) struct Place {
    connections: Connections,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all = open.all.saturating_sub(1);
        if let Entry::Occupied(mut entry) = open.by_address.entry(self.address) {
            match entry.get().checked_sub(1) {
                None | Some(0) => drop(entry.remove()),
                Some(left) => drop(entry.insert(left)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_all_and_by_address_and_given_back() {
        let connections = Connections::new(3, 2);
        let take = |address: &str| connections.take(address.parse().unwrap());
        let (a, b) = (take("10.0.0.1").unwrap(), take("::ffff:10.0.0.1").unwrap());
        assert!(take("10.0.0.1").is_none());
        let c = take("2001:db8::1").unwrap();
        assert!(take("10.0.0.2").is_none());
        drop(a);
        let d = take("2001:db8::ffff").unwrap();
        drop(b);
        assert!(take("2001:db8::2").is_none());
        drop((c, d));
        assert!(connections.0.open.lock().unwrap().by_address.is_empty());
        assert_eq!(connections.0.open.lock().unwrap().all, 0);
    }
}
