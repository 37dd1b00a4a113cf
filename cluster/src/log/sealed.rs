//! Between the log and its files: payloads of entries are sealed on their way down and opened on their way up.
//! Positions and votes are not: raft-log needs them, and they tell nothing of anybody.

use std::io;
use std::ops::Range;
use std::path::Path;

use super::LogEntry;
use super::disk::LogError;
use super::kinds::{Kinds, Payload, Position};
use super::repair;
use crate::seal::{DataKey, DataKeyError, Kind, Vault};
use crate::state::LogPosition;

/// The log with the key of its entries: payloads are plain on this side of it and sealed on the other.
pub(super) struct Sealed {
    pub(super) log: raft_log::RaftLog<Kinds>,
    pub(super) key: DataKey,
}

impl Sealed {
    pub(super) fn seal(&self, entries: &[LogEntry]) -> io::Result<Vec<(Position, Payload)>> {
        let sealed = entries.iter().map(|entry| {
            let payload = self.key.seal(&place(entry.position), &entry.payload)?;
            Ok((Position::from(entry.position), Payload(payload.into())))
        });
        sealed.collect()
    }

    pub(super) fn read(&self, range: Range<u64>) -> impl Iterator<Item = io::Result<LogEntry>> {
        self.log.read(range.start, range.end).map(|entry| {
            let (position, Payload(sealed)) = entry?;
            let position = LogPosition::from(position);
            let payload = self.key.open(&place(position), &sealed).map_err(|error| {
                io::Error::new(io::ErrorKind::InvalidData, format!("entry {position}: {error}"))
            })?;
            Ok(LogEntry { position, payload: payload.into() })
        })
    }

    /// Opens every entry once, so that one that does not open is found now and not when a peer needs it.
    pub(super) fn check(&self) -> io::Result<()> {
        let state = self.log.log_state();
        let (first, end) = (Position::next(state.purged()), Position::next(state.last()));
        if first < end {
            for entry in self.read(first..end) {
                drop(entry?);
            }
        }
        Ok(())
    }
}

/// Where a sealed entry belongs. It opens at no other position.
pub(super) fn place(LogPosition { term, node, index }: LogPosition) -> Vec<u8> {
    [&b"log entry"[..], &term.to_le_bytes(), &node.to_le_bytes(), &index.to_le_bytes()].concat()
}

/// The key of the log; a new one where there has been no log. A log whose key is lost is a damaged log.
pub(super) fn open_key(folder: &Path, vault: &Vault) -> Result<DataKey, LogError> {
    let file = vault.path(KEY_FILE);
    match vault.open(&file, Kind::Log) {
        Ok(key) => Ok(key),
        Err(DataKeyError::Missing(_)) if !repair::holds_chunks(folder) => Ok(vault.create(&file, Kind::Log)?),
        Err(error @ DataKeyError::Damaged(_)) => {
            let source = io::Error::new(io::ErrorKind::InvalidData, error.to_string());
            Err(LogError::Damaged { folder: folder.to_owned(), source })
        }
        Err(error) => Err(error.into()),
    }
}

/// Beside the log's folder and not in it: raft-log takes every file there for its own.
const KEY_FILE: &str = "log.dek";
