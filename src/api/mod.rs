//! HTTP, and only HTTP: each surface parses, asks `app`, and answers in its own words.
//!
//! parse → authenticate → order or read → respond. No rule lives here: what may be done is decided in
//! `domain`, what is done in several steps in `app`. Surfaces are told apart by path, never by the look of a
//! token.

pub mod call;
pub mod docs;
pub mod health;
pub mod iam;
pub mod keystone;
pub mod limits;
pub mod native;
pub mod problems;
pub mod record;
pub mod reply;
pub mod rodmena;
pub mod routes;
pub mod seen;
pub mod setup_page;
pub mod signed;

use std::sync::Arc;

use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::app::App;
use crate::http::problem::{self, Problem};
use crate::http::router::{Router, Surface};
use crate::telemetry::Metrics;
use limits::{LimitClass, RequestLimits};
use routes::{Route, Routes, in_class, route};

/// Everything handlers are given.
#[derive(Clone, Debug)]
pub struct Api {
    pub app: Arc<App>,
    pub limits: Arc<RequestLimits>,
    pub metrics: Arc<Metrics>,
}

/// What a handler gives: a reply, or the problem that its surface writes in its own way.
type Answer = Result<Response, Problem>;

impl Api {
    /// All surfaces, each with its own shape of errors.
    ///
    /// # Errors
    /// When two routes contradict each other.
    pub fn router(&self) -> Result<Router, matchit::InsertError> {
        let probes = self.filter(health::routes())?;
        let docs = self.filter(docs::routes())?;
        Ok(Router::new()
            .with(Surface::new("/v1", self.filter(native::routes())?).uploads(native::takes_upload))
            .with(Surface::new("/iam", self.filter(iam::routes())?).render(problem::detail))
            .with(
                Surface::new("/api/v1", self.filter(keystone::routes())?)
                    .render(keystone::render)
                    .with_headers(&keystone::HEADERS),
            )
            .with(
                Surface::new("/api", self.filter(rodmena::routes())?)
                    .render(rodmena::render)
                    .behind(rodmena::gate),
            )
            .with(Surface::new("/health", probes.clone()))
            .with(Surface::new("/ready", probes.clone()))
            .with(Surface::new("/readyz", probes.clone()))
            .with(Surface::new("/ping", probes.clone()))
            .with(Surface::new("/metrics", probes))
            .with(Surface::new("/openapi.json", docs.clone()))
            .with(Surface::new("/docs", docs).pages())
            .with(Surface::new("/setup", self.filter(setup_page::routes())?).pages()))
    }

    /// Every route of every surface.
    #[must_use]
    pub fn routes() -> Vec<Route> {
        [
            native::routes(),
            iam::routes(),
            keystone::routes(),
            rodmena::routes(),
            health::routes(),
            docs::routes(),
            setup_page::routes(),
        ]
        .concat()
    }

    fn filter(&self, routes: Vec<Route>) -> Result<BoxedFilter<(Response,)>, matchit::InsertError> {
        Ok(Routes::new(routes)?.filter(self.clone()))
    }
}
