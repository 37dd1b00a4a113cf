//! What every part of a running node shares: its Raft, its state, and the way to its peers.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::{self, Either};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, ForwardReason, ForwardToLeader, LinearizableReadError, RaftError};
use openraft::raft::ReadPolicy;
use tokio::sync::{Mutex, watch};
use tokio::time::{self, Instant};

use crate::clock::{Clock, LogTime};
use crate::config::Timing;
use crate::error::{Fatal, Unavailable};
use crate::fence::Fence;
use crate::identity::{Identity, NodeId};
use crate::machine::{Applied, Proposal};
use crate::network::{Channel, Peer, Transport, TransportError};
use crate::raft::{Answers, Batch, MOST_ENTRY_BYTES, Member, Raft, Types, convert};
use crate::space::Space;
use crate::state::{LogPosition, Store};
use crate::wire::{Request, Response};

pub(crate) struct Core {
    pub(crate) identity: Identity,
    /// How others reach this node.
    pub(crate) member: Member,
    pub(crate) timing: Timing,
    pub(crate) raft: Raft,
    pub(crate) store: Store,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Whom this node does not talk to.
    pub(crate) fence: Fence,
    pub(crate) fatal: watch::Sender<Option<Fatal>>,
    pub(crate) is_stopping: AtomicBool,
    /// Whether this node, when it leads, makes voters of those who join.
    pub(crate) promotes: bool,
    /// Held by who changes the membership.
    pub(crate) changing: Arc<Mutex<()>>,
    /// Room on the disk.
    pub(crate) space: Space,
    /// Ids that were given up.
    pub(crate) gone: RwLock<BTreeSet<NodeId>>,
}

/// What became of a question to another node.
pub(crate) enum Asked {
    Answered(Response),
    /// It was certainly not carried out.
    NotSent,
    /// It may have been, or yet be.
    Unknown,
    TimedOut,
}

impl Core {
    pub(crate) fn node(&self) -> NodeId {
        self.identity.node
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// Who leads, as far as this node knows.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.raft.metrics().borrow_watched().current_leader.map(NodeId)
    }

    pub(crate) fn leads(&self) -> bool {
        self.leader() == Some(self.node())
    }

    pub(crate) fn not_leader(&self) -> Unavailable {
        match self.leader() {
            Some(leader) if leader != self.node() => Unavailable::NotLeader { leader: Some(leader) },
            Some(_) | None => Unavailable::NoLeader,
        }
    }

    pub(crate) fn member_of(&self, node: NodeId) -> Option<Member> {
        self.raft.metrics().borrow_watched().membership_config.get_node(&node.0).cloned()
    }

