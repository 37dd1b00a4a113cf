//! How often credentials were tried and tokens given, for metrics.
//!
//! Label values are the constants here: nothing that a caller sends names a series.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::Failure;
use super::tokens::Tokens;
use crate::domain::{Principal, Rejection, session};

/// The counts of one node since its start. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    attempts: Family<Attempt, Counter>,
    tokens: Family<Generated, Counter>,
    limited: Family<Limited, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Attempt {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Generated {
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Limited {
    limit: &'static str,
}

const SUCCESS: &str = "success";
/// Wrong, unknown, disabled, expired or spent.
const REFUSED: &str = "refused";
/// Not judged: too much was waiting.
const BUSY: &str = "busy";
/// Not judged, or the outcome is unknown.
const UNAVAILABLE: &str = "unavailable";
const ERROR: &str = "error";
const ACCESS: &str = "access";
const REFRESH: &str = "refresh";
/// An access token of a program that proved itself as an OAuth client.
const SERVICE: &str = "service";

impl Counts {
    /// Every series, at zero: a rate over a series that appears with its first count misses that count.
    #[must_use]
    pub fn new() -> Self {
        let counts = Self::default();
        for result in [SUCCESS, REFUSED, BUSY, UNAVAILABLE, ERROR] {
            drop(counts.attempts.get_or_create(&Attempt { result }));
        }
        for r#type in [ACCESS, REFRESH, SERVICE] {
            drop(counts.tokens.get_or_create(&Generated { r#type }));
        }
        counts
    }

    /// Makes the counts known to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        let (attempts, tokens) = (self.attempts.clone(), self.tokens.clone());
        registry.register("auth_attempts", "Passwords, API keys and refresh tokens tried", attempts);
        registry.register("tokens_generated", "Tokens given to clients", tokens);
        let limited = self.limited.clone();
        registry.register("conclave_rate_limited", "Requests turned away by a limit", limited);
    }

    /// Counts a request that was turned away by a limit of that name.
    pub fn limited(&self, limit: &'static str) {
        self.limited.get_or_create(&Limited { limit }).inc();
    }

    /// Counts what became of a try to sign in or to refresh, and the tokens it gave.
    pub(super) fn tried(&self, tokens: &Result<Tokens, Failure>) {
        self.guessed(tokens);
        if let Ok(tokens) = tokens {
            let is_client = tokens.session.grant.family == session::Family::Keystone
                && matches!(tokens.session.principal, Principal::Service(_));
            self.generated(if is_client { SERVICE } else { ACCESS });
            if tokens.refresh.is_some() {
                self.generated(REFRESH);
            }
        }
    }

    /// Counts what became of a try that gives its client no token.
    pub(super) fn guessed<T>(&self, tried: &Result<T, Failure>) {
        let result = tried.as_ref().err().map_or(SUCCESS, outcome);
        self.attempts.get_or_create(&Attempt { result }).inc();
    }

    fn generated(&self, kind: &'static str) {
        self.tokens.get_or_create(&Generated { r#type: kind }).inc();
    }
}

fn outcome(failure: &Failure) -> &'static str {
    match failure {
        Failure::Rejected(Rejection::Damaged | Rejection::UnknownCommand) | Failure::Internal(_) => ERROR,
        Failure::Rejected(_)
        | Failure::Password(_)
        | Failure::WeakPassword(_)
        | Failure::PasswordExpired { .. }
        | Failure::Locked { .. }
        | Failure::Disabled
        | Failure::NothingGranted
        | Failure::SwitchedOff { .. }
        | Failure::Endangers(_)
        | Failure::KeyReused => REFUSED,
        Failure::Busy { .. } | Failure::Limited(_) => BUSY,
        Failure::Unavailable(_) | Failure::Revision(_) | Failure::NotReady | Failure::Upgrading(_) => {
            UNAVAILABLE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    #[test]
    fn all_series_are_there_before_they_count() {
        let (counts, metrics) = (Counts::new(), Metrics::new());
        metrics.register(|registry| counts.register(registry));
        counts.tried(&Err(Rejection::BadCredentials.into()));
        counts.tried(&Err(Failure::NotReady));
        let text = metrics.render();
        for line in [
            "auth_attempts_total{result=\"success\"} 0",
            "auth_attempts_total{result=\"refused\"} 1",
            "auth_attempts_total{result=\"busy\"} 0",
            "auth_attempts_total{result=\"unavailable\"} 1",
            "auth_attempts_total{result=\"error\"} 0",
            "tokens_generated_total{type=\"access\"} 0",
            "tokens_generated_total{type=\"refresh\"} 0",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
