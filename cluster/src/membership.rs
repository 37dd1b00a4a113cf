//! Who belongs to the cluster: founding it, joining it, leaving it.
//!
//! # Why
//!
//! A node joins by asking again and again until it is a voter: first it becomes a learner, then, once it has
//! caught up, a voter. Each step is safe to repeat, so it does not matter which answer got lost. The leader
//! makes one change at a time.
//!
//! A voter that comes back with an empty disk has forgotten whom it voted for and what it acknowledged. Letting
//! it in under its old id could elect a leader that misses acknowledged entries, so that is refused for good.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::{ChangeMembers, RaftMetrics};
use tokio::time::{self, Instant};

use crate::core::{Asked, Core};
use crate::error::{StartError, Unavailable};
use crate::identity::NodeId;
use crate::network::Peer;
use crate::raft::{Member, Types};
use crate::wire::{JoinAnswer, Request, Response};

/// Why a membership was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Not now.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// It must not be.
    #[error("{0}")]
    Refused(String),
}

/// Makes this node the only member of a new cluster.
pub(crate) async fn found(core: &Core) -> Result<(), StartError> {
    let members = BTreeMap::from([(core.node().0, core.member.clone())]);
    core.raft.initialize(members).await.map_err(|error| StartError::Raft(error.to_string()))
}

/// Whether this node is a voter and the others know its addresses, as far as it knows.
pub(crate) fn is_settled(core: &Core) -> bool {
    let metrics = core.raft.metrics().borrow_watched().clone();
    let node = core.node().0;
    let membership = &metrics.membership_config;
    membership.voter_ids().any(|voter| voter == node) && membership.get_node(&node) == Some(&core.member)
}

/// Asks `peers`, and whom they name, until this node is a voter under its present addresses. `is_new` says that
/// it came with an empty disk.
pub(crate) async fn join(
    core: &Core,
    peers: &[String],
    is_new: bool,
    deadline: Instant,
) -> Result<(), StartError> {
    let mut last = "no peer was asked".to_owned();
    let mut hint: Option<Peer> = None;
    for round in 0_usize.. {
        if is_settled(core) {
            return Ok(());
        }
        let answer = if core.leads() {
            admit(core, core.node(), core.member.clone(), false).await
        } else {
            match hint.take().or_else(|| candidate(core, peers, round)) {
                Some(target) => ask(core, target, is_new).await,
                // A cluster of one whose address has changed leads soon, and then corrects it by itself.
                None if core.knows_itself() => JoinAnswer::NotNow("it does not lead yet".to_owned()),
                None => return Err(StartError::NotJoined(last)),
            }
        };
        match answer {
            JoinAnswer::Done => return Ok(()),
            JoinAnswer::CatchingUp => "catching up".clone_into(&mut last),
            JoinAnswer::Leader { node, addr } => hint = Some(Peer { node: Some(node), addr }),
            JoinAnswer::NotNow(reason) => last = reason,
            JoinAnswer::Refused(reason) => return Err(StartError::Refused(reason)),
        }
        if Instant::now() + JOIN_PAUSE >= deadline || core.is_stopping() {
            return Err(StartError::NotJoined(last));
        }
        time::sleep(JOIN_PAUSE).await;
    }
    Err(StartError::NotJoined(last))
}

/// The peers from the configuration and those of the last membership known, in turn.
fn candidate(core: &Core, peers: &[String], round: usize) -> Option<Peer> {
    let metrics = core.raft.metrics().borrow_watched().clone();
    let known = metrics.membership_config.nodes().filter(|(id, _)| **id != core.node().0);
    let known = known.map(|(id, member)| Peer { node: Some(NodeId(*id)), addr: member.peer_addr.clone() });
    let configured = peers.iter().map(|addr| Peer { node: None, addr: addr.clone() });
    let all: Vec<Peer> = configured.chain(known).collect();
    all.get(round.checked_rem(all.len())?).cloned()
}

async fn ask(core: &Core, target: Peer, is_new: bool) -> JoinAnswer {
    let is_fresh = is_new && core.raft.metrics().borrow_watched().last_log_index.is_none();
    let request = Request::Join { member: core.member.clone(), is_fresh };
    let addr = target.addr.clone();
    match core.ask(target, &request, JOIN_STEP, None).await {
        Asked::Answered(Response::Join(answer)) => answer,
        Asked::Answered(_) | Asked::NotSent | Asked::Unknown | Asked::TimedOut => {
            JoinAnswer::NotNow(format!("{addr} does not answer"))
        }
    }
}

