//! Enrolment: how a machine that is no member asks members for something, before it has a certificate.
//!
//! ```text
//! TCP, then TLS 1.3 with ALPN "conclave-enrol/1", on the port that peers use
//!   server: its certificate, and that of the authority
//!   client: no certificate, or a candidate's
//! client: length u32, request         once, 64 KiB at most
//! server: kind u8, length u32, answer or text   once; then the connection ends
//! ```
//!
//! What is asked and answered is the layer's above ([`EnrolHandler`]); this module knows bytes.
//!
//! # Why
//!
//! - **The same port**, so that a join token needs one address and a firewall one rule. But not the same protocol
//!   with a weaker check: peers stay strictly mutual, and here there is one question, one answer and no state.
//! - **The client knows the server by the fingerprint of its authority**, from a join token that came another way.
//!   It sends nothing before that is checked, so a wrong address learns no secret.
//! - **A candidate** holds the authority itself (nodes that are set up together share it as a secret file), and
//!   shows so by a certificate that it issued itself. That is why its name is not that of any node.
//! - **Bounded apart from peers**: strangers may reach the port, and must not use up what peers need.

mod ask;
mod error;
mod listener;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::{StartHandshake, TlsStream};

pub use ask::{Trust, ask};
pub use error::EnrolError;
pub use listener::Listener;

use crate::fence::Fence;
use crate::identity::ClusterId;
use crate::pki;

/// Answers those that want to become nodes.
pub trait EnrolHandler: Send + Sync + 'static {
    /// Answers a request from anybody who reaches the port. `is_candidate` says that the caller has shown to
    /// hold the authority; otherwise the request itself must show what the caller may ask.
    fn enrol(&self, is_candidate: bool, request: Bytes) -> BoxFuture<'static, Bytes>;
}

/// The longest request, and the longest answer, in bytes.
pub const MOST_BYTES: usize = 64 << 10;

/// Where enrolment is answered.
pub(crate) struct Desk {
    /// Taken away when the node stops: it holds the node, as a rule.
    handler: RwLock<Option<Arc<dyn EnrolHandler>>>,
    /// For all who come.
    doors: Semaphore,
    /// For those who are answered. The others are told to come again.
    places: Semaphore,
}

/// How an answer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    /// The handler's answer follows.
    Answer = 0,
    /// Why there is none now; text.
    NotNow = 1,
    /// Why there will be none; text.
    Refused = 2,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let (doors, places) = (Semaphore::new(MOST_CONNECTIONS), Semaphore::new(MOST_AT_ONCE));
        Self { handler: RwLock::default(), doors, places }
    }

    pub(crate) fn set_handler(&self, handler: Option<Arc<dyn EnrolHandler>>) {
        *self.handler.write().unwrap_or_else(PoisonError::into_inner) = handler;
    }

    /// All of one connection.
    pub(crate) async fn serve(
        &self,
        start: StartHandshake<TcpStream>,
        config: Arc<ServerConfig>,
        cluster: ClusterId,
        fence: Option<&Fence>,
    ) {
        // More than that is no cluster that grows. They are not even told.
        let Ok(_door) = self.doors.try_acquire() else { return };
        let served = async {
            let Ok(_place) = self.places.try_acquire() else {
                // Nothing of theirs is read.
                let mut stream = start.into_stream(config).await?;
                let busy = "too many machines ask at once";
                return finish(&mut stream, Kind::NotNow, busy.as_bytes()).await;
            };
            let mut stream = start.into_stream(config).await?;
            let (kind, answer) = match candidacy(&stream, cluster, fence) {
                Ok(is_candidate) => self.answer(&mut stream, is_candidate).await?,
                Err(reason) => (Kind::Refused, reason.into()),
            };
            finish(&mut stream, kind, &answer).await
        };
        match time::timeout(PATIENCE, served).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "an enrolment was broken off"),
            Err(_) => tracing::debug!("an enrolment took too long"),
        }
    }

    async fn answer(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        is_candidate: bool,
    ) -> io::Result<(Kind, Bytes)> {
        let Some(request) = read_bounded(stream).await? else {
            let text = format!("a request may have {MOST_BYTES} bytes");
            return Ok((Kind::Refused, text.into()));
        };
        let handler = self.handler.read().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(match handler {
            Some(handler) => (Kind::Answer, handler.enrol(is_candidate, request).await),
            None => (Kind::NotNow, Bytes::from_static(b"this node is still starting")),
        })
    }
}

/// Whether the other side holds the authority, or why it is refused.
fn candidacy(
    stream: &TlsStream<TcpStream>,
    cluster: ClusterId,
    fence: Option<&Fence>,
) -> Result<bool, String> {
    let Some(certificate) = stream.get_ref().1.peer_certificates().and_then(<[_]>::first) else {
        return Ok(false);
    };
    if let Some(reason) = fence.and_then(|fence| fence.reason(None, pki::serial_of(certificate).as_deref())) {
        return Err(reason);
    }
    match pki::check_dns_name(certificate, cluster.candidate_name()) {
        Ok(()) => Ok(true),
        Err(_) => Err("the certificate shown is not a candidate's".to_owned()),
    }
}

/// `None` when it is too long.
pub(crate) async fn read_bounded(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Bytes>> {
    let length = from.read_u32().await? as usize;
    if length > MOST_BYTES {
        return Ok(None);
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes).await?;
    Ok(Some(bytes.into()))
}

async fn finish(stream: &mut TlsStream<TcpStream>, kind: Kind, answer: &[u8]) -> io::Result<()> {
    stream.write_u8(kind as u8).await?;
    write_bounded(stream, answer).await?;
    stream.shutdown().await?;
    // Until the other side hangs up: closed with bytes unread, TCP would take the answer back.
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
    Ok(())
}

pub(crate) async fn write_bounded(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    to.write_u32(length).await?;
    to.write_all(bytes).await?;
    to.flush().await
}

/// Connections at the same time. Each is soon over.
const MOST_CONNECTIONS: usize = 32;
/// Those of them that are answered.
const MOST_AT_ONCE: usize = 8;
/// All of a connection: TLS, request, and answer.
const PATIENCE: Duration = Duration::from_secs(10);
