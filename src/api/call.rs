//! One HTTP request as handlers see it: what its headers, query and body say, read strictly.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use std::time::Duration;
use warp::http::header::{AUTHORIZATION, HeaderName, IF_MATCH, USER_AGENT};
use warp::http::{HeaderMap, HeaderValue, StatusCode};

use super::seen::Asker;
use crate::app::Request;
use crate::app::admit::Left;
use crate::domain::Origin;
use crate::http::context::Context;
use crate::http::problem::Problem;
use crate::http::{form, json, query};
use crate::replica::{Freshness, MAX_STALENESS};

/// How fresh the answer must be: `linearizable` (the default), `bounded` or `bounded=<ms>`,
/// `at-least=<revision>` or `as-of=<revision>`.
pub const CONSISTENCY: HeaderName = HeaderName::from_static("conclave-consistency");
/// The revision that a reply holds at.
pub const REVISION: HeaderName = HeaderName::from_static("conclave-revision");
/// Names a request, so that a retry acts once and gets the first answer.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A request.
#[derive(Clone, Debug)]
pub struct Call {
    pub context: Context,
    /// Method and path pattern, as in `POST /v1/accounts`.
    pub route: &'static str,
    /// What it has left of limits, once that is known.
    left: Left,
    parameters: Vec<(&'static str, String)>,
    headers: HeaderMap,
    query: Option<String>,
    body: Bytes,
    asker: Asker,
}

impl Call {
    pub(crate) fn new(
        context: Context,
        route: &'static str,
        left: Left,
        parameters: Vec<(&'static str, String)>,
        headers: HeaderMap,
        query: Option<String>,
        body: Bytes,
    ) -> Self {
        Self { context, route, left, parameters, headers, query, body, asker: Asker::default() }
    }

    /// A parameter of the path, decoded; empty for one that the pattern does not have.
    #[must_use]
    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.iter().find(|(has, _)| *has == name).map_or("", |(_, text)| text.as_str())
    }

    /// The headers.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body.
    ///
    /// # Errors
    /// When it is not JSON of that shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        json::check_content_type(&self.headers)?;
        json::parse(&self.body)
    }

    /// The body, or the default where it is empty.
    ///
    /// # Errors
    /// As [`Call::json`].
    pub fn json_or_default<T: DeserializeOwned + Default>(&self) -> Result<T, Problem> {
        if self.body.is_empty() { Ok(T::default()) } else { self.json() }
    }

