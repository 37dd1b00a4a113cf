//! Joining: what a node asks, and what a leader answers.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::{self, Instant};

use super::safety::{Wish, given_up};
use super::{ChangeError, change, health};
use crate::core::{Asked, Core};
use crate::error::StartError;
use crate::identity::NodeId;
use crate::network::Peer;
use crate::raft::Member;
use crate::wire::{JoinAnswer, Request, Response};

/// How a node comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coming {
    /// With an empty disk.
    pub(crate) is_new: bool,
    /// It is content to be a learner: it was a member before, or others decide who votes.
    pub(crate) may_learn: bool,
}

/// Whether this node is what it wants to be and the others know its addresses, as far as it knows.
pub(crate) fn is_settled(core: &Core, may_learn: bool) -> bool {
    let metrics = core.raft.metrics().borrow_watched().clone();
    let node = core.node().0;
    let membership = &metrics.membership_config;
    let may_stay = may_learn || membership.voter_ids().any(|voter| voter == node);
    may_stay && membership.get_node(&node) == Some(&core.member)
}

/// Asks `peers`, and whom they name, until this node is a member under its present addresses, and a voter unless it
/// may learn.
pub(crate) async fn join(
    core: &Core,
    peers: &[String],
    coming: Coming,
    deadline: Instant,
) -> Result<(), StartError> {
    // Different nodes give different reasons, and the useful one is not always the last.
    let mut reasons = BTreeSet::new();
    let mut hint: Option<Peer> = None;
    for round in 0_usize.. {
        if is_settled(core, coming.may_learn) {
            return Ok(());
        }
        let answer = if core.leads() {
            admit(core, core.node(), core.member.clone(), false).await
        } else {
            match hint.take().or_else(|| candidate(core, peers, round)) {
                Some(target) => ask(core, target, coming.is_new).await,
                // A cluster of one whose address has changed leads soon, and then corrects it by itself.
                None if core.knows_itself(coming.may_learn) => {
                    JoinAnswer::NotNow("it does not lead yet".to_owned())
                }
                None => break,
            }
        };
        let mut pause = SHORTEST_PAUSE;
        match answer {
            JoinAnswer::Done => return Ok(()),
            JoinAnswer::CatchingUp => reasons = BTreeSet::from(["catching up".to_owned()]),
            JoinAnswer::Leader { node, addr } => hint = Some(Peer { node: Some(node), addr }),
            JoinAnswer::NotNow(reason) => {
                pause = LONGEST_PAUSE;
                if reasons.len() < MOST_REASONS && reasons.insert(reason.clone()) {
                    tracing::warn!(reason, "not settled yet; asking again");
                }
            }
            JoinAnswer::Refused(reason) => return Err(StartError::Refused(reason)),
        }
        if Instant::now() + pause >= deadline || core.is_stopping() {
            break;
        }
        time::sleep(pause).await;
    }
    let reasons: Vec<String> = reasons.into_iter().collect();
    let asked = if reasons.is_empty() { "no peer was asked".to_owned() } else { reasons.join("; ") };
    Err(StartError::NotJoined(asked))
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
    match core.ask(target, &request, STEP, None).await {
        Asked::Answered(Response::Join(answer)) => answer,
        Asked::Answered(_) | Asked::NotSent | Asked::Unknown | Asked::TimedOut => {
            JoinAnswer::NotNow(format!("{addr} does not answer"))
        }
    }
}

/// Takes `node` in, one step further.
pub(crate) async fn admit(core: &Core, node: NodeId, member: Member, is_fresh: bool) -> JoinAnswer {
    if core.gone().contains(&node) {
        return JoinAnswer::Refused(given_up(node));
    }
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
    let situation = health::situation(core, &metrics);
    // What a learner has confirmed it must still have, or its disk was emptied.
    let standing = situation.as_ref().and_then(|situation| situation.members.get(&node));
    let has_confirmed = standing.is_some_and(|standing| standing.lag.is_some());
    if is_fresh && (is_voter || (known.is_some() && has_confirmed)) {
        return JoinAnswer::Refused(format!(
            "node {node} is a member already, and comes with an empty disk; an id is never used again: remove \
             it, and join under a new one"
        ));
    }
    let is_enough = is_voter || !core.promotes;
    let changed = if known != Some(&member) {
        change::introduce(core, node, member).await
    } else if metrics.membership_config.log_id() != metrics.committed_membership_config.log_id() {
        // What is not decided yet may still come to nothing.
        return JoinAnswer::CatchingUp;
    } else if is_enough {
        return JoinAnswer::Done;
    } else if situation.is_some_and(|situation| situation.has_caught_up(node)) {
        change::grant(core, Wish::Promote(node)).await.map(drop)
    } else {
        return JoinAnswer::CatchingUp;
    };
    match changed {
        Ok(()) if is_enough => JoinAnswer::Done,
        Ok(()) => JoinAnswer::CatchingUp,
        Err(ChangeError::Unavailable(error)) => JoinAnswer::NotNow(error.to_string()),
        Err(ChangeError::Refused(reason)) => JoinAnswer::NotNow(reason),
    }
}

/// While the last answer was of use.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
/// While it was not.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
const STEP: Duration = Duration::from_secs(10);
/// Told apart for the one who reads them.
const MOST_REASONS: usize = 8;
