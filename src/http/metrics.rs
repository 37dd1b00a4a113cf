//! Counts and times of requests.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use warp::http::{Method, StatusCode};

/// What a reply's extensions may hold to name its route in metrics, `/v1/users/{id}`. Static, so that no
/// caller can make up label values; without it the prefix of the surface is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint(pub &'static str);

/// The metrics of one server.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    requests: Family<Request, Counter>,
    duration: Family<Timed, Histogram>,
    pub(super) connections: Gauge,
    pub(super) connections_refused: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: &'static str,
    endpoint: &'static str,
    status: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Timed {
    method: &'static str,
    endpoint: &'static str,
}

/// Upper bounds in seconds, from a check answered from memory to a request that waits for its deadline.
const BOUNDS_S: [f64; 12] = [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 5.0];

impl HttpMetrics {
    /// Makes the metrics known to `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("http_requests", "Requests answered", metrics.requests.clone());
        registry.register(
            "http_request_duration_seconds",
            "Time from the last byte of a request's head to its reply",
            metrics.duration.clone(),
        );
        registry.register("http_connections", "Connections open now", metrics.connections.clone());
        registry.register(
            "http_connections_refused",
            "Connections closed at once because too many were open",
            metrics.connections_refused.clone(),
        );
        metrics
    }

    pub(super) fn answered(
        &self,
        method: &Method,
        endpoint: &'static str,
        status: StatusCode,
        took: Duration,
    ) {
        let method = known(method);
        let status = u32::from(status.as_u16());
        self.requests.get_or_create(&Request { method, endpoint, status }).inc();
        self.duration.get_or_create(&Timed { method, endpoint }).observe(took.as_secs_f64());
    }
}

impl Default for HttpMetrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(BOUNDS_S)),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
        }
    }
}

/// A method's label. Callers can make up methods, but not labels.
fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("OTHER")
}
