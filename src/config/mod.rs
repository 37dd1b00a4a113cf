//! Every setting of a node: its default, its limits, and where it may come from.
//!
//! Knows files and the environment; must not know what the settings are used for.
//!
//! # Why
//! - One name for each setting: `request_timeout` in the file, `CONCLAVE_REQUEST_TIMEOUT` in the
//!   environment, `--request-timeout` where there is a flag. So a setting can be moved by copying it.
//! - A flag wins over the environment, that over the file, that over the default: the nearer to the person
//!   at the keyboard, the stronger.
//! - What is not known is an error, with the nearest known name: a security setting that is misspelled
//!   must not be silently absent.
//! - Secrets have no flag: command lines are seen by every user of a machine.

mod network;
mod older;
mod read;
mod sources;
mod table;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hyper::http::Uri;

use crate::rate::Rate;
use crate::secret::Secret;

pub use network::Network;
pub use older::unused_variables;
pub use sources::Flags;
pub use table::{SETTINGS, Setting};

/// The settings of a node, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data folder.
    pub data: PathBuf,
    /// Where the HTTP API listens.
    pub http_listen: SocketAddr,
    /// Where peers are listened to.
    pub peer_listen: SocketAddr,
    /// Host and port at which peers reach this node.
    pub peer_advertise: String,
    /// The base URL at which clients reach this node, without a final slash.
    pub public_url: Option<String>,
    /// Peers, host and port each, of the cluster to join; empty to found one.
    pub join: Vec<String>,
    /// How nodes that share an authority find each other.
    pub discovery: Option<Discovery>,
    /// What happens to members by itself.
    pub nodes: Nodes,
    /// Host names that requests may be addressed to, besides loopback and that of `public_url`.
    pub allowed_hosts: Vec<String>,
    /// Web origins whose pages may read replies; `*` is all.
    pub allowed_origins: Vec<String>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// The certificate of the HTTP port; plain HTTP without.
    pub tls: Option<TlsFiles>,
    /// The key-encryption key, never inside the data folder.
    pub key_file: PathBuf,
    /// Key-encryption keys in place of the file's, base64 of 32 bytes each, with commas between.
    pub encryption_key: Option<Secret<String>>,
    /// The secret of HS256 tokens, at least 32 bytes.
    pub jwt_secret: Option<Secret<String>>,
    /// How long an access token is good.
    pub access_token_lifetime: Duration,
    /// How long a refresh token is good.
    pub refresh_token_lifetime: Duration,
    /// How long an API key is good.
    pub api_key_lifetime: Duration,
    /// What concerns `/api/v1` alone.
    pub keystone: Keystone,
    /// What strangers may do.
    pub doors: Doors,
    /// How often something may be done.
    pub limits: RateLimits,
    /// The cost of hashing a password.
    pub argon2: Argon2Cost,
    /// Threads that hash passwords.
    pub hash_threads: usize,
    /// Hashes that may wait for a thread; more are answered 503.
    pub hash_queue: usize,
    /// Commands in flight on the leader in all; more are answered 503.
    pub max_in_flight: usize,
    /// Commands in flight on the leader for one account; more are answered 503.
    pub max_in_flight_per_account: usize,
    /// Log entries between two snapshots.
    pub snapshot_every: u64,
    /// Backups that the node saves by itself.
    pub backup: Option<BackupSchedule>,
    /// The beat of the leader.
    pub heartbeat: Duration,
    /// The shortest silence after which a node stands for election.
    pub election_min: Duration,
    /// The longest.
    pub election_max: Duration,
    /// What is logged, in the syntax of `tracing` filters.
    pub log_level: String,
    /// How it is written.
    pub log_format: LogFormat,
    /// Where spans go; nowhere without.
    pub otlp: Option<Otlp>,
    /// HTTP connections open at once.
    pub max_connections: usize,
    /// HTTP connections open at once from one address.
    pub max_connections_per_address: usize,
    /// After which a request is answered, done or not.
    pub request_timeout: Duration,
    /// How long a stopping node goes on taking requests.
    pub stop_grace: Duration,
    /// What the operator should know about variables that have no effect; one sentence each, no values.
    pub notices: Vec<String>,
}

/// How nodes that share an authority find each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// All nodes, host and port each, or names that stand for several.
    pub addresses: Vec<String>,
    /// How many nodes form a new cluster.
    pub expect: usize,
    /// The file with the authority's certificate and key.
    pub authority: PathBuf,
    /// Whether this node never votes.
    pub learner: bool,
}

/// What happens to members by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nodes {
    /// How long a learner must have kept up before it is given a vote.
    pub promote_after: Duration,
    /// After how long a silence a member is removed; never without.
    pub remove_dead_after: Option<Duration>,
    /// Voters that are left at least when that happens.
    pub min_voters: usize,
    /// How long a node's certificate is good.
    pub certificate_lifetime: Duration,
}

