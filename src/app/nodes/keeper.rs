//! What happens to members by itself: on every node, fencing and new certificates; on the leader, giving votes to
//! those who have caught up, and taking out those who were given up.
//!
//! # Why a loop that looks, and not a chain of steps
//! Each round compares what the rows say with what Raft's membership is, and does the first thing that is missing.
//! So a leader that dies between two steps leaves nothing behind that the next one does not finish.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use conclave_cluster::{MemberStatus, NodeId, Refused, Status};
use tokio::time::Instant;

use super::{App, Failure};
use crate::domain::level;
use crate::domain::node::{self, Node, NodeNumber, NodeOrder, Part};

/// What the keeper remembers between two rounds; nothing of it matters to another leader.
#[derive(Default)]
struct Memory {
    /// Since when each member has been fit to vote.
    fit: BTreeMap<NodeId, Instant>,
    /// Since when each member has been silent.
    silent: BTreeMap<NodeId, Instant>,
    /// When it last tried to get a new certificate.
    renewal: Option<Instant>,
}

impl App {
    /// Looks after the nodes until it is dropped.
    pub async fn keep_nodes(self: Arc<Self>) {
        let mut memory = Memory::default();
        let mut progress = self.cluster.progress();
        loop {
            self.fence();
            if let Err(failure) = self.keep_node(&mut memory).await {
                tracing::debug!(%failure, "the keeper of the nodes waits");
            }
            // A node is let in or given up by a command; how it is shows only in time.
            let changed = tokio::time::timeout(ROUND, progress.changed()).await;
            if changed.is_ok_and(|changed| changed.is_err()) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Refuses who was removed and what was revoked. One that is still a member must be able to confirm that it is
    /// not any more.
    fn fence(&self) {
        let view = self.cluster.view();
        let Ok(rows) = node::list(&view) else { return };
        let members: BTreeSet<u64> =
            self.cluster.status().members.iter().map(|member| member.node.0).collect();
        let removed = rows.iter().filter(|(_, node)| node.is_removed()).map(|(number, _)| number.0);
        let gone: BTreeSet<NodeId> = removed.clone().map(NodeId).collect();
        let nodes = removed.filter(|number| !members.contains(number)).map(NodeId).collect();
        let certificates = rows
            .iter()
            .flat_map(|(_, node)| &node.certificates)
            .filter(|issued| issued.revoked_at.is_some())
            .map(|issued| issued.serial.clone())
            .collect();
        self.cluster.give_up(gone);
        self.cluster.refuse(Refused { nodes, certificates });
    }

    /// What the node does for itself, and what it does for all when it leads: neither waits for the other to succeed.
    async fn keep_node(&self, memory: &mut Memory) -> Result<(), Failure> {
        // All that follows is written into rows that nodes of the first release do not know.
        if !self.is_open() || self.level()? < level::OPERATIONS {
            return Ok(());
        }
        let own = self.keep_own(memory).await;
        if !self.cluster.is_leader() {
            *memory = Memory { renewal: memory.renewal, ..Memory::default() };
            return own;
        }
        self.lead(memory).await.and(own)
    }

    async fn keep_own(&self, memory: &mut Memory) -> Result<(), Failure> {
        self.keep_certificate(memory).await?;
        self.install_authority(&Self::own_request(PATIENCE)).await?;
        self.record_certificate().await
    }

    /// Looks at the certificate each time, because it may be good for a minute only; tries to replace it now and then.
    async fn keep_certificate(&self, memory: &mut Memory) -> Result<(), Failure> {
        let now = Instant::now();
        let has_just_tried = memory.renewal.is_some_and(|last| now.duration_since(last) < RENEWAL_PAUSE);
        if has_just_tried || !self.wants_certificate() {
            return Ok(());
        }
        memory.renewal = Some(now);
        self.rotate_certificate(now + PATIENCE).await.map(drop)
    }

    /// One round of the leader: at most one change of the membership.
    async fn lead(&self, memory: &mut Memory) -> Result<(), Failure> {
        let status = self.cluster.status();
        memory.look(&status, |node| self.cluster.caught_up(node).unwrap_or(false));
        let rows: BTreeMap<u64, Node> = node::list(&self.cluster.view())?
            .into_iter()
            .map(|(NodeNumber(number), node)| (number, node))
            .collect();
        let mut hindrance = Ok(());
        for member in &status.members {
            match self.see_to(member, &status, &rows, memory).await {
                Ok(false) => {}
                Ok(true) => return Ok(()),
                // It may be the next member that makes this one possible, as a vote that is given does.
                Err(failure) => hindrance = Err(failure),
            }
        }
        self.remove_the_dead(&status, memory).await.and(hindrance)
    }

    /// Does the first thing that is missing about a member; says whether there was one.
    async fn see_to(
        &self,
        member: &MemberStatus,
        status: &Status,
        rows: &BTreeMap<u64, Node>,
        memory: &Memory,
    ) -> Result<bool, Failure> {
        let request = Self::own_request(PATIENCE);
        let Some(row) = rows.get(&member.node.0) else {
            // Whoever came without being let in here, as all did in older releases, was to vote.
            let order = NodeOrder::Register { node: NodeNumber(member.node.0), part: Part::Voter };
            self.order_nodes(order, &request).await?;
            return Ok(true);
        };
        if row.is_removed() {
            tracing::info!(node = member.node.0, "taking out a node that was removed");
            return self.remove_by_itself(member.node.0, &request).await.map(|()| true);
        }
        if self.set_vote(member, row, memory).await? {
            return Ok(true);
        }
        let replaced = row.replaces.filter(|_| member.is_voter);
        let is_there = |old: &NodeNumber| {
            rows.get(&old.0).is_none_or(|row| !row.is_removed())
                && status.members.iter().any(|other| other.node.0 == old.0)
        };
        let Some(old) = replaced.filter(is_there) else { return Ok(false) };
        tracing::info!(node = member.node.0, old = old.0, "has its place: taking out the node it replaces");
        self.remove_by_itself(old.0, &request).await.map(|()| true)
    }

    /// Gives or takes a vote where the rows and the membership differ; says whether it did.
    async fn set_vote(&self, member: &MemberStatus, row: &Node, memory: &Memory) -> Result<bool, Failure> {
        match (row.part, member.is_voter) {
            (Part::Voter, false) => {
                let fit = memory.fit.get(&member.node);
                if fit.is_none_or(|since| since.elapsed() < self.settings.nodes.promote_after) {
                    return Ok(false);
                }
                let _only_one = self.changing.lock().await;
                let after = self.cluster.promote(member.node).await?;
                let (voters, tolerance) = (after.voters.len(), after.tolerance);
                tracing::info!(
                    node = member.node.0,
                    voters,
                    tolerance,
                    "the node has caught up and votes now"
                );
                Ok(true)
            }
            (Part::Learner, true) => {
                let _only_one = self.changing.lock().await;
                self.cluster.demote(member.node).await?;
                tracing::info!(node = member.node.0, "the node votes no longer");
                Ok(true)
            }
            (Part::Voter, true) | (Part::Learner, false) => Ok(false),
        }
    }

    /// Where it is allowed, takes out who has been silent for long.
    async fn remove_the_dead(&self, status: &Status, memory: &Memory) -> Result<(), Failure> {
        let Some(patience) = self.settings.nodes.remove_dead_after else { return Ok(()) };
        let voters = status.members.iter().filter(|member| member.is_voter).count();
        for member in &status.members {
            let is_dead = memory.silent.get(&member.node).is_some_and(|since| since.elapsed() >= patience);
            if !is_dead || (member.is_voter && voters <= self.settings.nodes.min_voters) {
                continue;
            }
            tracing::warn!(
                node = member.node.0,
                ?patience,
                "the node was silent for too long: taking it out"
            );
            return self.remove_by_itself(member.node.0, &Self::own_request(PATIENCE)).await;
        }
        Ok(())
    }
}

impl Memory {
    /// Takes in how the members are now. A new leader begins with nothing, and so gives everybody time to answer it.
    fn look(&mut self, status: &Status, is_fit: impl Fn(NodeId) -> bool) {
        let now = Instant::now();
        let members: BTreeSet<NodeId> = status.members.iter().map(|member| member.node).collect();
        self.fit.retain(|node, _| members.contains(node));
        self.silent.retain(|node, _| members.contains(node));
        for member in &status.members {
            if is_fit(member.node) {
                self.fit.entry(member.node).or_insert(now);
            } else {
                self.fit.remove(&member.node);
            }
            if member.is_healthy == Some(false) {
                self.silent.entry(member.node).or_insert(now);
            } else {
                self.silent.remove(&member.node);
            }
        }
    }
}

/// Between two looks when nothing happens.
const ROUND: Duration = Duration::from_millis(500);
/// Between two looks however much happens.
const PAUSE: Duration = Duration::from_millis(100);
/// For one thing that the keeper does.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two tries to get a new certificate: often enough for one that is good for a minute.
const RENEWAL_PAUSE: Duration = Duration::from_secs(5);
