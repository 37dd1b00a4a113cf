//! What a node says of itself and its cluster.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;

use crate::clock::LogTime;
use crate::core::Core;
use crate::error::Fatal;
use crate::identity::{ClusterId, NodeId};
use crate::membership::{change, health, safety};
use crate::raft::Member;
use crate::state::LogPosition;

/// A node, as it sees itself now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its id.
    pub node: NodeId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// What it is at the moment.
    pub role: Role,
    /// The term: it rises with every election.
    pub term: u64,
    /// Who leads, as far as it knows.
    pub leader: Option<Leader>,
    /// The last entry applied.
    pub applied: Option<LogPosition>,
    /// Commands decided so far.
    pub revision: u64,
    /// Log time of the last entry applied.
    pub at: LogTime,
    /// Digest of the state at `revision`: equal on all nodes there.
    pub digest: u128,
    /// The last entry in the log.
    pub last_index: Option<u64>,
    /// Up to here the state on the disk needs no more log.
    pub durable_index: Option<u64>,
    /// The last entry in the newest snapshot.
    pub snapshot_index: Option<u64>,
    /// All members, in the order of their ids.
    pub members: Vec<MemberStatus>,
    /// Whether it can serve: it has caught up since its start, and knows a leader.
    pub is_ready: bool,
    /// Whether a change of the membership has begun and is not finished. When its leader is gone, the next one
    /// finishes it before the next change, or at [`crate::Cluster::finish_change`].
    pub is_changing: bool,
    /// How many voters a cluster of this size may lose, when all of them work.
    pub can_lose: usize,
    /// Known to the leader only: how many voters may fail now, with those that are down counted as failed.
    pub tolerance: Option<usize>,
    /// Why it must stop, if so.
    pub fatal: Option<Fatal>,
    /// Why the cluster refuses it, if so: it was removed, or its certificate revoked.
    pub refused: Option<String>,
}

/// What a node is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Gets the log and does not vote.
    Learner,
    /// Follows a leader, or waits for one.
    Follower,
    /// Stands for election.
    Candidate,
    /// Leads.
    Leader,
    /// Is stopping.
    Stopped,
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Its id.
    pub node: NodeId,
    /// The base URL of its HTTP API.
    pub api_url: String,
}

/// A member, as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its id.
    pub node: NodeId,
    /// Where to reach it.
    pub member: Member,
    /// Whether it votes; else it is a learner.
    pub is_voter: bool,
    /// Known to the leader only: entries it has yet to confirm.
    pub lag: Option<u64>,
    /// Known to the leader only: how long ago it last answered. Nothing for one that has not answered this leader.
    pub last_contact: Option<Duration>,
    /// Known to the leader only: whether it answers (within two elections, a second at least), lacks at most
    /// 1,000 entries, and was not given up.
    pub is_healthy: Option<bool>,
}

pub(crate) fn of(core: &Core, is_recovered: bool) -> Status {
    let metrics = core.raft.metrics().borrow_watched().clone();
    let view = core.store.view();
    let membership = &metrics.membership_config;
    let situation = health::situation(core, &metrics);
    let members = membership.nodes().map(|(id, member)| {
        let node = NodeId(*id);
        let standing = situation.as_ref().and_then(|situation| situation.members.get(&node));
        MemberStatus {
            node,
            member: member.clone(),
            is_voter: membership.voter_ids().any(|voter| voter == *id),
            lag: standing.map(|standing| standing.lag.unwrap_or(next(metrics.last_log_index))),
            last_contact: standing.and_then(|standing| standing.silence),
            is_healthy: situation.as_ref().map(|situation| situation.is_healthy(node)),
        }
    });
    // While voters change, two sets of them decide, and each must go on.
    let sets = || {
        let sets = membership.get_joint_config().iter();
        sets.map(|set| set.iter().map(|id| NodeId(*id)).collect::<BTreeSet<NodeId>>())
    };
    let can_lose = sets().map(|set| safety::can_lose(set.len())).min().unwrap_or_default();
    let tolerance =
        situation.as_ref().and_then(|situation| sets().map(|set| situation.tolerance(&set)).min());
    let leader = metrics.current_leader.map(|id| Leader {
        node: NodeId(id),
        api_url: membership.get_node(&id).map(|member| member.api_url.clone()).unwrap_or_default(),
    });
    let fatal = core.fatal.borrow().clone();
    let refused = core.fence.own().borrow().clone();
    Status {
        node: core.node(),
        cluster: core.identity.cluster,
        role: match metrics.state {
            ServerState::Learner => Role::Learner,
            ServerState::Follower => Role::Follower,
            ServerState::Candidate => Role::Candidate,
            ServerState::Leader => Role::Leader,
            ServerState::Shutdown => Role::Stopped,
        },
        term: metrics.current_term,
        applied: view.applied(),
        revision: view.revision(),
        at: view.at(),
        digest: view.digest(),
        last_index: metrics.last_log_index,
        durable_index: core.store.durability().borrow().durable.map(|position| position.index),
        snapshot_index: metrics.snapshot.map(|position| position.index),
        members: members.collect(),
        is_changing: change::is_under_way(&metrics),
        can_lose,
        tolerance,
        is_ready: is_recovered
            && leader.is_some()
            && fatal.is_none()
            && refused.is_none()
            && !core.is_stopping(),
        leader,
        fatal,
        refused,
    }
}

fn next(index: Option<u64>) -> u64 {
    index.map_or(0, |index| index + 1)
}