/// What concerns the clients of `/api/v1` alone.
#[derive(Clone, Debug)]
pub struct Keystone {
    /// How long an access token is good.
    pub access_token_lifetime: Duration,
    /// How long a refresh token is good.
    pub refresh_token_lifetime: Duration,
    /// Characters that a password has at least.
    pub password_min_length: usize,
    /// Who administers first.
    pub admin: Option<FirstAdmin>,
}

/// The first administrator, made once, on an empty cluster.
#[derive(Clone, Debug)]
pub struct FirstAdmin {
    /// What it signs in with.
    pub username: String,
    /// Its first password.
    pub password: Secret<String>,
    /// Its e-mail address.
    pub email: Option<String>,
}

/// Backups of the whole cluster that a node saves by itself.
#[derive(Clone, Debug)]
pub struct BackupSchedule {
    /// Where they go; made if it is not there.
    pub folder: PathBuf,
    /// Between two of them.
    pub every: Duration,
    /// How many are kept.
    pub keep: usize,
}

/// What strangers may do. All of it is on by default.
#[derive(Clone, Copy, Debug)]
pub struct Doors {
    /// Open an account under `/v1` and `/iam`.
    pub sign_up: bool,
    /// Register under `/api/v1`.
    pub registration: bool,
    /// Open an account by the first write with a new client key under `/api`.
    pub key_accounts: bool,
}

/// How often something may be done; `None` is as often as one likes.
#[derive(Clone, Copy, Debug, Default)]
pub struct RateLimits {
    /// Sign-ins with a password, from one source, on all nodes together.
    pub login: Option<Rate>,
    /// Uses of refresh tokens, from one source, on all nodes together.
    pub refresh: Option<Rate>,
    /// Sign-ins with an API key or a client secret, from one source, on all nodes together.
    pub service: Option<Rate>,
    /// Sign-ups and registrations, from one source, on all nodes together.
    pub register: Option<Rate>,
    /// Requests of one caller to `/v1` and `/iam`, on this node.
    pub native: Option<Rate>,
    /// Requests of one caller to `/api/v1`, on this node.
    pub api: Option<Rate>,
    /// Requests of one caller to `/api`, on this node.
    pub default: Option<Rate>,
}

/// PEM files for the HTTP port.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate chain, own certificate first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// What a password hash costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub iterations: u32,
    /// Lanes.
    pub parallelism: u32,
}

/// Where spans go, and how many.
#[derive(Clone, Debug)]
pub struct Otlp {
    /// The collector's address for traces, plain HTTP.
    pub endpoint: Uri,
    /// Of the traces that no caller has decided about, so many are exported: from 0 to 1.
    pub sample_ratio: f64,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// Reads the settings. `file` is one that was asked for: it must be there. `environment` is usually
    /// [`std::env::vars_os`].
    ///
    /// # Errors
    /// When a name is not known, or a value is not acceptable. Names the place; quotes no secret.
    pub fn load(
        flags: Flags,
        file: Option<&std::path::Path>,
        environment: impl IntoIterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
    ) -> Result<Self, ConfigError> {
        let (values, notices) = sources::gather(flags, file, environment)?;
        read::config(values, notices)
    }

    /// What a file alone gives, for fuzzing.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn of_text(text: &str) -> Result<Self, ConfigError> {
        let mut values = sources::Values::new();
        sources::from_text(std::path::Path::new("conclave.toml"), text, &mut values)?;
        read::config(values, Vec::new())
    }

    /// All host names that requests may be addressed to, besides loopback.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        let own = self.public_url.as_deref().and_then(|url| url.split("://").nth(1));
        self.allowed_hosts.iter().map(String::as_str).chain(own)
    }

    /// The base URL that clients are told: `public_url`, or the listening address.
    #[must_use]
    pub fn base_url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        self.public_url.clone().unwrap_or_else(|| format!("{scheme}://{}", self.http_listen))
    }
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// This environment variable.
    Variable(String),
    /// This file.
    File(PathBuf),
    /// Nobody gave one.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("on the command line"),
            Self::Variable(name) => write!(f, "from the environment variable {name}"),
            Self::File(path) => write!(f, "in {}", path.display()),
            Self::Default => f.write_str("by default"),
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No setting has that name.
    #[error("unknown setting `{name}` {origin}{}", nearest.map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    Unknown {
        /// The name as given.
        name: String,
        /// Where.
        origin: Origin,
        /// The known one that is most like it.
        nearest: Option<&'static str>,
    },
    /// A value is not acceptable.
    #[error("setting `{name}` {origin}: {problem}")]
    Bad {
        /// The setting.
        name: &'static str,
        /// Where its value came from.
        origin: Origin,
        /// What is wrong; quotes the value unless it is secret.
        problem: String,
    },
    /// Two names of older systems for one setting disagree.
    #[error(
        "setting `{name}` has one value {one} and another {other}; keep one, or use our own name, which is stronger"
    )]
    Conflict {
        /// The setting.
        name: &'static str,
        /// Where one value came from.
        one: Origin,
        /// Where the other came from.
        other: Origin,
    },
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no TOML. The line itself is not shown: it may hold a secret.
    #[error("{}, line {line}: {problem}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What the parser says.
        problem: String,
    },
}
