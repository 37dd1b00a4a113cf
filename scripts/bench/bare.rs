//! What the permission check is measured against: a bare warp route that answers the same bytes and headers,
//! with nothing behind it.

use std::net::SocketAddr;

use warp::Filter;
use warp::http::header::HeaderValue;

#[tokio::main]
async fn main() {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(18_099);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let route = warp::path!("v1" / "accounts" / String / "check").map(|_| {
        let mut response = warp::reply::Response::new("{\"allowed\":true}".into());
        let headers = response.headers_mut();
        for (name, value) in [
            ("content-type", "application/json"),
            ("conclave-revision", "10"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ("x-request-id", "0123456789abcdef0123456789abcdef"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    });
    warp::serve(route).run(address).await;
}
