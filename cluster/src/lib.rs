//! Replicates any deterministic machine over a few nodes, and knows nothing of users, roles or tenants.
//!
//! A [`Machine`] decides commands; this crate gives them one order (Raft), keeps what was acknowledged on
//! the disks of a majority, shows every node the same rows, and lets any node read them linearizably.
//! openraft, raft-log and sled are named here and nowhere else.
//!
//! What must never be known here: HTTP, accounts, passwords, tokens.

mod barrier;
pub mod call;
pub mod clock;
pub mod config;
mod core;
pub mod error;
mod files;
pub mod folder;
mod handle;
pub mod identity;
mod log;
pub mod machine;
pub mod membership;
mod network;
mod node;
pub mod pki;
mod raft;
mod start;
pub mod state;
pub mod status;
#[cfg(test)]
mod testing;
mod wire;

pub use call::CallHandler;
pub use clock::{Clock, LogTime, SystemClock};
pub use config::{Config, Timing};
pub use error::{Fatal, StartError, Unavailable};
pub use folder::{DataFolder, FolderError};
pub use handle::Cluster;
pub use identity::{ClusterId, Identity, NodeId};
pub use log::disk::LogError;
pub use machine::{Applied, Machine, Proposal, RequestId, Verdict};
pub use membership::ChangeError;
pub use raft::Member;
pub use state::View;
pub use status::{MemberStatus, Role, Status};
