//! How often something may happen, what is left of it, and who counts as one source.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// So many times in such a span: `5/minute`, `500 per hour`, `40/second`, `5 per 5 minutes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Claimed")]
pub struct Rate {
    count: NonZeroU32,
    per: Duration,
}

/// A rate as another node writes it. Its limits hold there too: no moment lies so far ahead as a span may say.
#[derive(Deserialize)]
struct Claimed {
    count: NonZeroU32,
    per: Duration,
}

impl TryFrom<Claimed> for Rate {
    type Error = BadRate;

    fn try_from(Claimed { count, per }: Claimed) -> Result<Self, BadRate> {
        Self::within_limits(count, per)
    }
}

/// Why a text is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not a rate like 5/minute, 500 per hour or 5 per 5 minutes (1 to {} times in at most a day), or off",
    Rate::MAX_COUNT
)]
pub struct BadRate;

impl Rate {
    /// The largest count.
    pub const MAX_COUNT: u32 = 1_000_000;
    /// The longest span: what is counted is remembered for as long.
    pub const MAX_PER: Duration = Duration::from_hours(24);

    /// How often, in [`Rate::per`].
    #[must_use]
    pub const fn count(self) -> NonZeroU32 {
        self.count
    }

    /// The span that the count is for; never zero.
    #[must_use]
    pub const fn per(self) -> Duration {
        self.per
    }

    /// So many times as often, for a budget that several share.
    #[must_use]
    pub const fn times(self, factor: NonZeroU32) -> Self {
        Self { count: self.count.saturating_mul(factor), per: self.per }
    }

    fn within_limits(count: NonZeroU32, per: Duration) -> Result<Self, BadRate> {
        let is_good = count.get() <= Self::MAX_COUNT && !per.is_zero() && per <= Self::MAX_PER;
        if is_good { Ok(Self { count, per }) } else { Err(BadRate) }
    }

    /// Reads a setting: a rate, or `off` for none.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse_setting(text: &str) -> Result<Option<Self>, BadRate> {
        if text.trim().eq_ignore_ascii_case("off") { Ok(None) } else { text.parse().map(Some) }
    }
}

impl FromStr for Rate {
    type Err = BadRate;

    fn from_str(text: &str) -> Result<Self, BadRate> {
        let text = text.trim().to_ascii_lowercase();
        let (count, span) = text.split_once('/').or_else(|| text.split_once(" per ")).ok_or(BadRate)?;
        let count: u32 = count.trim().parse().map_err(|_| BadRate)?;
        let span = span.trim();
        let digits = span.find(|c: char| !c.is_ascii_digit()).unwrap_or(span.len());
        let (many, unit) = span.split_at_checked(digits).ok_or(BadRate)?;
        let many: u32 = if many.is_empty() { 1 } else { many.parse().map_err(|_| BadRate)? };
        let unit = unit.trim();
        let unit = match unit.strip_suffix('s').unwrap_or(unit) {
            "second" => Duration::from_secs(1),
            "minute" => Duration::from_mins(1),
            "hour" => Duration::from_hours(1),
            "day" => Duration::from_hours(24),
            _ => return Err(BadRate),
        };
        let per = unit.checked_mul(many).ok_or(BadRate)?;
        Self::within_limits(NonZeroU32::new(count).ok_or(BadRate)?, per)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} per {}", self.count, humantime::format_duration(self.per))
    }
}

/// What a caller has left of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowance {
    /// How often in all.
    pub limit: u32,
    /// How often still.
    pub remaining: u32,
    /// Until everything is left again. A span, because clocks differ.
    pub reset_after: Duration,
}

/// A limit is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("the limit of {} is used up", allowance.limit)]
pub struct Exceeded {
    /// What is left: nothing.
    pub allowance: Allowance,
    /// Until one more try has a chance.
    pub retry_after: Duration,
}

/// What counts as one source of requests: an IPv6 host owns its whole /64.
#[must_use]
pub fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & (u128::MAX << 64)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_the_older_systems_wrote_them() {
        for (text, count, seconds) in [
            ("5/minute", 5, 60),
            ("500 per hour", 500, 3600),
            ("40/second", 40, 1),
            ("5 per 5 minutes", 5, 300),
            (" 3 / hour ", 3, 3600),
            ("1000 PER Hour", 1000, 3600),
            ("2/10seconds", 2, 10),
            ("10 per day", 10, 86_400),
            ("1000000/24 hours", 1_000_000, 86_400),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.count().get(), rate.per().as_secs()), (count, seconds), "{text}");
            assert_eq!(Rate::parse_setting(text), Ok(Some(rate)));
        }
        assert_eq!(Rate::parse_setting(" Off "), Ok(None));
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for text in [
            "",
            "5",
            "minute",
            "5/",
            "/minute",
            "0/minute",
            "-1/minute",
            "1.5/minute",
            "5/fortnight",
            "5/0 minutes",
            "5 per",
            "5perminute",
            "5/minute/hour",
            "1000001/second",
            "5 per 2 days",
            "5/99999999999 seconds",
            "5/4000000000 days",
            "offf",
            "5/é",
        ] {
            assert_eq!(Rate::parse_setting(text), Err(BadRate), "{text}");
        }
    }

    /// From another node too: the end of a window that never ends is no moment.
    #[test]
    fn what_is_no_rate_is_not_decoded() {
        let written = |count: u32, per: Duration| postcard::to_stdvec(&(count, per)).unwrap();
        let read = |bytes: Vec<u8>| postcard::from_bytes::<Rate>(&bytes).ok();
        let rate: Rate = "5/minute".parse().unwrap();
        assert_eq!(postcard::to_stdvec(&rate).unwrap(), written(5, Duration::from_mins(1)));
        assert_eq!(read(written(5, Duration::from_mins(1))), Some(rate));
        let bad = [
            (0, Rate::MAX_PER),
            (1, Duration::ZERO),
            (1, Duration::MAX),
            (Rate::MAX_COUNT + 1, Rate::MAX_PER),
        ];
        for (count, per) in bad {
            assert_eq!(read(written(count, per)), None, "{count} per {per:?}");
        }
    }

    #[test]
    fn a_source_is_an_address_or_a_network_of_ipv6() {
        let source = |text: &str| source_of(text.parse().unwrap()).to_string();
        assert_eq!(source("10.0.0.1"), "10.0.0.1");
        assert_eq!(source("::ffff:10.0.0.1"), "10.0.0.1");
        assert_eq!(source("2001:db8::1:2:3:4"), "2001:db8::");
    }
}
