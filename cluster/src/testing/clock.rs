//! A wall clock that goes with the simulated time, and can be set wrong.

use std::sync::atomic::{AtomicI64, Ordering};

use tokio::time::Instant;

use crate::clock::{Clock, LogTime};

#[derive(Debug)]
pub(crate) struct SimClock {
    start: Instant,
    skew_ms: AtomicI64,
}

impl SimClock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), skew_ms: AtomicI64::new(0) }
    }

    pub(crate) fn skew(&self, by_ms: i64) {
        self.skew_ms.store(by_ms, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> LogTime {
        const BEGIN_MS: u64 = 1_000_000_000_000;
        let passed = u64::try_from(self.start.elapsed().as_millis()).unwrap();
        LogTime((BEGIN_MS + passed).saturating_add_signed(self.skew_ms.load(Ordering::Relaxed)))
    }
}
