//! Picks the surface that answers a path, and keeps its errors in its own shape.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::Full;
use tower_service::Service;
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, Method, StatusCode};
use warp::reject::{self, Rejection};
use warp::reply::{Reply, Response};
use warp::{Filter, http::Request};

use super::problem::{self, Problem, Render};

/// The policy of replies that are data: a browser that shows one runs and loads nothing.
const DATA_CSP: &str = "default-src 'none'; frame-ancestors 'none'";

/// The policy of our own pages, which load their scripts and styles from this node only. The browser of
/// the `OpenAPI` document sets styles inline and draws its marks from `data:` images.
const PAGE_CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// What every request below a prefix must show before anything else is looked at, by its headers and its path.
pub type Gate = fn(&HeaderMap, &str) -> Result<(), Problem>;

/// Which requests have bodies that are taken in parts.
pub type TakesUpload = fn(&Method, &str) -> bool;

/// One family of paths: its filter, and how it words errors.
pub struct Surface {
    prefix: &'static str,
    gate: Option<Gate>,
    takes_upload: TakesUpload,
    filter: BoxedFilter<(Response,)>,
    render: Render,
    headers: &'static [(&'static str, &'static str)],
    is_page: bool,
}

impl Surface {
    /// A surface for `prefix` (`/iam/v1`, no final slash) and everything below it. The filter sees the
    /// whole path, prefix included. Build it from one boxed filter per noun: unboxed chains take minutes
    /// to compile.
    pub fn new(prefix: &'static str, filter: BoxedFilter<(Response,)>) -> Self {
        Self {
            prefix,
            gate: None,
            takes_upload: |_, _| false,
            filter: filter.recover(recover).unify().boxed(),
            render: problem::native,
            headers: &[],
            is_page: false,
        }
    }

    /// Words its errors with `render` instead of [`problem::native`].
    #[must_use]
    pub fn render(mut self, render: Render) -> Self {
        self.render = render;
        self
    }

    /// Adds these headers to every reply, by their names in small letters: what clients of the surface look for,
    /// beside what all replies have.
    #[must_use]
    pub fn with_headers(mut self, headers: &'static [(&'static str, &'static str)]) -> Self {
        self.headers = headers;
        self
    }

    /// Asks every request to pass the gate, also one to a path or with a method that there is not.
    #[must_use]
    pub fn behind(mut self, gate: Gate) -> Self {
        self.gate = Some(gate);
        self
    }

    /// Takes the bodies of these requests in parts, see [`super::stream`].
    #[must_use]
    pub fn uploads(mut self, takes_upload: TakesUpload) -> Self {
        self.takes_upload = takes_upload;
        self
    }

    /// Whether the body of such a request is taken in parts.
    pub(super) fn takes_upload(&self, method: &Method, path: &str) -> bool {
        (self.takes_upload)(method, path)
    }

    /// Serves pages for people: paths may end in `/`, and scripts and styles of this node may load.
    #[must_use]
    pub fn pages(mut self) -> Self {
        self.is_page = true;
        self
    }

