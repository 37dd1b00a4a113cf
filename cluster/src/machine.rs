//! The seam: what a replicated machine must do, and what it is given.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::clock::LogTime;
use crate::state::{Transaction, View};

/// A deterministic state machine over rows.
///
/// Every node applies the same commands in the same order and must end with the same rows and replies.
/// So an implementation uses no clock, randomness, environment, float, I/O, or map with a random order.
pub trait Machine: Send + Sync + 'static {
    /// Decides one command. `at` is the leader's stamp of the entry; `revision` is this command's own
    /// position in the order of all commands (from 1), unique even when an entry packs several.
    ///
    /// A command that the machine cannot decode gets a reply that says so; it is never skipped.
    fn apply(&self, at: LogTime, revision: u64, rows: &mut Transaction<'_>, command: &[u8]) -> Verdict;

    /// The group that a row belongs to, as a part of its key; the state keeps a digest for each group.
    /// `None` for rows outside all groups.
    fn group<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]>;

    /// The newest level that this program knows. A level stands for all commands and all formats of rows that
    /// came with it and before it; they are numbered from 1.
    fn known_level(&self) -> u32 {
        FIRST_LEVEL
    }

    /// The level at which the rows are. It must not fall. A node whose program does not know it stops, and does
    /// not start: it would read rows wrongly, and answer commands otherwise than the others.
    fn level(&self, _rows: &View) -> u32 {
        FIRST_LEVEL
    }
}

/// The level of a machine that has never changed.
pub(crate) const FIRST_LEVEL: u32 = 1;

/// The data is of a level that this program does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this data was written by a newer release (level {found}; this program knows {known}): start the newer \
     program again"
)]
pub struct NewerLevel {
    /// The level of the data.
    pub found: u32,
    /// The newest level that this program knows.
    pub known: u32,
}

impl NewerLevel {
    /// Whether a program that knows `known` can go on with data of `found`.
    pub(crate) fn check(found: u32, known: u32) -> Result<(), Self> {
        if found > known { Err(Self { found, known }) } else { Ok(()) }
    }
}

/// What a machine says to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The reply, in the machine's own encoding. Remembered for retries: no secret in clear.
    pub reply: Bytes,
    /// Whether the rows written by the transaction count. A refusal says `false`.
    pub keep: bool,
}

/// Names one request of one caller. The same id again gets the first reply and changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub [u8; 16]);

/// A command on its way to the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Who asks, once: see [`RequestId`].
    pub request: RequestId,
    /// Hash of what the caller asked for. A remembered id with another fingerprint is refused with
    /// [`Applied::Mismatch`], because it is another request under a used name.
    pub fingerprint: u64,
    /// The command in the machine's own encoding; at most [`Proposal::MAX_COMMAND_BYTES`].
    pub command: Bytes,
}

impl Proposal {
    /// The longest command, in bytes. An HTTP body is at most 64 KiB; the rest is room for what the
    /// front end adds.
    pub const MAX_COMMAND_BYTES: usize = 256 * 1024;
}

/// What became of a proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Applied {
    /// Decided at `revision`. `replayed` says that an earlier proposal with this id was decided then,
    /// and that this one changed nothing.
    Done { revision: u64, at: LogTime, reply: Bytes, replayed: bool },
    /// The id was used before for another request.
    Mismatch,
}