/// Takes `node` in, one step further.
pub(crate) async fn admit(core: &Core, node: NodeId, member: Member, is_fresh: bool) -> JoinAnswer {
    if !core.leads() {
        return match core.leader().and_then(|leader| Some((leader, core.member_of(leader)?))) {
            Some((node, member)) => JoinAnswer::Leader { node, addr: member.peer_addr },
            None => JoinAnswer::NotNow("no leader at the moment".to_owned()),
        };
    }
    let metrics = core.raft.metrics().borrow_watched().clone();
    let membership = &metrics.membership_config;
    let known = membership.get_node(&node.0);
    let is_voter = membership.voter_ids().any(|voter| voter == node.0);
    // What a learner has confirmed it must still have, or its disk was emptied.
    let has_confirmed = matched(&metrics, node).is_some();
    if is_fresh && (is_voter || (known.is_some() && has_confirmed)) {
        return JoinAnswer::Refused(format!(
            "node {node} is a member already, and comes with an empty disk; an id is never used again: remove \
             it, and join under a new one"
        ));
    }
    let change = match known {
        None => ChangeMembers::AddNodes(BTreeMap::from([(node.0, member)])),
        Some(known) if *known != member => ChangeMembers::SetNodes(BTreeMap::from([(node.0, member)])),
        Some(_) if is_voter => return JoinAnswer::Done,
        Some(_) if has_caught_up(&metrics, node) => ChangeMembers::AddVoterIds(BTreeSet::from([node.0])),
        Some(_) => return JoinAnswer::CatchingUp,
    };
    match apply(core, change, true).await {
        Ok(()) if is_voter => JoinAnswer::Done,
        Ok(()) => JoinAnswer::CatchingUp,
        Err(ChangeError::Unavailable(error)) => JoinAnswer::NotNow(error.to_string()),
        Err(ChangeError::Refused(reason)) => JoinAnswer::NotNow(reason),
    }
}

/// Takes `node` out. It keeps its data, and its id is not to be used again.
pub(crate) async fn remove(core: &Core, node: NodeId) -> Result<(), ChangeError> {
    let membership = core.raft.metrics().borrow_watched().membership_config.clone();
    let voters: BTreeSet<u64> = membership.voter_ids().collect();
    if membership.get_node(&node.0).is_none() {
        return Ok(());
    }
    if voters.len() == 1 && voters.contains(&node.0) {
        return Err(ChangeError::Refused("the last voter cannot be removed".to_owned()));
    }
    let ids = BTreeSet::from([node.0]);
    if voters.contains(&node.0) {
        apply(core, ChangeMembers::RemoveVoters(ids), false).await
    } else {
        apply(core, ChangeMembers::RemoveNodes(ids), false).await
    }
}

/// Adds a learner, or changes the addresses of a member.
pub(crate) async fn add_learner(core: &Core, node: NodeId, member: Member) -> Result<(), ChangeError> {
    let change = match core.member_of(node) {
        Some(known) if known == member => return Ok(()),
        Some(_) => ChangeMembers::SetNodes(BTreeMap::from([(node.0, member)])),
        None => ChangeMembers::AddNodes(BTreeMap::from([(node.0, member)])),
    };
    apply(core, change, true).await
}

/// Makes a learner a voter.
pub(crate) async fn promote(core: &Core, node: NodeId) -> Result<(), ChangeError> {
    if core.member_of(node).is_none() {
        return Err(ChangeError::Refused(format!("node {node} is not a member")));
    }
    apply(core, ChangeMembers::AddVoterIds(BTreeSet::from([node.0])), true).await
}

/// Hands leadership over, to `to` or to the voter that is furthest.
pub(crate) async fn transfer(core: &Core, to: Option<NodeId>, deadline: Instant) -> Result<(), Unavailable> {
    if !core.leads() {
        return Err(core.not_leader());
    }
    let metrics = core.raft.metrics().borrow_watched().clone();
    let others = metrics.membership_config.voter_ids().filter(|voter| *voter != core.node().0);
    let furthest = others.max_by_key(|voter| matched(&metrics, NodeId(*voter)));
    let target = to.map(|node| node.0).or(furthest).ok_or(Unavailable::NoLeader)?;
    core.raft.trigger().transfer_leader(target).await.map_err(|_| Unavailable::Stopping)?;
    let handed_over = core.leader_changes(core.node());
    time::timeout_at(deadline, handed_over).await.map_err(|_| Unavailable::Timeout { outcome_unknown: true })
}

async fn apply(core: &Core, change: ChangeMembers<u64, Member>, retain: bool) -> Result<(), ChangeError> {
    let changing = core.raft.change_membership(change, retain);
    let Ok(changed) = time::timeout(CHANGE, changing).await else {
        return Err(Unavailable::Timeout { outcome_unknown: true }.into());
    };
    match changed {
        Ok(_) => Ok(()),
        Err(RaftError::Fatal(_)) => Err(Unavailable::Stopping.into()),
        Err(RaftError::APIError(error)) => Err(match error {
            ClientWriteError::ForwardToLeader(_) => core.not_leader().into(),
            ClientWriteError::LogEntryDiscarded(_) => Unavailable::Timeout { outcome_unknown: true }.into(),
            ClientWriteError::ChangeMembershipError(error) => ChangeError::Refused(error.to_string()),
            ClientWriteError::PreconditionFailed(error) => ChangeError::Refused(error.to_string()),
        }),
    }
}

fn matched(metrics: &RaftMetrics<Types>, node: NodeId) -> Option<u64> {
    let replication = metrics.replication.as_ref()?;
    replication.get(&node.0)?.map(|position| position.index)
}

fn has_caught_up(metrics: &RaftMetrics<Types>, node: NodeId) -> bool {
    let last = metrics.last_log_index.unwrap_or_default();
    matched(metrics, node).is_some_and(|matched| matched.saturating_add(CLOSE_ENOUGH) >= last)
}

/// How many entries a learner may lack when it becomes a voter: about what arrives while it is made one.
const CLOSE_ENOUGH: u64 = 100;
const JOIN_PAUSE: Duration = Duration::from_millis(50);
const JOIN_STEP: Duration = Duration::from_secs(5);
const CHANGE: Duration = Duration::from_secs(4);
