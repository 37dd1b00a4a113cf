//! HTTP, and only HTTP: each surface parses, asks `app`, and answers in its own words.
//!
//! parse → authenticate → order or read → respond. No rule lives here: what may be done is decided in
//! `domain`, what is done in several steps in `app`. Surfaces are told apart by path, never by the look of a
//! token.

pub mod call;
pub mod health;
pub mod iam;
pub mod native;
pub mod problems;
pub mod reply;
pub mod signed;

use std::future::Future;
use std::sync::Arc;

use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::{Reply, Response};

use crate::app::App;
use crate::http::problem::{self, Problem};
use crate::http::router::{Router, Surface};
use call::Call;

/// Everything handlers are given.
#[derive(Clone, Debug)]
pub struct Api {
    pub app: Arc<App>,
}

impl Api {
    /// All surfaces, each with its own shape of errors.
    #[must_use]
    pub fn router(&self) -> Router {
        Router::new()
            .with(Surface::new("/v1", native::routes(self)))
            .with(Surface::new("/iam", iam::routes(self)).render(problem::detail))
            .with(Surface::new("/health", health::health()))
            .with(Surface::new("/ready", health::ready(self)))
    }

    /// This, as the first argument of a handler.
    fn given(&self) -> impl Filter<Extract = (Self,), Error = std::convert::Infallible> + Clone + use<> {
        let api = self.clone();
        warp::any().map(move || api.clone())
    }
}

/// What a handler gives: a reply, or the problem that its surface writes in its own way.
type Answer = Result<Response, Problem>;

/// Names the route, for metrics and for idempotency keys, and writes the problem of a refusal.
async fn answer(route: &'static str, answer: impl Future<Output = Answer>) -> Response {
    let mut response = answer.await.unwrap_or_else(Reply::into_response);
    response.extensions_mut().insert(crate::http::metrics::Endpoint(route));
    response
}

/// Declares a route: method, path, and the handler with the path's parameters after `(api, call)`.
macro_rules! route {
    ($api:expr, $method:ident $route:literal, $path:expr, $handler:path $(, $parameter:ident)*) => {{
        warp::$method()
            .and($path)
            .and($api.given())
            .and(crate::api::call::call($route))
            .then(|$($parameter: crate::http::path::Segment,)* api: crate::api::Api, call: crate::api::call::Call| {
                crate::api::answer($route, async move { $handler(&api, &call $(, &$parameter.0)*).await })
            })
            .boxed()
    }};
}
use route;

/// Tries each in turn.
fn any(routes: Vec<BoxedFilter<(Response,)>>) -> BoxedFilter<(Response,)> {
    let none = warp::any().and_then(|| async { Err::<Response, _>(warp::reject::not_found()) }).boxed();
    routes.into_iter().rev().fold(none, |rest, route| route.or(rest).unify().boxed())
}
