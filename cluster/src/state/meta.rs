//! Where in the log a state stands, and the few facts kept beside its rows.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::clock::LogTime;

use super::record::seal;

/// A position in the log. The term and the node that led it are carried for the Raft layer; here only the
/// index is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LogPosition {
    /// Term of the leader that proposed the entry.
    pub term: u64,
    /// That leader.
    pub node: u64,
    /// Index of the entry, from 0 and without gaps.
    pub index: u64,
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.term, self.node, self.index)
    }
}

/// What a state knows beside its rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The last entry applied.
    pub applied: Option<LogPosition>,
    /// The cluster's membership, in the Raft layer's own encoding. Empty before the first.
    pub membership: Bytes,
    /// Commands decided so far.
    pub revision: u64,
    /// Log time of the last entry applied.
    pub at: LogTime,
    /// The oldest revision that `as_of` can still answer for.
    pub oldest: u64,
    /// Sum over all records: see the head of [`crate::state`].
    pub digest: u128,
    /// Set when an earlier state was lost here and nothing has replaced it yet. Such a node must not pass for
    /// a fresh one: it may have voted for, and acknowledged, what it has lost.
    pub lost: bool,
}

impl Meta {
    const VERSION: u8 = 1;
    const SEAL_BYTES: usize = 16;

    /// Version, fields, and a hash over both: a damaged one is refused, not believed.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        let mut bytes = postcard::to_extend(self, vec![Self::VERSION]).ok()?;
        let seal = seal(&bytes).to_le_bytes();
        bytes.extend_from_slice(&seal);
        Some(bytes)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, sealed) = bytes.split_last_chunk::<{ Self::SEAL_BYTES }>()?;
        if seal(body) != u128::from_le_bytes(*sealed) {
            return None;
        }
        let (&version, fields) = body.split_first()?;
        if version != Self::VERSION {
            return None;
        }
        postcard::from_bytes(fields).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_bit_is_refused() {
        let meta = Meta {
            applied: Some(LogPosition { term: 3, node: 1, index: 70 }),
            membership: Bytes::from_static(b"members"),
            revision: 9,
            at: LogTime(12),
            oldest: 2,
            digest: 77,
            lost: false,
        };
        let good = meta.encode().unwrap();
        assert_eq!(Meta::decode(&good), Some(meta));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Meta::decode(&bad), None, "bit {bit}");
        }
    }
}
