//! Errors in the shape of this surface, with its codes (contract part 4.2).

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use warp::http::StatusCode;
use warp::http::header::{HeaderValue, WWW_AUTHENTICATE};
use warp::reply::Response;

use crate::api::Api;
use crate::api::reply::time;
use crate::app::Failure;
use crate::app::caller::BadToken;
use crate::clock::{Clock, SystemClock, rfc3339};
use crate::domain::{Noun, Rejection};
use crate::http::problem::{Asked, Problem};

/// The member of a problem that holds one text for each fault.
pub(super) const DETAILS: &str = "details";

/// `{"error", "error_description", "timestamp", "path", "details"}`, with whatever else the problem tells.
#[must_use]
pub(in crate::api) fn render(problem: &Problem, asked: &Asked<'_>) -> Response {
    #[derive(Serialize)]
    struct Body<'a> {
        error: &'a str,
        error_description: &'a str,
        timestamp: String,
        path: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        details: Option<Value>,
        #[serde(flatten)]
        extra: BTreeMap<&'static str, &'a Value>,
    }
    const STANDARD: [&str; 6] = ["error", "error_description", "timestamp", "path", DETAILS, "field"];
    let has_field = problem.extra().contains_key("field");
    let details = problem.extra().get(DETAILS).cloned();
    let body = Body {
        error: code(problem.code()),
        error_description: problem.detail(),
        timestamp: rfc3339(SystemClock.now()),
        path: asked.path,
        details: details.or_else(|| has_field.then(|| Value::from(vec![problem.detail()]))),
        extra: problem.extra().iter().filter(|(k, _)| !STANDARD.contains(k)).map(|(k, v)| (*k, v)).collect(),
    };
    problem.reply_with("application/json", &body)
}

/// The code that clients know, for those that the rest of the program has another word for.
fn code(ours: &'static str) -> &'static str {
    match ours {
        "email_taken" | "name_taken" | "role_exists" | "id_taken" => "conflict",
        "invalid_value" | "invalid_password" | "weak_password" | "limit_reached" => "validation_failed",
        "bad_credentials" | "bad_refresh_token" => "invalid_grant",
        "no_token" | "unauthenticated" => "invalid_token",
        "forbidden" => "insufficient_scope",
        "route_not_found" => "not_found",
        "invalid_json"
        | "invalid_form"
        | "invalid_query"
        | "invalid_header"
        | "duplicate_parameter"
        | "duplicate_header" => "invalid_request",
        other => other,
    }
}

/// Input with these faults.
pub(super) fn invalid(faults: Vec<String>) -> Problem {
    let detail = "The request is not acceptable; see the details.";
    Problem::bad_request("validation_failed", detail).with(DETAILS, faults)
}

/// Why a person is not signed in. That somebody is disabled or locked out is told only to who knows the password.
pub(super) fn of_sign_in(api: &Api, failure: Failure) -> Problem {
    if failure == Failure::Rejected(Rejection::BadCredentials) {
        return Problem::unauthenticated("invalid_grant", "The username or the password is wrong.");
    }
    of_person(api, failure)
}

/// Why somebody who gave the right password is refused.
pub(super) fn of_person(api: &Api, failure: Failure) -> Problem {
    if failure == Failure::Disabled {
        return Problem::forbidden("account_disabled", "The user account is disabled.");
    }
    if let Failure::Locked { until } = failure {
        let now = api.app.now(&api.app.cluster.view());
        let seconds = until.0.saturating_sub(now.0).div_ceil(1_000).max(1);
        let detail = "The user account is locked for a while, after too many failed sign-ins.";
        return Problem::new(StatusCode::LOCKED, "account_locked", detail)
            .retry_after(seconds)
            .with("locked_until", time(until));
    }
    of_order(failure)
}

/// Why a client gets no token. `basic` says that it tried HTTP Basic, which the challenge then names (RFC 6749
/// section 5.2).
pub(super) fn of_client(failure: Failure, basic: bool) -> Problem {
    if failure == Failure::Disabled {
        return Problem::forbidden("client_disabled", "The client is disabled.");
    }
    if failure != Failure::Rejected(Rejection::BadCredentials) {
        return failure.into();
    }
    let problem = Problem::unauthenticated("invalid_client", "The client id or the client secret is wrong.");
    if basic {
        let challenge = HeaderValue::from_static("Basic realm=\"conclave\", charset=\"UTF-8\"");
        problem.with_header(WWW_AUTHENTICATE, challenge)
    } else {
        problem
    }
}

/// What is wrong with a bearer token.
pub(super) fn of_token(bad: BadToken) -> Problem {
    let (code, detail) = match bad {
        BadToken::NotOurs => ("invalid_token", "The access token is not good here."),
        BadToken::Expired => ("token_expired", "The access token has expired."),
        BadToken::Ended => ("token_revoked", "The access token was taken back."),
    };
    Problem::unauthenticated(code, detail)
}

/// Why an order was not carried out. A role that a body names and that is not there is the body's fault: nothing
/// is missing at the path.
pub(super) fn of_order(failure: Failure) -> Problem {
    if let Failure::WeakPassword(breaches) = &failure {
        return invalid(breaches.iter().map(ToString::to_string).collect());
    }
    if failure == Failure::Rejected(Rejection::NotFound(Noun::Role)) {
        return invalid(vec!["roles: there is no role of one of these names.".to_owned()]);
    }
    failure.into()
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::json;

    use super::*;

    async fn rendered(problem: Problem) -> Value {
        let asked = Asked { request_id: "r", path: "/api/v1/auth/token" };
        let body = render(&problem, &asked).into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&body).unwrap()
    }

    #[tokio::test]
    async fn an_error_has_the_members_and_the_codes_that_clients_know() {
        let body = rendered(Problem::from(Rejection::EmailTaken)).await;
        assert_eq!((&body["error"], &body["path"]), (&json!("conflict"), &json!("/api/v1/auth/token")));
        assert!(body["timestamp"].as_str().unwrap().ends_with('Z'), "{body}");
        assert!(body.get("details").is_none(), "{body}");
        let body = rendered(invalid(vec!["a".to_owned(), "b".to_owned()])).await;
        assert_eq!((&body["error"], &body["details"]), (&json!("validation_failed"), &json!(["a", "b"])));
        // A problem that names one field has its sentence as the only detail, and the field is no member.
        let body = rendered(Rejection::invalid("email", "no").into()).await;
        assert_eq!(body["details"], json!([body["error_description"]]));
        assert!(body.get("field").is_none(), "{body}");
        let body = rendered(Problem::unavailable("timed_out", "No.", 1).with("outcome", "unknown")).await;
        assert_eq!((&body["error"], &body["outcome"]), (&json!("timed_out"), &json!("unknown")));
    }

    #[test]
    fn the_challenge_names_what_was_tried() {
        let refused = |basic| of_client(Rejection::BadCredentials.into(), basic);
        for (basic, scheme) in [(true, "Basic "), (false, "Bearer")] {
            let response = render(&refused(basic), &Asked { request_id: "r", path: "/" });
            let challenge = response.headers()["www-authenticate"].to_str().unwrap();
            assert!(challenge.starts_with(scheme), "{challenge}");
        }
    }
}
