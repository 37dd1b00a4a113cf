//! Connections from other nodes. Nothing is answered before both sides have shown their certificates.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncWriteExt, BufReader, BufWriter};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time;
use tokio_rustls::server::TlsStream;

use super::client::Client;
use super::frame::{Frame, Hello, Welcome, read_frame, read_greeting, write_frame, write_greeting};
use super::tls::Tls;
use super::{Channel, Peer, Service, Transport, TransportError};
use crate::identity::NodeId;

/// TCP with mutual TLS, both ways.
pub(crate) struct TlsTransport {
    client: Client,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

impl TlsTransport {
    /// Can call at once; answers from [`TlsTransport::listen`] on.
    pub(crate) fn new(tls: Tls) -> Self {
        Self { client: Client::new(tls), accepting: Mutex::new(None) }
    }

    /// Answers what comes in on `listener`.
    pub(crate) fn listen(&self, listener: TcpListener, tls: Tls, service: Arc<dyn Service>) {
        let task = tokio::spawn(accept(listener, tls, service));
        *self.accepting.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }
}

impl Transport for TlsTransport {
    fn call(
        &self,
        to: Peer,
        channel: Channel,
        request: Bytes,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        self.client.call(to, channel, request, within)
    }

    fn close(&self) {
        if let Some(task) = self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
        self.client.close();
    }
}

impl Drop for TlsTransport {
    fn drop(&mut self) {
        self.close();
    }
}

async fn accept(listener: TcpListener, tls: Tls, service: Arc<dyn Service>) {
    // Ends, with all connections, when this task is aborted.
    let mut connections = JoinSet::new();
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a peer's connection");
                // Out of descriptors, most likely: do not spin on it.
                time::sleep(PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        let (tls, service) = (tls.clone(), Arc::clone(&service));
        connections.spawn(async move {
            match time::timeout(GREETING, greet(stream, &tls)).await {
                Ok(Ok((stream, from, channel))) => serve(stream, from, channel, service).await,
                Ok(Err(error)) => tracing::warn!(%error, "refused a peer's connection"),
                Err(_) => tracing::warn!("refused a peer's connection: its greeting took too long"),
            }
            drop(place);
        });
    }
}

async fn greet(stream: TcpStream, tls: &Tls) -> io::Result<(TlsStream<TcpStream>, NodeId, Channel)> {
    stream.set_nodelay(true)?;
    let mut stream = tls.acceptor.accept(stream).await?;
    let hello: Hello = read_greeting(&mut stream).await?;
    let own = tls.identity;
    let reason = if hello.cluster != own.cluster {
        Some(format!("this is cluster {}, not {}", own.cluster, hello.cluster))
    } else if hello.to.is_some_and(|to| to != own.node) {
        Some(format!("this is node {}", own.node))
    } else {
        let certificates = stream.get_ref().1.peer_certificates();
        let checked = tls.check_client(certificates, hello.from);
        checked.err().map(|_| format!("the certificate is not for node {}", hello.from))
    };
    match reason {
        None => {
            write_greeting(&mut stream, &Welcome::Accepted { node: own.node }).await?;
            Ok((stream, hello.from, hello.channel))
        }
        Some(reason) => {
            write_greeting(&mut stream, &Welcome::Refused { reason: reason.clone() }).await?;
            stream.shutdown().await?;
            Err(io::Error::other(reason))
        }
    }
}

async fn serve(stream: TlsStream<TcpStream>, from: NodeId, channel: Channel, service: Arc<dyn Service>) {
    let (read, write) = tokio::io::split(stream);
    let (answers, mut queue) = mpsc::channel::<Frame>(MOST_AT_ONCE);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut write = BufWriter::new(write);
        while let Some(frame) = queue.recv().await {
            let mut next = Some(frame);
            while let Some(frame) = next {
                if write_frame(&mut write, &frame).await.is_err() {
                    return;
                }
                next = queue.try_recv().ok();
            }
            if write.flush().await.is_err() {
                return;
            }
        }
    });
    let places = Arc::new(Semaphore::new(MOST_AT_ONCE));
    let mut read = BufReader::new(read);
    // Not reading on is the back-pressure: the peer's own limits then refuse.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let Ok(frame) = read_frame(&mut read).await else { break };
        while tasks.try_join_next().is_some() {}
        let answering = service.answer(from, channel, frame.body);
        let answers = answers.clone();
        tasks.spawn(async move {
            let body = answering.await;
            drop(answers.send(Frame { id: frame.id, body }).await);
            drop(place);
        });
    }
}

/// Three nodes need eight; the rest is for restarts that have not been noticed yet.
const MOST_CONNECTIONS: usize = 256;
/// Requests under way for one connection.
const MOST_AT_ONCE: usize = 1024;
/// TLS and greeting together.
const GREETING: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);
