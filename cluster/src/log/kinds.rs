//! What raft-log keeps for us, and how it is written. raft-log puts a checksum around each record.

use std::io::{self, Read, Write};

use bytes::Bytes;
use codeq::{Decode, Encode};

use super::VoteRecord;
use super::disk::Synced;
use crate::state::LogPosition;

/// The types that raft-log keeps for us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kinds;

impl raft_log::Types for Kinds {
    type LogId = Position;
    type LogPayload = Payload;
    type Vote = Vote;
    type Callback = Synced;
    type UserData = String;

    fn log_index(position: &Position) -> u64 {
        position.index
    }

    fn payload_size(payload: &Payload) -> u64 {
        payload.0.len() as u64
    }
}

/// A position in the order that Raft gives: later leaders first, then the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    term: u64,
    node: u64,
    index: u64,
}

impl Position {
    pub(super) fn next(position: Option<&Self>) -> u64 {
        position.map_or(0, |position| position.index + 1)
    }
}

impl From<LogPosition> for Position {
    fn from(LogPosition { term, node, index }: LogPosition) -> Self {
        Self { term, node, index }
    }
}

impl From<Position> for LogPosition {
    fn from(Position { term, node, index }: Position) -> Self {
        Self { term, node, index }
    }
}

impl Encode for Position {
    fn encode<W: Write>(&self, mut to: W) -> io::Result<usize> {
        Ok(self.term.encode(&mut to)? + self.node.encode(&mut to)? + self.index.encode(&mut to)?)
    }
}

impl Decode for Position {
    fn decode<R: Read>(mut from: R) -> io::Result<Self> {
        Ok(Self {
            term: u64::decode(&mut from)?,
            node: u64::decode(&mut from)?,
            index: u64::decode(&mut from)?,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(crate) struct Vote(pub(crate) VoteRecord);

impl Encode for Vote {
    fn encode<W: Write>(&self, mut to: W) -> io::Result<usize> {
        let VoteRecord { term, node, committed } = self.0;
        Ok(term.encode(&mut to)? + node.encode(&mut to)? + u8::from(committed).encode(&mut to)?)
    }
}

impl Decode for Vote {
    fn decode<R: Read>(mut from: R) -> io::Result<Self> {
        let (term, node) = (u64::decode(&mut from)?, u64::decode(&mut from)?);
        let committed = u8::decode(&mut from)? != 0;
        Ok(Self(VoteRecord { term, node, committed }))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Payload(pub(crate) Bytes);

impl Encode for Payload {
    fn encode<W: Write>(&self, mut to: W) -> io::Result<usize> {
        let length = u32::try_from(self.0.len()).map_err(io::Error::other)?;
        let written = length.encode(&mut to)? + check(length).encode(&mut to)?;
        to.write_all(&self.0)?;
        Ok(written + self.0.len())
    }
}

impl Decode for Payload {
    fn decode<R: Read>(mut from: R) -> io::Result<Self> {
        let (length, claimed) = (u32::decode(&mut from)?, u32::decode(&mut from)?);
        // raft-log's checksum comes behind the bytes, and is not looked at when they are too few. A rotten length
        // would make all the rest of the file one unfinished entry, which is cut off.
        if claimed != check(length) || length as usize > MOST_PAYLOAD_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the length of an entry is damaged"));
        }
        let mut bytes = vec![0; length as usize];
        from.read_exact(&mut bytes)?;
        Ok(Self(bytes.into()))
    }
}

fn check(length: u32) -> u32 {
    crc32fast::hash(&length.to_le_bytes())
}

/// An entry may pack many commands; see `raft::MOST_ENTRY_BYTES` for what is proposed.
const MOST_PAYLOAD_BYTES: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// What lies in logs: raft-log reads it with these.
    #[test]
    fn positions_votes_and_payloads_are_written_as_ever() {
        let position = Position { term: 3, node: 2, index: 300 };
        let vote = Vote(VoteRecord { term: 3, node: 2, committed: true });
        let payload = Payload(Bytes::from_static(b"payload"));
        let mut bytes = Vec::new();
        position.encode(&mut bytes).unwrap();
        assert_eq!(bytes, b"\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\x01\x2c");
        assert_eq!(Position::decode(&bytes[..]).unwrap(), position);
        bytes.clear();
        vote.encode(&mut bytes).unwrap();
        assert_eq!(bytes, b"\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x02\x01");
        assert_eq!(Vote::decode(&bytes[..]).unwrap(), vote);
        bytes.clear();
        payload.encode(&mut bytes).unwrap();
        assert_eq!(bytes, b"\0\0\0\x07\xbc\x93\xe7\xa5payload");
        assert_eq!(Payload::decode(&bytes[..]).unwrap(), payload);
    }

    #[test]
    fn a_damaged_length_is_damage_and_no_missing_end() {
        let mut good = Vec::new();
        Payload(Bytes::from_static(b"payload")).encode(&mut good).unwrap();
        for bit in 0..64 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let error = Payload::decode(&bad[..]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "bit {bit}");
        }
        let cut = Payload::decode(&good[..good.len() - 1]).unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
    }
}
