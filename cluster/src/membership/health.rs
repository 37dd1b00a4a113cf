//! What the leader knows of the members: who answers, and who keeps up.
//!
//! # Why
//!
//! Every member answers the leader's heartbeats, so silence is measured by them: several elections could have
//! been held in the time after which a member counts as down. A leader that is new has heard from nobody yet,
//! which says nothing; it waits as long before it takes silence for an answer.

use std::collections::BTreeMap;
use std::time::Duration;

use openraft::Instant as _;
use openraft::RaftMetrics;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::{self, Instant};

use super::safety::{Situation, Standing};
use crate::config::Timing;
use crate::core::Core;
use crate::error::Unavailable;
use crate::identity::NodeId;
use crate::raft::Types;

/// The members as `metrics` show them; nothing when this node does not lead.
pub(crate) fn situation(core: &Core, metrics: &RaftMetrics<Types>) -> Option<Situation> {
    if metrics.current_leader != Some(core.node().0) {
        return None;
    }
    let (replication, heartbeat) = (metrics.replication.as_ref()?, metrics.heartbeat.as_ref()?);
    let membership = &metrics.membership_config;
    let voters: Vec<u64> = membership.voter_ids().collect();
    let members = membership.nodes().map(|(id, _)| {
        let matched = replication.get(id).copied().flatten().map(|position| position.index);
        let behind = |matched: u64| metrics.last_log_index.unwrap_or_default().saturating_sub(matched);
        let standing = if *id == core.node().0 {
            Standing { is_voter: voters.contains(id), silence: Some(Duration::ZERO), lag: Some(0) }
        } else {
            Standing {
                is_voter: voters.contains(id),
                silence: heartbeat.get(id).and_then(|at| at.as_ref().map(|at| at.elapsed())),
                lag: matched.map(behind),
            }
        };
        (NodeId(*id), standing)
    });
    Some(Situation {
        leader: core.node(),
        members: members.collect::<BTreeMap<_, _>>(),
        gone: core.gone(),
        patience: patience(core.timing),
    })
}

/// The members as this node sees them now; nothing when it does not lead.
pub(crate) fn now(core: &Core) -> Option<Situation> {
    let metrics = core.raft.metrics().borrow_watched().clone();
    situation(core, &metrics)
}

/// As [`situation`], once every member has answered this leader, or had the time to.
pub(crate) async fn known(core: &Core) -> Result<(Situation, RaftMetrics<Types>), Unavailable> {
    let enough = Instant::now() + patience(core.timing);
    loop {
        let metrics = core.raft.metrics().borrow_watched().clone();
        let situation = situation(core, &metrics).ok_or_else(|| core.not_leader())?;
        let has_heard = situation.members.values().all(|standing| standing.silence.is_some());
        if has_heard || Instant::now() >= enough {
            return Ok((situation, metrics));
        }
        time::sleep(LOOK).await;
    }
}

/// How long a member may be silent before it counts as down: two elections, and a second at least.
pub(crate) fn patience(timing: Timing) -> Duration {
    Duration::from_millis(timing.election_max_ms.saturating_mul(2)).max(Duration::from_secs(1))
}

/// Between two looks at what Raft says.
pub(crate) const LOOK: Duration = Duration::from_millis(10);
