//! The Raft log on its device: entries, the vote and the committed position, and when they are safe.
//!
//! Knows positions and bytes. What an entry means, and openraft's own types, must not be known here.
//!
//! # Why
//!
//! The device is a trait because it has two real kinds: files ([`disk::DiskLog`]), and the simulated disk that
//! forgets at a crash what was not synced. Everything above runs unchanged on both.
//!
//! All operations of one device take effect in the order of their calls. Only what must wait for the disk
//! takes a [`Done`]; it is called once the bytes are synced, never earlier, because an entry counts as
//! replicated from then on.

use std::io;
use std::ops::Range;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::state::LogPosition;
use crate::usage::LogSyncs;

pub(crate) mod disk;
pub(crate) mod kinds;
mod repair;
mod sealed;

/// Called once, with the outcome of the disk sync that covers the operation.
pub(crate) type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// An entry as the device keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogEntry {
    pub(crate) position: LogPosition,
    pub(crate) payload: Bytes,
}

/// For whom a node votes, or whom it follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct VoteRecord {
    pub(crate) term: u64,
    pub(crate) node: u64,
    /// Whether a majority granted it.
    pub(crate) committed: bool,
}

/// What a device holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogState {
    pub(crate) vote: Option<VoteRecord>,
    pub(crate) committed: Option<LogPosition>,
    pub(crate) purged: Option<LogPosition>,
    /// The last entry; the purged position when there is none behind it.
    pub(crate) last: Option<LogPosition>,
}

/// Where the log is kept.
pub(crate) trait LogDevice: Send + Sync + 'static {
    /// What it holds, with everything that was asked of it before.
    fn state(&self) -> BoxFuture<'static, io::Result<LogState>>;

    /// Appends entries that follow the last one without a gap.
    fn append(&self, entries: Vec<LogEntry>, done: Done);

    /// Remembers the vote.
    fn save_vote(&self, vote: VoteRecord, done: Done);

    /// Remembers, when convenient, up to where entries are committed. Losing it costs time at the next start
    /// and nothing else.
    fn save_committed(&self, committed: LogPosition);

    /// Drops all entries behind `after`; all of them when that is `None`.
    fn truncate_after(&self, after: Option<LogPosition>) -> BoxFuture<'static, io::Result<()>>;

    /// Drops all entries up to and with `upto`, which may lie behind the last one: the log then goes on from
    /// there.
    fn purge(&self, upto: LogPosition) -> BoxFuture<'static, io::Result<()>>;

    /// The entries of `range` that it holds, in order: all of them, or as many as fit into `most_bytes` of
    /// payload, but at least one.
    fn read(
        &self,
        range: Range<u64>,
        most_bytes: Option<usize>,
    ) -> BoxFuture<'static, io::Result<Vec<LogEntry>>>;

    /// How often it was synced, and how long that took; nothing on a disk that is none.
    fn syncs(&self) -> LogSyncs {
        LogSyncs::default()
    }

    /// Syncs what it has and lets go of the files. Whatever is asked afterwards fails.
    fn close(&self) -> BoxFuture<'static, io::Result<()>>;
}
