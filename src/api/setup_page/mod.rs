//! The page that a setup link opens. It holds no secret: that stays in the part of the link that browsers keep to
//! themselves, and goes back with what the page asks for, to `POST /v1/setup`.

use warp::http::header::{CONTENT_TYPE, HeaderValue};
use warp::reply::Response;

use super::call::Call;
use super::{Answer, Api, LimitClass, Route, in_class, route};

/// The page and what it loads.
#[must_use]
pub fn routes() -> Vec<Route> {
    let pages = vec![
        route!(GET "/setup", page),
        route!(GET "/setup/page.js", script),
        route!(GET "/setup/page.css", style),
    ];
    in_class(LimitClass::Exempt, pages)
}

async fn page(_: &Api, _: &Call) -> Answer {
    Ok(file("text/html; charset=utf-8", include_str!("page.html")))
}

async fn script(_: &Api, _: &Call) -> Answer {
    Ok(file("text/javascript; charset=utf-8", include_str!("page.js")))
}

async fn style(_: &Api, _: &Call) -> Answer {
    Ok(file("text/css; charset=utf-8", include_str!("page.css")))
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let mut response = Response::new(text.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
