//! Connections to other nodes: made when first needed, kept, and made anew when they die or stall.
//!
//! When this node gets a new certificate, each connection is left for a new one: requests that wait for their
//! answers get them on the old one, which is then closed, and new requests go over the new one.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncWriteExt, BufReader, BufWriter, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{self, Instant};
use tokio_rustls::client::TlsStream;

use super::frame::{Frame, Hello, Welcome, read_frame, read_greeting, write_frame, write_greeting};
use super::tls::{Ends, Tls};
use super::{Channel, Peer, TransportError, socket};
use crate::identity::NodeId;
use crate::pki;

/// Connections to peers, by whom and for what.
pub(crate) struct Client {
    tls: Tls,
    links: Mutex<BTreeMap<(Peer, Channel), mpsc::Sender<Job>>>,
}

type Answer = Result<Bytes, TransportError>;

struct Job {
    request: Bytes,
    reply: oneshot::Sender<Answer>,
}

impl Client {
    pub(crate) fn new(tls: Tls) -> Self {
        Self { tls, links: Mutex::default() }
    }

    pub(crate) fn call(
        &self,
        to: Peer,
        channel: Channel,
        request: Bytes,
        within: Duration,
    ) -> BoxFuture<'static, Answer> {
        let addr = to.addr.clone();
        let link = self.link(to, channel);
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let sending = link.try_send(Job { request, reply });
            if let Err(error) = sending {
                let reason = match error {
                    mpsc::error::TrySendError::Full(_) => "too many requests wait for this peer",
                    mpsc::error::TrySendError::Closed(_) => "this node is stopping",
                };
                return Err(TransportError::NotSent { addr, reason: reason.to_owned() });
            }
            match time::timeout(within, answer).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => Err(TransportError::NoAnswer { addr, reason: "connection dropped".to_owned() }),
                Err(_) => Err(TransportError::TimedOut { addr, within }),
            }
        })
    }

    /// Drops all connections. Calls made later fail.
    pub(crate) fn close(&self) {
        self.links.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn link(&self, to: Peer, channel: Channel) -> mpsc::Sender<Job> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        // A node that moved leaves its old link behind; its task ends when the sender goes.
        if to.node.is_some() {
            links
                .retain(|(peer, other), _| *other != channel || peer.node != to.node || peer.addr == to.addr);
        }
        let link = links.entry((to.clone(), channel)).or_insert_with(|| {
            let (jobs, queue) = mpsc::channel(MOST_WAITING);
            tokio::spawn(Link { tls: self.tls.clone(), peer: to, channel }.run(queue));
            jobs
        });
        link.clone()
    }
}

/// One peer and one purpose. Its task lives as long as the link is in the map.
struct Link {
    tls: Tls,
    peer: Peer,
    channel: Channel,
}

/// A connection that the peer has accepted.
struct Connected {
    stream: TlsStream<TcpStream>,
    /// What it was made with.
    ends: Arc<Ends>,
    node: NodeId,
    /// Serial number of the peer's certificate.
    serial: Option<String>,
}

/// How a connection came to its end.
enum End {
    Lost(&'static str),
    Refused(String),
    /// Another one takes its place.
    Replaced,
}

impl Link {
    async fn run(self, mut jobs: mpsc::Receiver<Job>) {
        // Those that were replaced and still have answers to come. They end with this task.
        let mut retired = JoinSet::new();
        while let Some(first) = jobs.recv().await {
            while retired.try_join_next().is_some() {}
            if first.reply.is_closed() {
                continue;
            }
            match time::timeout(CONNECT, self.connect()).await {
                Ok(Ok(connected)) => {
                    if let Some(old) = self.serve(connected, first, &mut jobs).await {
                        retired.spawn(old.finish(self.tls.clone()));
                    }
                }
                Ok(Err(error)) => self.refuse(first, &mut jobs, &error.to_string()),
                Err(_) => self.refuse(first, &mut jobs, "connecting took too long"),
            }
        }
    }

    fn refuse(&self, first: Job, jobs: &mut mpsc::Receiver<Job>, reason: &str) {
        tracing::debug!(peer = ?self.peer, channel = ?self.channel, reason, "cannot connect");
        self.give_back(first, reason);
        while let Ok(job) = jobs.try_recv() {
            self.give_back(job, reason);
        }
    }

