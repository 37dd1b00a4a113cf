//! One proposal's way: it waits, then is either packed or given up, never both.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use conclave_cluster::{Applied, Proposal};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Refused;
use super::admission::Admitted;

/// Which of the two happened. Shared by the caller and the queue.
#[derive(Default)]
pub(super) struct Ticket(AtomicU8);

const WAITING: u8 = 0;
const PACKED: u8 = 1;
const WITHDRAWN: u8 = 2;

impl Ticket {
    /// Gives it up. `false` when it was packed before, so that it may happen.
    pub(super) fn withdraw(&self) -> bool {
        self.step_to(WITHDRAWN)
    }

    fn pack(&self) -> bool {
        self.step_to(PACKED)
    }

    fn step_to(&self, next: u8) -> bool {
        match self.0.compare_exchange(WAITING, next, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(now) => now == next,
        }
    }
}

/// Gives a ticket up when its caller goes away.
pub(super) struct Caller(pub(super) Arc<Ticket>);

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.withdraw();
    }
}

/// A proposal in a queue, with its place among those under way.
pub(super) struct Job {
    pub(super) proposal: Proposal,
    pub(super) deadline: Instant,
    pub(super) caller: Waiting,
}

/// Who waits for an answer.
pub(super) struct Waiting {
    ticket: Arc<Ticket>,
    reply: oneshot::Sender<Result<Applied, Refused>>,
    admitted: Admitted,
}

impl Waiting {
    pub(super) fn new(
        ticket: Arc<Ticket>,
        reply: oneshot::Sender<Result<Applied, Refused>>,
        admitted: Admitted,
    ) -> Self {
        Self { ticket, reply, admitted }
    }

    /// From here on the proposal may happen. `false` when it was given up.
    pub(super) fn pack(&mut self) -> bool {
        let may_happen = self.ticket.pack();
        if may_happen {
            self.admitted.packed();
        }
        may_happen
    }

    /// Answers and gives the place back: the place first, so that a caller who asks again at once finds it.
    pub(super) fn answer(self, result: Result<Applied, Refused>) {
        drop(self.admitted);
        // A caller that has gone does not want the answer.
        let _ = self.reply.send(result);
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("request", &self.proposal.request).finish_non_exhaustive()
    }
}
