//! The composition root: builds a node from its settings, in order, and takes it down in reverse.

mod admin;
mod figures;
mod place;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use conclave_cluster::{Clock, Cluster, Fatal, FolderError, StartError, SystemClock};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::api::Api;
use crate::api::limits::RequestLimits;
use crate::app::accounts::Person;
use crate::app::bootstrap::NotOpened;
use crate::app::nodes::{Doorkeeper, NodeErrands, NotDiscovered, NotEnrolled};
use crate::app::{self, App, KeyRing};
use crate::auth::guesses;
use crate::auth::hasher::{Hasher, HasherConfig};
use crate::auth::key_file::{KekError, KeySource};
use crate::auth::keys::KeyError;
use crate::auth::phc::{BadHashParams, HashParams};
use crate::config::Config;
use crate::domain::Lifetime;
use crate::domain::level::{LEVEL, OPERATIONS};
use crate::http::metrics::HttpMetrics;
use crate::http::server::{Server, Settings};
use crate::http::tls::TlsError;
use crate::replica::Rules;
use crate::telemetry::Metrics;
use crate::tenants::{Limits, Orders, Tenants};
use figures::{Figures, Sources};

/// A running node.
pub struct Node {
    sources: Arc<Sources>,
    server: Server,
    /// How long it goes on taking requests when it is to stop.
    grace: Duration,
    opening: tokio::task::JoinHandle<()>,
    recording: tokio::task::JoinHandle<()>,
    keeping: tokio::task::JoinHandle<()>,
    saving: Option<tokio::task::JoinHandle<()>>,
    fatal: watch::Receiver<Option<String>>,
}

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error(transparent)]
    Cluster(#[from] StartError),
    #[error(transparent)]
    Folder(FolderError),
    #[error(transparent)]
    Search(#[from] NotDiscovered),
    #[error(transparent)]
    Enrolment(#[from] NotEnrolled),
    #[error("{}: {reason}", path.display())]
    Authority { path: std::path::PathBuf, reason: String },
    #[error(transparent)]
    KeyFile(#[from] KekError),
    #[error("argon2: {0}")]
    HashParams(#[from] BadHashParams),
    #[error("jwt_secret: {0}")]
    Secret(#[from] KeyError),
    #[error("tls: {0}")]
    Tls(#[from] TlsError),
    #[error("cannot start the password hasher: {0}")]
    Hasher(std::io::Error),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: std::net::SocketAddr, source: std::io::Error },
    #[error("the first administrator: {0}")]
    FirstAdmin(String),
    #[error("two routes contradict each other: {0}")]
    Routes(#[from] matchit::InsertError),
    #[error("cannot start the actors: {0}")]
    Actors(String),
}

/// For the leader to hand over before it closes anything.
const HAND_OVER: Duration = Duration::from_secs(1);
/// Until then, from the beginning of a stop, requests may finish: those of callers get 5 s, see `http::server`.
const SETTLE: Duration = Duration::from_millis(6500);
/// All of a stop; whoever runs nodes kills them at 10 s.
const STOP: Duration = Duration::from_millis(9500);
/// Of that, until what it saw is written down: in vain where there is no leader.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long one try to open the cluster's secrets may take.
const PATIENCE: Duration = Duration::from_secs(5);

impl Node {
    /// Starts a node: it serves when this returns, and answers `/ready` once it has caught up.
    ///
    /// # Errors
    /// See [`NodeError`]; nothing is left running then.
    pub async fn start(config: &Config, metrics: Arc<Metrics>) -> Result<Self, NodeError> {
        Self::start_by(config, metrics, Arc::new(SystemClock)).await
    }

    /// The same by another clock than the system's.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn start_by(
        config: &Config,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, NodeError> {
        // What can be wrong in a configuration is found before anything is touched.
        let http = Settings::from_config(config)?;
        let admin = admin::first(config).map_err(NodeError::FirstAdmin)?;
        let founds = place::find(config, &*clock).await?;
        let keyring = Arc::new(KeyRing::open(KeySource::of(config), &config.data, founds)?);
        let hasher = Hasher::start(hasher_config(config)?).map_err(NodeError::Hasher)?;
        // Some 20 ms of work, done when somebody sets a password or by then.
        drop(tokio::task::spawn_blocking(guesses::warm_up));

        let cluster =
            Cluster::start(cluster_config(config, keyring.clone()), Arc::new(Rules), clock.clone()).await?;
        let limits = Limits {
            per_account: config.max_in_flight_per_account,
            in_all: config.max_in_flight,
            ..Limits::default()
        };
        let tenants = Tenants::proposing_to(cluster.clone(), limits, config.request_timeout)
            .await
            .map_err(|error| NodeError::Actors(error.to_string()))?;
        let orders = Orders::new(cluster.clone(), tenants.clone());
        let forwards = orders.clone();
        let settings = app_settings(config, &cluster);
        let app = Arc::new(App::new(cluster.clone(), orders, hasher, keyring, settings, clock)?);

        forwards.serve(Arc::new(NodeErrands(Arc::downgrade(&app))));
        cluster.set_enrol_handler(Arc::new(Doorkeeper(Arc::downgrade(&app))));

        let sources = Arc::new(Sources { cluster, tenants, app: Arc::clone(&app), tls: http.tls.clone() });
        let http_metrics = metrics.register(|registry| {
            registry.register_collector(Box::new(Figures(Arc::downgrade(&sources))));
            app.counts().register(registry);
            forwards.register(registry);
            HttpMetrics::register(registry)
        });
        let address = http.listen;
        let limits = Arc::new(RequestLimits::new(&config.limits));
        let api = Api { app: Arc::clone(&app), limits, metrics };
        let server = Server::bind(http, api.router()?, http_metrics)
            .await
            .map_err(|source| NodeError::Listen { address, source })?;
        let (told, fatal) = watch::channel(None);
        let recording = tokio::spawn(Arc::clone(&app).record());
        let (nodes, level) = (Arc::clone(&app).keep_nodes(), Arc::clone(&app).keep_level());
        let keeping = tokio::spawn(async {
            let ((), ()) = futures_util::join!(nodes, level);
        });
        let saving = config.backup.clone().map(|schedule| {
            let app = Arc::clone(&app);
            tokio::spawn(async move { app.save_backups(&schedule).await })
        });
        let opening = tokio::spawn(watch_over(app, sources.cluster.clone(), admin, founds, told));
        Ok(Self { sources, server, grace: config.stop_grace, opening, recording, keeping, saving, fatal })
    }

    /// The cluster this node belongs to.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.sources.cluster
    }

    /// What the node does for its surfaces.
    #[must_use]
    pub fn app(&self) -> &Arc<App> {
        &self.sources.app
    }

    /// Where HTTP is served.
    #[must_use]
    pub fn http_address(&self) -> std::net::SocketAddr {
        self.server.local_addr()
    }

    /// Waits until the node can do nothing more, and says why: the process must then exit with a status that
    /// is not zero.
    pub async fn failed(&self) -> String {
        let mut fatal = self.fatal.clone();
        match fatal.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "the node's watch ended".to_owned(),
        }
    }

    /// Stops in reverse, within `STOP`: not ready at once, no new requests after the grace, those under way finish,
    /// what was seen is written down, a leader hands over, the disk is synced. What does not get done in time is left.
    pub async fn stop(mut self) {
        let until = |end: Duration| Instant::now() + end;
        let (settled, stopped) = (until(SETTLE), until(STOP));
        self.sources.app.is_stopping.store(true, Ordering::Relaxed);
        self.opening.abort();
        self.keeping.abort();
        if let Some(saving) = &self.saving {
            saving.abort();
        }
        // Who sends requests here learns only by and by that this node is not ready any more.
        tokio::time::sleep(self.grace).await;
        // Before anything is closed: what other nodes have sent here meanwhile then finds the next leader, and is not
        // refused by a queue that takes nothing new. Without another voter that works there is nobody to hand over to.
        let cluster = &self.sources.cluster;
        if cluster.is_leader()
            && let Err(error) = cluster.transfer_leader(None, until(HAND_OVER)).await
        {
            tracing::info!(%error, "stopping without a hand-over so far");
        }
        self.server.stop().await;
        self.sources.app.stop_recording();
        if tokio::time::timeout(LAST_WORDS, &mut self.recording).await.is_err() {
            self.recording.abort();
            let lost = self.sources.app.observer_stats().waiting;
            tracing::warn!(lost, "the node stops before what it saw is written into the audit trails");
        }
        self.sources.tenants.drain(settled).await;
        if tokio::time::timeout_at(stopped, self.sources.cluster.shutdown()).await.is_err() {
            tracing::warn!("the cluster's part did not stop in time; the log has what was acknowledged");
        }
    }
}

/// Opens the cluster's secrets as soon as that can be done and makes the first administrator, then waits for a
/// fault of the cluster.
async fn watch_over(
    app: Arc<App>,
    cluster: Cluster,
    admin: Option<Person>,
    founds: bool,
    told: watch::Sender<Option<String>>,
) {
    let opening = async {
        loop {
            match app.open_secrets(PATIENCE).await {
                Ok(()) => {
                    match &admin {
                        Some(person) => admin::make(&app, person).await,
                        None if founds => admin::offer(&app).await,
                        None => {}
                    }
                    return std::future::pending().await;
                }
                Err(NotOpened::NotYet(failure)) => {
                    tracing::debug!(%failure, "the cluster's secrets are not open yet");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error @ NotOpened::WrongKey(_)) => return error.to_string(),
            }
        }
    };
    let removed = async {
        loop {
            if let Some(reason) = cluster.status().refused {
                return reason;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let mut faults = cluster.fatal();
    let fault = async {
        match faults.wait_for(Option::is_some).await {
            Ok(fatal) => fatal.as_ref().map_or_else(String::new, Fatal::to_string),
            Err(_) => "the cluster stopped".to_owned(),
        }
    };
    let reason = tokio::select! {
        reason = opening => reason,
        reason = fault => reason,
        reason = removed => reason,
    };
    tracing::error!(%reason, "this node cannot go on");
    // Nobody listens any more when the node is stopping already.
    let _ = told.send(Some(reason));
}

fn hasher_config(config: &Config) -> Result<HasherConfig, BadHashParams> {
    let cost = config.argon2;
    Ok(HasherConfig {
        params: HashParams::new(cost.memory_kib, cost.iterations, cost.parallelism)?,
        threads: NonZeroUsize::new(config.hash_threads).unwrap_or(NonZeroUsize::MIN),
        queue: config.hash_queue,
    })
}

fn cluster_config(config: &Config, keys: Arc<KeyRing>) -> conclave_cluster::Config {
    let mut cluster =
        conclave_cluster::Config::new(&config.data, config.peer_listen, config.base_url(), keys);
    cluster.peer_addr = Some(config.peer_advertise.clone());
    cluster.join.clone_from(&config.join);
    cluster.timing = conclave_cluster::Timing {
        heartbeat_ms: millis(config.heartbeat),
        election_min_ms: millis(config.election_min),
        election_max_ms: millis(config.election_max),
    };
    cluster.snapshot_every = config.snapshot_every;
    // The keeper does, when a node has kept up for a while and shall vote: of all releases that have one.
    cluster.promotes = LEVEL < OPERATIONS;
    cluster
}

fn app_settings(config: &Config, cluster: &Cluster) -> app::Settings {
    app::Settings {
        issuer: format!("urn:conclave:{}", cluster.identity().cluster),
        access_token: Lifetime(millis(config.access_token_lifetime)),
        refresh_token: Lifetime(millis(config.refresh_token_lifetime)),
        api_key: Lifetime(millis(config.api_key_lifetime)),
        jwt_secret: config.jwt_secret.clone(),
        keystone: config.keystone.clone(),
        doors: config.doors,
        limits: config.limits,
        nodes: config.nodes,
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
