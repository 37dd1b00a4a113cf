//! Times as clients of this surface write them: ISO 8601, in UTC where no zone is said.

use std::time::{Duration, UNIX_EPOCH};

use crate::domain::Timestamp;

/// `2026-11-22T03:55:33.734000`: UTC without a letter that says so.
pub(crate) fn naive(at: Timestamp) -> String {
    let mut text = crate::api::reply::time(at);
    text.truncate(text.len().saturating_sub(1));
    text.push_str("000");
    text
}

/// Reads a date, or a date with a time and maybe a zone; finer parts than a millisecond are cut.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let (local, east_minutes) = match text.strip_suffix(['Z', 'z']) {
        Some(local) => (local, 0),
        None => split_offset(text)?,
    };
    let local = if local.len() == DATE_LENGTH { format!("{local}T00:00:00") } else { local.to_owned() };
    let at = humantime::parse_rfc3339_weak(&local).ok()?.duration_since(UNIX_EPOCH).ok()?;
    let shift = Duration::from_secs(60 * u64::from(east_minutes.unsigned_abs()));
    let at = if east_minutes < 0 { at.checked_add(shift)? } else { at.checked_sub(shift)? };
    u64::try_from(at.as_millis()).ok().map(Timestamp)
}

/// `2026-11-22`
const DATE_LENGTH: usize = 10;

/// Cuts `+hh:mm` or `+hhmm` off, in minutes east of Greenwich. A date has `-` too, so only what follows it counts.
fn split_offset(text: &str) -> Option<(&str, i16)> {
    let Some(at) = text.rfind(['+', '-']).filter(|at| *at > DATE_LENGTH) else { return Some((text, 0)) };
    let (local, offset) = text.split_at(at);
    let (sign, digits) = if offset.starts_with('-') { (-1, offset) } else { (1, offset) };
    let digits = digits.get(1..)?;
    let (hours, minutes) = digits.split_once(':').or_else(|| digits.split_at_checked(2))?;
    if hours.len() != 2
        || minutes.len() != 2
        || !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b':')
    {
        return None;
    }
    let (hours, minutes): (i16, i16) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some((local, sign * (hours * 60 + minutes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_with_microseconds_and_no_zone() {
        assert_eq!(naive(Timestamp(1_795_617_180_123)), "2026-11-25T14:33:00.123000");
        assert_eq!(naive(Timestamp(0)), "1970-01-01T00:00:00.000000");
        assert_eq!(parse(&naive(Timestamp(1_795_617_180_123))), Some(Timestamp(1_795_617_180_123)));
    }

    #[test]
    fn every_spelling_of_a_moment_is_read() {
        let at = Timestamp(1_795_617_180_000);
        for text in [
            "2026-11-25T14:33:00",
            "2026-11-25 14:33:00",
            "2026-11-25T14:33:00Z",
            "2026-11-25T14:33:00z",
            " 2026-11-25T14:33:00.000000+00:00 ",
            "2026-11-25T14:33:00-00:00",
            "2026-11-25T16:03:00+01:30",
            "2026-11-25T16:03:00+0130",
            "2026-11-25T09:33:00-05:00",
        ] {
            assert_eq!(parse(text), Some(at), "{text}");
        }
        assert_eq!(parse("2026-11-25"), Some(Timestamp(1_795_564_800_000)));
        assert_eq!(parse("2026-11-25T14:33:00.123456"), Some(Timestamp(1_795_617_180_123)));
        for bad in [
            "",
            "Z",
            "now",
            "2026",
            "2026-13-01",
            "2026-11-25T25:00:00",
            "2026-11-25T14:33:00+1:30",
            "2026-11-25T14:33:00+24:00",
            "2026-11-25T14:33:00+01:60",
            "2026-11-25T14:33:00+é0",
            "1969-12-31T23:59:59",
            "1970-01-01T00:00:00+00:01",
            "1795617180",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
