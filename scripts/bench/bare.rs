//! What requests are measured against: a bare warp route that answers the very bytes of a recorded reply, with nothing
//! behind it.
//!
//!     bare PORT FILE      FILE holds a reply as a node sent it: head, empty line, body

use std::error::Error;
use std::net::SocketAddr;

use bytes::Bytes;
use warp::Filter;
use warp::http::HeaderMap;
use warp::http::header::{CONTENT_LENGTH, DATE, HeaderName, HeaderValue};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().ok_or("no port")?.parse()?;
    let reply = std::fs::read_to_string(arguments.next().ok_or("no file")?)?;
    let (head, body) = reply.split_once("\r\n\r\n").ok_or("no end of the head")?;
    let headers = headers(head)?;
    let body = Bytes::copy_from_slice(body.as_bytes());
    // The body of a request is read, as a node reads it.
    let route = warp::any().and(warp::body::bytes()).map(move |_request: Bytes| {
        let mut response = warp::reply::Response::new(body.clone().into());
        *response.headers_mut() = headers.clone();
        response
    });
    warp::serve(route).run(SocketAddr::from(([127, 0, 0, 1], port))).await;
    Ok(())
}

/// All but those that hyper adds by itself.
fn headers(head: &str) -> Result<HeaderMap, Box<dyn Error>> {
    let mut headers = HeaderMap::new();
    for line in head.lines().skip(1) {
        let (name, value) = line.split_once(": ").ok_or("no header")?;
        let name = HeaderName::try_from(name)?;
        if name != DATE && name != CONTENT_LENGTH {
            headers.append(name, HeaderValue::try_from(value)?);
        }
    }
    Ok(headers)
}
