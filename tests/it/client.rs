//! A client of a whole cluster: it keeps its connections, says which node it asks, and reads JSON.

use std::future::IntoFuture;
use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// Asks any node of a cluster. Bound to the runtime that it first sends in.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    nodes: Vec<SocketAddr>,
}

impl Client {
    pub(crate) fn new(nodes: Vec<SocketAddr>) -> Self {
        Self { pool: Pool::builder(TokioExecutor::new()).build_http(), nodes }
    }

    /// A request to the node of that index; `.await` sends it. Numbers beyond the last node wrap around.
    pub(crate) fn ask(&self, node: usize, method: &str, path: impl AsRef<str>) -> Ask {
        let address = self.nodes[node % self.nodes.len()];
        Ask {
            pool: self.pool.clone(),
            method: method.parse().unwrap(),
            url: format!("http://{address}{}", path.as_ref()),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    pub(crate) fn get(&self, node: usize, path: impl AsRef<str>) -> Ask {
        self.ask(node, "GET", path)
    }

    pub(crate) fn post(&self, node: usize, path: impl AsRef<str>) -> Ask {
        self.ask(node, "POST", path)
    }

    pub(crate) fn put(&self, node: usize, path: impl AsRef<str>) -> Ask {
        self.ask(node, "PUT", path)
    }

    pub(crate) fn patch(&self, node: usize, path: impl AsRef<str>) -> Ask {
        self.ask(node, "PATCH", path)
    }

    pub(crate) fn delete(&self, node: usize, path: impl AsRef<str>) -> Ask {
        self.ask(node, "DELETE", path)
    }
}

/// A request that is being put together.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pool: Pool<HttpConnector, Full<Bytes>>,
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Ask {
    /// With an access token.
    pub(crate) fn by(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// With a JSON body that says what it is.
    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    /// With these bytes as its body, whatever they are.
    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        self
    }

    /// Under an idempotency key.
    pub(crate) fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// Sends it; the error says that there was no answer.
    pub(crate) async fn send(self) -> Result<Reply, String> {
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.url.parse().map_err(|error| format!("{}: {error}", self.url))?;
        *request.headers_mut() = self.headers;
        let response = self.pool.request(request).await.map_err(|error| format!("{error:?}"))?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
        let json = serde_json::from_slice(&body).unwrap_or_default();
        let asked = format!("{} {}", self.method, self.url);
        Ok(Reply { asked, status: head.status.as_u16(), headers: head.headers, body, json })
    }
}

impl IntoFuture for Ask {
    type Output = Reply;
    type IntoFuture = BoxFuture<'static, Reply>;

    /// Sends it; that nobody answers fails the test.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.send().await.unwrap_or_else(|error| panic!("{error}")) })
    }
}

/// What a node answered.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    asked: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// `null` where the body is not JSON.
    pub(crate) json: Value,
}

impl Reply {
    /// Fails the test unless this is the status.
    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {}", self.asked, String::from_utf8_lossy(&self.body));
        self
    }

    /// Fails the test unless this is the status, and the code that clients match on.
    #[track_caller]
    pub(crate) fn says(self, status: u16, code: &str) -> Self {
        let reply = self.is(status);
        assert_eq!(reply.json["code"], code, "{}: {}", reply.asked, reply.json);
        reply
    }

    /// A member of the body that is a text.
    #[track_caller]
    pub(crate) fn text(&self, member: &str) -> String {
        let value = &self.json[member];
        value.as_str().unwrap_or_else(|| panic!("{}: no {member} in {}", self.asked, self.json)).to_owned()
    }

    /// The items of a list.
    #[track_caller]
    pub(crate) fn items(&self) -> &[Value] {
        self.json["items"].as_array().unwrap_or_else(|| panic!("{}: {}", self.asked, self.json))
    }

    /// One header, as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The revision that the reply holds at.
    #[track_caller]
    pub(crate) fn revision(&self) -> u64 {
        let revision = self.header("conclave-revision").and_then(|text| text.parse().ok());
        revision.unwrap_or_else(|| panic!("{}: no revision in {:?}", self.asked, self.headers))
    }

    /// The entity tag.
    #[track_caller]
    pub(crate) fn tag(&self) -> String {
        self.header("etag").unwrap_or_else(|| panic!("{}: no tag", self.asked)).to_owned()
    }

    /// The body without what differs between two equal requests.
    pub(crate) fn body_but_request_id(&self) -> Value {
        let mut body = self.json.clone();
        if let Some(members) = body.as_object_mut() {
            members.remove("request_id");
            members.remove("timestamp");
            members.remove("timestamp");
            members
                .get_mut("details")
                .and_then(Value::as_object_mut)
                .map(|details| details.remove("request_id"));
        }
        body
    }
}
