//! The chain that a trail is: which bytes of a record are hashed, and where a chain breaks.
//!
//! # What is hashed
//! The account's twelve digits; `a` for acts, `c` for checks; then the postcard form of the record with zeros in
//! the place of its own hash. So no record fits into another trail, and others can compute the hashes too:
//! numbers are LEB128, a text is its length and its UTF-8 bytes, an optional value begins with 0 or 1. In this
//! order: sequence; time in milliseconds since 1970; revision; who (0 a stranger; 1 somebody signed in: 0 user, 1
//! service account or 2 subject, 16 and the id's 16 bytes, 16 and the session's; 2 the cluster; 3 a key holder
//! and 32 bytes, the SHA-256 of the key); address if any; agent if any; action; target; 0 or 1 for success;
//! detail; count; 32 bytes of the hash before; 32 zeros.

use sha2::{Digest, Sha256};

use super::{AuditRecord, Trail};
use crate::domain::AccountId;

/// Which trail of which account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    pub account: AccountId,
    pub trail: Trail,
}

impl Chain {
    /// The bytes whose SHA-256 is the record's hash.
    #[must_use]
    pub fn hashed(self, record: &AuditRecord) -> Vec<u8> {
        let plain = AuditRecord { hash: [0; 32], ..record.clone() };
        // An encoding that fails would differ from every stored hash, and so be noticed.
        postcard::to_extend(&plain, self.head()).unwrap_or_default()
    }

    /// The hash that the record must have.
    #[must_use]
    pub fn hash_of(self, record: &AuditRecord) -> [u8; 32] {
        Sha256::digest(self.hashed(record)).into()
    }

    /// The record that these bytes are of, with their hash; `None` if they are of none in this chain, or not as
    /// [`Chain::hashed`] writes them.
    #[must_use]
    pub fn record_of(self, hashed: &[u8]) -> Option<AuditRecord> {
        let plain: AuditRecord = postcard::from_bytes(hashed.strip_prefix(self.head().as_slice())?).ok()?;
        let record = AuditRecord { hash: Sha256::digest(hashed).into(), ..plain };
        (self.hashed(&record) == hashed).then_some(record)
    }

    /// Whether `records`, which follow on the record `sequence` with `hash`, form an unbroken chain; gives the
    /// first bad sequence.
    #[must_use]
    pub fn first_break(self, mut sequence: u64, mut hash: [u8; 32], records: &[AuditRecord]) -> Option<u64> {
        for record in records {
            let follows = record.sequence == sequence + 1 && record.previous == hash;
            if !follows || record.hash != self.hash_of(record) {
                return Some(record.sequence);
            }
            (sequence, hash) = (record.sequence, record.hash);
        }
        None
    }

    fn head(self) -> Vec<u8> {
        [self.account.as_bytes(), &self.trail.key()].concat()
    }
}
