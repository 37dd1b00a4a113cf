//! Connections to other nodes: made when first needed, kept, and made anew when they die or stall.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncWriteExt, BufReader, BufWriter, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{self, Instant};
use tokio_rustls::client::TlsStream;

use super::frame::{Frame, Hello, Welcome, read_frame, read_greeting, write_frame, write_greeting};
use super::tls::Tls;
use super::{Channel, Peer, TransportError};

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

impl Link {
    async fn run(self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(first) = jobs.recv().await {
            if first.reply.is_closed() {
                continue;
            }
            match time::timeout(CONNECT, self.connect()).await {
                Ok(Ok(stream)) => self.serve(stream, first, &mut jobs).await,
                Ok(Err(error)) => self.refuse(first, &mut jobs, &error.to_string()),
                Err(_) => self.refuse(first, &mut jobs, "connecting took too long"),
            }
        }
    }

    fn refuse(&self, first: Job, jobs: &mut mpsc::Receiver<Job>, reason: &str) {
        tracing::debug!(peer = ?self.peer, channel = ?self.channel, reason, "cannot connect");
        let refusal =
            || Err(TransportError::NotSent { addr: self.peer.addr.clone(), reason: reason.to_owned() });
        drop(first.reply.send(refusal()));
        while let Ok(job) = jobs.try_recv() {
            drop(job.reply.send(refusal()));
        }
    }

    async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(&self.peer.addr).await?;
        stream.set_nodelay(true)?;
        let name = self.tls.name_of(self.peer.node).map_err(io::Error::other)?;
        let mut stream = self.tls.connector.connect(name, stream).await?;
        let identity = self.tls.identity;
        let hello = Hello {
            cluster: identity.cluster,
            from: identity.node,
            to: self.peer.node,
            channel: self.channel,
        };
        write_greeting(&mut stream, &hello).await?;
        match read_greeting(&mut stream).await? {
            Welcome::Accepted { node } if self.peer.node.is_none_or(|wanted| wanted == node) => Ok(stream),
            Welcome::Accepted { node } => Err(io::Error::other(format!("it is node {node} by now"))),
            Welcome::Refused { reason } => Err(io::Error::other(format!("refused: {reason}"))),
        }
    }

    /// Until the connection ends or nobody needs it any more.
    async fn serve(&self, stream: TlsStream<TcpStream>, first: Job, jobs: &mut mpsc::Receiver<Job>) {
        let (read, write) = tokio::io::split(stream);
        let pending = Arc::new(Pending::default());
        let reading = tokio::spawn(read_answers(read, Arc::clone(&pending)));
        let mut write = BufWriter::new(write);
        let mut next = Some(first);
        let mut id = 0;
        let reason = loop {
            let job = match next.take() {
                Some(job) => job,
                None => match time::timeout(WATCH, jobs.recv()).await {
                    Ok(Some(job)) => job,
                    Ok(None) => break "this node is stopping",
                    Err(_) if reading.is_finished() => break "the peer hung up",
                    Err(_) if pending.has_stalled() => break "the peer does not answer",
                    Err(_) => continue,
                },
            };
            if reading.is_finished() || pending.has_stalled() {
                // Not sent yet, so it may go over the next connection.
                drop(job.reply.send(Err(TransportError::NotSent {
                    addr: self.peer.addr.clone(),
                    reason: "connection lost".to_owned(),
                })));
                break "the peer does not answer";
            }
            id += 1;
            let frame = Frame { id, body: job.request };
            pending.add(id, job.reply);
            next = jobs.try_recv().ok();
            if let Err(error) = send(&mut write, &frame, next.is_none()).await {
                tracing::debug!(peer = ?self.peer, %error, "connection lost");
                break "connection lost";
            }
        };
        reading.abort();
        pending.fail(&self.peer.addr, reason);
        if let Some(job) = next {
            let addr = self.peer.addr.clone();
            drop(job.reply.send(Err(TransportError::NotSent { addr, reason: reason.to_owned() })));
        }
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
