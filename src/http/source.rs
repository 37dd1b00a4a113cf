//! Where a request comes from, when proxies stand in between.

use std::net::{IpAddr, SocketAddr};

use warp::http::HeaderMap;

use crate::config::Network;

/// The proxies whose word is believed; none by default.
///
/// # Why from the right
/// Each proxy adds the address that it saw to the end of `X-Forwarded-For`. What stands further left was sent
/// by the one before, and the leftmost by the caller, who may write what it likes. So the list is read from
/// its end as long as trusted proxies speak; the first address that is none of theirs is the caller's.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Vec<Network>);

const FORWARDED_FOR: &str = "x-forwarded-for";

/// More proxies in a row are nobody's network.
const MAX_HOPS: usize = 32;

impl Proxies {
    /// Believes those in these networks.
    #[must_use]
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// The address of the caller, for a request that came from `peer`.
    pub(crate) fn source(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut nearest = peer.to_canonical();
        // A header that is given several times is one list.
        let hops = headers.get_all(FORWARDED_FOR).into_iter().rev();
        let hops = hops.flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
        for hop in hops.take(MAX_HOPS) {
            if !self.trusts(nearest) {
                break;
            }
            // What is no address was not written by a proxy that can be trusted with more.
            let Some(address) = address(hop.trim()) else { break };
            nearest = address;
        }
        nearest
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

/// An address, with or without a port and the brackets of IPv6.
fn address(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    let address = bare.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(peer: &str, forwarded: &[&str]) -> String {
        let networks = ["10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse().unwrap());
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        Proxies::new(networks.to_vec()).source(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed_and_only_about_the_next_hop() {
        for (peer, forwarded, from) in [
            ("10.0.0.1", &["203.0.113.7"][..], "203.0.113.7"),
            ("::ffff:10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            ("203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
            ("203.0.113.9", &["10.0.0.1"], "203.0.113.9"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.7, 10.0.0.2,10.0.0.3"], "203.0.113.7"),
            ("10.0.0.1", &["1.1.1.1", "203.0.113.7", "10.0.0.2"], "203.0.113.7"),
            ("10.0.0.1", &["10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["203.0.113.7:4711"], "203.0.113.7"),
            ("10.0.0.1", &["[2001:db9::1]:443"], "2001:db9::1"),
            ("2001:db8::1", &["2001:db9::1, [2001:db8::2]"], "2001:db9::1"),
            ("10.0.0.1", &["::ffff:203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["203.0.113.7, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.7, unknown, 10.0.0.4"], "10.0.0.4"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.7,"], "10.0.0.1"),
        ] {
            assert_eq!(source(peer, forwarded), from, "{peer} {forwarded:?}");
        }
        let long = vec!["10.0.0.1"; 100_000].join(",");
        assert_eq!(source("10.0.0.2", &[&long]), "10.0.0.1");
    }

    #[test]
    fn nobody_is_believed_by_default() {
        let mut headers = HeaderMap::new();
        headers.insert(FORWARDED_FOR, "203.0.113.7".parse().unwrap());
        let peer = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(Proxies::default().source(peer, &headers), peer);
    }
}
