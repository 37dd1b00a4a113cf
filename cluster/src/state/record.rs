//! Everything that a state holds, seen as flat records: what is hashed, stored and sent.

use std::hash::Hasher as _;

use bytes::Bytes;
use siphasher::sip128::{Hasher128 as _, SipHasher24};

use crate::clock::LogTime;
use crate::machine::RequestId;

use super::history::Past;
use super::requests::Remembered;
use super::row::{Key, Row};

/// The kinds of records. Their numbers are stored: they only grow, at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Space {
    /// Rows as they stand, by key.
    Rows = 1,
    /// Rows as they were, by the revision that ended them and their key.
    History = 2,
    /// Requests and their replies, by request id.
    Requests = 3,
}

impl Space {
    pub(super) fn number(self) -> u8 {
        self as u8
    }

    pub(super) fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Rows),
            2 => Some(Self::History),
            3 => Some(Self::Requests),
            _ => None,
        }
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(super) space: Space,
    pub(crate) key: Key,
    pub(crate) value: Vec<u8>,
}

impl Record {
    pub(crate) fn row(key: &Key, row: &Row) -> Self {
        let mut value = Vec::with_capacity(Self::row_bytes(row));
        value.extend_from_slice(&row.revision.to_le_bytes());
        value.extend_from_slice(&row.value);
        Self { space: Space::Rows, key: key.clone(), value }
    }

    /// How long the value of such a record is.
    pub(super) fn row_bytes(row: &Row) -> usize {
        8 + row.value.len()
    }

    pub(super) fn past(key: &[u8], ended: u64, past: &Past) -> Self {
        // Big endian, so that records lie in the order in which they will be forgotten.
        let mut name = Vec::with_capacity(8 + key.len());
        name.extend_from_slice(&ended.to_be_bytes());
        name.extend_from_slice(key);
        let mut value = Vec::with_capacity(16 + past.row.value.len());
        value.extend_from_slice(&past.ended_at.0.to_le_bytes());
        value.extend_from_slice(&past.row.revision.to_le_bytes());
        value.extend_from_slice(&past.row.value);
        Self { space: Space::History, key: name.into(), value }
    }

    pub(super) fn request(id: RequestId, remembered: &Remembered) -> Self {
        let mut value = Vec::with_capacity(24 + remembered.reply.len());
        value.extend_from_slice(&remembered.fingerprint.to_le_bytes());
        value.extend_from_slice(&remembered.revision.to_le_bytes());
        value.extend_from_slice(&remembered.at.0.to_le_bytes());
        value.extend_from_slice(&remembered.reply);
        Self { space: Space::Requests, key: id.0[..].into(), value }
    }

    /// This record's share of the digest.
    pub(crate) fn hash(&self) -> u128 {
        let mut hasher = SipHasher24::new_with_keys(DIGEST_KEYS.0, DIGEST_KEYS.1);
        hasher.write(&[self.space.number()]);
        // The length keeps a byte from wandering between key and value.
        hasher.write(&(self.key.len() as u64).to_le_bytes());
        hasher.write(&self.key);
        hasher.write(&self.value);
        hasher.finish128().as_u128()
    }
}

pub(crate) fn decode_row(value: &[u8]) -> Option<Row> {
    let (revision, value) = take_u64(value)?;
    Some(Row { revision, value: value.into() })
}

pub(super) fn decode_past(key: &[u8], value: &[u8]) -> Option<(Key, u64, Past)> {
    let (ended, key) = key.split_first_chunk::<8>()?;
    let (ended_at, row) = take_u64(value)?;
    let past = Past { ended_at: LogTime(ended_at), row: decode_row(row)? };
    Some((key.into(), u64::from_be_bytes(*ended), past))
}

pub(super) fn decode_request(key: &[u8], value: &[u8]) -> Option<(RequestId, Remembered)> {
    let id = RequestId(key.try_into().ok()?);
    let (fingerprint, value) = take_u64(value)?;
    let (revision, value) = take_u64(value)?;
    let (at, reply) = take_u64(value)?;
    let reply = Bytes::copy_from_slice(reply);
    Some((id, Remembered { fingerprint, revision, at: LogTime(at), reply }))
}

/// A hash that damage does not survive, for things that are not records.
pub(super) fn seal(bytes: &[u8]) -> u128 {
    SipHasher24::new_with_keys(SEAL_KEYS.0, SEAL_KEYS.1).hash(bytes).as_u128()
}

fn take_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*number), rest))
}

// Changing these makes every stored digest a mismatch.
const DIGEST_KEYS: (u64, u64) = (0x636f_6e63_6c61_7665, 0x6469_6765_7374_0001);
const SEAL_KEYS: (u64, u64) = (0x636f_6e63_6c61_7665, 0x7365_616c_0000_0001);
