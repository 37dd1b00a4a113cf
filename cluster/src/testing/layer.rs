//! What a world is made of, and what stands on its nodes.

use std::sync::Arc;

use super::bug::Bug;
use crate::clock::Clock;
use crate::handle::Cluster;
use crate::identity::NodeId;
use crate::machine::Machine;
use crate::state::Limits;

/// How large a world is, and how its nodes are set.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Nodes that found the cluster: 1 and on.
    pub founders: u64,
    /// Nodes behind them that have never run, to join later.
    pub spares: u64,
    /// Whether a leader makes voters of those who join; see [`crate::Config::promotes`].
    pub promotes: bool,
    /// Entries between two snapshots. Few, so that they are always in play.
    pub snapshot_every: u64,
    /// Entries kept in the log behind a snapshot.
    pub log_kept: u64,
    /// How much history and how many requests are remembered.
    pub limits: Limits,
    /// What is wrong with it, as far as disks and restarts go. The rest is up to the layer and its clients.
    pub bug: Bug,
}

impl Setup {
    /// A cluster of this size, without spares. Requests are remembered for a day, as in a real one: clocks jump by an
    /// hour, and with a memory shorter than that a retry after a jump is a new request.
    pub fn of(founders: u64) -> Self {
        Self {
            founders,
            spares: 0,
            promotes: true,
            snapshot_every: 60,
            log_kept: 20,
            limits: Limits { history_ms: 5_000, requests_ms: 24 * 3_600_000, ..Limits::default() },
            bug: Bug::None,
        }
    }
}

/// What stands on the nodes of a world: their machines, and whatever is built over each run of a node.
pub trait Layer: Send + Sync + 'static {
    /// The machine of a node that is about to start on what its disks have. `clock` is that node's own; a machine
    /// must not look at it.
    fn machine(&self, node: NodeId, clock: Arc<dyn Clock>) -> Arc<dyn Machine>;

    /// A node runs: here its call handler is installed, and what else stands on it is built. What is kept of it
    /// is let go at [`Layer::crashed`].
    fn started(&self, cluster: &Cluster, clock: Arc<dyn Clock>);

    /// A node has crashed. Its [`Cluster`] reaches nothing any more.
    fn crashed(&self, _node: NodeId) {}
}
