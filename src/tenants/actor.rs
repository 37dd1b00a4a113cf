//! The queue of one account.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use conclave_cluster::{Applied, Proposal};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::message::{TenantMessage, Try, Turn};
use super::seats::Seats;
use super::throttle::Throttle;
use super::ticket::{Job, Waiting};
use super::{AccountKey, ProposeError, Refused, Shared};

pub(super) struct TenantActor {
    pub(super) account: AccountKey,
    pub(super) shared: Arc<Shared>,
    pub(super) seats: Weak<Seats>,
    pub(super) gate: Arc<Semaphore>,
    pub(super) throttle: Arc<Mutex<Throttle>>,
}

pub(super) struct Queue {
    jobs: VecDeque<Job>,
    /// It waits for its turn, or has an entry in flight.
    is_under_way: bool,
    last_work: Instant,
}

impl Actor for TenantActor {
    type Msg = TenantMessage;
    type State = Queue;
    type Arguments = ();

    async fn pre_start(&self, myself: ActorRef<TenantMessage>, (): ()) -> Result<Queue, ActorProcessingErr> {
        let queue = Queue { jobs: VecDeque::new(), is_under_way: false, last_work: Instant::now() };
        self.look_again(&myself, &queue);
        Ok(queue)
    }

    async fn handle(
        &self,
        myself: ActorRef<TenantMessage>,
        message: TenantMessage,
        queue: &mut Queue,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            TenantMessage::Submit(job) => {
                queue.last_work = Instant::now();
                queue.jobs.push_back(job);
                self.ask_for_turn(&myself, queue);
            }
            TenantMessage::Admit(attempt) => {
                queue.last_work = Instant::now();
                self.admit(attempt);
            }
            TenantMessage::Turn(turn) => {
                let entry = self.pack(queue);
                if entry.is_empty() {
                    queue.is_under_way = false;
                } else {
                    self.propose(myself, turn, entry);
                }
            }
            TenantMessage::EntryDone => {
                queue.last_work = Instant::now();
                queue.is_under_way = false;
                self.ask_for_turn(&myself, queue);
            }
            TenantMessage::LeadershipLost => {
                for job in queue.jobs.drain(..) {
                    job.caller.answer(Err(Refused::NotLeader));
                }
            }
            TenantMessage::IdleCheck => {
                if self.may_leave(&myself, queue) {
                    myself.stop(None);
                } else {
                    self.look_again(&myself, queue);
                }
            }
            #[cfg(test)]
            TenantMessage::Crash => panic!("told to crash"),
        }
        Ok(())
    }
}

impl TenantActor {
    fn ask_for_turn(&self, myself: &ActorRef<TenantMessage>, queue: &mut Queue) {
        if queue.is_under_way || queue.jobs.is_empty() {
            return;
        }
        queue.is_under_way = true;
        let (gate, turns) = (Arc::clone(&self.gate), Arc::clone(&self.shared.turns));
        let myself = myself.clone();
        tokio::spawn(async move {
            // First the account's own gate, so that nobody waits for it with a turn in hand. Both serve in
            // the order of asking. They are never closed.
            let Ok(account) = gate.acquire_owned().await else { return };
            let Ok(all) = turns.acquire_owned().await else { return };
            // When the actor is gone, the turn comes back as the message is dropped.
            let _ = myself.cast(TenantMessage::Turn(Turn { _account: account, _all: all }));
        });
    }

    fn admit(&self, attempt: Try) {
        let Try { budget, rate, reply, admitted } = attempt;
        // Nobody else is in there for long: the seats ask whether it is live.
        let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        let result = throttle.take(budget, rate, Instant::now());
        drop(throttle);
        drop(admitted);
        // A caller that has gone does not want the answer.
        let _ = reply.send(result);
    }

    /// Takes from the queue what fits into an entry. From here on it may happen.
    fn pack(&self, queue: &mut Queue) -> Vec<Job> {
        let limits = &self.shared.limits;
        let now = Instant::now();
        let mut entry: Vec<Job> = Vec::new();
        let mut bytes = 0usize;
        while entry.len() < limits.entry_proposals.max(1) {
            let Some(mut job) = queue.jobs.pop_front() else { break };
            if job.deadline <= now {
                job.caller.answer(Err(Refused::TooLate));
                continue;
            }
            bytes = bytes.saturating_add(job.proposal.command.len());
            if bytes > limits.entry_bytes && !entry.is_empty() {
                queue.jobs.push_front(job);
                break;
            }
            if job.caller.pack() {
                entry.push(job);
            } else {
                bytes = bytes.saturating_sub(job.proposal.command.len());
            }
        }
        entry
    }

    /// Proposes in a task of its own, so that the actor goes on listening.
    fn propose(&self, myself: ActorRef<TenantMessage>, turn: Turn, entry: Vec<Job>) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            // Dropped in reverse order, also when the proposal panics: first the turn comes back, then the
            // actor is told.
            let _done = TellDone(myself);
            let _turn = turn;
            let (proposals, callers): (Vec<Proposal>, Vec<Waiting>) =
                entry.into_iter().map(|job| (job.proposal, job.caller)).unzip();
            let result = (shared.propose)(proposals).await;
            answer_all(callers, result);
        });
    }

    fn may_leave(&self, myself: &ActorRef<TenantMessage>, queue: &Queue) -> bool {
        // Whether something is under way is known to the seats. Without seats everything is ending.
        queue.last_work.elapsed() >= self.shared.limits.idle
            && self.seats.upgrade().is_none_or(|seats| seats.leave(&self.account, myself.get_id()))
    }

    /// Sets the one timer of this actor: to when it will have been idle for long enough, if nothing comes.
    fn look_again(&self, myself: &ActorRef<TenantMessage>, queue: &Queue) {
        let idle = self.shared.limits.idle.max(Duration::from_millis(1));
        let left = idle.saturating_sub(queue.last_work.elapsed());
        let wait = if left.is_zero() { idle } else { left };
        drop(myself.send_after(wait, || TenantMessage::IdleCheck));
    }
}

/// Gives each caller its own result, and says `Unknown` to those without one.
fn answer_all(callers: Vec<Waiting>, result: Result<Vec<Applied>, ProposeError>) {
    match result {
        Ok(applied) => {
            let mut applied = applied.into_iter();
            for caller in callers {
                caller.answer(applied.next().ok_or(Refused::Unknown));
            }
        }
        Err(error) => {
            for caller in callers {
                caller.answer(Err(error.into()));
            }
        }
    }
}

struct TellDone(ActorRef<TenantMessage>);

impl Drop for TellDone {
    fn drop(&mut self) {
        // A fresh actor asks for its own turn.
        let _ = self.0.cast(TenantMessage::EntryDone);
    }
}
