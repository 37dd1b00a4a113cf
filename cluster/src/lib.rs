//! Replicates any deterministic machine over a few nodes, and knows nothing of users, roles or tenants.
//!
//! A [`Machine`] decides commands; this crate gives them one order (Raft), keeps what was acknowledged on
//! the disks of a majority, shows every node the same rows, and lets any node read them linearizably.
//! openraft, raft-log and sled are named here and nowhere else.
//!
//! What must never be known here: HTTP, accounts, passwords, tokens.

pub mod clock;
mod files;
pub mod folder;
pub mod identity;
pub mod machine;
pub mod pki;
pub mod state;

pub use clock::{Clock, LogTime, SystemClock};
pub use folder::{DataFolder, FolderError};
pub use identity::{ClusterId, Identity, NodeId};
pub use machine::{Applied, Machine, Proposal, RequestId, Verdict};
