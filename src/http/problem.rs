//! What a caller is told when a request is not done: one value, rendered in the shape of each surface.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use warp::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use warp::http::{HeaderMap, StatusCode};
use warp::reject::Reject;
use warp::reply::{Reply, Response};

/// An error as the caller sees it.
///
/// Handlers return it as their reply; the router renders it with the [`Render`] of the surface that was
/// asked and adds the id of the request. So a handler never spells an error body.
///
/// Nothing in it may be secret or tell more than the caller may know.
#[derive(Clone, Debug)]
pub struct Problem(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
    retry_after_s: Option<u64>,
    extra: BTreeMap<&'static str, Value>,
    headers: HeaderMap,
}

/// Writes a problem in the shape of one surface.
pub type Render = fn(&Problem, &Asked<'_>) -> Response;

/// What of a request an error body may tell.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'r> {
    /// Names the request in the log.
    pub request_id: &'r str,
    /// Its path as it came, without the query, which may hold what is nobody's business.
    pub path: &'r str,
}

impl Problem {
    /// A problem with a stable `code` in `snake_case` (clients match on it) and one sentence of detail.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            status,
            code,
            title: status.canonical_reason().unwrap_or("Error"),
            detail: detail.into(),
            retry_after_s: None,
            extra: BTreeMap::new(),
            headers: HeaderMap::new(),
        }))
    }

    /// 400: the request itself is wrong and stays wrong when repeated.
    pub fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 401 with the challenge `Bearer`.
    pub fn unauthenticated(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, detail)
            .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// 403: the caller is known and may not do this.
    pub fn forbidden(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    /// 404: no such thing, or none that this caller may know of.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// 409: the state of things forbids it.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 412: a revision that the caller asked for is not the current one.
    pub fn precondition_failed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", detail)
    }

    /// 413: the body is over the limit.
    #[must_use]
    pub fn too_large(limit_bytes: usize) -> Self {
        let detail = format!("The body is longer than {limit_bytes} bytes.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
    }

    /// 415: the body is not JSON by its own account.
    #[must_use]
    pub fn unsupported_media_type() -> Self {
        let detail = "The body must be JSON, with Content-Type: application/json.";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
    }

    /// 503 with `Retry-After`: not now, and nothing is wrong with the request.
    pub fn unavailable(code: &'static str, detail: impl Into<String>, retry_after_s: u64) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(retry_after_s)
    }

    /// 500 that tells nothing but the id of the request. The cause belongs in the log.
    #[must_use]
    pub fn internal() -> Self {
        let detail = "Something went wrong on this node. The log has the details under the request id.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// Says after how many seconds a retry makes sense.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after_s = Some(seconds);
        self
    }

    /// Adds a member to the body. The standard members cannot be replaced.
    #[must_use]
    pub fn with(mut self, member: &'static str, value: impl Into<Value>) -> Self {
        self.0.extra.insert(member, value.into());
        self
    }

    /// Adds a header to the reply.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// Replaces the title, which is the name of the status otherwise.
    #[must_use]
    pub fn with_title(mut self, title: &'static str) -> Self {
        self.0.title = title;
        self
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// The sentence for people.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The members beyond the standard ones.
    #[must_use]
    pub fn extra(&self) -> &BTreeMap<&'static str, Value> {
        &self.0.extra
    }

    /// A reply with this problem's status and headers and the given body, for a [`Render`].
    pub fn reply_with(&self, content_type: &'static str, body: &impl Serialize) -> Response {
        let mut response = Response::new(serde_json::to_vec(body).unwrap_or_default().into());
        *response.status_mut() = self.0.status;
        let headers = response.headers_mut();
        headers.extend(self.0.headers.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(seconds) = self.0.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl Reply for Problem {
    /// An empty reply that carries the problem to the router, which gives it its body.
    fn into_response(self) -> Response {
        let mut response = Response::default();
        *response.status_mut() = self.0.status;
        response.extensions_mut().insert(self);
        response
    }
}

/// For filters that must reject. Handlers reply instead: a rejection lets the next route try.
impl Reject for Problem {}

/// RFC 9457: `application/problem+json` with `code` and `request_id`. The shape of the native API.
#[must_use]
pub fn native(problem: &Problem, asked: &Asked<'_>) -> Response {
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(rename = "type")]
        kind: String,
        title: &'a str,
        status: u16,
        detail: &'a str,
        code: &'a str,
        request_id: &'a str,
        #[serde(flatten)]
        extra: BTreeMap<&'static str, &'a Value>,
    }
    const STANDARD: [&str; 7] = ["type", "title", "status", "detail", "instance", "code", "request_id"];
    let parts = &problem.0;
    let body = Body {
        kind: format!("urn:conclave:problem:{}", parts.code),
        title: parts.title,
        status: parts.status.as_u16(),
        detail: &parts.detail,
        code: parts.code,
        request_id: asked.request_id,
        extra: parts.extra.iter().filter(|(k, _)| !STANDARD.contains(k)).map(|(k, v)| (*k, v)).collect(),
    };
    problem.reply_with("application/problem+json", &body)
}

/// `{"detail": …}`, the shape that clients of `/iam/v1` expect, with `code` and `request_id` beside it.
#[must_use]
pub fn detail(problem: &Problem, asked: &Asked<'_>) -> Response {
    #[derive(Serialize)]
    struct Body<'a> {
        detail: &'a str,
        code: &'a str,
        request_id: &'a str,
    }
    let parts = &problem.0;
    let body = Body { detail: &parts.detail, code: parts.code, request_id: asked.request_id };
    problem.reply_with("application/json", &body)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    const fn asked(request_id: &str) -> Asked<'_> {
        Asked { request_id, path: "/here" }
    }

    async fn json(response: Response) -> Value {
        let body = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }

    #[tokio::test]
    async fn native_is_a_problem_document_whose_standard_members_cannot_be_replaced() {
        let problem = Problem::conflict("user_name_taken", "Taken.").with("code", "x").with("field", "name");
        let response = native(&problem.retry_after(3), &asked("r1"));
        assert_eq!(response.status(), 409);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()["retry-after"], "3");
        assert_eq!(
            json(response).await,
            serde_json::json!({
                "type": "urn:conclave:problem:user_name_taken", "title": "Conflict", "status": 409,
                "detail": "Taken.", "code": "user_name_taken", "request_id": "r1", "field": "name",
            })
        );
    }

    #[tokio::test]
    async fn detail_keeps_status_and_challenge() {
        let response = detail(&Problem::unauthenticated("bad_token", "No."), &asked("r2"));
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        assert_eq!(
            json(response).await,
            serde_json::json!({"detail": "No.", "code": "bad_token", "request_id": "r2"})
        );
    }
}
