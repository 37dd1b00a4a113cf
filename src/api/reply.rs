//! Replies: JSON with the revision they hold at, entity tags, pages.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use warp::http::StatusCode;
use warp::http::header::{ETAG, HeaderValue, LOCATION};
use warp::reply::Response;

use super::call::REVISION;
use crate::clock::LogTime;
use crate::domain::Timestamp;
use crate::http::json;
use crate::http::problem::Problem;

/// A reply that holds at `revision`.
pub fn at(revision: u64, status: StatusCode, body: &impl Serialize) -> Response {
    stamped(revision, json::reply(status, body))
}

/// A reply about one thing, last changed at `tag`.
pub fn tagged(revision: u64, tag: u64, status: StatusCode, body: &impl Serialize) -> Response {
    let mut response = at(revision, status, body);
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{tag}\"")) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// A reply about a thing just made, and where it is.
pub fn created(revision: u64, tag: u64, location: &str, body: &impl Serialize) -> Response {
    let mut response = tagged(revision, tag, StatusCode::CREATED, body);
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// Nothing more to say.
#[must_use]
pub fn empty(revision: u64) -> Response {
    let mut response = Response::new("".into());
    *response.status_mut() = StatusCode::NO_CONTENT;
    stamped(revision, response)
}

fn stamped(revision: u64, mut response: Response) -> Response {
    response.headers_mut().insert(REVISION, HeaderValue::from(revision));
    response
}

/// A moment as RFC 3339 with milliseconds and `Z`.
#[must_use]
pub fn time(at: Timestamp) -> String {
    crate::clock::rfc3339(LogTime(at.0))
}

/// A key of ours as a cursor.
#[must_use]
pub fn cursor(key: impl std::fmt::Display) -> String {
    URL_SAFE_NO_PAD.encode(key.to_string())
}

/// Which part of a list a client wants.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// 1 to 200; 50 by default.
    pub limit: Option<usize>,
    /// What the page before gave as `next`.
    pub cursor: Option<String>,
}

/// A part of a list.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// The cursor of the next page; missing on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub next: Option<String>,
}

impl PageQuery {
    /// How many items.
    ///
    /// # Errors
    /// When it is out of bounds.
    pub fn limit(&self) -> Result<usize, Problem> {
        match self.limit {
            None => Ok(50),
            Some(limit @ 1..=200) => Ok(limit),
            Some(_) => Err(Problem::bad_request("invalid_limit", "limit is 1 to 200.")),
        }
    }

    /// Behind which item, as a key of ours. Cursors are opaque to clients, not secret.
    ///
    /// # Errors
    /// When it is none of ours.
    pub fn after<T: std::str::FromStr>(&self) -> Result<Option<T>, Problem> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let text = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let key = text.and_then(|text| text.parse().ok());
        key.map(Some)
            .ok_or_else(|| Problem::bad_request("invalid_cursor", "The cursor is not one of this list."))
    }
}

impl<T> Page<T> {
    /// A page of rows that were read with a limit one above the client's, so that the last page is known
    /// as the last. `key` gives the cursor of an item.
    pub fn new<R>(mut rows: Vec<R>, limit: usize, key: impl Fn(&R) -> String, view: impl Fn(R) -> T) -> Self {
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| has_more).map(|row| cursor(key(row)));
        Self { items: rows.into_iter().map(view).collect(), next }
    }
}
