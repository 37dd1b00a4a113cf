//! One try: a request to one node, and what came back.

use std::error::Error as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_MATCH};
use reqwest::{Method, StatusCode};
use tokio::time::timeout;

use crate::secret::Secret;

/// The longest answer that is read, in bytes: a page of 200 of the largest things is far below it.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

pub(super) const CONSISTENCY: HeaderName = HeaderName::from_static("conclave-consistency");
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What one node answered.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Raw {
    /// A header, where it is there and text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// There was no answer.
#[derive(Clone, Debug)]
pub(super) struct Lost {
    /// Without the address: it may have names in it.
    pub(super) reason: String,
    /// Whether the node may have had the request.
    pub(super) may_have_acted: bool,
}

/// What is sent, to whichever node.
#[derive(Clone)]
pub(super) struct Outgoing {
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
}

impl Outgoing {
    /// A request without a body.
    pub(super) fn new(method: Method, target: String) -> Self {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
        Self { method, target, headers, body: None }
    }

    /// With a token or key in `Authorization`, marked so that nothing prints it.
    pub(super) fn bearing(mut self, token: &Secret<String>) -> Result<Self, &'static str> {
        let text = zeroize::Zeroizing::new(format!("Bearer {}", token.expose()));
        let mut value = HeaderValue::from_str(&text).map_err(|_| "the token is not one")?;
        value.set_sensitive(true);
        self.headers.insert(AUTHORIZATION, value);
        Ok(self)
    }

    /// With a JSON body.
    pub(super) fn json(mut self, body: Bytes) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.body = Some(body);
        self
    }

    /// For what must still be at this revision.
    pub(super) fn if_match(mut self, revision: u64) -> Self {
        if let Ok(tag) = HeaderValue::from_str(&format!("\"{revision}\"")) {
            self.headers.insert(IF_MATCH, tag);
        }
        self
    }

    /// Sends it to the node below `base`.
    pub(super) async fn send(
        &self,
        http: &reqwest::Client,
        base: &str,
        limit: Duration,
    ) -> Result<Raw, Lost> {
        let url = format!("{base}{}", self.target);
        let mut request = http.request(self.method.clone(), url).headers(self.headers.clone());
        if let Some(body) = &self.body {
            request = request.body(body.clone());
        }
        let exchange = async {
            let response = request.send().await?;
            let (status, headers) = (response.status(), response.headers().clone());
            Ok((status, headers, read(response).await?))
        };
        match timeout(limit, exchange).await {
            Ok(Ok((status, headers, Some(body)))) => Ok(Raw { status, headers, body }),
            Ok(Ok((_, _, None))) => Err(lost("the answer is too long")),
            Ok(Err(error)) => Err(of_reqwest(error)),
            Err(_) => Err(lost("the node did not answer in time")),
        }
    }
}

/// The body, unless it is too long.
async fn read(mut response: reqwest::Response) -> Result<Option<Bytes>, reqwest::Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body.freeze()))
}

fn lost(reason: &str) -> Lost {
    Lost { reason: reason.to_owned(), may_have_acted: true }
}

/// A connection that was not made carried nothing; of everything else the node may have read enough.
fn of_reqwest(error: reqwest::Error) -> Lost {
    let may_have_acted = !(error.is_connect() || error.is_builder());
    let error = error.without_url();
    let mut reason = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        reason = format!("{reason}: {inner}");
        cause = inner.source();
    }
    Lost { reason, may_have_acted }
}
