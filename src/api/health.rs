//! Probes: is the process there, and does this node answer requests.

use std::sync::atomic::Ordering;

use serde::Serialize;
use utoipa::ToSchema;
use warp::http::StatusCode;
use warp::http::header::{CONTENT_TYPE, HeaderValue};
use warp::reply::Response;

use super::call::Call;
use super::docs::{Group, Operation};
use super::{Answer, Api, LimitClass, Route, in_class, route};
use crate::http::json as body;
use crate::http::problem::Problem;
use crate::replica::Freshness;
use crate::telemetry::Metrics;

/// The probes.
#[must_use]
pub fn routes() -> Vec<Route> {
    let probes = vec![
        route!(GET "/ping", ping),
        route!(GET "/health", is_healthy),
        route!(GET "/ready", is_ready),
        route!(GET "/readyz", is_ready_with_pool),
        route!(GET "/metrics", metrics),
    ];
    in_class(LimitClass::Exempt, probes)
}

/// The same for the API document.
pub(super) fn operations() -> Group {
    let operations = vec![
        Operation::local("GET /ping", "getPing", "The process answers").gives::<Pong>(),
        Operation::local("GET /health", "getHealth", "The process runs").gives::<Health>(),
        Operation::local("GET /ready", "getReady", "This node can answer a linearizable read now")
            .stamped()
            .gives::<Ready>()
            .refuses(&[503]),
        Operation::local("GET /readyz", "getReadyz", "The same, with what waits")
            .about("`pool` is that of the threads that hash passwords, where requests queue first.")
            .stamped()
            .gives::<ReadyWithPool>()
            .refuses(&[503]),
        Operation::local("GET /metrics", "getMetrics", "Figures for Prometheus")
            .gives_text(Metrics::CONTENT_TYPE),
    ];
    Group { tag: "Probes", about: "For orchestrators and monitoring; they take no token.", operations }
}

#[derive(Serialize, ToSchema)]
struct Pong {
    message: &'static str,
}

#[derive(Serialize, ToSchema)]
struct Health {
    status: &'static str,
    service: &'static str,
    version: &'static str,
    environment: &'static str,
}

#[derive(Serialize, ToSchema)]
struct Ready {
    status: &'static str,
    revision: u64,
}

#[derive(Serialize, ToSchema)]
struct ReadyWithPool {
    status: &'static str,
    pool: Pool,
}

#[derive(Serialize, ToSchema)]
struct Pool {
    /// Threads.
    size: usize,
    /// Those at work.
    checked_out: usize,
    /// Callers that wait for one.
    overflow: usize,
}

/// The process answers.
async fn ping(_: &Api, _: &Call) -> Answer {
    Ok(body::reply(StatusCode::OK, &Pong { message: "PONG" }))
}

/// The process runs. A superset of what the seeds answer.
async fn is_healthy(_: &Api, _: &Call) -> Answer {
    let version = env!("CARGO_PKG_VERSION");
    let health = Health { status: "healthy", service: "conclave", version, environment: "production" };
    Ok(body::reply(StatusCode::OK, &health))
}

/// Figures for Prometheus.
async fn metrics(api: &Api, _: &Call) -> Answer {
    let mut response = Response::new(api.metrics.render().into());
    let kind = HeaderValue::from_static(Metrics::CONTENT_TYPE);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

/// This node can answer a linearizable read now.
async fn is_ready(api: &Api, call: &Call) -> Answer {
    let revision = answers(api, call).await?;
    Ok(super::reply::at(revision, StatusCode::OK, &Ready { status: "ready", revision }))
}

/// The same, as older clients ask. Whoever answers such a read has just heard from a majority, and so could have
/// written.
async fn is_ready_with_pool(api: &Api, call: &Call) -> Answer {
    let revision = answers(api, call).await?;
    let stats = api.app.hasher.stats();
    let pool = Pool { size: api.app.hasher.threads(), checked_out: stats.running, overflow: stats.waiting };
    Ok(super::reply::at(revision, StatusCode::OK, &ReadyWithPool { status: "ready", pool }))
}

async fn answers(api: &Api, call: &Call) -> Result<u64, Problem> {
    if api.app.is_stopping.load(Ordering::Relaxed) {
        return Err(Problem::unavailable("stopping", "This node is stopping: ask another.", 1));
    }
    if !api.app.is_open() {
        return Err(Problem::unavailable("not_ready", "This node is still starting.", 1));
    }
    let view = api.app.view(Freshness::Linearizable, call.context.deadline).await?;
    // Whoever replaces one node after the other waits for this before the next.
    if !api.app.has_place(&view)? {
        return Err(Problem::unavailable("no_vote_yet", "This node has no vote yet, and shall have one.", 1));
    }
    Ok(view.revision())
}
