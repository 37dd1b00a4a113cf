//! Counts what is under way and says no beyond the limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::{Limits, Refused};

/// The counters of all accounts.
pub(super) struct Admission {
    per_account: usize,
    in_all: Counter,
    bytes: Counter,
    refused: AtomicU64,
    packed: AtomicUsize,
    idle: Notify,
}

/// When a refused caller should come back: by then a queue of any length has moved on.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Admission {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            per_account: limits.per_account,
            in_all: Counter::up_to(limits.in_all),
            bytes: Counter::up_to(limits.bytes_in_all),
            refused: AtomicU64::new(0),
            packed: AtomicUsize::new(0),
            idle: Notify::new(),
        }
    }

    /// A count for one account.
    pub(super) fn account(&self) -> Arc<Counter> {
        Arc::new(Counter::up_to(self.per_account))
    }

    /// Takes a place for a command of so many bytes, or none.
    pub(super) fn take(self: &Arc<Self>, account: &Arc<Counter>, bytes: usize) -> Result<Admitted, Refused> {
        let busy = || {
            self.refused.fetch_add(1, Ordering::Relaxed);
            Refused::Busy { retry_after: RETRY_AFTER }
        };
        if !account.take(1) {
            return Err(busy());
        }
        if !self.in_all.take(1) {
            account.give(1);
            return Err(busy());
        }
        if !self.bytes.take(bytes) {
            account.give(1);
            self.in_all.give(1);
            return Err(busy());
        }
        Ok(Admitted { all: Arc::clone(self), account: Arc::clone(account), bytes, is_packed: false })
    }

    /// Proposals under way, their bytes, and how many were refused.
    pub(super) fn figures(&self) -> (usize, usize, u64) {
        (self.in_all.count(), self.bytes.count(), self.refused.load(Ordering::Relaxed))
    }

    /// Of those under way, how many wait in a queue.
    pub(super) fn waiting(&self) -> usize {
        self.in_all.count().saturating_sub(self.packed.load(Ordering::Acquire))
    }

    /// Returns once nothing is under way.
    pub(super) async fn wait_until_idle(&self) {
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            // Listens before it looks, or the last answer could come in between.
            idle.as_mut().enable();
            if self.in_all.count() == 0 {
                return;
            }
            idle.await;
        }
    }
}

/// A place, given back when dropped.
pub(super) struct Admitted {
    all: Arc<Admission>,
    account: Arc<Counter>,
    bytes: usize,
    is_packed: bool,
}

impl Admitted {
    /// It waits no longer.
    pub(super) fn packed(&mut self) {
        if !std::mem::replace(&mut self.is_packed, true) {
            self.all.packed.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if self.is_packed {
            self.all.packed.fetch_sub(1, Ordering::AcqRel);
        }
        self.account.give(1);
        self.all.bytes.give(self.bytes);
        if self.all.in_all.give(1) == 0 {
            self.all.idle.notify_waiters();
        }
    }
}

/// A count with a limit.
pub(super) struct Counter {
    count: AtomicUsize,
    limit: usize,
}

impl Counter {
    fn up_to(limit: usize) -> Self {
        Self { count: AtomicUsize::new(0), limit }
    }

    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    fn take(&self, amount: usize) -> bool {
        let grow = |count: usize| count.checked_add(amount).filter(|count| *count <= self.limit);
        self.count.fetch_update(Ordering::AcqRel, Ordering::Acquire, grow).is_ok()
    }

    fn give(&self, amount: usize) -> usize {
        self.count.fetch_sub(amount, Ordering::AcqRel) - amount
    }
}
