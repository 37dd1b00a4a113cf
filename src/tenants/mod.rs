//! One actor per account, on the leader: admission, order, fairness, packing.
//!
//! An actor is a queue with manners. It decides nothing: names, versions and permission are decided in
//! `apply`. So it may be killed at any moment, and what is lost is at most an answer. What must not be known
//! here: what a command says, HTTP, Raft.
//!
//! # Why
//! - **Admission comes before the mailbox**, which is unbounded: each account may have so many proposals
//!   under way, and so may all together (counted and in bytes). Beyond, the answer is `Busy` at once.
//! - **One entry of an account is in the log's hands at a time**; what arrives meanwhile goes into the next
//!   one. That keeps an account's order, and packs the more the busier it is.
//! - **Turns are given out in the order asked for**, and an account asks for one turn at a time. So an
//!   account with 256 proposals waits in the same line, once, as one with a single proposal.
//! - **Every refusal says whether the proposal may have happened.** It cannot have, before it was packed:
//!   packing and giving up are one atomic step on the same ticket.
//! - **Tries are counted here too** (sign-ins, refreshes, sign-ups), because one node alone sees them all. They
//!   are in memory only, because turning somebody away must cost less than letting somebody try. So what was
//!   counted is forgotten when another node leads, and a limit of N in a span lets through at most N more for
//!   each change of leader in it; the lockout of a user, which is in the log, knows no such gap. A seat with a count stays until the count is over, also when its actor
//!   crashes. See [`throttle`] for the windows, and [`Orders::admit`] for whose tries they are.
//! - Actors have no names: ractor's names are global to the process, and tests run several nodes in one.

mod actor;
mod admission;
#[cfg(test)]
mod admit_tests;
mod message;
pub mod orders;
mod seats;
mod supervisor;
#[cfg(test)]
mod tests;
pub mod throttle;
mod ticket;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use conclave_cluster::{Applied, Cluster, Proposal, Unavailable};
use futures_util::future::BoxFuture;
use ractor::{Actor, ActorRef, SpawnErr};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use crate::rate::{Allowance, Exceeded, Rate};
use admission::Admission;
pub use orders::{OrderError, Orders};
use seats::Seats;
use supervisor::Supervisor;
use throttle::Budget;
pub use throttle::Gate;
use ticket::{Caller, Job, Ticket, Waiting};

/// Names an account's queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountKey(Arc<str>);

impl AccountKey {
    /// Takes any text; equal texts share a queue.
    pub fn new(account: impl Into<Arc<str>>) -> Self {
        Self(account.into())
    }
}

impl fmt::Display for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How much may be under way.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Proposals of one account, from admission to answer.
    pub per_account: usize,
    /// Proposals of all accounts.
    pub in_all: usize,
    /// Bytes of all those commands.
    pub bytes_in_all: usize,
    /// Entries of all accounts that are proposed and not answered.
    pub entries_in_flight: usize,
    /// Proposals in one entry.
    pub entry_proposals: usize,
    /// Bytes of the commands in one entry; one proposal may be longer than this alone.
    pub entry_bytes: usize,
    /// An actor without work for so long goes away.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_account: 256,
            in_all: 4096,
            bytes_in_all: 64 << 20,
            entries_in_flight: 64,
            entry_proposals: 64,
            entry_bytes: 512 << 10,
            idle: Duration::from_secs(30),
        }
    }
}

/// What the log said to an entry. The same holds for each proposal in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This node does not lead; nothing was appended.
    #[error("this node does not lead")]
    NotLeader,
    /// Nothing was appended, for another reason.
    #[error("the entry was not proposed")]
    NotDone,
    /// It may be decided later, or never.
    #[error("the outcome of the entry is unknown")]
    Unknown,
}

impl From<Unavailable> for ProposeError {
    fn from(unavailable: Unavailable) -> Self {
        match unavailable {
            Unavailable::NoLeader | Unavailable::NotLeader { .. } => Self::NotLeader,
            other if other.is_outcome_unknown() => Self::Unknown,
            Unavailable::Timeout { .. }
            | Unavailable::TooLong
            | Unavailable::Overloaded
            | Unavailable::Stopping
            | Unavailable::Unreachable => Self::NotDone,
        }
    }
}

/// Why a proposal has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too much is under way, of this account or in all. Nothing happened.
    #[error("too many requests are under way")]
    Busy {
        /// When to come back.
        retry_after: Duration,
    },
    /// Longer than [`Proposal::MAX_COMMAND_BYTES`]. Nothing happened.
    #[error("the command is too long")]
    TooLong,
    /// The deadline passed while it waited. Nothing happened.
    #[error("the deadline passed before the request's turn came")]
    TooLate,
    /// This node does not lead (any more). Nothing happened; ask the leader.
    #[error("this node does not lead")]
    NotLeader,
    /// Dropped on the way, or the node is stopping. Nothing happened.
    #[error("the request was not carried out")]
    NotDone,
    /// It may have happened or may yet happen. Ask again with the same request id to find out.
    #[error("the outcome of the request is unknown")]
    Unknown,
}

impl Refused {
    /// Whether the proposal may have taken effect, so that only a retry with the same request id is safe.
    #[must_use]
    pub fn may_have_happened(self) -> bool {
        match self {
            Self::Unknown => true,
            Self::Busy { .. } | Self::TooLong | Self::TooLate | Self::NotLeader | Self::NotDone => false,
        }
    }
}

impl From<ProposeError> for Refused {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::NotLeader => Self::NotLeader,
            ProposeError::NotDone => Self::NotDone,
            ProposeError::Unknown => Self::Unknown,
        }
    }
}

