//! The accept loop: connections, their limits, TLS, a graceful end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::connections::{Connections, Place};
use super::cors::Cors;
use super::host::AllowedHosts;
use super::metrics::HttpMetrics;
use super::router::Router;
use super::service::{Edge, Ends};
use super::source::Proxies;
use super::stream::Holder;
use super::tls::{Tls, TlsError};
use super::watch::{Activity, Patience, Watched};
use crate::config::Config;

/// What an operator may set, and a test shorten.
#[derive(Clone)]
pub struct Settings {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Host names that requests may be addressed to, besides loopback and our own address.
    pub allowed_hosts: AllowedHosts,
    /// Web origins that may read replies.
    pub cors: Cors,
    /// Whose word on a request's source is believed.
    pub proxies: Proxies,
    /// The port's certificate; without one it speaks plain HTTP.
    pub tls: Option<Arc<Tls>>,
    /// Between two looks whether its files have changed.
    pub tls_check: Duration,
    /// Connections open at once.
    pub max_connections: usize,
    /// Connections open at once from one address (one /64 of IPv6).
    pub max_connections_per_address: usize,
    /// For a TLS handshake, and for a request's head from its first byte.
    pub head_timeout: Duration,
    /// For a request's body as a whole.
    pub body_timeout: Duration,
    /// Between requests, and for taking the next bytes of a reply.
    pub idle_timeout: Duration,
    /// From the last byte of a request until the caller is told that the outcome is unknown.
    pub request_timeout: Duration,
    /// At a stop, for the requests in progress.
    pub drain_timeout: Duration,
}

impl Settings {
    /// The defaults for an address.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            allowed_hosts: AllowedHosts::default(),
            cors: Cors::default(),
            proxies: Proxies::default(),
            tls: None,
            tls_check: Duration::from_secs(1),
            max_connections: 4096,
            max_connections_per_address: 2048,
            head_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(5),
            drain_timeout: DRAIN,
        }
    }

    /// What an operator configured.
    ///
    /// # Errors
    /// When the TLS files cannot be used.
    pub fn from_config(config: &Config) -> Result<Self, TlsError> {
        let tls = match &config.tls {
            Some(files) => Some(Arc::new(Tls::open(&files.certificate, &files.key)?)),
            None => None,
        };
        Ok(Self {
            allowed_hosts: AllowedHosts::new(config.hosts()),
            cors: Cors::new(config.allowed_origins.iter().cloned()),
            proxies: Proxies::new(config.trusted_proxies.clone()),
            tls,
            max_connections: config.max_connections,
            max_connections_per_address: config.max_connections_per_address,
            request_timeout: config.request_timeout,
            drain_timeout: DRAIN.saturating_sub(config.stop_grace),
            ..Self::new(config.http_listen)
        })
    }
}

/// At a stop, for the requests in progress and what a node does before them: as long as a request may take by default.
const DRAIN: Duration = Duration::from_secs(5);

/// The longest head of a request, in bytes; longer is 431.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;

/// What one over the cap is told: no parser, no memory, no wait.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
    content-length: 0\r\n\r\n";

/// A listening server. It serves until [`Server::stop`]; dropping it stops it at once.
pub struct Server {
    local: SocketAddr,
    stop: oneshot::Sender<()>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Listens and serves.
    ///
    /// # Errors
    /// When the address cannot be taken.
    pub async fn bind(settings: Settings, router: Router, metrics: HttpMetrics) -> io::Result<Self> {
        let listener = TcpListener::bind(settings.listen).await?;
        let local = listener.local_addr()?;
        if settings.tls.is_none() && !local.ip().is_loopback() {
            tracing::warn!(%local, "passwords and tokens pass this port in clear: set TLS or a proxy before it");
        }
        let (stop, stopped) = oneshot::channel();
        let acceptor = Acceptor::new(settings, router, metrics);
        let accepting = tokio::spawn(acceptor.run(listener, stopped));
        Ok(Self { local, stop, accepting })
    }

    /// The address listened on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Takes no more connections or requests, and ends when those in progress are answered, or after the
    /// drain timeout.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        if let Err(error) = self.accepting.await {
            tracing::error!(%error, "the HTTP server ended badly");
        }
    }
}

struct Acceptor {
    edge: Arc<Edge>,
    settings: Settings,
    connections: Connections,
    protocol: auto::Builder<TokioExecutor>,
    graceful: GracefulShutdown,
    tasks: JoinSet<()>,
}

