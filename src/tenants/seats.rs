//! Finds the actor of an account, and starts it when there is none.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use conclave_cluster::{Applied, Proposal};
use ractor::{ActorId, ActorRef, ActorRuntime, MessagingErr};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

use super::actor::TenantActor;
use super::admission::Counter;
use super::message::TenantMessage;
use super::ticket::{Job, Ticket, Waiting};
use super::{AccountKey, Refused, Shared};

/// Where each account's actor sits.
///
/// A message is sent under the lock, and a seat is given up under the lock when nothing of its account is
/// under way: so no message goes to an actor that is about to leave.
#[derive(Default)]
pub(super) struct Seats {
    state: Mutex<State>,
    crashes: AtomicU64,
}

#[derive(Default)]
struct State {
    seats: BTreeMap<AccountKey, Seat>,
    is_closed: bool,
}

/// What outlives a crash of the actor.
struct Seat {
    actor: ActorRef<TenantMessage>,
    under_way: Arc<Counter>,
    /// One permit: one entry in flight, even while a crashed actor's last entry still is.
    gate: Arc<Semaphore>,
}

impl Seats {
    /// Sends a job to its account's actor.
    pub(super) fn send(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        supervisor: &ActorRef<()>,
        account: &AccountKey,
        proposal: Proposal,
        deadline: Instant,
        (ticket, reply): (Arc<Ticket>, oneshot::Sender<Result<Applied, Refused>>),
    ) -> Result<(), Refused> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(Refused::NotDone);
        }
        let start = |gate: &Arc<Semaphore>| self.start(shared, supervisor, account, gate);
        let seat = if let Some(seat) = state.seats.get_mut(account) {
            seat
        } else {
            let gate = Arc::new(Semaphore::new(1));
            let seat = Seat { actor: start(&gate)?, under_way: shared.admission.account(), gate };
            state.seats.entry(account.clone()).or_insert(seat)
        };
        let admitted = shared.admission.take(&seat.under_way, proposal.command.len())?;
        let job = Job { proposal, deadline, caller: Waiting::new(ticket, reply, admitted) };
        match seat.actor.cast(TenantMessage::Submit(job)) {
            Ok(()) => Ok(()),
            Err(MessagingErr::SendErr(message)) => {
                // It crashed, and its supervisor has not come to it yet.
                seat.actor = start(&seat.gate)?;
                seat.actor.cast(message).map_err(|_| Refused::NotDone)
            }
            Err(MessagingErr::ChannelClosed | MessagingErr::InvalidActorType) => Err(Refused::NotDone),
        }
    }

    /// Gives an idle actor's seat up. `false` when it has work again, or the seat is another one's.
    pub(super) fn leave(&self, account: &AccountKey, actor: ActorId) -> bool {
        let mut state = self.lock();
        let may_leave = |seat: &Seat| seat.actor.get_id() == actor && seat.under_way.count() == 0;
        let leaves = state.seats.get(account).is_some_and(may_leave);
        if leaves {
            state.seats.remove(account);
        }
        leaves
    }

    /// Puts a fresh actor into a crashed one's seat, or gives the seat up when nothing of the account is
    /// under way.
    pub(super) fn replace(self: &Arc<Self>, shared: &Arc<Shared>, supervisor: &ActorRef<()>, actor: ActorId) {
        self.crashes.fetch_add(1, Ordering::Relaxed);
        let mut state = self.lock();
        let Some((account, seat)) = state.seats.iter_mut().find(|(_, seat)| seat.actor.get_id() == actor)
        else {
            return;
        };
        let account = account.clone();
        if seat.under_way.count() > 0
            && let Ok(fresh) = self.start(shared, supervisor, &account, &seat.gate)
        {
            seat.actor = fresh;
        } else {
            state.seats.remove(&account);
        }
    }

    pub(super) fn tell_all(&self, message: impl Fn() -> TenantMessage) {
        for seat in self.lock().seats.values() {
            // One that crashed has nothing that waits.
            let _ = seat.actor.cast(message());
        }
    }

    pub(super) fn close(&self) {
        self.lock().is_closed = true;
    }

    pub(super) fn stop_all(&self) {
        for seat in self.lock().seats.values() {
            seat.actor.stop(None);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().seats.len()
    }

    pub(super) fn crashes(&self) -> u64 {
        self.crashes.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn actor(&self, account: &AccountKey) -> Option<ActorRef<TenantMessage>> {
        self.lock().seats.get(account).map(|seat| seat.actor.clone())
    }

    fn start(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        supervisor: &ActorRef<()>,
        account: &AccountKey,
        gate: &Arc<Semaphore>,
    ) -> Result<ActorRef<TenantMessage>, Refused> {
        let actor = TenantActor {
            account: account.clone(),
            shared: Arc::clone(shared),
            seats: Arc::downgrade(self),
            gate: Arc::clone(gate),
        };
        ActorRuntime::spawn_linked_instant(None, actor, (), supervisor.get_cell())
            .map(|(actor, _)| actor)
            .map_err(|_| Refused::NotDone)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock leaves it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
