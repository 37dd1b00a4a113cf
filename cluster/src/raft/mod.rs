//! openraft, and the only folder that spells its types: what it stores, sends and runs on is ours.
//!
//! openraft's own types never reach disk or wire; [`convert`] maps them to records of ours that carry a
//! version, because its alphas change layouts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::LogTime;
use crate::config::Config;
use crate::machine::{Applied, Proposal};

pub(crate) mod convert;
pub(crate) mod log_store;
pub(crate) mod machine_store;
pub(crate) mod network;
pub(crate) mod runtime;
pub(crate) mod service;

openraft::declare_raft_types!(
    /// What openraft calls our types.
    pub(crate) Types:
        D = Batch,
        R = Answers,
        NodeId = u64,
        Node = Member,
        AsyncRuntime = runtime::Runtime,
);

pub(crate) type Raft = openraft::Raft<Types, machine_store::MachineStore>;
pub(crate) type LogId = openraft::type_config::alias::LogIdOf<Types>;
pub(crate) type Vote = openraft::type_config::alias::VoteOf<Types>;
pub(crate) type Entry = openraft::type_config::alias::EntryOf<Types>;
pub(crate) type Payload = openraft::type_config::alias::PayloadOf<Types>;
pub(crate) type Membership = openraft::Membership<u64, Member>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<Types>;

/// What an entry of the log asks for: commands, decided in this order at the leader's time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Batch {
    pub(crate) at: LogTime,
    pub(crate) proposals: Vec<Proposal>,
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} commands", self.proposals.len())
    }
}

/// What became of the commands of an entry, in their order; empty for entries of Raft's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answers(pub(crate) Vec<Applied>);

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answers", self.0.len())
    }
}

/// How others reach a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Host and port on which its peers reach it.
    pub peer_addr: String,
    /// The base URL of its HTTP API, as clients should see it.
    pub api_url: String,
}

/// Voters (two sets while a change is under way) and all nodes.
pub(crate) fn membership(
    voters: Vec<BTreeSet<u64>>,
    nodes: BTreeMap<u64, Member>,
) -> Result<Membership, openraft::errors::MembershipError<u64>> {
    Membership::new(voters, nodes)
}

/// openraft's settings, from ours.
pub(crate) fn settings(config: &Config) -> Result<Arc<openraft::Config>, String> {
    let timing = config.timing;
    let settings = openraft::Config {
        cluster_name: "conclave".to_owned(),
        heartbeat_interval: timing.heartbeat_ms,
        election_timeout_min: timing.election_min_ms,
        election_timeout_max: timing.election_max_ms,
        enable_pre_vote: Some(true),
        // A restarted leader must win an election: its state may be older than what it served.
        enable_leader_restore: Some(false),
        // A follower whose disk lost what it had called synced gets it again. Otherwise its leader would never look
        // that far back, and it would stay behind for good.
        allow_log_reversion: Some(true),
        quorum_loss_probe_interval: Some(timing.election_max_ms.saturating_mul(2)),
        snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(config.snapshot_every),
        max_in_snapshot_log_to_keep: config.log_kept,
        purge_batch_size: PURGE_BATCH,
        // Above the distance between snapshots, or a snapshot would be stale on arrival and be sent again.
        replication_lag_threshold: config.snapshot_every.saturating_mul(2),
        install_snapshot_timeout: millis(SNAPSHOT_STEP),
        max_payload_entries: MOST_ENTRIES_PER_MESSAGE,
        backoff: "20ms 40ms ..500ms".to_owned(),
        ..openraft::Config::default()
    };
    settings.validate().map(Arc::new).map_err(|error| error.to_string())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The bytes of commands that one entry may pack. A message holds at least one entry, so with the frame around
/// it this stays below [`crate::network::MOST_FRAME_BYTES`].
pub(crate) const MOST_ENTRY_BYTES: usize = 4 << 20;
/// Entries of one read of the log, in bytes of payload.
pub(crate) const MOST_READ_BYTES: usize = 2 << 20;
/// The longest that an answer to one part of a snapshot is waited for.
pub(crate) const SNAPSHOT_STEP: Duration = Duration::from_secs(8);
const MOST_ENTRIES_PER_MESSAGE: u64 = 512;
/// Entries are dropped from the log in steps of this many.
const PURGE_BATCH: u64 = 64;
