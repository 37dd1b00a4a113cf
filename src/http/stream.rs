//! Bodies that do not fit into memory: taken in parts, and given in parts.
//!
//! # Why apart from all others
//! Every other request is small and whole, and is given a few seconds. A backup is neither: here the other end may
//! take as long as it likes for the whole, as long as it never pauses for longer than a body may.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::time::timeout;
use warp::http::header::{CONTENT_TYPE, HeaderValue};
use warp::reply::{Reply, Response};

use super::watch::Busy;

/// A body that has not been read. Whoever takes it first has it.
#[derive(Clone)]
pub struct Upload(Arc<Mutex<Option<Incoming>>>, Duration);

impl Upload {
    pub(super) fn new(body: Incoming, pause: Duration) -> Self {
        Self(Arc::new(Mutex::new(Some(body))), pause)
    }

    /// The body in parts, as they come. An error ends them: one that is cut off has no end without one.
    #[must_use]
    pub fn into_parts(&self) -> mpsc::Receiver<io::Result<Bytes>> {
        let (to, parts) = mpsc::channel(WAITING_PARTS);
        let body = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(body) = body {
            tokio::spawn(pass_on(body, self.1, to));
        }
        parts
    }
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").finish_non_exhaustive()
    }
}

async fn pass_on(mut body: Incoming, pause: Duration, to: mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let part = match timeout(pause, body.frame()).await {
            Ok(None) => return,
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(bytes) => Ok(bytes),
                Err(_) => continue,
            },
            Ok(Some(Err(error))) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, error)),
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
        };
        let is_over = part.is_err();
        // Nobody reads on: what is wrong with it was found.
        if to.send(part).await.is_err() || is_over {
            return;
        }
    }
}

/// A reply whose body comes in parts. An error breaks the connection, so that a part is not taken for the whole.
#[must_use]
pub fn reply(content_type: &'static str, parts: mpsc::Receiver<io::Result<Bytes>>) -> Response {
    let busy = Holder::default();
    let mut response = warp::reply::stream(Parts { parts, busy: busy.clone() }).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.extensions_mut().insert(busy);
    response
}

/// Keeps a connection counted as busy while a body in parts is on its way.
#[derive(Clone, Default)]
pub(super) struct Holder(Arc<Mutex<Option<Busy>>>);

impl Holder {
    pub(super) fn hold(&self, busy: Busy) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(busy);
    }
}

struct Parts {
    parts: mpsc::Receiver<io::Result<Bytes>>,
    busy: Holder,
}

impl Stream for Parts {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.parts.poll_recv(cx)
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        drop(self.busy.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

const WAITING_PARTS: usize = 4;
