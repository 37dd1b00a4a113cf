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
pub(super) struct Position {
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
pub(super) struct Vote(pub(super) VoteRecord);

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
pub(super) struct Payload(pub(super) Bytes);

impl Encode for Payload {
    fn encode<W: Write>(&self, mut to: W) -> io::Result<usize> {
        let length = u32::try_from(self.0.len()).map_err(io::Error::other)?;
        let written = length.encode(&mut to)?;
        to.write_all(&self.0)?;
        Ok(written + self.0.len())
    }
}

impl Decode for Payload {
    fn decode<R: Read>(mut from: R) -> io::Result<Self> {
        let length = u32::decode(&mut from)? as usize;
        // The checksum comes behind the bytes, so a rotten length must not be believed this far.
        if length > MOST_PAYLOAD_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the length of an entry is out of bounds",
            ));
        }
        let mut bytes = vec![0; length];
        from.read_exact(&mut bytes)?;
        Ok(Self(bytes.into()))
    }
}

/// An entry may pack many commands; see `raft::MOST_ENTRY_BYTES` for what is proposed.
const MOST_PAYLOAD_BYTES: usize = 64 << 20;
