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
        let now = Shown { index: view.applied().map(|applied| applied.index), revision: view.revision() };
        let before = self.shows(id, now)?;
        if now.index != before.index || before.index.is_none() {
            let known = *self.digests.entry(now.revision).or_insert(view.digest());
            if known != view.digest() {
                return Err(format!("node {id} differs at revision {}", now.revision));
            }
            self.entries(id, before.index, now.index, log)?;
        }
        self.leader(id, node, log)
    }

    /// Returns what the node showed at the last look.
    fn shows(&mut self, id: NodeId, now: Shown) -> Result<Shown, String> {
        let before = self.nodes.insert(id, now).unwrap_or_default();
        if now.index < before.index || now.revision < before.revision {
            return Err(format!("node {id} went back from revision {} to {}", before.revision, now.revision));
        }
        Ok(before)
    }

    /// Whether the node is new as the leader of this term.
    fn leads(&mut self, id: NodeId, term: u64) -> Result<bool, String> {
        let of_term = self.leaders.entry(term).or_default();
        if of_term.contains(&id) {
            return Ok(false);
        }
        if let Some(other) = of_term.iter().find(|other| **other > id) {
            return Err(format!("node {id} leads in term {term} after node {other}"));
        }
        of_term.push(id);
        Ok(true)
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
        if !leads || !self.leads(id, term)? {
            return Ok(());
        }
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

/// What no bug that was put into a node has shown yet.
#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    #[test]
    fn a_node_that_goes_back_while_it_runs_is_seen() {
        let at = |index, revision| Shown { index: Some(index), revision };
        let mut watch = Watch::default();
        watch.shows(A, at(7, 3)).unwrap();
        watch.shows(A, at(8, 3)).unwrap();
        assert!(watch.shows(A, at(7, 3)).is_err(), "an earlier entry");
        watch.shows(B, at(8, 3)).unwrap();
        assert!(watch.shows(B, at(9, 2)).is_err(), "an earlier revision");
        watch.forget(A);
        watch.shows(A, at(1, 1)).unwrap();
    }

    #[test]
    fn a_second_leader_of_a_term_with_a_lower_id_is_seen() {
        let mut watch = Watch::default();
        assert!(watch.leads(B, 1).unwrap());
        assert!(!watch.leads(B, 1).unwrap());
        assert!(watch.leads(A, 1).is_err());
        assert!(watch.leads(A, 2).unwrap());
        assert!(watch.leads(B, 2).unwrap(), "openraft lets a higher id follow");
    }
}
