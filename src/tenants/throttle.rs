//! How often something was tried: fixed windows, one for each budget.
//!
//! A window begins with its first try and ends after the rate's span; within it so many tries are let
//! through as the rate says. So a caller has at most twice the count in any one span (the end of one window and
//! the beginning of the next), and never more than the count from a window's beginning.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::rate::{Allowance, Exceeded, Rate};

/// What is limited for the cluster as a whole. Travels between nodes: grows at the end only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Gate {
    /// Signing in with a password.
    SignIn,
    /// Using a refresh token.
    Refresh,
    /// Signing in with an API key or a client secret.
    Service,
    /// Signing up and registering.
    Register,
}

impl Gate {
    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SignIn => "login",
            Self::Refresh => "refresh",
            Self::Service => "service",
            Self::Register => "register",
        }
    }
}

/// Who is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whose {
    /// All tries from one source.
    Source(IpAddr),
    /// All tries with one name, by its digest.
    Login([u8; 16]),
}

/// One budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Budget {
    pub(super) gate: Gate,
    pub(super) whose: Whose,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    ends: Instant,
    used: u32,
}

/// The windows of one account. At most [`MAX_WINDOWS`]: beyond, those that end first are forgotten, so that
/// whoever comes from so many sources gains a window, and nobody else loses one.
#[derive(Debug, Default)]
pub(super) struct Throttle(BTreeMap<Budget, Window>);

/// About six megabytes of an account that is attacked from everywhere.
pub(super) const MAX_WINDOWS: usize = 65_536;

impl Throttle {
    /// Takes one try out of a budget.
    pub(super) fn take(&mut self, budget: Budget, rate: Rate, now: Instant) -> Result<Allowance, Exceeded> {
        self.make_room(now);
        let fresh = Window { ends: now + rate.per(), used: 0 };
        let window = self.0.entry(budget).or_insert(fresh);
        if window.ends <= now {
            *window = fresh;
        }
        let limit = rate.count().get();
        let reset_after = window.ends.saturating_duration_since(now);
        if window.used >= limit {
            let allowance = Allowance { limit, remaining: 0, reset_after };
            return Err(Exceeded { allowance, retry_after: reset_after });
        }
        window.used += 1;
        Ok(Allowance { limit, remaining: limit - window.used, reset_after })
    }

    /// Whether anything is counted still. What is over is forgotten.
    pub(super) fn is_live(&mut self, now: Instant) -> bool {
        self.0.retain(|_, window| window.ends > now);
        !self.0.is_empty()
    }

    fn make_room(&mut self, now: Instant) {
        if self.0.len() < MAX_WINDOWS || self.is_live(now) && self.0.len() < MAX_WINDOWS {
            return;
        }
        let mut ends: Vec<Instant> = self.0.values().map(|window| window.ends).collect();
        // Half of them at once, so that room is not made for every single one.
        let (_, median, _) = ends.select_nth_unstable(MAX_WINDOWS / 2);
        let median = *median;
        self.0.retain(|_, window| window.ends > median);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn of_source(n: u32) -> Budget {
        Budget { gate: Gate::SignIn, whose: Whose::Source(IpAddr::from(n.to_be_bytes())) }
    }

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    #[test]
    fn a_budget_is_used_up_and_comes_back_whole() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for (second, remaining) in [(0, 2), (10, 1), (59, 0)] {
            let left = throttle.take(of_source(1), rate("3/minute"), at(second)).unwrap();
            assert_eq!((left.limit, left.remaining), (3, remaining));
            assert_eq!(left.reset_after, Duration::from_secs(60 - second));
        }
        let exceeded = throttle.take(of_source(1), rate("3/minute"), at(59)).unwrap_err();
        assert_eq!((exceeded.allowance.remaining, exceeded.retry_after), (0, Duration::from_secs(1)));
        assert_eq!(throttle.take(of_source(1), rate("3/minute"), at(60)).unwrap().remaining, 2);
    }

    #[test]
    fn budgets_are_apart() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let others = [
            of_source(2),
            Budget { gate: Gate::Refresh, ..of_source(1) },
            Budget { gate: Gate::SignIn, whose: Whose::Login([1; 16]) },
            Budget { gate: Gate::SignIn, whose: Whose::Login([2; 16]) },
        ];
        assert!(throttle.take(of_source(1), rate("1/hour"), now).is_ok());
        assert!(throttle.take(of_source(1), rate("1/hour"), now).is_err());
        for budget in others {
            assert!(throttle.take(budget, rate("1/hour"), now).is_ok(), "{budget:?}");
        }
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        throttle.take(of_source(1), rate("1/minute"), now).unwrap();
        throttle.take(of_source(2), rate("1/hour"), now).unwrap();
        assert!(throttle.is_live(now + Duration::from_mins(59)));
        assert_eq!(throttle.0.len(), 1);
        assert!(!throttle.is_live(now + Duration::from_hours(1)));
    }

    /// Tries from everywhere: memory stays bounded, and the latest are the ones that are remembered.
    #[test]
    fn memory_is_bounded_and_the_newest_stay() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let sources = u32::try_from(MAX_WINDOWS).unwrap() * 2;
        for n in 0..sources {
            let at = now + Duration::from_millis(n.into());
            throttle.take(of_source(n), rate("1/day"), at).unwrap();
            assert!(throttle.0.len() <= MAX_WINDOWS);
        }
        let end = now + Duration::from_millis(sources.into());
        assert!(throttle.take(of_source(sources - 1), rate("1/day"), end).is_err());
        assert!(throttle.take(of_source(0), rate("1/day"), end).is_ok(), "the oldest has gained a window");
        // Where all is over, all room is there.
        let later = end + Duration::from_hours(25);
        throttle.take(of_source(1), rate("1/day"), later).unwrap();
        assert!(throttle.is_live(later) && throttle.0.len() == 1);
    }
}
