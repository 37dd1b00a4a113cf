//! Connections from other nodes. Nothing is answered before both sides have shown their certificates.
//!
//! On the same port come those that want to become nodes. They say so in their first message (ALPN), and from
//! there on the two never meet: other TLS settings, another protocol, see [`crate::enrol`].

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncWriteExt, BufReader, BufWriter};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::server::Acceptor;
use tokio_rustls::server::{StartHandshake, TlsStream};

use super::client::Client;
use super::doors::{Door, Doors};
use super::frame::{Frame, Hello, Welcome, read_frame, read_greeting, write_frame, write_greeting};
use super::tls::{ENROLMENT, Tls};
use super::{Channel, Peer, Service, Transport, TransportError, socket};
use crate::enrol::Desk;
use crate::identity::NodeId;
use crate::pki;

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

    /// Answers what comes in on `listener`: peers by `service`, those that want to become nodes by `desk`.
    pub(crate) fn listen(&self, listener: TcpListener, tls: Tls, service: Arc<dyn Service>, desk: Arc<Desk>) {
        let task = tokio::spawn(accept(listener, tls, service, desk));
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

async fn accept(listener: TcpListener, tls: Tls, service: Arc<dyn Service>, desk: Arc<Desk>) {
    // Ends, with all connections, when this task is aborted.
    let mut connections = JoinSet::new();
    let doors = Doors::new(MOST_UNKNOWN);
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let (stream, from) = accepted(&listener).await;
        while connections.try_join_next().is_some() {}
        let (door, places) = (doors.enter(from.ip()), Arc::clone(&places));
        let (tls, service, desk) = (tls.clone(), Arc::clone(&service), Arc::clone(&desk));
        connections.spawn(connection(stream, door, places, tls, service, desk));
    }
}

/// The next connection, and where it comes from.
pub(crate) async fn accepted(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(connection) => return connection,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a peer's connection");
                // Out of descriptors, most likely: do not spin on it.
                time::sleep(PAUSE).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    mut door: Door,
    places: Arc<Semaphore>,
    tls: Tls,
    service: Arc<dyn Service>,
    desk: Arc<Desk>,
) {
    let greeting = async {
        let start = begin(stream).await?;
        if is_enrolment(&start) { Ok(Greeted::Enrolment(start)) } else { greet(start, &tls).await }
    };
    let greeted = tokio::select! {
        biased;
        greeted = time::timeout(GREETING, greeting) => greeted,
        () = door.shown_out() => {
            tracing::debug!("too many connections of strangers: the oldest was closed");
            return;
        }
    };
    // It is known now who this is.
    drop(door);
    match greeted {
        Ok(Ok(Greeted::Peer(peer))) => {
            if let Ok(_place) = places.try_acquire_owned() {
                serve(peer, service, tls).await;
            } else {
                tracing::warn!(node = %peer.from, "refused a peer's connection: there are too many");
            }
        }
        Ok(Ok(Greeted::Enrolment(start))) => {
            let config = Arc::clone(&tls.ends().enrolment);
            desk.serve(start, config, tls.identity.cluster, Some(&tls.fence)).await;
        }
        Ok(Ok(Greeted::Fenced(reason))) => {
            if tls.fence.is_news(&reason) {
                tracing::warn!(reason, "refused a peer's connection, and will go on to");
            }
        }
        Ok(Err(error)) => tracing::warn!(%error, "refused a peer's connection"),
        Err(_) => tracing::warn!("refused a peer's connection: its greeting took too long"),
    }
}

/// Reads the first message of TLS.
pub(crate) async fn begin(stream: TcpStream) -> io::Result<StartHandshake<TcpStream>> {
    socket::set(&stream)?;
    LazyConfigAcceptor::new(Acceptor::default(), stream).await
}

pub(crate) fn is_enrolment(start: &StartHandshake<TcpStream>) -> bool {
    start.client_hello().alpn().is_some_and(|mut protocols| protocols.any(|name| name == ENROLMENT))
}

/// Who has connected.
enum Greeted {
    Peer(PeerStream),
    Enrolment(StartHandshake<TcpStream>),
    /// One that is refused for good, and was told so.
    Fenced(String),
}

struct PeerStream {
    stream: TlsStream<TcpStream>,
    from: NodeId,
    channel: Channel,
    /// Serial number of its certificate.
    serial: Option<String>,
}

async fn greet(start: StartHandshake<TcpStream>, tls: &Tls) -> io::Result<Greeted> {
    let mut stream = start.into_stream(Arc::clone(&tls.ends().server)).await?;
    let hello: Hello = read_greeting(&mut stream).await?;
    let own = tls.identity;
    let certificates = stream.get_ref().1.peer_certificates();
    let serial = certificates.and_then(<[_]>::first).and_then(pki::serial_of);
    let checked = tls.check_client(certificates, hello.from);
    let answer = if hello.cluster != own.cluster {
        Welcome::Refused { reason: format!("this is cluster {}, not {}", own.cluster, hello.cluster) }
    } else if hello.to.is_some_and(|to| to != own.node) {
        Welcome::Refused { reason: format!("this is node {}", own.node) }
    } else if checked.is_err() {
        Welcome::Refused { reason: format!("the certificate is not for node {}", hello.from) }
    } else if let Some(reason) = tls.fence.reason(Some(hello.from), serial.as_deref()) {
        Welcome::Fenced { reason }
    } else {
        Welcome::Accepted { node: own.node }
    };
    write_greeting(&mut stream, &answer).await?;
    match answer {
        Welcome::Accepted { .. } => {
            let Hello { from, channel, .. } = hello;
            Ok(Greeted::Peer(PeerStream { stream, from, channel, serial }))
        }
        Welcome::Fenced { reason } => {
            stream.shutdown().await?;
            Ok(Greeted::Fenced(reason))
        }
        Welcome::Refused { reason } => {
            stream.shutdown().await?;
            Err(io::Error::other(reason))
        }
    }
}

async fn serve(peer: PeerStream, service: Arc<dyn Service>, tls: Tls) {
    let PeerStream { stream, from, channel, serial } = peer;
    let refused = tls.fence.until_refused(Some(from), serial);
    tokio::select! {
        biased;
        reason = refused => {
            if tls.fence.is_news(&reason) {
                tracing::warn!(reason, "closing a peer's connections, and refusing new ones");
            }
        }
        () = exchange(stream, from, channel, service) => {}
    }
}

async fn exchange(stream: TlsStream<TcpStream>, from: NodeId, channel: Channel, service: Arc<dyn Service>) {
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
/// Connections of which it is not known yet whose they are.
const MOST_UNKNOWN: usize = 256;
/// Requests under way for one connection.
const MOST_AT_ONCE: usize = 1024;
/// TLS and greeting together.
const GREETING: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);