    /// Whether this node is in the membership, as far as it knows: as a voter, or if it may learn, at all.
    pub(crate) fn knows_itself(&self, may_learn: bool) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = &metrics.membership_config;
        let is_voter = membership.voter_ids().any(|voter| voter == self.node().0);
        is_voter || (may_learn && membership.get_node(&self.node().0).is_some())
    }

    /// Ids that were given up.
    pub(crate) fn gone(&self) -> BTreeSet<NodeId> {
        self.gone.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a node answers as itself at an address; else why not.
    pub(crate) async fn dial(&self, peer: Peer, within: Duration) -> Result<(), String> {
        let request = convert::encode(&Request::Ping).map_err(|error| error.to_string())?;
        // Whatever it answers: the connection was made to no other, and an earlier release knows no better.
        match self.transport.call(peer, Channel::Call, request, within).await {
            Ok(_) => Ok(()),
            Err(TransportError::NotSent { reason, .. } | TransportError::NoAnswer { reason, .. }) => {
                Err(reason)
            }
            Err(TransportError::TimedOut { within, .. }) => Err(format!("no answer within {within:?}")),
        }
    }

    /// Ends once somebody else than `leader` leads.
    pub(crate) async fn leader_changes(&self, leader: NodeId) {
        let mut metrics = self.raft.metrics();
        loop {
            if metrics.borrow_watched().current_leader.is_some_and(|now| now != leader.0) {
                return;
            }
            if metrics.changed().await.is_err() {
                // Raft has stopped; whoever waits has a deadline.
                return future::pending().await;
            }
        }
    }

    /// Waits for the next step after a refusal that time will heal; false when the deadline is too near.
    pub(crate) async fn pause(&self, attempt: u32, deadline: Instant) -> bool {
        let pause = FIRST_PAUSE.saturating_mul(1 << attempt.min(4)).min(LONGEST_PAUSE);
        let until = Instant::now() + pause;
        if until >= deadline || self.is_stopping() {
            return false;
        }
        time::sleep_until(until).await;
        true
    }

    /// Asks a node, and gives up early when `leader` says so and another node leads by then.
    pub(crate) async fn ask(
        &self,
        peer: Peer,
        request: &Request,
        within: Duration,
        leader: Option<NodeId>,
    ) -> Asked {
        let Ok(bytes) = convert::encode(request) else { return Asked::NotSent };
        let asking = self.transport.call(peer, Channel::Call, bytes, within);
        let answer = match leader {
            None => asking.await,
            Some(leader) => match future::select(asking, std::pin::pin!(self.leader_changes(leader))).await {
                Either::Left((answer, _)) => answer,
                Either::Right(((), _)) => return Asked::Unknown,
            },
        };
        match answer {
            Ok(bytes) => match convert::decode(&bytes) {
                Ok(response) => Asked::Answered(response),
                Err(error) => {
                    tracing::warn!(%error, "an answer that cannot be read");
                    Asked::Unknown
                }
            },
            Err(TransportError::NotSent { .. }) => Asked::NotSent,
            Err(TransportError::NoAnswer { .. }) => Asked::Unknown,
            Err(TransportError::TimedOut { .. }) => Asked::TimedOut,
        }
    }

    /// On the leader: puts commands into the log, and returns what became of each once it is decided.
    pub(crate) async fn propose(
        &self,
        proposals: Vec<Proposal>,
        deadline: Instant,
    ) -> Result<Vec<Applied>, Unavailable> {
        if proposals.iter().any(|proposal| proposal.command.len() > Proposal::MAX_COMMAND_BYTES) {
            return Err(Unavailable::TooLong);
        }
        if self.space.is_short() {
            return Err(Unavailable::Overloaded);
        }
        // Entries are submitted in order, because each future sends its own when it is first polled.
        let entries = split(proposals).into_iter().map(|proposals| self.write(proposals, deadline));
        let answers = future::try_join_all(entries).await?;
        Ok(answers.into_iter().flatten().collect())
    }

    async fn write(&self, proposals: Vec<Proposal>, deadline: Instant) -> Result<Vec<Applied>, Unavailable> {
        for attempt in 0.. {
            if self.is_stopping() {
                return Err(Unavailable::Stopping);
            }
            let batch = Batch { at: self.stamp(), proposals: proposals.clone() };
            let written = time::timeout_at(deadline, self.raft.client_write(batch)).await;
            let forward = match written {
                Ok(Ok(response)) => {
                    let Answers(answers) = response.data;
                    return Ok(answers);
                }
                Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))) => forward,
                Ok(Err(RaftError::APIError(_))) | Err(_) => {
                    return Err(Unavailable::Timeout { outcome_unknown: true });
                }
                Ok(Err(RaftError::Fatal(_))) => return Err(Unavailable::Stopping),
            };
            self.check_forward(&forward)?;
            if !self.pause(attempt, deadline).await {
                break;
            }
        }
        Err(Unavailable::NoLeader)
    }

    /// The time of an entry. It never runs backwards: `apply` looks after that between leaders.
    fn stamp(&self) -> LogTime {
        self.clock.now().max(self.store.view().at())
    }

    /// A leader refuses right after its election and without a quorum, and then names nobody or itself: worth
    /// a pause. Otherwise somebody else leads.
    fn check_forward(&self, forward: &ForwardToLeader<Types>) -> Result<(), Unavailable> {
        match forward.reason {
            ForwardReason::LeaseExpired | ForwardReason::LeadershipTransfer => return Ok(()),
            ForwardReason::NotLeader => {}
        }
        match forward.leader_id {
            Some(leader) if leader != self.node().0 => {
                Err(Unavailable::NotLeader { leader: Some(NodeId(leader)) })
            }
            Some(_) => Ok(()),
            None if self.leads() => Ok(()),
            None => Err(Unavailable::NoLeader),
        }
    }

    /// On the leader: the position up to which a read that starts now must see.
    pub(crate) async fn own_read_index(&self) -> Result<LogPosition, Unavailable> {
        match self.raft.get_read_linearizer(ReadPolicy::ReadIndex).await {
            Ok(linearizer) => Ok(convert::position(*linearizer.read_log_id().log_id())),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                self.check_forward(&forward)?;
                Err(Unavailable::NoLeader)
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => Err(Unavailable::NoLeader),
            Err(RaftError::Fatal(_)) => Err(Unavailable::Stopping),
        }
    }

    /// Waits until this node has applied the entry at `index`.
    pub(crate) async fn applied(&self, index: u64, deadline: Instant) -> Result<(), Unavailable> {
        let mut progress = self.store.progress();
        let reached = progress.wait_for(|now| now.applied.is_some_and(|applied| applied.index >= index));
        match time::timeout_at(deadline, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Unavailable::Stopping),
            Err(_) => Err(Unavailable::Timeout { outcome_unknown: false }),
        }
    }
}

fn split(proposals: Vec<Proposal>) -> Vec<Vec<Proposal>> {
    let mut entries = Vec::new();
    let mut entry = Vec::new();
    let mut bytes = 0;
    for proposal in proposals {
        let length = proposal.command.len() + PROPOSAL_OVERHEAD_BYTES;
        if bytes + length > MOST_ENTRY_BYTES && !entry.is_empty() {
            entries.push(std::mem::take(&mut entry));
            bytes = 0;
        }
        bytes += length;
        entry.push(proposal);
    }
    if !entry.is_empty() {
        entries.push(entry);
    }
    entries
}

const PROPOSAL_OVERHEAD_BYTES: usize = 64;
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