/// Figures for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantsStats {
    /// Accounts with an actor.
    pub actors: usize,
    /// Proposals under way.
    pub admitted: usize,
    /// Of them, how many wait in the queues of their accounts.
    pub waiting: usize,
    /// Bytes of their commands.
    pub admitted_bytes: usize,
    /// Entries proposed and not answered.
    pub in_flight: usize,
    /// Proposals refused as busy since the start.
    pub refused: u64,
    /// Actors that crashed since the start.
    pub crashes: u64,
}

type ProposeFn =
    dyn Fn(Vec<Proposal>) -> BoxFuture<'static, Result<Vec<Applied>, ProposeError>> + Send + Sync;

/// What all actors share.
struct Shared {
    limits: Limits,
    propose: Box<ProposeFn>,
    turns: Arc<Semaphore>,
    admission: Arc<Admission>,
}

/// The actors of this node. Clones share them; they end with the last clone.
#[derive(Clone)]
pub struct Tenants {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    seats: Arc<Seats>,
    supervisor: ActorRef<()>,
}

impl Tenants {
    /// Starts without any actor. `propose` appends one entry and answers with one result for each proposal, in
    /// their order; it has to answer in a time of its own, because an account waits for it.
    ///
    /// # Errors
    /// When the supervisor cannot be started.
    pub async fn start<F, R>(limits: Limits, propose: F) -> Result<Self, SpawnErr>
    where
        F: Fn(Vec<Proposal>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Vec<Applied>, ProposeError>> + Send + 'static,
    {
        let shared = Arc::new(Shared {
            propose: Box::new(move |proposals| Box::pin(propose(proposals))),
            turns: Arc::new(Semaphore::new(limits.entries_in_flight.clamp(1, Semaphore::MAX_PERMITS))),
            admission: Arc::new(Admission::new(&limits)),
            limits,
        });
        let seats = Arc::new(Seats::default());
        let supervisor = Supervisor { shared: Arc::clone(&shared), seats: Arc::downgrade(&seats) };
        let (supervisor, _) = Actor::spawn(None, supervisor, ()).await?;
        Ok(Self { inner: Arc::new(Inner { shared, seats, supervisor }) })
    }

    /// The same over a cluster, which gets `patience` to decide an entry.
    ///
    /// # Errors
    /// As [`Tenants::start`].
    pub async fn proposing_to(
        cluster: Cluster,
        limits: Limits,
        patience: Duration,
    ) -> Result<Self, SpawnErr> {
        Self::start(limits, move |proposals| {
            let cluster = cluster.clone();
            async move {
                cluster.propose(proposals, Instant::now() + patience).await.map_err(ProposeError::from)
            }
        })
        .await
    }

    /// Brings a proposal into the log, in the order of the calls of its account. Answers by the deadline.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn submit(
        &self,
        account: &AccountKey,
        proposal: Proposal,
        deadline: Instant,
    ) -> Result<Applied, Refused> {
        if proposal.command.len() > Proposal::MAX_COMMAND_BYTES {
            return Err(Refused::TooLong);
        }
        let Inner { shared, seats, supervisor } = &*self.inner;
        let (reply, answer) = oneshot::channel();
        let ticket = Arc::new(Ticket::default());
        let caller = Caller(Arc::clone(&ticket));
        seats.send(shared, supervisor, account, proposal.command.len(), |admitted| {
            let caller = Waiting::new(ticket, reply, admitted);
            message::TenantMessage::Submit(Job { proposal, deadline, caller })
        })?;
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(result)) => result,
            // Nobody will answer: the actor crashed, or the proposing task did.
            Ok(Err(_)) => Err(if caller.0.withdraw() { Refused::NotDone } else { Refused::Unknown }),
            Err(_) => Err(if caller.0.withdraw() { Refused::TooLate } else { Refused::Unknown }),
        }
    }

    /// Takes one try out of a budget of the account, and says what is left of it.
    async fn admit(
        &self,
        account: &AccountKey,
        budget: Budget,
        rate: Rate,
        deadline: Instant,
    ) -> Result<Result<Allowance, Exceeded>, Refused> {
        let Inner { shared, seats, supervisor } = &*self.inner;
        let (reply, answer) = oneshot::channel();
        seats.send(shared, supervisor, account, 0, |admitted| {
            message::TenantMessage::Admit(message::Try { budget, rate, reply, admitted })
        })?;
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) => Err(Refused::NotDone),
            Err(_) => Err(Refused::TooLate),
        }
    }

    /// Answers all that waits with `NotLeader`: it was not proposed and can go to the next leader at once. Of
    /// what is proposed already, the log will say.
    pub fn leadership_lost(&self) {
        self.inner.seats.tell_all(|| message::TenantMessage::LeadershipLost);
    }

    /// Takes nothing new (`NotDone`), and waits until all that is under way is answered. What is not at the
    /// deadline is dropped, and its callers are told whether it may have happened.
    pub async fn drain(&self, deadline: Instant) {
        self.inner.seats.close();
        // The deadline is the answer to a log that does not answer.
        let _ = tokio::time::timeout_at(deadline, self.inner.shared.admission.wait_until_idle()).await;
        self.inner.seats.stop_all();
        self.inner.supervisor.stop(None);
    }

    /// Figures for metrics.
    #[must_use]
    pub fn stats(&self) -> TenantsStats {
        let Inner { shared, seats, .. } = &*self.inner;
        let (admitted, admitted_bytes, refused) = shared.admission.figures();
        TenantsStats {
            actors: seats.len(),
            admitted,
            waiting: shared.admission.waiting(),
            admitted_bytes,
            in_flight: shared.limits.entries_in_flight.saturating_sub(shared.turns.available_permits()),
            refused,
            crashes: seats.crashes(),
        }
    }
}

impl fmt::Debug for Tenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tenants").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Its children end with it.
        self.supervisor.stop(None);
    }
}
