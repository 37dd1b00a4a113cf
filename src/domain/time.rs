//! Moments and spans. `apply` knows no clock: each moment comes from the leader's stamp of an entry.

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(pub u64);

/// How long something lasts, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lifetime(pub u64);

impl Timestamp {
    /// The moment `lifetime` later, at most the end of time.
    #[must_use]
    pub const fn plus(self, lifetime: Lifetime) -> Self {
        Self(self.0.saturating_add(lifetime.0))
    }

    /// Whole seconds since 1970, as tokens carry them (RFC 7519 section 2, `NumericDate`).
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0 / 1_000
    }
}

impl Lifetime {
    /// A span of whole seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000))
    }

    /// Whole seconds.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0 / 1_000
    }
}
