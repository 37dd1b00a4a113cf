//! Changes of the membership, made by the leader, one at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, Precondition, RaftMetrics};
use tokio::sync::OwnedMutexGuard;
use tokio::time::{self, Instant};

use super::safety::{After, Wish, given_up};
use super::{ChangeError, handover, health};
use crate::core::Core;
use crate::error::Unavailable;
use crate::identity::NodeId;
use crate::network::Peer;
use crate::raft::{Member, Types};

/// The right to change the membership. Who has it is the only one.
pub(crate) type Turn = OwnedMutexGuard<()>;

/// Grants a wish, or says why not. It is refused as well when the voters changed while it waited for its turn, unless
/// it is fulfilled by then. The leader does not change its own standing: it hands over to another voter and
/// says who leads then, and there the wish is granted.
pub(crate) async fn grant(core: &Core, wish: Wish) -> Result<After, ChangeError> {
    let Some(wished_at) = health::now(core) else { return Err(core.not_leader().into()) };
    let turn = turn(core, Instant::now() + TURN).await?;
    // Who waited for another change wished with other voters in mind: two careful wishes can be a careless pair.
    let has_changed = health::now(core).is_some_and(|now| now.voters() != wished_at.voters());
    let turn = finish_with(core, turn).await?;
    let (situation, metrics) = health::known(core).await?;
    let after = situation.check(wish).map_err(ChangeError::Refused)?;
    let (change, retain) = match wish {
        Wish::Promote(node) => (ChangeMembers::AddVoterIds(one(node)), true),
        Wish::Demote(node) => (ChangeMembers::RemoveVoters(one(node)), true),
        Wish::Remove(node) if situation.voters().contains(&node) => {
            (ChangeMembers::RemoveVoters(one(node)), false)
        }
        Wish::Remove(node) if situation.members.contains_key(&node) => {
            (ChangeMembers::RemoveNodes(one(node)), false)
        }
        Wish::Remove(_) => return Ok(after),
    };
    if after.voters == situation.voters() && !matches!(change, ChangeMembers::RemoveNodes(_)) {
        return Ok(after);
    }
    if has_changed {
        return Err(ChangeError::Refused(CHANGED_MEANWHILE.to_owned()));
    }
    if !after.voters.contains(&core.node()) {
        let leader = handover::hand_over(core, None, Instant::now() + CHANGE).await?;
        return Err(Unavailable::NotLeader { leader: Some(leader) }.into());
    }
    apply(core, turn, &metrics, change, retain).await?;
    Ok(after)
}

/// What granting a wish would lead to. Changes nothing.
pub(crate) async fn preview(core: &Core, wish: Wish) -> Result<After, ChangeError> {
    let (situation, _) = health::known(core).await?;
    situation.check(wish).map_err(ChangeError::Refused)
}

/// Takes a node in as a learner, or changes a member's addresses, once it has been reached there.
pub(crate) async fn introduce(core: &Core, node: NodeId, member: Member) -> Result<(), ChangeError> {
    if core.gone().contains(&node) {
        return Err(ChangeError::Refused(given_up(node)));
    }
    let peer = Peer { node: Some(node), addr: member.peer_addr.clone() };
    if let Err(error) = core.dial(peer, DIAL).await {
        let own = core.node();
        return Err(ChangeError::Refused(format!(
            "node {node} cannot be reached at {} from node {own}: {error}; is --peer-advertise right?",
            member.peer_addr
        )));
    }
    let turn = turn(core, Instant::now() + TURN).await?;
    let turn = finish_with(core, turn).await?;
    let metrics = core.raft.metrics().borrow_watched().clone();
    let change = match metrics.membership_config.get_node(&node.0) {
        Some(known) if *known == member => return Ok(()),
        Some(_) => ChangeMembers::SetNodes(BTreeMap::from([(node.0, member)])),
        None => ChangeMembers::AddNodes(BTreeMap::from([(node.0, member)])),
    };
    apply(core, turn, &metrics, change, true).await
}

/// Finishes a change that another leader began and did not finish. Nothing happens when there is none.
pub(crate) async fn finish(core: &Core) -> Result<(), ChangeError> {
    if !core.leads() {
        return Err(core.not_leader().into());
    }
    let turn = turn(core, Instant::now() + TURN).await?;
    finish_with(core, turn).await.map(drop)
}

/// Whether a change has begun and is not finished.
pub(crate) fn is_under_way(metrics: &RaftMetrics<Types>) -> bool {
    let (effective, committed) = (&metrics.membership_config, &metrics.committed_membership_config);
    effective.log_id() != committed.log_id() || effective.get_joint_config().len() > 1
}