    /// It was not sent, so it may go over another connection.
    fn give_back(&self, job: Job, reason: &str) {
        let (addr, reason) = (self.peer.addr.clone(), reason.to_owned());
        drop(job.reply.send(Err(TransportError::NotSent { addr, reason })));
    }

    async fn connect(&self) -> io::Result<Connected> {
        let refused = |node, serial: Option<&str>| match self.tls.fence.reason(node, serial) {
            Some(reason) => Err(io::Error::other(reason)),
            None => Ok(()),
        };
        refused(self.peer.node, None)?;
        let stream = TcpStream::connect(&self.peer.addr).await?;
        socket::set(&stream)?;
        let name = self.tls.name_of(self.peer.node).map_err(io::Error::other)?;
        let ends = self.tls.ends();
        let mut stream = ends.connector.connect(name, stream).await?;
        let certificates = stream.get_ref().1.peer_certificates();
        let serial = certificates.and_then(<[_]>::first).and_then(pki::serial_of);
        refused(self.peer.node, serial.as_deref())?;
        let identity = self.tls.identity;
        let hello = Hello {
            cluster: identity.cluster,
            from: identity.node,
            to: self.peer.node,
            channel: self.channel,
        };
        write_greeting(&mut stream, &hello).await?;
        match read_greeting(&mut stream).await? {
            Welcome::Accepted { node } if self.peer.node.is_none_or(|wanted| wanted == node) => {
                refused(Some(node), None)?;
                Ok(Connected { stream, ends, node, serial })
            }
            Welcome::Accepted { node } => Err(io::Error::other(format!("it is node {node} by now"))),
            Welcome::Refused { reason } => Err(io::Error::other(format!("refused: {reason}"))),
            // One peer's word is enough: it is a member, and has it from the replicated state.
            Welcome::Fenced { reason } => {
                self.tls.fence.told(&reason);
                Err(io::Error::other(format!("refused for good: {reason}")))
            }
        }
    }

    /// Until the connection ends, is replaced, or nobody needs it any more. One that is replaced is returned.
    async fn serve(
        &self,
        connected: Connected,
        first: Job,
        jobs: &mut mpsc::Receiver<Job>,
    ) -> Option<Connection> {
        let Connected { stream, ends, node, serial } = connected;
        let (read, write) = tokio::io::split(stream);
        let pending = Arc::new(Pending::default());
        let reading = tokio::spawn(read_answers(read, Arc::clone(&pending)));
        let addr = self.peer.addr.clone();
        let mut connection =
            Connection { addr, node, serial, write: BufWriter::new(write), pending, reading };
        let fence = self.tls.fence.clone();
        let mut next = Some(first);
        let end = tokio::select! {
            biased;
            reason = fence.until_refused(Some(node), connection.serial.clone()) => End::Refused(reason),
            end = self.exchange(&ends, &mut connection, &mut next, jobs) => end,
        };
        let (reason, is_replaced) = match end {
            End::Lost(reason) => (reason.to_owned(), false),
            End::Refused(reason) => (reason, false),
            End::Replaced => (String::new(), true),
        };
        if is_replaced {
            return Some(connection);
        }
        connection.pending.fail(&self.peer.addr, &reason);
        if let Some(job) = next {
            self.give_back(job, &reason);
        }
        None
    }

