//! Which web pages of other origins may read our replies.

use std::collections::BTreeSet;

use warp::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HeaderValue,
    ORIGIN, VARY,
};
use warp::http::{HeaderMap, Method, StatusCode};
use warp::reply::Response;

/// The allowed origins; none by default.
///
/// # Why
/// There is never `Access-Control-Allow-Credentials`: our callers send their token in a header that they set
/// themselves, so a browser needs no ambient credentials here. That is also why `*` can be allowed at all.
/// It is answered as `*`, never as the origin that asks, so that no cache and no browser takes the grant for
/// one to that origin.
#[derive(Clone, Debug, Default)]
pub struct Cors(Allowed);

#[derive(Clone, Debug)]
enum Allowed {
    All,
    These(BTreeSet<String>),
}

impl Default for Allowed {
    fn default() -> Self {
        Self::These(BTreeSet::new())
    }
}

impl Cors {
    /// Takes origins as browsers spell them, `https://app.example.com`; with `*` among them all are allowed.
    pub fn new(origins: impl IntoIterator<Item = String>) -> Self {
        let origins: BTreeSet<String> = origins.into_iter().collect();
        Self(if origins.contains("*") { Allowed::All } else { Allowed::These(origins) })
    }

    /// What is granted to the origin of a request, if anything.
    fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        match &self.0 {
            Allowed::All => Some(HeaderValue::from_static("*")),
            Allowed::These(origins) => {
                origin.to_str().is_ok_and(|origin| origins.contains(origin)).then(|| origin.clone())
            }
        }
    }

    /// The reply to a preflight of an allowed origin. Others go the way of any request and get no grant.
    pub(super) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<Response> {
        if method != Method::OPTIONS || !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        self.allowed(headers)?;
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NO_CONTENT;
        let granted = response.headers_mut();
        granted
            .insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE"));
        granted.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static(
                "authorization, content-type, if-match, idempotency-key, x-account-id, x-request-id",
            ),
        );
        granted.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        Some(response)
    }

    /// Grants reading to the origin of the request, if it is allowed.
    pub(super) fn grant(&self, request: &HeaderMap, response: &mut HeaderMap) {
        match &self.0 {
            // The same for all.
            Allowed::All => {}
            Allowed::These(origins) if origins.is_empty() => return,
            Allowed::These(_) => drop(response.append(VARY, HeaderValue::from_static("origin"))),
        }
        if let Some(origin) = self.allowed(request) {
            response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            response.insert(
                ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static(
                    "conclave-revision, etag, location, retry-after, x-ratelimit-limit, x-ratelimit-remaining, \
                     x-ratelimit-reset, x-request-id",
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(origin: &str, preflight: bool) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, origin.parse().unwrap());
        if preflight {
            headers.insert(ACCESS_CONTROL_REQUEST_METHOD, "PUT".parse().unwrap());
        }
        headers
    }

    #[test]
    fn all_are_granted_as_all_and_never_with_credentials() {
        let cors = Cors::new(["*".to_owned()]);
        for origin in ["https://app.example.com", "null"] {
            let mut reply = HeaderMap::new();
            cors.grant(&request(origin, false), &mut reply);
            assert_eq!(reply[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
            assert!(!reply.contains_key("access-control-allow-credentials") && !reply.contains_key(VARY));
            assert!(cors.preflight(&Method::OPTIONS, &request(origin, true)).is_some());
        }
        let mut reply = HeaderMap::new();
        cors.grant(&HeaderMap::new(), &mut reply);
        assert!(reply.is_empty());
    }

    #[test]
    fn only_listed_origins_are_granted() {
        let cors = Cors::new(["https://app.example.com".to_owned()]);
        for (origin, granted) in [
            ("https://app.example.com", true),
            ("http://app.example.com", false),
            ("https://app.example.com.evil.org", false),
            ("https://APP.example.com", false),
            ("null", false),
            ("*", false),
        ] {
            let mut reply = HeaderMap::new();
            cors.grant(&request(origin, false), &mut reply);
            assert_eq!(reply.get(ACCESS_CONTROL_ALLOW_ORIGIN).is_some(), granted, "{origin}");
            assert_eq!(reply[VARY], "origin");
            assert!(!reply.contains_key("access-control-allow-credentials"));
            assert_eq!(
                cors.preflight(&Method::OPTIONS, &request(origin, true)).is_some(),
                granted,
                "{origin}"
            );
        }
        assert!(cors.preflight(&Method::OPTIONS, &request("https://app.example.com", false)).is_none());
        assert!(cors.preflight(&Method::PUT, &request("https://app.example.com", true)).is_none());
    }
}
