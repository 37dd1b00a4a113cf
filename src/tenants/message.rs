//! What an account's actor is told.

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::admission::Admitted;
use super::throttle::Budget;
use super::ticket::Job;
use crate::rate::{Allowance, Exceeded, Rate};

/// Every variant says who sends it.
pub(super) enum TenantMessage {
    /// From [`super::Tenants::submit`]; the job carries the way to answer.
    Submit(Job),
    /// From [`super::Tenants::admit`]: something is about to be tried.
    Admit(Try),
    /// From the actor's own waiting task: it may propose one entry now.
    Turn(Turn),
    /// From the task that proposed the entry: it is answered.
    EntryDone,
    /// From [`super::Tenants::leadership_lost`].
    LeadershipLost,
    /// From the actor's own timer.
    IdleCheck,
    /// From tests.
    #[cfg(test)]
    Crash,
}

/// Something that is tried only so often.
pub(super) struct Try {
    pub(super) budget: Budget,
    pub(super) rate: Rate,
    pub(super) reply: oneshot::Sender<Result<Allowance, Exceeded>>,
    /// Its place among what is under way.
    pub(super) admitted: Admitted,
}

/// The right to have one entry in flight: of the account, and of all.
pub(super) struct Turn {
    pub(super) _account: OwnedSemaphorePermit,
    pub(super) _all: OwnedSemaphorePermit,
}
