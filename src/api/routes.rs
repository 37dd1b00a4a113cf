//! Routes as data: method, path pattern, handler. One warp filter a surface reads the request, one tree of
//! patterns finds its route.
//!
//! # Why not a filter for each route
//! A chain of filters tries one after the other, so the last of sixty routes costs several times the first,
//! and the compiler builds each chain anew: minutes for what is here a list. A list can also be compared with
//! the API document and with the table of who may call what.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::de::IgnoredAny;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::header::{ALLOW, HeaderValue};
use warp::http::{HeaderMap, Method, StatusCode};
use warp::path::FullPath;
use warp::reply::{Reply, Response};

use super::call::Call;
use super::limits::LimitClass;
use super::seen::Witness;
use super::{Answer, Api};
use crate::app::admit::Left;
use crate::http::context::{Context, context};
use crate::http::limit;
use crate::http::metrics::Endpoint;
use crate::http::problem::Problem;
use crate::http::query::{self, decode};

/// A handler, with the call it is to answer.
pub type Handler = fn(Api, Call) -> BoxFuture<'static, Answer>;

/// The parameters of a path, by name, decoded.
pub type Parameters = Vec<(&'static str, String)>;

/// One route.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    pub method: &'static str,
    /// The path, with `{parameters}`.
    pub pattern: &'static str,
    /// Method and pattern: names the route in metrics and idempotency keys.
    pub name: &'static str,
    pub handler: Handler,
    /// The general limit that it counts against.
    pub class: LimitClass,
}

impl Route {
    /// Counts it against another general limit than [`LimitClass::Native`].
    #[must_use]
    pub const fn class(mut self, class: LimitClass) -> Self {
        self.class = class;
        self
    }
}

/// Counts all these routes against one general limit.
#[must_use]
pub fn in_class(class: LimitClass, routes: Vec<Route>) -> Vec<Route> {
    routes.into_iter().map(|route| route.class(class)).collect()
}

/// Declares a route: method, pattern, handler, and what the handler is given after `(api, call)`: parameters
/// of the pattern by name, or fixed texts.
macro_rules! route {
    ($method:ident $pattern:literal, $handler:path $(, $argument:tt)*) => {
        crate::api::routes::Route {
            method: stringify!($method),
            pattern: $pattern,
            name: concat!(stringify!($method), " ", $pattern),
            handler: |api, call| {
                Box::pin(async move { $handler(&api, &call $(, route!(@argument call, $argument))*).await })
            },
            class: crate::api::limits::LimitClass::Native,
        }
    };
    (@argument $call:ident, $text:literal) => { $text };
    (@argument $call:ident, $parameter:ident) => { $call.parameter(stringify!($parameter)) };
}
pub(super) use route;

/// The routes of one surface, found by path, then by method.
pub(crate) struct Routes {
    paths: matchit::Router<BTreeMap<&'static str, Route>>,
}

impl Routes {
    pub(crate) fn new(routes: Vec<Route>) -> Result<Self, matchit::InsertError> {
        let mut by_path: BTreeMap<&'static str, BTreeMap<&'static str, Route>> = BTreeMap::new();
        for route in routes {
            by_path.entry(route.pattern).or_default().insert(route.method, route);
        }
        let mut paths = matchit::Router::new();
        for (pattern, methods) in by_path {
            paths.insert(pattern, methods)?;
        }
        Ok(Self { paths })
    }