impl Acceptor {
    fn new(settings: Settings, router: Router, metrics: HttpMetrics) -> Self {
        let edge = Edge {
            router,
            hosts: settings.allowed_hosts.clone(),
            cors: settings.cors.clone(),
            proxies: settings.proxies.clone(),
            body_timeout: settings.body_timeout,
            request_timeout: settings.request_timeout,
            metrics,
        };
        Self {
            edge: Arc::new(edge),
            connections: Connections::new(settings.max_connections, settings.max_connections_per_address),
            protocol: protocol(&settings),
            settings,
            graceful: GracefulShutdown::new(),
            tasks: JoinSet::new(),
        }
    }

    async fn run(mut self, listener: TcpListener, mut stopped: oneshot::Receiver<()>) {
        let tls = self.settings.tls.clone();
        let watching = tls.map(|tls| self.tasks.spawn(tls.watch(self.settings.tls_check)));
        loop {
            tokio::select! {
                // Also when the server is dropped without a word.
                _ = &mut stopped => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.accept(stream, peer),
                    Err(error) => {
                        // Out of descriptors, most likely: asking again at once would only burn the CPU.
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
                Some(_) = self.tasks.join_next() => {}
            }
        }
        drop(listener);
        if let Some(watching) = watching {
            watching.abort();
        }
        let drained = timeout(self.settings.drain_timeout, async {
            self.graceful.shutdown().await;
            while self.tasks.join_next().await.is_some() {}
        });
        if drained.await.is_err() {
            tracing::warn!("requests were still in progress when the time to drain ran out");
        }
    }

    fn accept(&mut self, stream: TcpStream, peer: SocketAddr) {
        let metrics = &self.edge.metrics;
        let Some(place) = self.connections.take(peer.ip()) else {
            metrics.connections_refused.inc();
            if self.settings.tls.is_none() {
                let _ = stream.try_write(FULL);
            }
            return;
        };
        // Replies are small and whole: waiting to fill a packet only delays them.
        let _ = stream.set_nodelay(true);
        let Ok(local) = stream.local_addr() else { return };
        let ends = Ends { peer, local, secure: self.settings.tls.is_some() };
        let connection = Connection {
            edge: self.edge.clone(),
            ends,
            protocol: self.protocol.clone(),
            watcher: self.graceful.watcher(),
            patience: Patience { head: self.settings.head_timeout, idle: self.settings.idle_timeout },
            _place: place,
        };
        match &self.settings.tls {
            None => self.tasks.spawn(connection.serve(stream)),
            Some(tls) => self.tasks.spawn(connection.serve_tls(tls.acceptor(), stream)),
        };
    }
}

fn protocol(settings: &Settings) -> auto::Builder<TokioExecutor> {
    let mut protocol = auto::Builder::new(TokioExecutor::new());
    protocol
        .http1()
        .timer(TokioTimer::new())
        // The watch does the finer timing; this one covers a head that came with an earlier request.
        .header_read_timeout(settings.idle_timeout)
        .max_buf_size(MAX_HEAD_BYTES);
    protocol
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX))
        .max_send_buf_size(256 * 1024)
        .keep_alive_interval(settings.idle_timeout / 2)
        .keep_alive_timeout(settings.head_timeout);
    protocol
}

/// All that one connection needs.
struct Connection {
    edge: Arc<Edge>,
    ends: Ends,
    protocol: auto::Builder<TokioExecutor>,
    watcher: Watcher,
    patience: Patience,
    _place: Place,
}

impl Connection {
    async fn serve_tls(self, tls: TlsAcceptor, stream: TcpStream) {
        match timeout(self.patience.head, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.serve(stream).await,
            Ok(Err(error)) => tracing::debug!(peer = %self.ends.peer, %error, "no TLS handshake"),
            Err(_) => tracing::debug!(peer = %self.ends.peer, "the TLS handshake took too long"),
        }
    }

    async fn serve<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: T) {
        let Self { edge, ends, protocol, watcher, patience, _place } = self;
        let activity = Activity::default();
        let watched = Watched::new(stream, patience, activity.clone());
        let open = edge.metrics.connections.clone();
        let service = service_fn(move |request| {
            let edge = edge.clone();
            let busy = activity.begin();
            async move {
                let mut response = edge.answer(ends, request).await;
                match response.extensions_mut().remove::<Holder>() {
                    Some(holder) => holder.hold(busy),
                    None => drop(busy),
                }
                Ok::<_, Infallible>(response)
            }
        });
        let connection = protocol.serve_connection(TokioIo::new(watched), service).into_owned();
        open.inc();
        let outcome = watcher.watch(connection).await;
        open.dec();
        if let Err(error) = outcome {
            // What a client does wrong on the wire is its own affair.
            tracing::debug!(peer = %ends.peer, error = &*error, "a connection ended early");
        }
    }
}
