//! What must never be seen, in any run, at any time.
//!
//! Of Raft: leaders follow each other by term, and within a term by node: openraft lets a node of a higher id be elected
//! after one of a lower id, and never the other way; a leader's log holds every entry committed under earlier leaders;
//! at a committed index all logs hold the same entry, byte for byte; what a node has applied, and its revision, never
//! go back while it runs. (That votes go back on no disk, not over a crash either, is looked after by the disk itself.) Of ours:
//! equal digests at equal revisions.
//!
//! It looks from outside, every few milliseconds of a run, at what nodes show and disks hold.

use std::collections::BTreeMap;

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;

use super::disk::SimDisk;
use crate::handle::Cluster;
use crate::identity::NodeId;
use crate::log::LogEntry;

/// Everything that has been seen of a run's nodes so far.
#[derive(Default)]
pub(crate) struct Watch {
    /// The digest at each revision that any node has shown.
    digests: BTreeMap<u64, u128>,
    /// Who led in a term, in their order.
    leaders: BTreeMap<u64, Vec<NodeId>>,
    /// Entries that somebody has applied.
    committed: BTreeMap<u64, LogEntry>,
    nodes: BTreeMap<NodeId, Shown>,
}

/// What one run of a node has shown.
#[derive(Clone, Copy, Default)]
struct Shown {
    index: Option<u64>,
    revision: u64,
}

impl Watch {
    /// The node starts anew, on what its disks have.
    pub(crate) fn forget(&mut self, node: NodeId) {
        self.nodes.remove(&node);
    }

    pub(crate) fn look(&mut self, node: &Cluster, log: &SimDisk) -> Result<(), String> {
        let id = node.identity().node;
        if let Some(reason) = log.broken() {
            return Err(format!("node {id}: {reason}"));
        }
        let view = node.view();
        let before = self.nodes.get(&id).copied().unwrap_or_default();
        let now = Shown { index: view.applied().map(|applied| applied.index), revision: view.revision() };
        if now.index < before.index || now.revision < before.revision {
            return Err(format!("node {id} went back from revision {} to {}", before.revision, now.revision));
        }
        if now.index != before.index || before.index.is_none() {
            self.nodes.insert(id, now);
            let known = *self.digests.entry(now.revision).or_insert(view.digest());
            if known != view.digest() {
                return Err(format!("node {id} differs at revision {}", now.revision));
            }
            self.entries(id, before.index, now.index, log)?;
        }
        self.leader(id, node, log)
    }

    /// What the node has applied since the last look.
    fn entries(
        &mut self,
        id: NodeId,
        before: Option<u64>,
        now: Option<u64>,
        log: &SimDisk,
    ) -> Result<(), String> {
        let Some(last) = now else { return Ok(()) };
        for index in before.map_or(0, |before| before + 1)..=last {
            // Some came in a snapshot, or have been purged.
            let Some(entry) = log.entry(index) else { continue };
            let known = self.committed.entry(index).or_insert_with(|| entry.clone());
            if *known != entry {
                let (one, other) = (known.position, entry.position);
                return Err(format!("node {id} applied {other}, and at that index {one} was committed"));
            }
        }
        Ok(())
    }

    fn leader(&mut self, id: NodeId, node: &Cluster, log: &SimDisk) -> Result<(), String> {
        let (term, leads) = {
            let metrics = node.core().raft.metrics();
            let metrics = metrics.borrow_watched();
            (metrics.current_term, metrics.state == ServerState::Leader)
        };
        let of_term = self.leaders.entry(term).or_default();
        if !leads || of_term.contains(&id) {
            return Ok(());
        }
        if let Some(other) = of_term.iter().find(|other| **other > id) {
            return Err(format!("node {id} leads in term {term} after node {other}"));
        }
        of_term.push(id);
        let mut committed = self.committed.values().rev();
        let is_earlier = |entry: &&LogEntry| (entry.position.term, entry.position.node) < (term, id.0);
        let Some(entry) = committed.find(is_earlier) else { return Ok(()) };
        let index = entry.position.index;
        let is_purged = log.purged().is_some_and(|purged| purged.index >= index);
        if is_purged || log.entry(index).as_ref() == Some(entry) {
            return Ok(());
        }
        Err(format!("node {id} leads in term {term} without {}, which was committed", entry.position))
    }
}
