//! What is known of a request before any handler sees it.

use std::cell::Cell;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use siphasher::sip128::SipHasher24;
use tokio::time::Instant;
use warp::Filter;
use warp::http::HeaderMap;

use super::stream::Upload;

/// Goes with each request, in its extensions; handlers take it with [`context`].
#[derive(Clone, Debug)]
pub struct Context {
    /// Names the request in logs, problems and the header `X-Request-Id`. From the caller if it sent a
    /// sane one, so unique only as far as the caller wishes: never a key of anything.
    pub request_id: Arc<str>,
    /// The other end of the connection. Not from a header: those can be made up.
    pub peer: SocketAddr,
    /// Whom the request comes from: the peer, or what a trusted proxy says of the caller before it.
    pub source: IpAddr,
    /// When the caller will be told that the outcome is unknown. Work for it should end before.
    pub deadline: Instant,
    /// Whether the connection is under TLS.
    pub secure: bool,
    /// The body, where the route takes it in parts.
    pub upload: Option<Upload>,
}

/// The name of the header that carries [`Context::request_id`] both ways.
pub const REQUEST_ID: &str = "x-request-id";

/// The context of the request. Outside our server (in a test of a filter) there is none, and the request
/// is rejected.
#[must_use]
pub fn context() -> impl Filter<Extract = (Context,), Error = warp::Rejection> + Copy {
    warp::ext::get::<Context>()
}

/// The context if there is one.
#[must_use]
pub fn optional_context() -> impl Filter<Extract = (Option<Context>,), Error = Infallible> + Copy {
    warp::ext::optional::<Context>()
}

/// The caller's id if it is 1 to 64 of `A-Z a-z 0-9 . _ -`, else 128 bits in hexadecimal that are met once.
pub(crate) fn request_id(headers: &HeaderMap) -> Arc<str> {
    let sane = |id: &&str| {
        (1..=64).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    match headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(sane) {
        Some(id) => id.into(),
        None => own_id().into(),
    }
}

/// The keyed hash of a number that each thread counts: unique and telling as little as random bits, which would cost
/// more than the rest of a short request.
fn own_id() -> String {
    thread_local!(static NEXT: Cell<(u64, SipHasher24)> = {
        let mut key = [0; 16];
        // Without randomness ids are met more than once, which harms nobody: they only name lines in the log.
        let _ = aws_lc_rs::rand::fill(&mut key);
        Cell::new((0, SipHasher24::new_with_key(&key)))
    });
    let (number, hash) = NEXT.get();
    NEXT.set((number.wrapping_add(1), hash));
    format!("{:032x}", hash.hash(&number.to_le_bytes()).as_u128())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sane_ids_are_taken_over() {
        let id = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, value.parse().unwrap());
            request_id(&headers)
        };
        assert_eq!(&*id("abc-DEF_1.2"), "abc-DEF_1.2");
        for bad in ["", "a b", "a\"b", "é", &"x".repeat(65)] {
            assert_eq!(id(bad).len(), 32, "{bad}");
        }
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }
}
