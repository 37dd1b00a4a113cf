//! The general limit on requests: so many of one caller in a while, counted by each node for itself.
//!
//! Every route is of a [`LimitClass`]; each class has a rate, or none. [`super::routes`] asks here before the
//! handler, so a surface gets its limit by saying its class: `route!(...).class(LimitClass::Keystone)`, or
//! `in_class(LimitClass::Keystone, vec![...])` for all its routes. What strangers may try (signing in, signing up)
//! is limited by `app::admit` besides, for the cluster as a whole.
//!
//! # Who is a caller
//! Who sends a bearer token or client key is counted by its fingerprint, others by their source. The token has
//! not been checked by then: a name read from it could be anybody's, and whoever makes one up would use up
//! another's limit. A made-up token only has a limit of its own, so the source as a whole is limited too, at
//! [`CALLERS_PER_SOURCE`] times the rate.
//!
//! # Why a bucket and not a window
//! This limit is about load: a bucket (GCRA) lets the count through at once, then evenly. Its state is one
//! number for each caller.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use tokio::time::Instant;
use warp::http::HeaderMap;
use warp::http::header::AUTHORIZATION;

use crate::config::RateLimits;
use crate::rate::{Allowance, Exceeded, Rate, source_of};

/// Which of the general limits a route counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitClass {
    /// None: probes and documents.
    Exempt,
    /// `rate_limit_native`: `/v1` and `/iam`.
    Native,
    /// `rate_limit_api`: `/api/v1`.
    Keystone,
    /// `rate_limit_default`: `/api`.
    Rodmena,
}

impl LimitClass {
    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exempt => "none",
            Self::Native => "native",
            Self::Keystone => "api",
            Self::Rodmena => "default",
        }
    }
}

/// How many callers at their own limit one source may hold: people behind one address, or a server that asks in
/// the name of many.
pub const CALLERS_PER_SOURCE: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);

/// The general limits of one node.
#[derive(Debug)]
pub struct RequestLimits {
    native: Option<Limiter>,
    keystone: Option<Limiter>,
    rodmena: Option<Limiter>,
}

impl RequestLimits {
    /// As an operator set them.
    #[must_use]
    pub fn new(rates: &RateLimits) -> Self {
        let [native, keystone, rodmena] =
            [rates.native, rates.api, rates.default].map(|rate| rate.and_then(Limiter::new));
        Self { native, keystone, rodmena }
    }

    /// Counts a request, and says what its caller has left; nothing where there is no limit.
    ///
    /// # Errors
    /// When the limit of the caller or of its source is used up.
    pub fn take(
        &self,
        class: LimitClass,
        headers: &HeaderMap,
        source: IpAddr,
    ) -> Result<Option<Allowance>, Exceeded> {
        let limiter = match class {
            LimitClass::Exempt => &None,
            LimitClass::Native => &self.native,
            LimitClass::Keystone => &self.keystone,
            LimitClass::Rodmena => &self.rodmena,
        };
        limiter.as_ref().map(|limiter| limiter.take(headers, source)).transpose()
    }
}

struct Limiter {
    /// Keyed at random, so that nobody can make up a token that falls together with another's.
    fingerprints: RandomState,
    callers: Buckets,
    sources: Buckets,
}

impl Limiter {
    fn new(rate: Rate) -> Option<Self> {
        Some(Self {
            fingerprints: RandomState::new(),
            callers: Buckets::new(rate)?,
            sources: Buckets::new(rate.times(CALLERS_PER_SOURCE))?,
        })
    }

    fn take(&self, headers: &HeaderMap, source: IpAddr) -> Result<Allowance, Exceeded> {
        let limit = self.callers.limit;
        let own = |exceeded: Exceeded| Exceeded {
            // What a source may is ours to know; the caller is told of its own limit.
            allowance: Allowance { limit, ..exceeded.allowance },
            ..exceeded
        };
        let source = self.fingerprints.hash_one(source_of(source));
        let caller = headers.get(AUTHORIZATION).map(|token| self.fingerprints.hash_one(token.as_bytes()));
        let of_source = self.sources.take(source).map_err(own)?;
        Ok(self.callers.take(caller.unwrap_or(source))?.unwrap_or(Allowance {
            limit,
            remaining: of_source.map_or(limit, |left| left.remaining.min(limit)),
            reset_after: of_source.map_or(Duration::ZERO, |left| left.reset_after),
        }))
    }
}

impl fmt::Debug for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("limit", &self.callers.limit).finish_non_exhaustive()
    }
}

/// A bucket for each key, at most about [`MAX_KEYS`]: beyond, keys are not counted until some are full again. A
/// crowd of so many is nothing that this limit could hold off, and memory is bounded.
struct Buckets {
    limit: u32,
    /// In which one try comes back.
    interval: Duration,
    limiter: RateLimiter<u64, HashMapStateStore<u64>, Ticks, StateInformationMiddleware>,
    taken: AtomicU64,
    is_full: AtomicBool,
}

/// Some ten megabytes a class.
const MAX_KEYS: usize = 100_000;

/// Buckets that are full again are thrown away each time so many were asked.
const PRUNE_EVERY: u64 = 4096;

