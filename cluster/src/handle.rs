//! The handle to a running node: what the layers above may ask of the cluster.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::call::{self, CallHandler};
use crate::core::Core;
use crate::error::{Fatal, Unavailable};
use crate::folder::FolderError;
use crate::identity::{Identity, NodeId};
use crate::machine::{Applied, Proposal};
use crate::membership::{After, ChangeError, Wish, change, handover, health};
use crate::node::Node;
use crate::raft::Member;
use crate::seal::{DataKeyError, DataKeyStatus};
use crate::state::View;
use crate::status::{self, Status};
use crate::usage::{DiskUsage, LogSyncs};

/// A running node of a cluster. Clones are the same node.
///
/// All deadlines are instants of tokio's clock; nothing waits longer than its deadline.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) node: Arc<Node>,
    pub(crate) peer_address: SocketAddr,
}

impl Cluster {
    /// On the leader: has commands decided, in this order, and says what became of each. They are durable on a
    /// majority by then, and this node shows them.
    ///
    /// # Errors
    /// [`Unavailable::NotLeader`] on any other node. See [`Unavailable::is_outcome_unknown`] for the others.
    pub async fn propose(
        &self,
        proposals: Vec<Proposal>,
        deadline: Instant,
    ) -> Result<Vec<Applied>, Unavailable> {
        self.core().propose(proposals, deadline).await
    }

    /// The rows as they stand on this node now, which may be behind what others have acknowledged.
    #[must_use]
    pub fn view(&self) -> View {
        self.core().store.view()
    }

    /// A view that shows at least everything that was acknowledged anywhere before this call: a linearizable
    /// read, on any node.
    ///
    /// # Errors
    /// When no leader with a majority could be asked in time.
    pub async fn read_barrier(&self, deadline: Instant) -> Result<View, Unavailable> {
        self.node.barrier.pass(deadline).await
    }

    /// A view that lacks nothing acknowledged longer than `max_age` ago. Passes a barrier when the last one was
    /// longer ago, and fails when that fails: never an older view.
    ///
    /// # Errors
    /// As [`Cluster::read_barrier`].
    pub async fn bounded_view(&self, max_age: Duration, deadline: Instant) -> Result<View, Unavailable> {
        if self.node.barrier.is_younger_than(max_age) {
            return Ok(self.view());
        }
        self.read_barrier(deadline).await
    }

    /// A view that shows at least `revision`.
    ///
    /// # Errors
    /// When this node does not get there in time.
    pub async fn wait_revision(&self, revision: u64, deadline: Instant) -> Result<View, Unavailable> {
        let mut progress = self.core().store.progress();
        let reached = progress.wait_for(|now| now.revision >= revision);
        match tokio::time::timeout_at(deadline, reached).await {
            Ok(Ok(_)) => Ok(self.view()),
            Ok(Err(_)) => Err(Unavailable::Stopping),
            Err(_) => Err(Unavailable::Timeout { outcome_unknown: false }),
        }
    }