    /// The body, as JSON or as a form, whichever it says it is.
    ///
    /// # Errors
    /// When it is neither, or not of that shape.
    pub fn json_or_form<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        if form::is_form(&self.headers) { form::parse(&self.body) } else { self.json() }
    }

    /// The query.
    ///
    /// # Errors
    /// When a parameter is unknown, twice there or of another type.
    pub fn query<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        query::parse(self.query.as_deref())
    }

    /// The bearer token (RFC 6750 section 2.1), if there is an `Authorization` header.
    ///
    /// # Errors
    /// When the header is given twice or is of another scheme.
    pub fn bearer_if_any(&self) -> Result<Option<&str>, Problem> {
        let Some(value) = self.one(&AUTHORIZATION)? else { return Ok(None) };
        let token = value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        match token.map(|(_, token)| token.trim_matches(' ')).filter(|token| !token.is_empty()) {
            Some(token) => Ok(Some(token)),
            None => Err(no_token()),
        }
    }

    /// The bearer token.
    ///
    /// # Errors
    /// As [`Call::bearer_if_any`], and when there is none.
    pub fn bearer(&self) -> Result<&str, Problem> {
        self.bearer_if_any()?.ok_or_else(no_token)
    }

    /// How fresh the answer must be.
    ///
    /// # Errors
    /// When the header says something else.
    pub fn freshness(&self) -> Result<Freshness, Problem> {
        let Some(text) = self.one(&CONSISTENCY)? else { return Ok(Freshness::Linearizable) };
        let (mode, number) = match text.split_once('=') {
            Some((mode, number)) => (mode, number.parse::<u64>().ok().map(Some)),
            None => (text, Some(None)),
        };
        match (mode, number) {
            ("linearizable", Some(None)) => Ok(Freshness::Linearizable),
            ("bounded", Some(None)) => Ok(Freshness::Bounded(MAX_STALENESS)),
            ("bounded", Some(Some(ms))) if u128::from(ms) <= MAX_STALENESS.as_millis() => {
                Ok(Freshness::Bounded(Duration::from_millis(ms)))
            }
            ("at-least", Some(Some(revision))) => Ok(Freshness::AtLeast(revision)),
            ("as-of", Some(Some(revision))) => Ok(Freshness::AsOf(revision)),
            _ => Err(Problem::bad_request(
                "invalid_consistency",
                "Conclave-Consistency is linearizable, bounded, bounded=<ms up to 1000>, at-least=<revision> or \
                 as-of=<revision>.",
            )),
        }
    }

    /// The revision that the changed thing must still have (`If-Match`, RFC 9110 section 13.1.1), where the
    /// client says one. `*` asks for nothing: what does not exist is not found anyway.
    ///
    /// # Errors
    /// When it is not one of our tags.
    pub fn if_match(&self) -> Result<Option<u64>, Problem> {
        let Some(tag) = self.one(&IF_MATCH)?.filter(|tag| *tag != "*") else { return Ok(None) };
        let number =
            tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).and_then(|tag| tag.parse().ok());
        let wrong = "If-Match takes one entity tag, as the ETag header gave it.";
        number.map(Some).ok_or_else(|| Problem::bad_request("invalid_if_match", wrong))
    }

    /// The request as the log will know it. `account` and `principal` say who asks; a stranger is "".
    ///
    /// # Errors
    /// When the idempotency key is not one.
    pub fn request(&self, account: &str, principal: &str) -> Result<Request, Problem> {
        let request = Request::once(self.context.deadline, self.origin());
        let request = request.counted(self.context.source, self.left.clone());
        let Some(key) = self.one(&IDEMPOTENCY_KEY)? else { return Ok(request) };
        if !(1..=255).contains(&key.len()) || !key.bytes().all(|b| b.is_ascii_graphic()) {
            let rule = "An idempotency key has 1 to 255 visible ASCII characters.";
            return Err(Problem::bad_request("invalid_idempotency_key", rule));
        }
        Ok(request.keyed(account, principal, key, self.route, &self.said()))
    }

    /// What a request says beside its route, for telling a retry from another request under the same key:
    /// the things that the path names, what they must be like, and the body.
    fn said(&self) -> Vec<u8> {
        let mut said = Vec::with_capacity(self.body.len() + 64);
        let condition = self.headers.get(IF_MATCH).map(HeaderValue::as_bytes).unwrap_or_default();
        let named = self.parameters.iter().map(|(_, text)| text.as_bytes());
        for part in named.chain([condition]) {
            said.extend_from_slice(&(part.len() as u64).to_be_bytes());
            said.extend_from_slice(part);
        }
        said.extend_from_slice(&self.body);
        said
    }

    pub(super) const fn asker(&self) -> &Asker {
        &self.asker
    }

    /// Where it came from, for the audit trail.
    pub(super) fn origin(&self) -> Origin {
        let agent = self.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        let agent = agent.map(|agent| agent.chars().filter(|c| !c.is_control()).take(200).collect());
        Origin { address: Some(self.context.source.to_string()), agent }
    }

    /// A header that may be given once.
    ///
    /// # Errors
    /// When it is given twice or is not ASCII text.
    pub fn one(&self, name: &HeaderName) -> Result<Option<&str>, Problem> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next();
        if values.next().is_some() {
            return Err(Problem::bad_request(
                "duplicate_header",
                format!("The header {name} is given twice."),
            ));
        }
        let text = first.map(|value| value.to_str()).transpose();
        text.map_err(|_| {
            Problem::bad_request("invalid_header", format!("The header {name} is not ASCII text."))
        })
    }
}

fn no_token() -> Problem {
    Problem::unauthenticated("no_token", "This takes Authorization: Bearer with an access token.")
}

/// What is neither found nor to be told apart from what is.
#[must_use]
pub fn bad_id() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "There is no such thing in this account.")
}
