//! The rows of the machine: what reads see, what a command may write, their history, their digest, and the
//! durable copy of it all.
//!
//! [`State`] is the whole at one position of the log: an immutable value that is cheap to clone. Applying an
//! entry makes the next one and the [`Changes`] that a durable copy has to follow. [`View`] is what reads get.
//!
//! What must never be known here: Raft's own types, the network, what a row means.
//!
//! # Why
//!
//! - **A revision counts decided commands, not log entries.** An entry may pack several commands, and each
//!   needs an `ETag` of its own. A repeated or mismatched request decides nothing and uses no revision, so the
//!   digest is a function of the revision.
//! - **A refusal is remembered like a success.** A caller whose reply got lost must get the first answer, not
//!   a second decision over rows that have moved on meanwhile.
//! - **Forgetting is part of applying.** History and remembered requests are pruned by log time with bounded
//!   work in each command, so every node forgets the same things at the same revision.
//! - **The digest is a wrapping sum of keyed hashes.** It follows each write in constant time and does not
//!   depend on order. Its keys are fixed, so it guards against rot and bugs, not against a forger who can
//!   already write rows.

mod apply;
mod changes;
mod copy;
pub(crate) mod fault;
mod files;
mod folder;
mod history;
mod image;
mod media;
#[cfg(any(test, feature = "testing"))]
mod memory;
pub(crate) mod meta;
mod record;
mod recovery;
mod requests;
mod row;
pub(crate) mod snapshot;
mod store;
mod transaction;
mod transfer;
mod view;
mod writer;

#[cfg(test)]
mod tests;

pub use changes::{Change, Changes};
pub use fault::{Durability, Fault};
pub use folder::Folder;
pub use image::{Limits, State};
#[cfg(any(test, feature = "testing"))]
pub use memory::MemoryDisk;
pub use meta::{LogPosition, Meta};
pub use record::Space;
pub(crate) use record::{Record, decode_row};
pub use recovery::Recovery;
pub use row::{Key, Row, Value};
pub use snapshot::SnapshotInfo;
pub use store::{Disk, Entry, InstallError, Progress, Store};
pub use transaction::Transaction;
pub use transfer::{SnapshotReader, SnapshotWriter};
pub use view::{AsOfError, View};
