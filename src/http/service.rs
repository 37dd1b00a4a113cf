//! What happens to every request, whichever surface answers it.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Instrument;
use warp::http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue,
    REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use warp::http::request::Parts;
use warp::http::{HeaderMap, Method, Request, StatusCode, Version};
use warp::reply::{Reply, Response};

use super::context::{Context, REQUEST_ID, request_id};
use super::cors::Cors;
use super::host::AllowedHosts;
use super::json::MAX_BODY_BYTES;
use super::limit;
use super::metrics::{Endpoint, HttpMetrics};
use super::path::is_canonical;
use super::problem::{self, Asked, Problem};
use super::router::{Router, Surface, default_content_security_policy, no_route};
use super::source::Proxies;
use super::stream::Upload;
use crate::clock::{Clock, SystemClock};
use crate::rate::Allowance;
use crate::telemetry::trace::{self, TRACEPARENT};

/// What the requests of all connections share.
pub(super) struct Edge {
    pub(super) router: Router,
    pub(super) hosts: AllowedHosts,
    pub(super) cors: Cors,
    pub(super) proxies: Proxies,
    pub(super) body_timeout: Duration,
    pub(super) request_timeout: Duration,
    pub(super) metrics: HttpMetrics,
}

/// What the requests of one connection share.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub(super) peer: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) secure: bool,
}

impl Edge {
    /// Answers a request; never fails, never panics.
    pub(super) async fn answer(&self, ends: Ends, request: Request<Incoming>) -> Response {
        let started = Instant::now();
        let (mut parts, body) = request.into_parts();
        let id = request_id(&parts.headers);
        let asked = parts.method.clone();
        // A HEAD is its GET without the body, so that no route needs to know it.
        if asked == Method::HEAD {
            parts.method = Method::GET;
        }
        let surface = self.router.find(parts.uri.path());
        let uri = parts.uri.clone();
        let version = parts.version;
        let headers = parts.headers.clone();
        let context = Context {
            request_id: id.clone(),
            peer: ends.peer,
            source: self.proxies.source(ends.peer.ip(), &headers),
            deadline: started,
            secure: ends.secure,
            upload: None,
        };
        // Of the highest level, so that whichever lines are logged carry the request's id.
        let span = tracing::error_span!("http", request = &*id, method = %asked);
        if let Some(parent) = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()) {
            trace::adopt(&span, parent);
        }
        let handled = self.handle(ends, surface, parts, body, context).instrument(span.clone());
        let outcome = AssertUnwindSafe(trace::of_request(id.clone(), handled))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| {
                // The panic hook has logged where it was; the payload may hold data of the request.
                tracing::error!(request = &*id, "a handler panicked");
                Err(Problem::internal())
            });
        let mut response = outcome.unwrap_or_else(Reply::into_response);
        let endpoint = endpoint(surface, &response);
        let left = response.extensions_mut().remove::<Allowance>();
        if let Some(problem) = response.extensions_mut().remove::<Problem>() {
            let render = surface.map_or(problem::native as problem::Render, Surface::renderer);
            response = render(&problem, &Asked { request_id: &id, path: uri.path() });
        }
        if let Some(left) = left {
            limit::tell(response.headers_mut(), left, SystemClock.now());
        }
        self.finish(ends, surface, &headers, version, &id, &mut response);
        if asked == Method::HEAD {
            response = without_body(response);
        }
        let (status, took) = (response.status(), started.elapsed());
        self.metrics.answered(&asked, endpoint, status, took);
        trace::answered(&span, endpoint, status.as_u16());
        span.in_scope(|| {
            let ms = took.as_secs_f64() * 1000.0;
            tracing::debug!(endpoint, status = status.as_u16(), ms, "answered");
        });
        response
    }

    async fn handle(
        &self,
        ends: Ends,
        surface: Option<&Surface>,
        parts: Parts,
        body: Incoming,
        mut context: Context,
    ) -> Result<Response, Problem> {
        self.hosts.check(&parts.uri, &parts.headers, ends.local)?;
        let preflight = self.cors.preflight(&parts.method, &parts.headers);
        // A browser asks first without what the request itself will show.
        if let (None, Some(surface)) = (&preflight, surface) {
            surface.admit(&parts.headers, parts.uri.path())?;
        }
        if !is_canonical(parts.uri.path()) {
            return Err(no_route());
        }
        if let Some(granted) = preflight {
            return Ok(granted);
        }
        let surface = surface.ok_or_else(no_route)?;
        let body = if surface.takes_upload(&parts.method, parts.uri.path()) {
            context.upload = Some(Upload::new(body, self.body_timeout));
            context.deadline = Instant::now() + UPLOAD;
            Bytes::new()
        } else {
            let body = self.read(body).await?;
            // The caller's five seconds start when we have all of the request.
            context.deadline = Instant::now() + self.request_timeout;
            body
        };
        let deadline = context.deadline;
        let mut request = Request::from_parts(parts, Full::new(body));
        request.extensions_mut().insert(context);
        timeout_at(deadline, surface.call(request)).await.map_err(|_| {
            let detail = "The request took too long; whether it was carried out is unknown.";
            Problem::unavailable("timed_out", detail, 1).with("outcome_unknown", true)
        })
    }

    /// Reads a body whole, within its limits of length and time.
    async fn read(&self, body: Incoming) -> Result<Bytes, Problem> {
        if body.is_end_stream() {
            return Ok(Bytes::new());
        }
        timeout(self.body_timeout, read_limited(body)).await.unwrap_or_else(|_| {
            let detail = "The body took too long to arrive.";
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", detail))
        })
    }

    /// Adds what every reply carries. A handler's own `Cache-Control` and policy stand.
    fn finish(
        &self,
        ends: Ends,
        surface: Option<&Surface>,
        request: &HeaderMap,
        version: Version,
        id: &Arc<str>,
        response: &mut Response,
    ) {
        const UNREAD: [StatusCode; 2] = [StatusCode::PAYLOAD_TOO_LARGE, StatusCode::REQUEST_TIMEOUT];
        if version < Version::HTTP_2 && UNREAD.contains(&response.status()) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let headers = response.headers_mut();
        let mut set = |name: HeaderName, value: &'static str| {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        };
        set(X_CONTENT_TYPE_OPTIONS, "nosniff");
        set(REFERRER_POLICY, "no-referrer");
        set(CACHE_CONTROL, "no-store");
        set(
            CONTENT_SECURITY_POLICY,
            surface.map_or_else(default_content_security_policy, Surface::content_security_policy),
        );
        for (name, value) in surface.map_or(&[][..], Surface::headers) {
            set(HeaderName::from_static(name), value);
        }
        if ends.secure {
            set(STRICT_TRANSPORT_SECURITY, "max-age=31536000");
        }
        self.cors.grant(request, headers);
        if let Ok(id) = HeaderValue::from_str(id) {
            headers.insert(REQUEST_ID, id);
        }
    }
}

