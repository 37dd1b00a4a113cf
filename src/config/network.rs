//! Addresses and networks, as an operator lists them.

use std::net::IpAddr;
use std::str::FromStr;

/// An address, or all that begin with the same bits (CIDR, RFC 4632 and RFC 4291 section 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    prefix: u32,
}

/// A text that is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not an address like 10.1.2.3 or a network like 10.0.0.0/8")]
pub struct BadNetwork;

impl Network {
    /// Whether the address is in it. An IPv4 address in IPv6 dress is the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        masked(address.to_canonical(), self.prefix) == Some(self.first)
    }
}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let (address, prefix) = match text.trim().split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text.trim(), None),
        };
        let address: IpAddr = address.parse().map_err(|_| BadNetwork)?;
        let prefix = match prefix {
            // `/+8` and `/08` would be read as numbers too.
            Some(text)
                if text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0')) =>
            {
                text.parse().map_err(|_| BadNetwork)?
            }
            Some(_) => return Err(BadNetwork),
            None if address.is_ipv4() => 32,
            None => 128,
        };
        // Bits beyond the prefix are a slip of the pen, and which of the two was meant cannot be known.
        masked(address, prefix).filter(|first| *first == address).ok_or(BadNetwork)?;
        Ok(Self { first: address, prefix })
    }
}

/// The first address of the network that this one is in; `None` where it has fewer bits.
fn masked(address: IpAddr, prefix: u32) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => {
            let hidden = 32u32.checked_sub(prefix)?;
            Some(IpAddr::V4((v4.to_bits() & u32::MAX.checked_shl(hidden).unwrap_or(0)).into()))
        }
        IpAddr::V6(v6) => {
            let hidden = 128u32.checked_sub(prefix)?;
            Some(IpAddr::V6((v6.to_bits() & u128::MAX.checked_shl(hidden).unwrap_or(0)).into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_what_begins_alike() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.1.2", "11.0.0.0"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("10.1.2.3", "::ffff:10.1.2.3", "::10.1.2.3"),
            ("192.168.4.0/22", "192.168.7.255", "192.168.8.0"),
            ("0.0.0.0/0", "255.1.1.1", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "fe80::1", "1.2.3.4"),
            ("::1", "::1", "::2"),
        ] {
            let network: Network = network.parse().unwrap();
            assert!(network.contains(inside.parse().unwrap()), "{network:?} {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{network:?} {outside}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        let bad = ["", "*", "10.0.0.1/8", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/08"];
        for text in bad.into_iter().chain(["10.0.0", "host", "10.0.0.0/8/8", "10.0.0.0/a", "10.0.0.1:80"]) {
            assert_eq!(text.parse::<Network>(), Err(BadNetwork), "{text}");
        }
    }
}
