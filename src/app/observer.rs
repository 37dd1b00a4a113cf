//! The observer: gathers what this node saw and what changed nothing (permission checks, denials, looks into
//! tokens and trails), and has it written into the audit trails a moment later.
//!
//! # Why later
//! A check is answered from memory in microseconds, a record costs the disks of a majority. So equal
//! observations within a [`WINDOW`] become one with a count, and those of an account are written together.
//! Observing never waits and never fails a request.
//!
//! # What can be lost
//! A node that crashes takes with it what it saw since the last window; one that finds no leader for long drops
//! the oldest checks beyond its bounds, then the oldest denials, and writes down how many they were. Nothing else
//! is recorded this way: what changes something, and every sign-in, good or bad, is written down by the very
//! command that does it. A node that is stopped writes all it has seen before it goes.

#[cfg(test)]
mod tests;
mod waiting;

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{App, Failure};
use crate::domain::audit::Observation;
use crate::domain::{AccountId, Action, Actor, Command, Noun, Origin, Rejection};
use waiting::{Batch, Waiting};

/// What is seen waits at most so long until it is on its way.
pub const WINDOW: Duration = Duration::from_millis(200);
/// How many commands are under way at once, each of another account.
const WRITES: usize = 16;
/// How long one try to write may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a node has seen and not written yet.
#[derive(Debug, Default)]
pub struct Observer {
    waiting: Mutex<Waiting>,
    wake: Notify,
    written: AtomicU64,
}

/// Figures for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObserverStats {
    /// Records that wait, those under way too.
    pub waiting: usize,
    /// Records written since the start.
    pub written: u64,
    /// Observations dropped since the start.
    pub lost: u64,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Done,
    /// There is no such account: nobody will read it.
    Nowhere,
    /// Never will be.
    Refused,
    /// Not yet, or not known: the same command again says which.
    NotNow,
}

impl Observer {
    /// Takes note. Never waits.
    pub fn observe(&self, account: AccountId, observation: Observation) {
        if self.waiting().add(account, observation) {
            self.wake.notify_one();
        }
    }

    /// Figures for metrics.
    #[must_use]
    pub fn stats(&self) -> ObserverStats {
        let waiting = self.waiting();
        let written = self.written.load(Ordering::Relaxed);
        ObserverStats { waiting: waiting.len(), written, lost: waiting.lost() }
    }

    /// Lets [`Observer::run`] end once all is written that was seen before.
    fn close(&self) {
        self.waiting().close();
        self.wake.notify_one();
    }

    /// Has everything written by `write`, one batch of an account at a time, until it is closed.
    async fn run<W, F>(&self, write: W)
    where
        W: Fn(Batch) -> F,
        F: Future<Output = (Batch, Written)>,
    {
        let mut ticks = interval(WINDOW);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut writes = FuturesUnordered::new();
        loop {
            tokio::select! {
                _ = ticks.tick() => self.waiting().all_are_due(),
                () = self.wake.notified() => {}
                Some((batch, written)) = writes.next() => self.settle(batch, written),
            }
            let mut waiting = self.waiting();
            while writes.len() < WRITES
                && let Some(batch) = waiting.next_due()
            {
                writes.push(write(batch));
            }
            if waiting.is_over() {
                return;
            }
        }
    }

    fn settle(&self, batch: Batch, written: Written) {
        match written {
            Written::Done => {
                let records = u64::try_from(batch.len()).unwrap_or(u64::MAX);
                self.written.fetch_add(records, Ordering::Relaxed);
                self.waiting().settle(&batch);
            }
            Written::Nowhere => self.waiting().settle(&batch),
            Written::Refused => self.waiting().give_up(&batch),
            Written::NotNow => self.waiting().put_back(batch),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl App {
    /// Takes note of what was seen in an account, for its audit trail: see [`self`](crate::app::observer) for when
    /// it gets there. Never waits, never fails. Texts must be short, and never a secret.
    pub fn observe(&self, account: AccountId, observation: Observation) {
        self.observer.observe(account, observation);
    }

    /// Writes down what this node sees, until [`App::stop_recording`].
    pub async fn record(self: Arc<Self>) {
        let app = &*self;
        app.observer.run(|batch| app.write_seen(batch)).await;
    }

    /// Lets [`App::record`] end once all is written.
    pub fn stop_recording(&self) {
        self.observer.close();
    }

    /// Figures of what is recorded.
    #[must_use]
    pub fn observer_stats(&self) -> ObserverStats {
        self.observer.stats()
    }

    /// The request stays the same however often it is tried, so that what was written already is not written
    /// again.
    async fn write_seen(&self, batch: Batch) -> (Batch, Written) {
        let command = Command {
            account: batch.account,
            by: Actor::System,
            origin: Origin::default(),
            expect: Vec::new(),
            action: Action::Observe(batch.seen.clone()),
        };
        let mut request = batch.request.clone();
        request.deadline = Instant::now() + PATIENCE;
        let written = match self.execute(&command, &request).await {
            Ok(_) => Written::Done,
            Err(Failure::Rejected(Rejection::NotFound(Noun::Account))) => Written::Nowhere,
            Err(failure @ (Failure::Rejected(_) | Failure::KeyReused | Failure::Internal(_))) => {
                tracing::error!(account = %batch.account, %failure, "what was seen is not written down");
                Written::Refused
            }
            Err(failure) => {
                tracing::debug!(account = %batch.account, %failure, "what was seen waits");
                Written::NotNow
            }
        };
        (batch, written)
    }
}
