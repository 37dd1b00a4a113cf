//! Replicates any deterministic machine over a few nodes, and knows nothing of users, roles or tenants.
//!
//! A [`Machine`] decides commands; this crate gives them one order (Raft), keeps what was acknowledged on
//! the disks of a majority, shows every node the same rows, and lets any node read them linearizably.
//! openraft, raft-log and sled are named here and nowhere else.
//!
//! What must never be known here: HTTP, accounts, passwords, tokens.
//!
//! # The parts
//!
//! [`Cluster`] is the handle. Below it: `core` (proposals, asking peers), `barrier` (linearizable reads), [`call`]
//! (calls between nodes), [`membership`], [`status`]. `node` puts them together on a transport (`network`), a log
//! device (`log`), a [`state::Store`] and a [`Clock`]; `start` does so for a real [`folder`]. What they put on a disk
//! goes through [`seal`]. Nodes know each other by certificates ([`pki`]) that one is given on the way in ([`enrol`]),
//! may change while it runs (`certificates`) and loses for good (`fence`). A leader without room on its disk takes
//! no commands (`space`). `raft` alone spells openraft's types. `testing` runs whole nodes on simulated parts.
//!
//! # A counter
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use std::time::Duration;
//! # use bytes::Bytes;
//! # use conclave_cluster::state::Transaction;
//! # use conclave_cluster::{Cluster, Config, KeyWrapper, LogTime, Machine};
//! # use conclave_cluster::{Proposal, RequestId, SystemClock, Verdict};
//! struct Counter;
//!
//! impl Machine for Counter {
//!     fn apply(&self, _: LogTime, _: u64, rows: &mut Transaction<'_>, command: &[u8]) -> Verdict {
//!         let now = rows.get(b"count").map_or(0, |row| row.value[0]);
//!         rows.put(b"count", vec![now + command[0]]);
//!         Verdict { reply: Bytes::from(vec![now + command[0]]), keep: true }
//!     }
//!
//!     fn group<'k>(&self, _: &'k [u8]) -> Option<&'k [u8]> {
//!         None
//!     }
//! }
//!
//! # async fn count(keys: Arc<dyn KeyWrapper>) -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::new("data", "127.0.0.1:7000".parse()?, "http://127.0.0.1:8080", keys);
//! let cluster = Cluster::start(config, Arc::new(Counter), Arc::new(SystemClock)).await?;
//! let soon = tokio::time::Instant::now() + Duration::from_secs(5);
//! let add = Proposal { request: RequestId([1; 16]), fingerprint: 2, command: Bytes::from_static(&[2]) };
//! cluster.propose(vec![add], soon).await?;
//! let count = cluster.read_barrier(soon).await?.get(b"count");
//! # Ok(())
//! # }
//! ```

// The tests of the crate and those outside it share files, which name it as an outsider does.
#[cfg(test)]
extern crate self as conclave_cluster;

pub mod archive;
mod barrier;
pub mod call;
mod certificates;
pub mod clock;
pub mod config;
mod core;
pub mod enrol;
pub mod error;
mod fence;
mod files;
pub mod folder;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod handle;
pub mod identity;
mod log;
pub mod machine;
pub mod membership;
mod network;
mod node;
pub mod offline;
pub mod pki;
mod raft;
pub mod seal;
mod space;
mod start;
pub mod state;
pub mod status;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod usage;
mod wire;

pub use call::CallHandler;
pub use certificates::{CertificateStatus, InstallError};
pub use clock::{Clock, LogTime, SystemClock};
pub use config::{Config, Timing};
pub use enrol::{EnrolError, EnrolHandler};
pub use error::{Fatal, StartError, Unavailable};
pub use fence::Refused;
pub use folder::{DataFolder, FolderError};
pub use handle::Cluster;
pub use identity::{ClusterId, Identity, NodeId};
pub use log::disk::LogError;
pub use machine::{Applied, Machine, NewerLevel, Proposal, RequestId, Verdict};
pub use membership::{After, ChangeError, Wish};
pub use raft::Member;
pub use seal::KeyWrapper;
pub use state::View;
pub use status::{MemberStatus, Role, Status};
pub use usage::{DiskUsage, LogSyncs};
