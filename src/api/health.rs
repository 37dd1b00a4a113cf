//! Probes: is the process there, and does this node answer requests.

use serde_json::json;
use warp::http::StatusCode;
use warp::http::header::{CONTENT_TYPE, HeaderValue};
use warp::reply::Response;

use super::call::Call;
use super::{Answer, Api, Route, route};
use crate::http::json as body;
use crate::http::problem::Problem;
use crate::replica::Freshness;

/// The probes.
#[must_use]
pub fn routes() -> Vec<Route> {
    vec![route!(GET "/health", is_healthy), route!(GET "/ready", is_ready), route!(GET "/metrics", metrics)]
}

/// The process runs. A superset of what the seeds answer.
async fn is_healthy(_: &Api, _: &Call) -> Answer {
    let version = env!("CARGO_PKG_VERSION");
    Ok(body::reply(StatusCode::OK, &json!({"status": "healthy", "service": "conclave", "version": version})))
}

/// Figures for Prometheus.
async fn metrics(api: &Api, _: &Call) -> Answer {
    let mut response = Response::new(api.metrics.render().into());
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

/// This node can answer a linearizable read now.
async fn is_ready(api: &Api, call: &Call) -> Answer {
    if !api.app.is_open() {
        return Err(Problem::unavailable("not_ready", "This node is still starting.", 1));
    }
    let view = api.app.view(Freshness::Linearizable, call.context.deadline).await?;
    Ok(super::reply::at(
        view.revision(),
        StatusCode::OK,
        &json!({"status": "ready", "revision": view.revision()}),
    ))
}