    /// Sends what comes. `next` holds what was taken and not sent.
    async fn exchange(
        &self,
        ends: &Arc<Ends>,
        connection: &mut Connection,
        next: &mut Option<Job>,
        jobs: &mut mpsc::Receiver<Job>,
    ) -> End {
        let mut id = 0;
        loop {
            if next.is_none() {
                // Only here, where everything that was taken has been sent.
                if !self.tls.is_current(ends) {
                    return End::Replaced;
                }
                *next = match time::timeout(WATCH, jobs.recv()).await {
                    Ok(Some(job)) => Some(job),
                    Ok(None) => return End::Lost("this node is stopping"),
                    Err(_) if connection.reading.is_finished() => return End::Lost("the peer hung up"),
                    Err(_) if connection.pending.has_stalled() => {
                        return End::Lost("the peer does not answer");
                    }
                    Err(_) => continue,
                };
            }
            if connection.reading.is_finished() || connection.pending.has_stalled() {
                // What was not sent is given back.
                return End::Lost("the peer does not answer");
            }
            let Some(job) = next.take() else { continue };
            id += 1;
            let frame = Frame { id, body: job.request };
            connection.pending.add(id, job.reply);
            // With a new certificate the rest waits for the new connection.
            if self.tls.is_current(ends) {
                *next = jobs.try_recv().ok();
            }
            if let Err(error) = send(&mut connection.write, &frame, next.is_none()).await {
                tracing::debug!(peer = ?self.peer, %error, "connection lost");
                return End::Lost("connection lost");
            }
        }
    }
}

/// A connection that is used, or was until another one took its place.
struct Connection {
    addr: String,
    node: NodeId,
    serial: Option<String>,
    /// Held so that the peer does not see the connection end.
    write: BufWriter<WriteHalf<TlsStream<TcpStream>>>,
    pending: Arc<Pending>,
    reading: JoinHandle<()>,
}

impl Connection {
    /// Until the last answer is there, or will not come.
    async fn finish(self, tls: Tls) {
        let refused = tls.fence.until_refused(Some(self.node), self.serial.clone());
        let answered = async {
            while !self.pending.is_empty() && !self.pending.has_stalled() && !self.reading.is_finished() {
                time::sleep(WATCH).await;
            }
            "another connection took its place".to_owned()
        };
        let reason = tokio::select! {
            biased;
            reason = refused => reason,
            reason = answered => reason,
        };
        self.pending.fail(&self.addr, &reason);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

async fn send(
    write: &mut BufWriter<WriteHalf<TlsStream<TcpStream>>>,
    frame: &Frame,
    is_last: bool,
) -> io::Result<()> {
    let sending = async {
        write_frame(write, frame).await?;
        if is_last { write.flush().await } else { Ok(()) }
    };
    time::timeout(STALL, sending).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn read_answers(read: ReadHalf<TlsStream<TcpStream>>, pending: Arc<Pending>) {
    let mut read = BufReader::new(read);
    while let Ok(frame) = read_frame(&mut read).await {
        pending.answer(frame);
    }
}

/// Requests that wait for their answers.
struct Pending(Mutex<PendingState>);

struct PendingState {
    replies: BTreeMap<u64, oneshot::Sender<Answer>>,
    /// When the peer last showed life, or a request went out to it while none was waiting.
    alive: Instant,
}

impl Default for Pending {
    fn default() -> Self {
        Self(Mutex::new(PendingState { replies: BTreeMap::new(), alive: Instant::now() }))
    }
}

impl Pending {
    fn add(&self, id: u64, reply: oneshot::Sender<Answer>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.replies.is_empty() {
            state.alive = Instant::now();
        }
        state.replies.insert(id, reply);
    }

    fn answer(&self, frame: Frame) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.alive = Instant::now();
        if let Some(reply) = state.replies.remove(&frame.id) {
            // Its caller may have given up.
            drop(reply.send(Ok(frame.body)));
        }
    }

    /// Whether a request was given up by its caller and nothing came for a while. A connection over a link
    /// that was cut looks like this, and would come back seconds after the link does.
    fn has_stalled(&self) -> bool {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.alive.elapsed() > STALL && state.replies.values().any(oneshot::Sender::is_closed)
    }

    fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).replies.is_empty()
    }

    fn fail(&self, addr: &str, reason: &str) {
        let replies = std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).replies);
        for reply in replies.into_values() {
            let (addr, reason) = (addr.to_owned(), reason.to_owned());
            drop(reply.send(Err(TransportError::NoAnswer { addr, reason })));
        }
    }
}

/// TCP, TLS and greeting together.
const CONNECT: Duration = Duration::from_secs(1);
const STALL: Duration = Duration::from_secs(1);
/// How often an idle connection is looked after.
const WATCH: Duration = Duration::from_millis(250);
const MOST_WAITING: usize = 4096;
