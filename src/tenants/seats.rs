//! Finds the actor of an account, and starts it when there is none.
//!
//! A seat outlives its actor: it has what a crash must not lose, and stays while something is counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ractor::{ActorId, ActorRef, ActorRuntime, MessagingErr};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::actor::TenantActor;
use super::admission::{Admitted, Counter};
use super::message::TenantMessage;
use super::throttle::Throttle;
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
    /// How often what was tried. Locked under the lock of the seats, never the other way round.
    throttle: Arc<Mutex<Throttle>>,
}

impl Seat {
    /// Whether nothing would be lost with it.
    fn is_spare(&self) -> bool {
        let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        self.under_way.count() == 0 && !throttle.is_live(Instant::now())
    }
}

impl Seats {
    /// Sends a message of so many bytes to its account's actor, once it has a place among what is under way.
    pub(super) fn send(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        supervisor: &ActorRef<()>,
        account: &AccountKey,
        bytes: usize,
        message: impl FnOnce(Admitted) -> TenantMessage,
    ) -> Result<(), Refused> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(Refused::NotDone);
        }
        let start = |gate: &Arc<Semaphore>, throttle: &Arc<Mutex<Throttle>>| {
            self.start(shared, supervisor, account, gate, throttle)
        };
        let seat = if let Some(seat) = state.seats.get_mut(account) {
            seat
        } else {
            let (gate, throttle) = (Arc::new(Semaphore::new(1)), Arc::default());
            let actor = start(&gate, &throttle)?;
            let seat = Seat { actor, under_way: shared.admission.account(), gate, throttle };
            state.seats.entry(account.clone()).or_insert(seat)
        };
        let admitted = shared.admission.take(&seat.under_way, bytes)?;
        match seat.actor.cast(message(admitted)) {
            Ok(()) => Ok(()),
            Err(MessagingErr::SendErr(message)) => {
                // It crashed, and its supervisor has not come to it yet.
                seat.actor = start(&seat.gate, &seat.throttle)?;
                seat.actor.cast(message).map_err(|_| Refused::NotDone)
            }
            Err(MessagingErr::ChannelClosed | MessagingErr::InvalidActorType) => Err(Refused::NotDone),
        }
    }

    /// Gives an idle actor's seat up. `false` when it has work again, or the seat is another one's.
    pub(super) fn leave(&self, account: &AccountKey, actor: ActorId) -> bool {
        let mut state = self.lock();
        let may_leave = |seat: &Seat| seat.actor.get_id() == actor && seat.is_spare();
        let leaves = state.seats.get(account).is_some_and(may_leave);
        if leaves {
            state.seats.remove(account);
        }
        leaves
    }

    /// Puts a fresh actor into a crashed one's seat, or gives the seat up when nothing of the account is
    /// under way or counted.
    pub(super) fn replace(self: &Arc<Self>, shared: &Arc<Shared>, supervisor: &ActorRef<()>, actor: ActorId) {
        self.crashes.fetch_add(1, Ordering::Relaxed);
        let mut state = self.lock();
        let Some((account, seat)) = state.seats.iter_mut().find(|(_, seat)| seat.actor.get_id() == actor)
        else {
            return;
        };
        let account = account.clone();
        if !seat.is_spare()
            && let Ok(fresh) = self.start(shared, supervisor, &account, &seat.gate, &seat.throttle)
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
        throttle: &Arc<Mutex<Throttle>>,
    ) -> Result<ActorRef<TenantMessage>, Refused> {
        let actor = TenantActor {
            account: account.clone(),
            shared: Arc::clone(shared),
            seats: Arc::downgrade(self),
            gate: Arc::clone(gate),
            throttle: Arc::clone(throttle),
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
