//! The shapes of answers: a bare result, an envelope, and the envelope of refusals.

use std::collections::BTreeMap;

use conclave_cluster::state::View;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use warp::http::StatusCode;
use warp::reply::Response;

use super::time::naive;
use super::{Api, Operation};
use crate::api::reply;
use crate::clock::{Clock, SystemClock};
use crate::domain::Timestamp;
use crate::http::problem::{Asked, Problem};

/// `{"result": ...}`
#[derive(Serialize)]
struct Bare<T> {
    result: T,
}

#[derive(Serialize)]
struct Envelope<'m, T> {
    success: bool,
    code: u16,
    message: &'m str,
    data: T,
    timestamp: String,
}

/// A result without more, as it is in `rows`.
pub(super) fn bare(rows: &View, result: impl Serialize) -> Response {
    reply::at(rows.revision(), StatusCode::OK, &Bare { result })
}

/// Data in an envelope, as they are in `rows`.
pub(super) fn envelope(api: &Api, rows: &View, message: &str, data: impl Serialize) -> Response {
    let timestamp = naive(api.app.now(rows));
    let body = Envelope { success: true, code: 200, message, data, timestamp };
    reply::at(rows.revision(), StatusCode::OK, &body)
}

/// That a write is forbidden by how things are.
#[derive(Serialize, ToSchema)]
#[schema(as = AuthzConflict)]
pub(super) struct Conflict<'h> {
    /// `false`
    result: bool,
    reason: &'static str,
    /// What helps.
    hint: &'h str,
}

/// A write that a strict account or a secret given out before forbids.
pub(super) fn conflict(rows: &View, reason: &'static str, hint: &str) -> Response {
    reply::at(rows.revision(), StatusCode::CONFLICT, &Conflict { result: false, reason, hint })
}

/// `{"success": false, "code", "message", "details", "timestamp"}`. What other surfaces say beside the sentence for
/// people stands in `details`.
#[must_use]
pub fn render(problem: &Problem, asked: &Asked<'_>) -> Response {
    #[derive(Serialize)]
    struct Refusal<'a> {
        success: bool,
        code: u16,
        message: &'a str,
        details: BTreeMap<&'a str, Value>,
        timestamp: String,
    }
    let mut details: BTreeMap<&str, Value> =
        problem.extra().iter().map(|(member, value)| (*member, value.clone())).collect();
    details.insert("code", problem.code().into());
    details.insert("request_id", asked.request_id.into());
    let body = Refusal {
        success: false,
        code: problem.status().as_u16(),
        message: problem.detail(),
        details,
        timestamp: naive(Timestamp(SystemClock.now().0)),
    };
    problem.reply_with("application/json", &body)
}

/// For the API document: an operation that answers with a bare list of these.
pub(super) fn lists<T: ToSchema>(operation: Operation) -> Operation {
    operation.by_key().gives_within::<T>(|item| bare_schema(&json!({"type": "array", "items": item})))
}

/// For the API document: an operation that answers with a bare yes or no.
pub(super) fn answers(operation: Operation) -> Operation {
    operation.by_key().gives_schema(bare_schema(&json!({"type": "boolean"})))
}

/// For the API document: an operation that answers with these data in an envelope.
pub(super) fn wraps<T: ToSchema>(operation: Operation) -> Operation {
    operation.by_key().gives_within::<T>(|data| envelope_schema(&data))
}

/// The same for a list of them.
pub(super) fn wraps_list<T: ToSchema>(operation: Operation) -> Operation {
    operation.by_key().gives_within::<T>(|item| envelope_schema(&json!({"type": "array", "items": item})))
}

fn bare_schema(result: &Value) -> Value {
    json!({"type": "object", "required": ["result"], "properties": {"result": result}})
}

fn envelope_schema(data: &Value) -> Value {
    json!({
        "type": "object",
        "required": ["success", "code", "message", "data", "timestamp"],
        "properties": {
            "success": {"type": "boolean", "enum": [true]},
            "code": {"type": "integer", "enum": [200]},
            "message": {"type": "string"},
            "data": data,
            "timestamp": {"type": "string", "description": "In UTC, without a letter that says so."},
        },
    })
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_refusal_is_an_envelope() {
        let problem = Problem::unavailable("no_leader", "Not now.", 1).with("field", "x");
        let response = render(&problem, &Asked { request_id: "r1", path: "/api" });
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(response.headers()["content-type"], "application/json");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let mut body: Value = serde_json::from_slice(&body).unwrap();
        let timestamp = body["timestamp"].take();
        assert_eq!(timestamp.as_str().map(str::len), Some("2026-11-22T03:55:33.734497".len()));
        let details = json!({"code": "no_leader", "request_id": "r1", "field": "x"});
        assert_eq!(
            body,
            json!({"success": false, "code": 503, "message": "Not now.", "details": details, "timestamp": null})
        );
    }
}
