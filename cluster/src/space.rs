//! A leader whose disk is nearly full takes no more commands.
//!
//! # Why
//! A log that cannot be written is final: the node stops. Disks of one cluster are alike and fill alike, so without
//! this all nodes would stop, one after the other, and with them all reads. So the leader keeps back what
//! elections, membership and the next snapshot need: commands are refused, nothing of them is done, and everything
//! else goes on until there is room. Another node may have room, so it hands over, to one after the other around the
//! circle: each of them does likewise, and the first that has room keeps the lead.

use std::path::PathBuf;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::{self, Instant};

use crate::core::Core;
use crate::identity::NodeId;
use crate::membership::handover;
use crate::usage;

/// Whether the disk is nearly full, as it was seen last.
#[derive(Debug, Default)]
pub(crate) struct Space(AtomicBool);

impl Space {
    pub(crate) fn is_short(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn see(&self, free_bytes: u64, snapshot_bytes: u64) {
        let is_short = free_bytes < KEPT_BACK_BYTES.saturating_add(snapshot_bytes);
        if self.0.swap(is_short, Ordering::AcqRel) == is_short {
            return;
        }
        if is_short {
            tracing::error!(
                free_bytes,
                "the disk is nearly full: this node takes no commands while it leads"
            );
        } else {
            tracing::info!(free_bytes, "there is room on the disk again");
        }
    }
}

/// Looks again and again, until the node is gone.
pub(crate) async fn watch(core: Weak<Core>, folder: PathBuf) {
    let mut tick = time::interval(BETWEEN_LOOKS);
    let mut next_try = Instant::now();
    tick.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let folder = folder.clone();
        // A disk that hangs may keep even this waiting.
        let looking = tokio::task::spawn_blocking(move || usage::free_bytes(&folder)).await;
        let Some(core) = core.upgrade().filter(|core| !core.is_stopping()) else { return };
        if let Ok(Some(free_bytes)) = looking {
            core.space.see(free_bytes, core.store.snapshot().map_or(0, |snapshot| snapshot.bytes));
        }
        if core.space.is_short() && core.leads() && Instant::now() >= next_try {
            step_aside(&core).await;
            next_try = Instant::now() + BETWEEN_TRIES;
        }
    }
}

async fn step_aside(core: &Core) {
    let voters: Vec<NodeId> = {
        let metrics = core.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.voter_ids().map(NodeId).collect()
    };
    let (before, after): (Vec<NodeId>, Vec<NodeId>) =
        voters.into_iter().filter(|voter| *voter != core.node()).partition(|voter| *voter < core.node());
    for voter in after.into_iter().chain(before) {
        match handover::transfer(core, Some(voter), Instant::now() + HAND_OVER).await {
            Ok(leader) => return tracing::warn!(%leader, "handed over: the disk is nearly full"),
            Err(error) => tracing::info!(%voter, %error, "did not take over"),
        }
    }
}

/// Beside the room for a snapshot. What is written between two looks fits into it many times.
const KEPT_BACK_BYTES: u64 = 64 << 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// Where all disks are full the lead goes round, and must not go fast.
const BETWEEN_TRIES: Duration = Duration::from_secs(10);
const HAND_OVER: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_for_a_snapshot_is_kept_back_too() {
        let space = Space::default();
        for (free_bytes, snapshot_bytes, is_short) in [
            (KEPT_BACK_BYTES, 0, false),
            (KEPT_BACK_BYTES - 1, 0, true),
            (KEPT_BACK_BYTES + 10, 10, false),
            (KEPT_BACK_BYTES + 9, 10, true),
            (0, u64::MAX, true),
            (u64::MAX, 0, false),
        ] {
            space.see(free_bytes, snapshot_bytes);
            assert_eq!(space.is_short(), is_short, "{free_bytes} free, a snapshot of {snapshot_bytes}");
        }
    }
}
