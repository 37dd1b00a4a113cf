//! HTTP to any machine of a cluster, with an end to waiting.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::time::timeout;

use crate::net;

/// Keeps its connections; each simulated person has one of its own.
#[derive(Clone, Debug)]
pub(crate) struct Client(Pool<HttpConnector, Full<Bytes>>);

/// What was answered, or not.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// 0 when there was no answer in time.
    pub(crate) status: u16,
    /// `null` where the body is no JSON.
    pub(crate) json: Value,
}

impl Reply {
    const NONE: Self = Self { status: 0, json: Value::Null };

    /// A text member of the body; empty where there is none.
    pub(crate) fn text(&self, member: &str) -> String {
        self.json[member].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn is_done(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether it may have been done, or may yet be. A 503 says of itself when nothing was done.
    pub(crate) fn is_unknown(&self) -> bool {
        match self.status {
            0 => true,
            503 => self.json["outcome_unknown"] != Value::Bool(false) && self.json["code"] != "not_ready",
            status => status >= 500,
        }
    }
}

impl Client {
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(Duration::from_secs(2)));
        connector.set_nodelay(true);
        Self(Pool::builder(TokioExecutor::new()).build(connector))
    }

    pub(crate) fn ask(&self, machine: usize, method: &str, path: &str) -> Ask {
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        *request.uri_mut() = format!("http://{}{path}", net::http(machine)).parse().unwrap();
        Ask { client: self.clone(), request, patience: PATIENCE }
    }
}

/// Longer than a node takes to answer at all: it promises 5 s.
pub(crate) const PATIENCE: Duration = Duration::from_secs(8);

/// A request that is being put together.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    client: Client,
    request: Request<Bytes>,
    patience: Duration,
}

impl Ask {
    pub(crate) fn by(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// Under an idempotency key.
    pub(crate) fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        let mut ask = self.header("content-type", "application/json");
        *ask.request.body_mut() = body.to_string().into();
        ask
    }

    pub(crate) fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.request
            .headers_mut()
            .insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        self
    }

    /// Sends it once, and waits no longer than its patience.
    pub(crate) async fn send(&self) -> Reply {
        let exchange = async {
            let response = self.client.0.request(self.request.clone().map(Full::new)).await.ok()?;
            let (head, body) = response.into_parts();
            let body = body.collect().await.ok()?.to_bytes();
            let json = serde_json::from_slice(&body).unwrap_or_default();
            Some(Reply { status: head.status.as_u16(), json })
        };
        timeout(self.patience, exchange).await.ok().flatten().unwrap_or(Reply::NONE)
    }

    /// Sends it and gives the hour of the day that it was answered at, by the clock of who answers.
    pub(crate) async fn hour(&self) -> Option<String> {
        let response = timeout(self.patience, self.client.0.request(self.request.clone().map(Full::new)));
        let response = response.await.ok()?.ok()?;
        // As in `Tue, 24 Nov 2026 13:18:34 GMT`.
        response.headers().get("date")?.to_str().ok()?.get(17..19).map(str::to_owned)
    }

    /// Sends it and gives the body as text, where the answer is good.
    pub(crate) async fn page(&self) -> Option<String> {
        let exchange = async {
            let response = self.client.0.request(self.request.clone().map(Full::new)).await.ok()?;
            let body = response.into_body().collect().await.ok()?.to_bytes();
            Some(String::from_utf8_lossy(&body).into_owned())
        };
        timeout(self.patience, exchange).await.ok().flatten()
    }
}
