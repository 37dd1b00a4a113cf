//! Probes: is the process there, and does this node answer requests.

use serde_json::json;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;

use super::call::Call;
use super::{Answer, Api, route};
use crate::http::json as body;
use crate::http::problem::Problem;
use crate::replica::Freshness;

/// `GET /health`: the process runs. Superset of what the seeds answer.
pub fn health() -> BoxedFilter<(Response,)> {
    let healthy = || {
        let version = env!("CARGO_PKG_VERSION");
        body::reply(StatusCode::OK, &json!({"status": "healthy", "service": "conclave", "version": version}))
    };
    warp::get().and(warp::path!("health")).map(healthy).boxed()
}

/// `GET /ready`: this node can answer a linearizable read now.
pub fn ready(api: &Api) -> BoxedFilter<(Response,)> {
    route!(api, get "GET /ready", warp::path!("ready"), is_ready)
}

async fn is_ready(api: &Api, call: &Call) -> Answer {
    if !api.app.is_open() {
        return Err(Problem::unavailable("not_ready", "This node is still starting.", 1));
    }
    let view = api.app.view(Freshness::Linearizable, call.context.deadline).await?;
    Ok(super::reply::at(view.revision(), StatusCode::OK, &json!({"status": "ready", "revision": view.revision()})))
}
