//! Handing leadership over, before a leader stops or is taken out.

use std::time::Duration;

use tokio::time::{self, Instant};

use super::safety::Situation;
use super::{ChangeError, change, health};
use crate::core::Core;
use crate::error::Unavailable;
use crate::identity::NodeId;

/// Hands leadership over, to `to` or to the voter that is furthest of those that work, and says who leads then.
/// No change of the membership is under way meanwhile: it would be left half done.
pub(crate) async fn transfer(
    core: &Core,
    to: Option<NodeId>,
    deadline: Instant,
) -> Result<NodeId, ChangeError> {
    if !core.leads() {
        return Err(core.not_leader().into());
    }
    let _turn = change::turn(core, deadline).await?;
    hand_over(core, to, deadline).await
}

/// For a leader that stops. A change that is under way is given some of the time, and is left to the next leader
/// when it does not end: a stop must.
pub(crate) async fn before_stop(core: &Core, deadline: Instant) -> Result<NodeId, ChangeError> {
    let soon = deadline.min(Instant::now() + LAST_CHANGE);
    let _turn = change::turn(core, soon).await.ok();
    hand_over(core, None, deadline).await
}

/// As [`transfer`], for who sees to it that no change is under way.
pub(crate) async fn hand_over(
    core: &Core,
    to: Option<NodeId>,
    deadline: Instant,
) -> Result<NodeId, ChangeError> {
    let Ok(known) = time::timeout_at(deadline, health::known(core)).await else {
        return Err(Unavailable::Timeout { outcome_unknown: false }.into());
    };
    let targets = targets(&known?.0, to).map_err(ChangeError::Refused)?;
    for target in targets {
        if !core.leads() {
            break;
        }
        let triggered = core.raft.trigger().transfer_leader(target.0).await;
        triggered.map_err(|_| Unavailable::Stopping)?;
        // Whoever takes over will do: the others may be faster than who was asked.
        let patience = deadline.min(Instant::now() + health::patience(core.timing));
        if time::timeout_at(patience, core.leader_changes(core.node())).await.is_ok() {
            break;
        }
        tracing::warn!(%target, "did not take over");
    }
    match core.leader() {
        Some(leader) if leader != core.node() => Ok(leader),
        Some(_) | None => Err(Unavailable::Timeout { outcome_unknown: true }.into()),
    }
}

/// Whom to ask to take over, in turn.
fn targets(situation: &Situation, to: Option<NodeId>) -> Result<Vec<NodeId>, String> {
    let others = situation.voters().into_iter().filter(|voter| *voter != situation.leader);
    let mut healthy: Vec<NodeId> = others.filter(|voter| situation.is_healthy(*voter)).collect();
    let Some(to) = to else {
        healthy.sort_by_key(|voter| situation.members.get(voter).and_then(|standing| standing.lag));
        healthy.truncate(MOST_TARGETS);
        let nobody = || "no other voter works that could lead: bring one back, or let one join".to_owned();
        return if healthy.is_empty() { Err(nobody()) } else { Ok(healthy) };
    };
    if to == situation.leader || healthy.contains(&to) {
        return Ok(vec![to]);
    }
    let reason = match situation.members.get(&to) {
        None => "is not a member",
        Some(standing) if !standing.is_voter => "is a learner, and only a voter can lead: promote it first",
        Some(_) => "does not answer or does not keep up",
    };
    Err(format!("node {to} {reason}"))
}

/// The best, and one more in case it does not take over.
const MOST_TARGETS: usize = 2;
/// For a change that is under way when its leader stops.
const LAST_CHANGE: Duration = Duration::from_secs(1);
