//! The table of settings.

/// A setting as an operator sees it.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The name in the file; in the environment `CONCLAVE_` and the name in capitals.
    pub name: &'static str,
    /// The default as text; empty when there is none or it depends on others.
    pub default: &'static str,
    /// What it does.
    pub help: &'static str,
    /// Its value is never shown.
    pub is_secret: bool,
}

impl Setting {
    /// The name in the environment.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name.to_ascii_uppercase())
    }

    /// The names that older systems had for it in the environment.
    pub fn older_variables(&self) -> impl Iterator<Item = &'static str> {
        super::older::variables_of(self.name)
    }
}

/// What our names in the environment begin with.
pub(super) const PREFIX: &str = "CONCLAVE_";

const fn setting(name: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting { name, default, help, is_secret: false }
}

const fn secret(name: &'static str, help: &'static str) -> Setting {
    Setting { is_secret: true, ..setting(name, "", help) }
}

/// All settings.
pub const SETTINGS: [Setting; 63] = [
    setting("data", "conclave-data", "data folder"),
    setting(
        "http_listen",
        "127.0.0.1:8080",
        "address of the HTTP API; loopback, where older systems listened on all addresses",
    ),
    setting("peer_listen", "127.0.0.1:9080", "address of the port for peers"),
    setting("peer_advertise", "", "host:port at which peers reach this node; peer_listen by default"),
    setting("public_url", "", "base URL at which clients reach this node"),
    setting("join", "", "peers (host:port, ...) of the cluster to join; none to found one"),
    setting(
        "discover",
        "",
        "all nodes (host:port, ...), or a name that stands for all, by which nodes with the same authority_file \
         find each other",
    ),
    setting("discover_expect", "", "how many nodes form a new cluster; as many as discover lists by default"),
    setting("authority_file", "", "PEM file with the cluster's authority, see `conclave secrets`"),
    setting("learner", "off", "whether a node that joins by discovery never votes: on or off"),
    setting("promote_after", "3s", "how long a new node must have kept up before it votes"),
    setting(
        "remove_dead_after",
        "",
        "after how long a silence a member is removed by itself; never by default",
    ),
    setting("min_voters", "3", "voters that are left at least when that happens"),
    setting("node_certificate_lifetime", "90d", "how long a node's certificate is good; replaced in time"),
    setting("allowed_hosts", "", "host names to answer to, besides loopback and that of public_url"),
    setting(
        "allowed_origins",
        "",
        "web origins (https://app.example.com, ...) that may read replies, or * for all; none, where older \
         systems let all",
    ),
    setting(
        "trusted_proxies",
        "",
        "addresses or networks (10.0.0.0/8, ...) whose X-Forwarded-For is believed; no others are",
    ),
    setting("tls_certificate", "", "PEM file with the certificate chain of the HTTP port"),
    setting("tls_key", "", "PEM file with its key"),
    setting("key_file", "", "key-encryption key; beside the data folder by default, never inside"),
    secret("encryption_key", "keys in place of key_file's: base64 of 32 bytes, the first one seals"),
    secret(
        "jwt_secret",
        "secret of HS256 tokens, 32 bytes or more; without it each account signs with EdDSA",
    ),
    setting(
        "access_token_lifetime",
        "1h",
        "how long an access token is good; an older default was 1440 minutes",
    ),
    setting("refresh_token_lifetime", "7d", "how long a refresh token is good"),
    setting("api_key_lifetime", "30d", "how long an API key is good"),
    setting("keystone_access_token_lifetime", "15m", "the same of access tokens of /api/v1"),
    setting("keystone_refresh_token_lifetime", "30d", "the same of refresh tokens of /api/v1"),
    setting("keystone_password_min_length", "8", "characters that a password of /api/v1 has at least"),
    setting("sign_up", "on", "whether anybody may open an account (/v1, /iam): on or off"),
    setting("registration", "on", "whether anybody may register (/api/v1/users/register): on or off"),
    setting(
        "key_accounts",
        "on",
        "whether a client key of /api opens an account on its first write: on or off",
    ),
    setting("bootstrap_admin_username", "", "first administrator of /api/v1, made on an empty cluster"),
    secret("bootstrap_admin_password", "the password of that administrator"),
    setting("bootstrap_admin_email", "", "the e-mail address of that administrator"),
    setting("rate_limit_login", "5/minute", "sign-ins from one source, on all nodes together, or off"),
    setting("rate_limit_refresh", "10/minute", "the same of uses of refresh tokens"),
    setting(
        "rate_limit_service",
        "20/minute",
        "the same of sign-ins of services, with an API key or a secret",
    ),
    setting("rate_limit_register", "3/hour", "the same of sign-ups and registrations"),
    setting("rate_limit_native", "off", "requests of one caller to /v1 and /iam on this node, or off"),
    setting("rate_limit_api", "100/minute", "the same of requests to /api/v1"),
    setting(
        "rate_limit_default",
        "off",
        "the same of requests to /api; documented as 1000 per hour there, which was never enforced and turns \
         its own clients away",
    ),
    setting("argon2_memory_kib", "19456", "memory of a password hash"),
    setting("argon2_iterations", "2", "passes of a password hash"),
    setting("argon2_parallelism", "1", "lanes of a password hash"),
    setting("hash_threads", "", "threads that hash passwords; one for each core by default"),
    setting("hash_queue", "256", "hashes that may wait for a thread"),
    setting("max_in_flight", "4096", "commands in flight on the leader"),
    setting("max_in_flight_per_account", "512", "commands in flight on the leader for one account"),
    setting("snapshot_every", "10000", "log entries between two snapshots"),
    setting(
        "backup_folder",
        "",
        "folder into which this node saves backups of the whole cluster by itself; none without. Set it on one \
         node, or on several, each with a folder of its own",
    ),
    setting("backup_every", "1d", "between two such backups, 1m to 366d"),
    setting("backup_keep", "7", "how many of them are kept; older ones go once a newer one is checked"),
    setting("heartbeat", "50ms", "beat of the leader"),
    setting("election_min", "150ms", "shortest silence after which a node stands for election"),
    setting("election_max", "300ms", "longest silence after which a node stands for election"),
    setting(
        "log_level",
        "info,openraft=warn,chunked_wal=warn",
        "what is logged: error, warn, info, debug, trace, or module=level, ...",
    ),
    setting("log_format", "text", "text or json"),
    setting(
        "otlp_endpoint",
        "",
        "collector that gets traces as OTLP over HTTP, like http://127.0.0.1:4318; none by default",
    ),
    setting(
        "otlp_sample_ratio",
        "0.01",
        "part of the traces that goes there, 0 to 1, where no caller has decided",
    ),
    setting("max_connections", "4096", "HTTP connections open at once"),
    setting("max_connections_per_address", "2048", "HTTP connections open at once from one address"),
    setting("request_timeout", "5s", "after which a request is answered, done or not"),
    setting(
        "stop_grace",
        "0s",
        "how long a stopping node, which is not ready any more, goes on taking requests; 3s behind a balancer that \
         asks /ready, up to 4s",
    ),
];