/// Waits for the right to change the membership.
pub(crate) async fn turn(core: &Core, deadline: Instant) -> Result<Turn, ChangeError> {
    let turn = time::timeout_at(deadline, Arc::clone(&core.changing).lock_owned()).await;
    if core.is_stopping() {
        return Err(Unavailable::Stopping.into());
    }
    turn.map_err(|_| ChangeError::Refused(UNDER_WAY.to_owned()))
}

/// As [`finish`], for who has the turn.
async fn finish_with(core: &Core, mut turn: Turn) -> Result<Turn, ChangeError> {
    let deadline = Instant::now() + CHANGE;
    loop {
        let metrics = core.raft.metrics().borrow_watched().clone();
        if !is_under_way(&metrics) {
            return Ok(turn);
        }
        if !core.leads() {
            return Err(core.not_leader().into());
        }
        if metrics.membership_config.log_id() == metrics.committed_membership_config.log_id() {
            // Both sets of voters decide until this is done; it asks for nothing new.
            let rest = ChangeMembers::AddVoterIds(BTreeSet::new());
            apply(core, turn, &metrics, rest, true).await?;
            turn = self::turn(core, deadline).await?;
        } else if Instant::now() >= deadline {
            return Err(ChangeError::Refused(UNDER_WAY.to_owned()));
        } else {
            time::sleep(health::LOOK).await;
        }
    }
}

/// Makes a change to the membership that `metrics` show, and keeps the turn until it is made, or never will be.
/// It goes on when nobody waits for it any more: else it could be left between its two steps.
async fn apply(
    core: &Core,
    turn: Turn,
    metrics: &RaftMetrics<Types>,
    change: ChangeMembers<u64, Member>,
    retain: bool,
) -> Result<(), ChangeError> {
    let raft = core.raft.clone();
    let last_membership_log_id = *metrics.membership_config.log_id();
    let changing = tokio::spawn(async move {
        let unchanged = Precondition::LastMembershipLogId { last_membership_log_id };
        let changed = raft.change_membership_if(change, retain, [unchanged]).await;
        drop(turn);
        changed
    });
    let changed = match time::timeout(CHANGE, changing).await {
        Ok(Ok(changed)) => changed,
        Ok(Err(_)) => return Err(Unavailable::Stopping.into()),
        Err(_) => return Err(Unavailable::Timeout { outcome_unknown: true }.into()),
    };
    match changed {
        Ok(_) => Ok(()),
        Err(RaftError::Fatal(_)) => Err(Unavailable::Stopping.into()),
        Err(RaftError::APIError(error)) => Err(match error {
            ClientWriteError::ForwardToLeader(_) => core.not_leader().into(),
            ClientWriteError::LogEntryDiscarded(_) => Unavailable::Timeout { outcome_unknown: true }.into(),
            ClientWriteError::ChangeMembershipError(error) => in_words(&error),
            ClientWriteError::PreconditionFailed(_) => ChangeError::Refused(CHANGED_MEANWHILE.to_owned()),
        }),
    }
}

fn in_words(error: &openraft::type_config::alias::ChangeMembershipErrorOf<Types>) -> ChangeError {
    ChangeError::Refused(match error {
        ChangeMembershipError::InProgress(_) | ChangeMembershipError::UncommittedLeaderLog(_) => {
            UNDER_WAY.to_owned()
        }
        ChangeMembershipError::EmptyMembership(_) => "the last voter cannot go".to_owned(),
        ChangeMembershipError::LearnerNotFound(missing) => {
            format!("node {} is not a member any more", missing.node_id)
        }
        ChangeMembershipError::UnsupportedMembershipTransition(_)
        | ChangeMembershipError::NodeMetadataChanged(_) => CHANGED_MEANWHILE.to_owned(),
    })
}

fn one(node: NodeId) -> BTreeSet<u64> {
    BTreeSet::from([node.0])
}

const UNDER_WAY: &str = "another change of the members is under way: try again when it is done. Should it stay so, \
                         see which voters do not answer, because a majority of them must confirm it";
const CHANGED_MEANWHILE: &str =
    "the members have changed meanwhile: look at them again before repeating this";
/// How long a change waits for the one before it.
const TURN: Duration = Duration::from_secs(4);
const CHANGE: Duration = Duration::from_secs(4);
/// Reaching a node that asks to be taken in.
const DIAL: Duration = Duration::from_secs(2);
