//! The API document and its browser, both served by this node from the binary.
//!
//! # Why
//! - Schemas are derived from the types that handlers read and write, so they cannot drift. The rest of an
//!   operation is one entry in the list below the routes of its module: an attribute on each handler would
//!   say method and path a second time, and several routes share a handler. Tests compare the document with
//!   the routes in both directions, and have each handler's type read the example of its request.
//! - Of the browser's files only those are served that it loads; none comes from another host.

mod document;
mod operation;
mod parameters;
mod problems;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use utoipa_swagger_ui::Config;
use warp::http::StatusCode;
use warp::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION};
use warp::reply::Response;

pub(super) use operation::{Group, Operation};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use operation::{ReadsBody, ReadsQuery};

use super::call::Call;
use super::{Answer, Api, LimitClass, Route, health, iam, in_class, keystone, native, rodmena, route};
use crate::http::problem::Problem;

/// What the browser loads.
const FILES: [&str; 8] = [
    "favicon-16x16.png",
    "favicon-32x32.png",
    "index.css",
    "index.html",
    "swagger-initializer.js",
    "swagger-ui-bundle.js",
    "swagger-ui-standalone-preset.js",
    "swagger-ui.css",
];

static DOCUMENT: LazyLock<Bytes> =
    LazyLock::new(|| document::document(&operations()).to_string().into_bytes().into());

/// The document and its browser. They are not in the document themselves.
#[must_use]
pub fn routes() -> Vec<Route> {
    let pages = vec![
        route!(GET "/openapi.json", openapi),
        route!(GET "/docs", entrance),
        route!(GET "/docs/", page),
        route!(GET "/docs/{file}", file, file),
    ];
    in_class(LimitClass::Exempt, pages)
}

/// The document, as JSON.
#[must_use]
pub fn document() -> &'static [u8] {
    &DOCUMENT
}

/// How the bodies and the queries of all operations are read, for fuzzing.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn readers() -> (Vec<ReadsBody>, Vec<ReadsQuery>) {
    let groups = operations();
    let reads = groups.iter().flat_map(|group| &group.operations).map(Operation::reads);
    let (bodies, queries): (Vec<_>, Vec<_>) = reads.unzip();
    (bodies.into_iter().flatten().collect(), queries.into_iter().flatten().collect())
}

/// All operations, in the order in which a newcomer wants to see them.
fn operations() -> Vec<Group> {
    let probes = vec![iam::operations(), rodmena::operations(), health::operations()];
    [native::operations(), keystone::operations(), probes].concat()
}

async fn openapi(_: &Api, _: &Call) -> Answer {
    let mut response = Response::new(DOCUMENT.clone().into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// The page names its files relative to itself, so it has to end in a slash.
async fn entrance(_: &Api, _: &Call) -> Answer {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("/docs/"));
    Ok(response)
}

async fn page(api: &Api, call: &Call) -> Answer {
    file(api, call, "index.html").await
}

async fn file(_: &Api, _: &Call, name: &str) -> Answer {
    // The validator is a service of others, and tokens are not kept in the browser's storage.
    let config = Config::from("/openapi.json").validator_url("none").persist_authorization(false);
    let name = FILES.into_iter().find(|file| *file == name);
    let name = name.ok_or_else(|| Problem::not_found("There is no such file."))?;
    let found = utoipa_swagger_ui::serve(name, Arc::new(config)).ok().flatten().ok_or_else(|| {
        tracing::error!(name, "a file of the API browser is missing");
        Problem::internal()
    })?;
    let content = match found.bytes {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => bytes.into(),
    };
    let mut response = Response::new(content.into());
    if let Ok(kind) = HeaderValue::from_str(&found.content_type) {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    // Asked again each time after an update of the program, not for each page.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
    Ok(response)
}
