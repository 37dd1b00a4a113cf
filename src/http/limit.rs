//! How a caller is told what is left of a limit.
//!
//! `X-RateLimit-Limit`, `-Remaining` and `-Reset` as the clients of the older systems know them; there is no
//! standard of that name. A reply carries them when its extensions hold an [`Allowance`].

use std::time::Duration;

use warp::http::header::{HeaderName, HeaderValue};
use warp::http::{HeaderMap, StatusCode};

use super::problem::Problem;
use crate::clock::LogTime;
use crate::rate::{Allowance, Exceeded};

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Writes the headers. `-Reset` is a time in seconds since 1970, rounded up so that it is never too early.
pub(super) fn tell(headers: &mut HeaderMap, left: Allowance, now: LogTime) {
    let reset = u128::from(now.0) + left.reset_after.as_millis();
    headers.insert(LIMIT, left.limit.into());
    headers.insert(REMAINING, left.remaining.into());
    headers.insert(RESET, HeaderValue::from(u64::try_from(reset.div_ceil(1000)).unwrap_or(u64::MAX)));
}

/// 429 (RFC 6585 section 4) with `Retry-After` and the same number as the member `retry_after`.
#[must_use]
pub fn exceeded(exceeded: Exceeded) -> Problem {
    let seconds = whole_seconds(exceeded.retry_after);
    let detail = format!("Too many requests; the next may come in {seconds} s. Nothing was done.");
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", detail)
        .retry_after(seconds)
        .with("retry_after", seconds)
}

/// Whole seconds, at least one: who comes back then does not come too early.
fn whole_seconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis().div_ceil(1000)).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_whole_seconds() {
        let left = Allowance { limit: 5, remaining: 2, reset_after: Duration::from_millis(59_001) };
        let mut headers = HeaderMap::new();
        tell(&mut headers, left, LogTime(1_000_500));
        assert_eq!(headers[LIMIT], "5");
        assert_eq!(headers[REMAINING], "2");
        assert_eq!(headers[RESET], "1060");
        for (ms, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_999, 60)] {
            assert_eq!(whole_seconds(Duration::from_millis(ms)), seconds);
        }
    }

    #[test]
    fn a_refusal_says_when_to_come_back_in_header_and_body() {
        let allowance = Allowance { limit: 5, remaining: 0, reset_after: Duration::from_mins(1) };
        let problem = exceeded(Exceeded { allowance, retry_after: Duration::from_millis(11_001) });
        let response = crate::http::problem::native(
            &problem,
            &crate::http::problem::Asked { request_id: "r", path: "/" },
        );
        assert_eq!(
            (response.status(), problem.code()),
            (StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded")
        );
        assert_eq!(response.headers()["retry-after"], "12");
        assert_eq!(problem.extra()["retry_after"], 12);
    }
}