/// The longest that a body in parts may take with all that is done about it.
const UPLOAD: Duration = Duration::from_hours(4);

/// Reads up to the limit. What goes beyond is taken off the wire for a while and thrown away, because a
/// client that is still sending when we close may never see why.
async fn read_limited(mut body: Incoming) -> Result<Bytes, Problem> {
    const MAX_THROWN_AWAY_BYTES: usize = 1024 * 1024;
    let mut whole = BytesMut::new();
    let mut length = 0_usize;
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > MAX_BODY_BYTES + MAX_THROWN_AWAY_BYTES {
        return Err(Problem::too_large(MAX_BODY_BYTES));
    }
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return Err(Problem::bad_request("incomplete_body", "The body ended before its announced end."));
        };
        let Ok(data) = frame.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length > MAX_BODY_BYTES + MAX_THROWN_AWAY_BYTES {
            break;
        }
        if length <= MAX_BODY_BYTES {
            whole.extend_from_slice(&data);
        }
    }
    if length > MAX_BODY_BYTES { Err(Problem::too_large(MAX_BODY_BYTES)) } else { Ok(whole.freeze()) }
}

fn endpoint(surface: Option<&Surface>, response: &Response) -> &'static str {
    let named = response.extensions().get::<Endpoint>().map(|endpoint| endpoint.0);
    named.or(surface.map(Surface::prefix)).unwrap_or("unmatched")
}

fn without_body(mut response: Response) -> Response {
    let length = Body::size_hint(response.body()).exact();
    *response.body_mut() = Bytes::new().into();
    if let Some(length) = length {
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    response
}
