//! The breaker of one node: after several failures in a row it is left alone for a while.

use std::time::Duration;

use tokio::time::Instant;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// So many failures in a row open it.
    pub(super) failures: u32,
    /// One request may try again after that.
    pub(super) pause: Duration,
}

/// Counts what one node did lately.
///
/// Failures are tries without an answer, and answers of 5xx. An answer of 4xx is one of a healthy node: a
/// client that is refused often is not cut off.
///
/// # Why there is no third state
/// A request that is let through while it is open moves the end of the pause on, so that no second one
/// follows it at once. When its outcome is never told, because its caller went away, the next pause lets
/// another through: nothing can get stuck.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Breaker {
    in_a_row: u32,
    open_until: Option<Instant>,
    failed_at: Option<Instant>,
}

impl Breaker {
    /// Whether a request may go to the node at `now`.
    pub(super) fn permits(&self, now: Instant) -> bool {
        self.open_until.is_none_or(|until| until <= now)
    }

    /// As [`Breaker::permits`], by the request that goes.
    pub(super) fn admit(&mut self, now: Instant, limits: Limits) -> bool {
        let permits = self.permits(now);
        if permits && self.open_until.is_some() {
            self.open_until = Some(now + limits.pause);
        }
        permits
    }

    /// The node answered.
    pub(super) fn succeeded(&mut self) {
        *self = Self { failed_at: self.failed_at, ..Self::default() };
    }

    /// It did not, or it answered that it cannot.
    pub(super) fn failed(&mut self, now: Instant, limits: Limits) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.failed_at = Some(now);
        if self.in_a_row >= limits.failures {
            self.open_until = Some(now + limits.pause);
        }
    }

    /// When it failed last.
    pub(super) fn failed_at(&self) -> Option<Instant> {
        self.failed_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { failures: 3, pause: Duration::from_secs(5) };

    #[tokio::test(start_paused = true)]
    async fn opens_after_failures_in_a_row_and_lets_one_through_after_the_pause() {
        let mut breaker = Breaker::default();
        let start = Instant::now();
        for _ in 0..2 {
            breaker.failed(start, LIMITS);
        }
        assert!(breaker.admit(start, LIMITS));
        breaker.succeeded();
        for _ in 0..2 {
            breaker.failed(start, LIMITS);
        }
        assert!(breaker.permits(start), "not in a row");
        breaker.failed(start, LIMITS);
        assert!(!breaker.admit(start, LIMITS));
        let later = start + LIMITS.pause;
        assert!(!breaker.permits(later.checked_sub(Duration::from_millis(1)).unwrap()));
        assert!(breaker.admit(later, LIMITS), "one tries");
        assert!(!breaker.admit(later, LIMITS), "and only one");
        breaker.failed(later, LIMITS);
        assert!(!breaker.permits(later + LIMITS.pause / 2));
        // The outcome of the next is never told.
        assert!(breaker.admit(later + LIMITS.pause, LIMITS));
        assert!(breaker.admit(later + 2 * LIMITS.pause, LIMITS));
        breaker.succeeded();
        for _ in 0..9 {
            assert!(breaker.admit(later + 2 * LIMITS.pause, LIMITS));
        }
    }
}