    /// The filter that answers for the surface. It rejects nothing: what has no route is a problem too.
    pub(super) fn filter(self, api: Api) -> BoxedFilter<(Response,)> {
        let routes = Arc::new(self);
        let raw_query = warp::query::raw().map(Some).or(warp::any().map(|| None)).unify();
        context()
            .and(warp::method())
            .and(warp::path::full())
            .and(warp::header::headers_cloned())
            .and(raw_query)
            .and(warp::body::bytes())
            .then(move |context: Context, method: Method, path: FullPath, headers, query, body| {
                let (routes, api) = (Arc::clone(&routes), api.clone());
                async move { routes.answer(api, context, &method, &path, headers, query, body).await }
            })
            .boxed()
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of a request, as warp gives them")]
    async fn answer(
        &self,
        api: Api,
        context: Context,
        method: &Method,
        path: &FullPath,
        headers: HeaderMap,
        query: Option<String>,
        body: Bytes,
    ) -> Response {
        match self.find(method, path.as_str()) {
            Ok((route, parameters)) => {
                let general = match api.limits.take(route.class, &headers, context.source) {
                    Ok(left) => left,
                    Err(exceeded) => {
                        api.app.counts().limited(route.class.name());
                        let mut response = limit::exceeded(exceeded).into_response();
                        response.extensions_mut().insert(exceeded.allowance);
                        response.extensions_mut().insert(Endpoint(route.pattern));
                        return response;
                    }
                };
                // A route that takes no query passes over one, but what is given twice is nobody's meaning.
                let is_plain = query::parse::<IgnoredAny>(query.as_deref());
                let left = Left::default();
                let app = Arc::clone(&api.app);
                let call = Call::new(context, route.name, left.clone(), parameters, headers, query, body);
                let witness = Witness::of(&call);
                let answer = match is_plain {
                    Ok(_) => (route.handler)(api, call).await,
                    Err(problem) => Err(problem),
                };
                let mut response = answer.unwrap_or_else(Reply::into_response);
                witness.tell(&app, &response);
                response.extensions_mut().insert(Endpoint(route.pattern));
                // What is limited for all nodes together is the narrower of the two.
                if let Some(left) = left.get().or(general) {
                    response.extensions_mut().insert(left);
                }
                response
            }
            Err(problem) => problem.into_response(),
        }
    }

    pub(crate) fn find(&self, method: &Method, path: &str) -> Result<(Route, Parameters), Problem> {
        let no_route =
            || Problem::new(StatusCode::NOT_FOUND, "route_not_found", "There is nothing at this path.");
        let found = self.paths.at(path).map_err(|_| no_route())?;
        let Some(route) = found.value.get(method.as_str()) else {
            let allowed = found.value.keys().copied().collect::<Vec<_>>().join(", ");
            let problem = Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "This path does not take that method.",
            );
            return Err(match HeaderValue::from_str(&allowed) {
                Ok(allowed) => problem.with_header(ALLOW, allowed),
                Err(_) => problem,
            });
        };
        let mut parameters = Vec::with_capacity(found.params.len());
        for (name, raw) in found.params.iter() {
            let text =
                decode(raw, false).filter(|text| !text.is_empty() && !text.chars().any(char::is_control));
            parameters.push((name_in(route.pattern, name).ok_or_else(no_route)?, text.ok_or_else(no_route)?));
        }
        Ok((*route, parameters))
    }
}

/// The parameter's name as the pattern has it, which lives as long as the program.
fn name_in(pattern: &'static str, name: &str) -> Option<&'static str> {
    let start = pattern.find(&format!("{{{name}}}"))? + 1;
    pattern.get(start..start + name.len())
}

#[cfg(test)]
mod tests {
    use super::super::{docs, health, iam, native, rodmena};
    use super::*;

    #[test]
    fn every_route_is_found_by_its_own_pattern() {
        for routes in [native::routes(), iam::routes(), rodmena::routes(), health::routes(), docs::routes()] {
            let table = Routes::new(routes.clone()).unwrap();
            for route in routes {
                let path = route.pattern.replace(['{', '}'], "");
                let method: Method = route.method.parse().unwrap();
                let (found, parameters) = table.find(&method, &path).unwrap();
                assert_eq!(found.name, route.name);
                assert!(parameters.iter().all(|(name, text)| name == text), "{}", route.name);
            }
        }
    }

    #[test]
    fn another_method_is_told_which_there_are() {
        let table = Routes::new(native::routes()).unwrap();
        let problem = table.find(&Method::PUT, "/v1/accounts/1/roles").unwrap_err();
        assert_eq!(problem.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(table.find(&Method::GET, "/v1/nothing").unwrap_err().status(), StatusCode::NOT_FOUND);
        assert!(table.find(&Method::GET, "/v1/accounts/1/roles/%ZZ").is_err());
    }
}