    /// Tells the revision of this node's view whenever it rises.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<crate::state::Progress> {
        self.core().store.progress()
    }

    /// Installs what answers the calls of other nodes and of this one, in place of what did. It is let go when
    /// the node stops.
    pub fn set_call_handler(&self, handler: Arc<dyn CallHandler>) {
        self.node.set_handler(Some(handler));
    }

    /// Has the leader answer `request`: on this node when it leads. Tries again until the deadline when nobody
    /// leads or the leader changes, so the handler may see the same call twice.
    ///
    /// # Errors
    /// What the leader's handler says, or that it could not be reached in time.
    pub async fn call_leader(&self, request: Bytes, deadline: Instant) -> Result<Bytes, Unavailable> {
        call::leader(self.core(), self.node.handler(), request, deadline).await
    }

    /// Has one node answer `request`, whether it leads or not. Not tried again.
    ///
    /// # Errors
    /// What its handler says, or that it could not be reached in time.
    pub async fn call_node(
        &self,
        node: NodeId,
        request: Bytes,
        deadline: Instant,
    ) -> Result<Bytes, Unavailable> {
        if node != self.core().node() {
            return call::remote(self.core(), node, false, request, deadline).await;
        }
        let answering = call::answer(self.core(), self.node.handler(), node, false, request);
        let late = Unavailable::Timeout { outcome_unknown: true };
        tokio::time::timeout_at(deadline, answering).await.unwrap_or(Err(late))
    }

    /// Which node this is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.core().identity
    }

    /// Where it listens for its peers.
    #[must_use]
    pub fn peer_address(&self) -> SocketAddr {
        self.peer_address
    }

    /// Whether this node leads, as far as it knows.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.core().leads()
    }

    /// Who leads, as far as this node knows.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        self.core().leader()
    }

    /// What this node says of itself and its cluster.
    #[must_use]
    pub fn status(&self) -> Status {
        status::of(self.core(), self.node.is_recovered())
    }

    /// Bytes of its files, asked of the file system now. Nothing once it has stopped.
    #[must_use]
    pub fn disk_usage(&self) -> Option<DiskUsage> {
        self.node.disk_usage()
    }

    /// Syncs of its log since the start.
    #[must_use]
    pub fn log_syncs(&self) -> LogSyncs {
        self.node.log_syncs()
    }

    /// Whether it can serve: it has caught up since its start, knows a leader, is not refused, and is not stopping.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.node.is_recovered()
            && self.leader().is_some()
            && !self.core().is_stopping()
            && self.core().fatal.borrow().is_none()
            && self.core().fence.own().borrow().is_none()
    }

    /// Set once when this process can do nothing more for the cluster. It must then exit with a status that is
    /// not zero; a restart recovers.
    #[must_use]
    pub fn fatal(&self) -> watch::Receiver<Option<Fatal>> {
        self.core().fatal.subscribe()
    }

    /// On the leader: adds a node that gets the log and does not vote, or changes a member's addresses, once it has
    /// answered there as that node.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn add_learner(&self, node: NodeId, member: Member) -> Result<(), ChangeError> {
        change::introduce(self.core(), node, member).await
    }

    /// On the leader: makes a learner a voter, when it works and has caught up. Nothing happens when it votes.
    ///
    /// # Errors
    /// See [`ChangeError`]; refused also when it is not a member.
    pub async fn promote(&self, node: NodeId) -> Result<After, ChangeError> {
        change::grant(self.core(), Wish::Promote(node)).await
    }

    /// On the leader: makes a voter a learner that lasts: it gets the log, answers reads, and counts for no
    /// majority. Nothing happens when it is one. Refused when those who are left could not go on.
    ///
    /// # Errors
    /// See [`ChangeError`]; refused also when it is not a member. A leader that is to be demoted hands over first:
    /// [`Unavailable::NotLeader`] then names the new leader, to whom the wish must be repeated.
    pub async fn demote(&self, node: NodeId) -> Result<After, ChangeError> {
        change::grant(self.core(), Wish::Demote(node)).await
    }

    /// On the leader: takes a node out. Its id must not be used again ([`Cluster::give_up`]). Nothing happens when
    /// it is not a member. Refused when those who are left could not go on.
    ///
    /// # Errors
    /// As [`Cluster::demote`], which goes for a leader that is to be removed too.
    pub async fn remove(&self, node: NodeId) -> Result<After, ChangeError> {
        change::grant(self.core(), Wish::Remove(node)).await
    }

    /// On the leader: what granting a wish now would lead to. Changes nothing.
    ///
    /// # Errors
    /// Those of granting it, as far as they can be foreseen.
    pub async fn preview(&self, wish: Wish) -> Result<After, ChangeError> {
        change::preview(self.core(), wish).await
    }

    /// On the leader: finishes a change of the membership that a leader before it began ([`Status::is_changing`]).
    /// Any other change does so first by itself.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn finish_change(&self) -> Result<(), ChangeError> {
        change::finish(self.core()).await
    }

    /// Ids that were given up, in place of those before: none of them counts as a voter that works, is promoted, or
    /// is let in again. To be told on every node, since any may lead.
    pub fn give_up(&self, nodes: BTreeSet<NodeId>) {
        *self.core().gone.write().unwrap_or_else(PoisonError::into_inner) = nodes;
    }

    /// On the leader: whether a member works and has caught up so far that it could be made a voter (it lacks at
    /// most 100 entries). Nothing on other nodes, and for who is not a member.
    #[must_use]
    pub fn caught_up(&self, node: NodeId) -> Option<bool> {
        let situation = health::now(self.core())?;
        situation.members.contains_key(&node).then(|| situation.has_caught_up(node))
    }

    /// On the leader: hands over to `to`, or to the voter that is furthest of those that work; says who leads then.
    ///
    /// # Errors
    /// Refused when the one asked for, or everyone, does not work, or is no voter. [`Unavailable::Timeout`] when
    /// nobody else leads by the deadline: the next leader may still be found.
    pub async fn transfer_leader(
        &self,
        to: Option<NodeId>,
        deadline: Instant,
    ) -> Result<NodeId, ChangeError> {
        handover::transfer(self.core(), to, deadline).await
    }

    /// Promises that this node's data folder is never again used by a program that does not know `level`. After a
    /// promise of every member the rows may be raised to it: none of their logs can then be read by a program
    /// that would take an entry for another. Writes a small file, and blocks until it is durable.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn require_level(&self, level: u32) -> Result<(), FolderError> {
        self.node.require_level(level)
    }

    /// The data keys on this node's disk, and under which key each is wrapped. Reads small files.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn data_keys(&self) -> Result<Vec<DataKeyStatus>, DataKeyError> {
        self.node.vault().map_or(Ok(Vec::new()), |vault| vault.status())
    }

    /// Wraps this node's data keys again where they are not under the key that [`crate::Config::keys`] wraps
    /// with now; says how many were not. The node serves meanwhile.
    ///
    /// # Errors
    /// When one cannot be unwrapped or written; those before it are done, and trying again goes on.
    pub fn rewrap_data_keys(&self) -> Result<usize, DataKeyError> {
        self.node.vault().map_or(Ok(0), |vault| vault.rewrap())
    }

    /// Stops the node: a leader hands over first; then everything is synced. Takes at most 10 seconds,
    /// and leaves the membership as it is. Nothing is lost when the process is killed instead.
    pub async fn shutdown(&self) {
        self.node.stop().await;
    }

    pub(crate) fn core(&self) -> &Core {
        &self.node.core
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("identity", &self.core().identity).finish_non_exhaustive()
    }
}