impl Buckets {
    fn new(rate: Rate) -> Option<Self> {
        let interval = rate.per() / rate.count().get();
        let quota = Quota::with_period(interval)?.allow_burst(rate.count());
        let limiter = RateLimiter::hashmap_with_clock(quota, Ticks(Instant::now()));
        Some(Self {
            limit: rate.count().get(),
            interval,
            limiter: limiter.with_middleware(),
            taken: AtomicU64::new(0),
            is_full: AtomicBool::new(false),
        })
    }

    /// What is left under this key; nothing where it is not counted.
    fn take(&self, key: u64) -> Result<Option<Allowance>, Exceeded> {
        if self.taken.fetch_add(1, Ordering::Relaxed) % PRUNE_EVERY == PRUNE_EVERY - 1 {
            self.prune();
        }
        if self.is_full.load(Ordering::Relaxed) {
            return Ok(None);
        }
        match self.limiter.check_key(&key) {
            Ok(state) => Ok(Some(self.left(state.remaining_burst_capacity()))),
            Err(until) => {
                let retry_after = until.wait_time_from(self.limiter.clock().now());
                Err(Exceeded { allowance: self.left(0), retry_after })
            }
        }
    }

    fn left(&self, remaining: u32) -> Allowance {
        let used = self.limit.saturating_sub(remaining);
        Allowance { limit: self.limit, remaining, reset_after: self.interval.saturating_mul(used) }
    }

    fn prune(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
        self.is_full.store(self.limiter.len() >= MAX_KEYS, Ordering::Relaxed);
    }
}

/// Tokio's clock, which tests can stop.
#[derive(Clone, Debug)]
struct Ticks(Instant);

impl Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn limits(api: &str) -> RequestLimits {
        RequestLimits::new(&RateLimits { api: Some(api.parse().unwrap()), ..RateLimits::default() })
    }

    fn take(limits: &RequestLimits, token: &str, source: u32) -> Result<Option<Allowance>, Exceeded> {
        let mut headers = HeaderMap::new();
        if !token.is_empty() {
            headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        }
        limits.take(LimitClass::Keystone, &headers, IpAddr::from(source.to_be_bytes()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_has_its_count_at_once_and_then_evenly() {
        let limits = limits("3/minute");
        for remaining in [2, 1, 0] {
            let left = take(&limits, "a", 1).unwrap().unwrap();
            assert_eq!((left.limit, left.remaining), (3, remaining));
        }
        let exceeded = take(&limits, "a", 1).unwrap_err();
        assert_eq!((exceeded.allowance.limit, exceeded.allowance.remaining), (3, 0));
        assert_eq!(exceeded.retry_after, Duration::from_secs(20));
        assert_eq!(exceeded.allowance.reset_after, Duration::from_mins(1));
        advance(Duration::from_secs(20)).await;
        assert_eq!(take(&limits, "a", 1).unwrap().unwrap().remaining, 0);
        assert!(take(&limits, "a", 1).is_err());
        advance(Duration::from_mins(1)).await;
        assert_eq!(take(&limits, "a", 1).unwrap().unwrap().remaining, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn callers_are_apart_and_strangers_are_their_source() {
        let limits = limits("1/minute");
        assert!(take(&limits, "a", 1).is_ok());
        assert!(take(&limits, "a", 2).is_err(), "wherever it comes from");
        assert!(take(&limits, "b", 1).is_ok());
        assert!(take(&limits, "", 1).is_ok());
        assert!(take(&limits, "", 1).is_err());
        assert!(take(&limits, "", 2).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn made_up_tokens_do_not_get_past_the_limit_of_their_source() {
        let limits = limits("3/minute");
        let admitted = (0..1000).filter(|n| take(&limits, &n.to_string(), 1).is_ok()).count();
        assert_eq!(admitted, 30);
        let exceeded = take(&limits, "another", 1).unwrap_err();
        assert_eq!((exceeded.allowance.limit, exceeded.allowance.remaining), (3, 0));
        assert!(take(&limits, "another", 2).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn classes_without_a_rate_are_not_counted() {
        let limits = limits("1/minute");
        for class in [LimitClass::Exempt, LimitClass::Native, LimitClass::Rodmena] {
            for _ in 0..3 {
                assert_eq!(limits.take(class, &HeaderMap::new(), [127, 0, 0, 1].into()), Ok(None));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_and_comes_back() {
        let limits = limits("1/hour");
        let keys = |limits: &RequestLimits| {
            let limiter = limits.keystone.as_ref().unwrap();
            (limiter.callers.limiter.len(), limiter.sources.limiter.len())
        };
        let most = MAX_KEYS + usize::try_from(PRUNE_EVERY).unwrap();
        for n in 0..u32::try_from(most).unwrap() * 2 {
            take(&limits, &n.to_string(), n).unwrap();
        }
        assert!(keys(&limits).0 <= most && keys(&limits).1 <= most, "{:?}", keys(&limits));
        advance(Duration::from_hours(2)).await;
        for n in 0..u32::try_from(PRUNE_EVERY).unwrap() {
            take(&limits, "", n).unwrap();
        }
        assert!(keys(&limits).0 < 2 * usize::try_from(PRUNE_EVERY).unwrap(), "{:?}", keys(&limits));
        let source = u32::MAX;
        assert!(take(&limits, "x", source).is_ok() && take(&limits, "x", source).is_err(), "it counts again");
    }
}
