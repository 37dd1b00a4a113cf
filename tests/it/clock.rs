//! Time for stories that are about it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use conclave::clock::{Clock, LogTime, SystemClock};

/// The system's clock, set forward.
#[derive(Debug, Default)]
pub(crate) struct Forward(AtomicU64);

impl Forward {
    /// Lets so much time go by at once.
    pub(crate) fn pass(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

impl Clock for Forward {
    fn now(&self) -> LogTime {
        LogTime(SystemClock.now().0 + self.0.load(Ordering::Relaxed))
    }
}
