//! One call over several nodes: try, pause, try the next, until there is an answer or the time is up.
//!
//! # Why a write is tried again at all
//! Because the client names it: every write carries an `Idempotency-Key`, the cluster remembers it in its
//! log, and a second try of the same write on any node gets the answer of the first. What cannot be named
//! so is tried again only where it is certain that nothing was done.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use reqwest::StatusCode;
use tokio::time::{Instant, sleep_until};

use super::error::{Error, Refusal};
use super::nodes::{Nodes, Tour};
use super::transport::{Lost, Raw};

/// When a try may follow one whose outcome is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It is a read, or a write that carries a key.
    Safe,
    /// Never: twice would be done twice.
    OnlyIfNotDone,
}

/// How long a call and its tries may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The call, with all its tries.
    pub(super) deadline: Instant,
    /// One try.
    pub(super) attempt: Duration,
}

/// The pause before the second try; each later one is twice as long, and up to twice that by chance, so
/// that callers who failed together do not come back together.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Asks nodes until one answers. `attempt` is given the node's index and how long it may take.
pub(super) async fn ask<F>(
    nodes: &Nodes,
    limits: Limits,
    repeat: Repeat,
    attempt: impl Fn(usize, Duration) -> F + Send,
) -> Result<Raw, Error>
where
    F: Future<Output = Result<Raw, Lost>> + Send,
{
    let mut tour = nodes.tour();
    let mut pauses = ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_factor(2.0)
        .with_jitter()
        .without_max_times()
        .build();
    let mut outcome_unknown = false;
    let mut last = None;
    loop {
        let now = Instant::now();
        let (node, at) = tour.next(now);
        // The node that was to be next failed others meanwhile, and the one that is left asked for more time.
        if at >= limits.deadline
            && let Some(error) = last.take()
        {
            return Err(error);
        }
        if at > now {
            sleep_until(at).await;
        }
        if !tour.admit(node, Instant::now()) {
            continue;
        }
        let left = limits.deadline.saturating_duration_since(Instant::now());
        let failure = match attempt(node, limits.attempt.min(left)).await {
            Ok(raw) => match judge(&mut tour, node, raw) {
                Ok(raw) => return Ok(raw),
                Err(refusal) => Failure::Declined(refusal),
            },
            Err(lost) => {
                tour.failed(node, Instant::now());
                Failure::Lost(lost)
            }
        };
        outcome_unknown |= failure.may_have_acted();
        let now = Instant::now();
        let earliest = now + pauses.next().unwrap_or(LONGEST_PAUSE);
        let next_at = tour.next(now).1.max(earliest);
        let must_stop = outcome_unknown && repeat == Repeat::OnlyIfNotDone;
        tracing::debug!(node, %failure, "a try failed");
        let error = failure.into_error(outcome_unknown);
        // To wait for a moment that is too late would only keep the caller from the news.
        if must_stop || next_at >= limits.deadline {
            return Err(error);
        }
        last = Some(error);
        sleep_until(earliest).await;
    }
}

/// An answer, unless it says "not now".
fn judge(tour: &mut Tour<'_>, node: usize, raw: Raw) -> Result<Raw, Box<Refusal>> {
    let is_not_now = matches!(
        raw.status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    );
    let now = Instant::now();
    if !is_not_now {
        if raw.status.is_server_error() {
            tour.failed(node, now);
        } else {
            tour.succeeded(node);
        }
        return Ok(raw);
    }
    let refusal = Refusal::read(&raw);
    let until = refusal.retry_after.map(|after| now + after);
    if raw.status == StatusCode::TOO_MANY_REQUESTS {
        tour.declined(node);
        // The next node counts with this one, or would soon say the same.
        if let Some(until) = until {
            tour.spare_all(until);
        }
    } else {
        tour.failed(node, now);
        if let Some(until) = until {
            tour.spare(node, until);
        }
    }
    Err(Box::new(refusal))
}

/// Why a try gave no answer.
#[derive(Debug)]
enum Failure {
    Declined(Box<Refusal>),
    Lost(Lost),
}

impl Failure {
    fn may_have_acted(&self) -> bool {
        match self {
            Self::Declined(refusal) => refusal.is_outcome_unknown(),
            Self::Lost(lost) => lost.may_have_acted,
        }
    }

    fn into_error(self, outcome_unknown: bool) -> Error {
        match self {
            Self::Declined(reason) => Error::NotNow { reason, outcome_unknown },
            Self::Lost(lost) => Error::Transport { reason: lost.reason, outcome_unknown },
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Declined(refusal) => refusal.fmt(f),
            Self::Lost(lost) => f.write_str(&lost.reason),
        }
    }
}

#[cfg(test)]
#[path = "failover_tests.rs"]
mod tests;
