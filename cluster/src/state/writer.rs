//! The thread that keeps the durable copy up to date, behind what is applied.
//!
//! While one batch is being written, the changes of the next entries gather into one: a record that changes
//! often is written once. Every batch ends at the end of an entry, so whatever the disk has is a state that
//! there was.
//!
//! After a batch it rests, unless somebody waits. Nothing acknowledged depends on this copy, because it is in the log;
//! but a sync of it holds up the syncs of the log, on which every answer waits, when both are on one disk.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::changes::Changes;
use super::copy::SledCopy;
use super::fault::{Durability, Fault};
use super::folder::{Copies, panic_text};
use super::image::State;
use super::media::Done;

/// A handle on the thread. Dropping it lets the thread finish what waits, and waits for that.
pub(super) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    report: watch::Sender<Durability>,
}

#[derive(Default)]
struct Queue {
    // Goes before `changes`, which have gathered since.
    replace: Option<(State, Done)>,
    changes: Option<Changes>,
    // In the batch that is being written.
    writing_bytes: usize,
    writing_records: usize,
    // Not before this, unless it is wanted.
    rest_until: Option<Instant>,
    hurry: bool,
    stop: bool,
    // The thread is gone or going.
    over: bool,
}

enum Job {
    Replace(State, Done),
    Write(Changes),
    Stop,
}

impl Writer {
    pub(super) fn start(
        copies: Copies,
        number: u64,
        copy: SledCopy,
        report: watch::Sender<Durability>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared { queue: Mutex::default(), wake: Condvar::new(), report });
        let of_thread = Arc::clone(&shared);
        let run = move || Work { shared: of_thread, copies, number, copy }.run();
        let thread = thread::Builder::new().name("state-writer".to_owned()).spawn(run)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    pub(super) fn follow(&self, changes: Changes) {
        let mut queue = self.shared.queue();
        if queue.over {
            return;
        }
        match &mut queue.changes {
            Some(earlier) => earlier.follow(changes),
            None => queue.changes = Some(changes),
        }
        self.shared.tell_lag(&queue);
        self.shared.wake.notify_one();
    }

    /// Somebody waits until what was followed so far is durable.
    pub(super) fn hurry(&self) {
        self.shared.queue().hurry = true;
        self.shared.wake.notify_one();
    }

    pub(super) fn replace(&self, state: State, done: Done) {
        let mut queue = self.shared.queue();
        if queue.over {
            // Dropping `done` says that it will not happen.
            return;
        }
        queue.changes = None;
        queue.replace = Some((state, done));
        self.shared.wake.notify_one();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.queue().stop = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // It catches its own panics, and reports them.
            drop(thread.join());
        }
    }
}

impl Queue {
    /// How much longer what waits may wait.
    fn rest(&self) -> Option<Duration> {
        let bytes = self.changes.as_ref()?.bytes();
        if self.hurry || self.stop || bytes >= MOST_RESTING_BYTES {
            return None;
        }
        self.rest_until?.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero())
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Job {
        let mut queue = self.queue();
        loop {
            if let Some((state, done)) = queue.replace.take() {
                return Job::Replace(state, done);
            }
            if let Some(wait) = queue.rest() {
                queue = self.wake.wait_timeout(queue, wait).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            if let Some(changes) = queue.changes.take() {
                queue.hurry = false;
                queue.writing_bytes = changes.bytes();
                queue.writing_records = changes.len();
                return Job::Write(changes);
            }
            if queue.stop {
                return Job::Stop;
            }
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn tell_lag(&self, queue: &Queue) {
        let waiting = queue.changes.as_ref();
        self.report.send_modify(|now| {
            now.lag_bytes = queue.writing_bytes + waiting.map_or(0, Changes::bytes);
            now.lag_records = queue.writing_records + waiting.map_or(0, Changes::len);
        });
    }

    fn tell_durable(&self, state_is_at: Option<super::LogPosition>) {
        let mut queue = self.queue();
        queue.writing_bytes = 0;
        queue.writing_records = 0;
        queue.rest_until = Some(Instant::now() + REST);
        self.report.send_modify(|now| now.durable = state_is_at);
        self.tell_lag(&queue);
    }
}

/// What the thread works with.
struct Work {
    shared: Arc<Shared>,
    copies: Copies,
    number: u64,
    copy: SledCopy,
}

impl Work {
    fn run(mut self) {
        let ended = catch_unwind(AssertUnwindSafe(|| self.work()));
        let fault = match ended {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Fault::io("writing", &error)),
            Err(panic) => Some(Fault::new(format!("sled panicked: {}", panic_text(&*panic)))),
        };
        let Some(fault) = fault else {
            if let Err(error) = self.copy.close() {
                tracing::warn!(%error, "closing the durable state");
            }
            return;
        };
        let mut queue = self.shared.queue();
        queue.over = true;
        queue.changes = None;
        queue.replace = None;
        drop(queue);
        tracing::error!(%fault, "the durable state cannot be written; the node must stop");
        self.shared.report.send_modify(|now| now.fault = Some(fault));
        // sled would write once more when dropped, and can hang after a panic. The process is about to end.
        std::mem::forget(self.copy);
    }

    fn work(&mut self) -> io::Result<()> {
        loop {
            match self.shared.next() {
                Job::Stop => return Ok(()),
                Job::Write(changes) => {
                    self.copy.write(&changes)?;
                    self.shared.tell_durable(changes.meta().applied);
                }
                Job::Replace(state, done) => {
                    let (number, copy) = self.copies.make(&state)?;
                    self.number = number;
                    // The old one is closed before its files go.
                    self.copy = copy;
                    self.copies.remove_below(number)?;
                    self.shared.tell_durable(state.applied());
                    drop(done.send(Ok(())));
                }
            }
        }
    }
}

/// From the end of a batch to the beginning of the next. After a crash as much more of the log is applied again.
const REST: Duration = Duration::from_millis(200);
/// Changes of this size do not wait. Well below what may wait at all, see [`super::Store::room`].
const MOST_RESTING_BYTES: usize = 8 << 20;