    /// The prefix, which also names the surface in metrics unless a handler says more.
    #[must_use]
    pub fn prefix(&self) -> &'static str {
        self.prefix
    }

    pub(super) fn content_security_policy(&self) -> &'static str {
        if self.is_page { PAGE_CSP } else { DATA_CSP }
    }

    pub(super) const fn headers(&self) -> &'static [(&'static str, &'static str)] {
        self.headers
    }

    pub(super) fn renderer(&self) -> Render {
        self.render
    }

    /// Lets a request in, or says why not.
    pub(super) fn admit(&self, headers: &HeaderMap, path: &str) -> Result<(), Problem> {
        self.gate.map_or(Ok(()), |gate| gate(headers, path))
    }

    /// Answers a request whose body was read.
    pub(super) async fn call(&self, request: Request<Full<Bytes>>) -> Response {
        let path = request.uri().path();
        if !self.is_page && path.len() > 1 && path.ends_with('/') {
            return no_route().into_response();
        }
        match warp::service(self.filter.clone()).call(request).await {
            Ok(response) => response,
        }
    }

    fn covers(&self, path: &str) -> bool {
        path.strip_prefix(self.prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// All surfaces of a node.
#[derive(Default)]
pub struct Router {
    /// Longest prefix first, so that `/api/v1` is asked before `/api`.
    surfaces: Vec<Surface>,
}

impl Router {
    /// No surface: every path is 404.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a surface. Of two prefixes that cover a path the longer one wins.
    #[must_use]
    pub fn with(mut self, surface: Surface) -> Self {
        self.surfaces.push(surface);
        self.surfaces.sort_by_key(|surface| std::cmp::Reverse(surface.prefix.len()));
        self
    }

    pub(super) fn find(&self, path: &str) -> Option<&Surface> {
        self.surfaces.iter().find(|surface| surface.covers(path))
    }
}

/// The content policy of replies outside all surfaces.
pub(super) fn default_content_security_policy() -> &'static str {
    DATA_CSP
}

/// The answer to a path that nothing serves.
pub(super) fn no_route() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "route_not_found", "There is nothing at this path.")
}

/// Turns what the filters of a surface reject into a problem. Never rejects again.
async fn recover(rejection: Rejection) -> Result<Response, Infallible> {
    Ok(problem_of(&rejection).into_response())
}

fn problem_of(rejection: &Rejection) -> Problem {
    if let Some(problem) = rejection.find::<Problem>() {
        problem.clone()
    } else if rejection.is_not_found() {
        no_route()
    } else if rejection.find::<reject::UnsupportedMediaType>().is_some() {
        Problem::unsupported_media_type()
    } else if rejection.find::<reject::PayloadTooLarge>().is_some() {
        Problem::too_large(super::json::MAX_BODY_BYTES)
    } else if let Some(header) = rejection.find::<reject::MissingHeader>() {
        Problem::bad_request("missing_header", format!("The header {} is missing.", header.name()))
    } else if let Some(header) = rejection.find::<reject::InvalidHeader>() {
        Problem::bad_request("invalid_header", format!("The header {} is not acceptable.", header.name()))
    } else if rejection.find::<reject::InvalidQuery>().is_some() {
        Problem::bad_request("invalid_query", "The query is not acceptable.")
    } else if rejection.find::<reject::MethodNotAllowed>().is_some() {
        // Looked at after the others: a route of the right method that found fault says more than its
        // siblings of the wrong one.
        let detail = "This path does not take that method.";
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
    } else {
        tracing::error!(?rejection, "a rejection that no rule expects");
        Problem::internal()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surface(prefix: &'static str, says: &'static str) -> Surface {
        let route = warp::path(says).and(warp::path::end()).and(warp::get());
        Surface::new(prefix, route.map(move || says.into_response()).boxed())
    }

    #[test]
    fn the_longest_prefix_wins_at_segment_borders() {
        let router = Router::new().with(surface("/api", "a")).with(surface("/api/v1", "b"));
        let found = |path| router.find(path).map(Surface::prefix);
        assert_eq!(found("/api"), Some("/api"));
        assert_eq!(found("/api/v2/x"), Some("/api"));
        assert_eq!(found("/api/v1"), Some("/api/v1"));
        assert_eq!(found("/api/v1/x"), Some("/api/v1"));
        assert_eq!(found("/api/v10"), Some("/api"));
        assert_eq!(found("/apis"), None);
        assert_eq!(found("/API"), None);
    }

    #[tokio::test]
    async fn rejections_become_problems() {
        let surface = surface("", "here");
        for (method, path, status) in
            [("GET", "/here", 200), ("GET", "/here/", 404), ("GET", "/there", 404), ("POST", "/here", 405)]
        {
            let request = Request::builder().method(method).uri(path).body(Full::default()).unwrap();
            let response = surface.call(request).await;
            assert_eq!(response.status(), status, "{method} {path}");
            assert_eq!(response.extensions().get::<Problem>().is_some(), status != 200);
        }
    }
}
