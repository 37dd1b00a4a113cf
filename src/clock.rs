//! Time as the rest sees it: the clock of the cluster crate, and RFC 3339 texts.

use std::time::{Duration, UNIX_EPOCH};

pub use conclave_cluster::{Clock, LogTime, SystemClock};

/// `2026-11-23T14:33:00.123Z`: UTC, always with milliseconds, so that texts sort as times do.
#[must_use]
pub fn rfc3339(time: LogTime) -> String {
    // Far beyond the year 9999 there is no RFC 3339 text; such a time is shown as the last one there is.
    let at = UNIX_EPOCH + Duration::from_millis(time.0.min(LAST_MS));
    humantime::format_rfc3339_millis(at).to_string()
}

/// Reads an RFC 3339 time in UTC (`Z`), with or without fractions; finer ones than a millisecond are cut.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<LogTime> {
    let since = humantime::parse_rfc3339(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok().map(LogTime)
}

/// 9999-12-31T23:59:59.999Z.
const LAST_MS: u64 = 253_402_300_799_999;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_to_text_and_back() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_617_180_123, "2026-11-25T14:33:00.123Z"),
            (LAST_MS, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(LogTime(ms)), text);
            assert_eq!(parse_rfc3339(text), Some(LogTime(ms)));
        }
        assert_eq!(rfc3339(LogTime(u64::MAX)), "9999-12-31T23:59:59.999Z");
        assert_eq!(parse_rfc3339("1970-01-01T00:00:01Z"), Some(LogTime(1000)));
        for bad in ["", "1969-12-31T23:59:59Z", "1970-01-01", "1970-01-01T00:00:00+01:00", "now"] {
            assert_eq!(parse_rfc3339(bad), None, "{bad}");
        }
    }
}
