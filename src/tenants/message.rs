//! What an account's actor is told.

use tokio::sync::OwnedSemaphorePermit;

use super::ticket::Job;

/// Every variant says who sends it.
pub(super) enum TenantMessage {
    /// From [`super::Tenants::submit`]; the job carries the way to answer.
    Submit(Job),
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

/// The right to have one entry in flight: of the account, and of all.
pub(super) struct Turn {
    pub(super) _account: OwnedSemaphorePermit,
    pub(super) _all: OwnedSemaphorePermit,
}
