//! What a node is told at its start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::seal::KeyWrapper;
use crate::state::Limits;

/// The settings of one node. Those marked *same* must be equal on all nodes of a cluster.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data folder; made when it is absent.
    pub data: PathBuf,
    /// Where the node listens for its peers. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// How peers reach it, as `host:port`. `None` is the address it listens on.
    pub peer_addr: Option<String>,
    /// The base URL of its HTTP API, shown to peers, and to clients that look for the leader.
    pub api_url: String,
    /// Peers to ask for admission, as `host:port`. Empty: the first start founds a cluster.
    pub join: Vec<String>,
    /// Heartbeats and elections; *same*.
    pub timing: Timing,
    /// Entries between two snapshots.
    pub snapshot_every: u64,
    /// Entries kept in the log behind a snapshot, for followers that are a little late.
    pub log_kept: u64,
    /// How much history and how many requests are remembered; *same*.
    pub limits: Limits,
    /// Whether a node that joins is made a voter as soon as it has caught up. Otherwise it stays a learner until
    /// the layer above promotes it ([`crate::Cluster::promote`]); *same*.
    pub promotes: bool,
    /// Wraps the keys under which everything on the disk is sealed. There is no running without.
    pub keys: Arc<dyn KeyWrapper>,
}

/// Milliseconds of heartbeats and elections.
///
/// The defaults are for nodes within a few milliseconds of each other: a dead leader is replaced in about half
/// a second. Multiply all three by the round trip in milliseconds over 5 for longer ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats of the leader.
    pub heartbeat_ms: u64,
    /// Without a heartbeat for a random time from here on, a follower stands for election. A peer's answer is
    /// awaited as long.
    pub election_min_ms: u64,
    /// Upper end of that random time.
    pub election_max_ms: u64,
}

impl Config {
    /// The settings of a node in `data` that listens on `listen`, with all others at their defaults.
    #[must_use]
    pub fn new(
        data: impl Into<PathBuf>,
        listen: SocketAddr,
        api_url: impl Into<String>,
        keys: Arc<dyn KeyWrapper>,
    ) -> Self {
        Self {
            data: data.into(),
            listen,
            peer_addr: None,
            api_url: api_url.into(),
            join: Vec::new(),
            timing: Timing::default(),
            snapshot_every: 10_000,
            log_kept: 1_000,
            limits: Limits::default(),
            promotes: true,
            keys,
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self { heartbeat_ms: 50, election_min_ms: 150, election_max_ms: 300 }
    }
}
