//! Requests to a node of this machine whose bodies do not fit into memory: taken and given in parts.

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Empty, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::{Failure, ask};
use crate::auth::key_file::KeySource;
use crate::config::Config;

/// Between two parts, and for a connection.
const PATIENCE: Duration = Duration::from_mins(1);
/// A restore answers once all of it is done.
const LONGEST: Duration = Duration::from_hours(4);
const PART_BYTES: usize = 256 * 1024;
/// More than any refusal.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;

type Body = BoxBody<Bytes, io::Error>;

/// Asks for something, and gives the reply once the node has begun with it.
///
/// # Errors
/// What to tell the operator: no node answers, or it refuses.
pub(super) async fn get(config: &Config, path: &str) -> Result<Response<Incoming>, Failure> {
    let body = || async { Ok::<_, io::Error>((Empty::new().map_err(|never| match never {}).boxed(), 0)) };
    send(config, &Method::GET, path, body).await
}

/// Sends a file, and gives what the node says to it.
///
/// # Errors
/// As [`get`], and when the file cannot be read.
pub(super) async fn post_file(config: &Config, path: &str, file: &Path) -> Result<String, Failure> {
    let body = || async {
        let file = File::open(file).await?;
        let length = file.metadata().await?.len();
        let parts = stream::try_unfold(file, |mut file| async move {
            let mut part = Vec::with_capacity(PART_BYTES);
            let count = (&mut file).take(PART_BYTES as u64).read_to_end(&mut part).await?;
            Ok((count > 0).then(|| (Frame::data(Bytes::from(part)), file)))
        });
        Ok((BodyExt::boxed(StreamBody::new(parts)), length))
    };
    let response = send(config, &Method::POST, path, body).await?;
    text(response).await
}

/// The next part of a reply; nothing at its end.
///
/// # Errors
/// When the connection breaks or nothing comes for a minute.
pub(super) async fn next_part(body: &mut Incoming) -> io::Result<Option<Bytes>> {
    loop {
        match timeout(PATIENCE, body.frame()).await? {
            None => return Ok(None),
            Some(Err(error)) => return Err(io::Error::other(error)),
            // All but data would be trailers, which our nodes do not send.
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

async fn send<F>(
    config: &Config,
    method: &Method,
    path: &str,
    body: impl Fn() -> F,
) -> Result<Response<Incoming>, Failure>
where
    F: Future<Output = io::Result<(Body, u64)>>,
{
    let mut refused = None;
    // While a key is being replaced, the node may not know the first one yet.
    for token in KeySource::of(config).read()?.operator_tokens() {
        let (body, length) = body().await?;
        let mut bearer = header::HeaderValue::try_from(format!("Bearer {}", token.expose()))?;
        bearer.set_sensitive(true);
        let request = Request::builder()
            .method(method.clone())
            .uri(path)
            .header(header::HOST, config.http_listen.to_string())
            .header(header::AUTHORIZATION, bearer)
            .header(header::CONTENT_LENGTH, length)
            .body(body)?;
        let response = exchange(config, request).await?;
        match response.status().as_u16() {
            200 => return Ok(response),
            401 => refused = Some(text(response).await?),
            status => {
                let said = text(response).await?;
                return Err(format!("the node at {} answered {status}: {said}", config.http_listen).into());
            }
        }
    }
    Err(format!("the node at {} answered 401: {}", config.http_listen, refused.unwrap_or_default()).into())
}

async fn exchange(config: &Config, request: Request<Body>) -> Result<Response<Incoming>, Failure> {
    let connected = timeout(PATIENCE, ask::connect(config)).await.map_err(io::Error::from).flatten();
    let stream = connected.map_err(|error| ask::no_answer(config, &error))?;
    let broken = |error: hyper::Error| ask::no_answer(config, &ask::io_error(error));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // It ends with the reply's body.
    tokio::spawn(connection);
    let answered = timeout(LONGEST, sender.send_request(request)).await;
    let answered = answered.map_err(|late| ask::no_answer(config, &late.into()))?;
    answered.map_err(broken)
}

async fn text(mut response: Response<Incoming>) -> Result<String, Failure> {
    let mut said = Vec::new();
    while let Some(part) = next_part(response.body_mut()).await? {
        said.extend_from_slice(&part);
        if said.len() > MAX_REFUSAL_BYTES {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}
