//! The table of settings, and the gathering of their values from flags, environment and file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::{ConfigError, Origin};

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

const fn setting(name: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting { name, default, help, is_secret: false }
}

/// All settings.
pub const SETTINGS: [Setting; 32] = [
    setting("data", "conclave-data", "data folder"),
    setting("http_listen", "127.0.0.1:8080", "address of the HTTP API"),
    setting("peer_listen", "127.0.0.1:9080", "address of the port for peers"),
    setting("peer_advertise", "", "host:port at which peers reach this node; peer_listen by default"),
    setting("public_url", "", "base URL at which clients reach this node"),
    setting("join", "", "peers (host:port, ...) of the cluster to join; none to found one"),
    setting("allowed_hosts", "", "host names to answer to, besides loopback and that of public_url"),
    setting("allowed_origins", "", "web origins (https://app.example.com, ...) that may read replies"),
    setting("tls_certificate", "", "PEM file with the certificate chain of the HTTP port"),
    setting("tls_key", "", "PEM file with its key"),
    setting("key_file", "", "key-encryption key; beside the data folder by default, never inside"),
    Setting {
        is_secret: true,
        ..setting(
            "encryption_key",
            "",
            "keys in place of key_file's: base64 of 32 bytes, the first one seals",
        )
    },
    Setting { is_secret: true, ..setting("jwt_secret", "", "secret of HS256 tokens, 32 bytes or more") },
    setting("access_token_lifetime", "1h", "how long an access token is good"),
    setting("refresh_token_lifetime", "7d", "how long a refresh token is good"),
    setting("api_key_lifetime", "30d", "how long an API key is good"),
    setting("argon2_memory_kib", "19456", "memory of a password hash"),
    setting("argon2_iterations", "2", "passes of a password hash"),
    setting("argon2_parallelism", "1", "lanes of a password hash"),
    setting("hash_threads", "", "threads that hash passwords; one for each core by default"),
    setting("hash_queue", "256", "hashes that may wait for a thread"),
    setting("max_in_flight", "4096", "commands in flight on the leader"),
    setting("max_in_flight_per_account", "512", "commands in flight on the leader for one account"),
    setting("snapshot_every", "10000", "log entries between two snapshots"),
    setting("heartbeat", "50ms", "beat of the leader"),
    setting("election_min", "150ms", "shortest silence after which a node stands for election"),
    setting("election_max", "300ms", "longest silence after which a node stands for election"),
    setting(
        "log_level",
        "info,openraft=warn,chunked_wal=warn",
        "what is logged: error, warn, info, debug, trace, or module=level, ...",
    ),
    setting("log_format", "text", "text or json"),
    setting("max_connections", "4096", "HTTP connections open at once"),
    setting("max_connections_per_address", "2048", "HTTP connections open at once from one address"),
    setting("request_timeout", "5s", "after which a request is answered, done or not"),
];

/// A variable, our setting, and its value in our terms.
type Foreign = (&'static str, &'static str, fn(String) -> String);

/// Names that clients of older systems set already, and what they mean here.
const FOREIGN: [Foreign; 3] = [
    ("JWT_SECRET_KEY", "jwt_secret", |value| value),
    ("ACCESS_TOKEN_EXPIRE_MINUTES", "access_token_lifetime", |minutes| format!("{}m", minutes.trim())),
    ("ALLOWED_ORIGINS", "allowed_origins", |value| value),
];

const PREFIX: &str = "CONCLAVE_";

/// Given by the command line's own parser: the path of the file is no setting.
const CONFIG_VARIABLE: &str = "CONCLAVE_CONFIG";

/// Values from the command line.
#[derive(Clone, Debug, Default)]
pub struct Flags(Vec<(&'static str, Vec<String>)>);

impl Flags {
    /// Sets one of [`SETTINGS`] if there is a value.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: Option<impl Into<String>>) -> Self {
        self.0.extend(value.map(|value| (name, vec![value.into()])));
        self
    }

    /// Sets a list if it is not empty.
    #[must_use]
    pub fn with_list(mut self, name: &'static str, values: Vec<String>) -> Self {
        if !values.is_empty() {
            self.0.push((name, values));
        }
        self
    }
}

/// A value before its type is known. A list is also what is separated by commas in one text.
pub(super) enum Given {
    One(String),
    Many(Vec<String>),
}

pub(super) type Values = BTreeMap<&'static str, (Given, Origin)>;

/// The strongest value of each setting that has one.
pub(super) fn gather(
    flags: Flags,
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Values, ConfigError> {
    let mut values = Values::new();
    if let Some(path) = file {
        from_file(path, &mut values)?;
    }
    from_environment(environment, &mut values)?;
    for (name, given) in flags.0 {
        values.insert(name, (Given::Many(given), Origin::Flag));
    }
    Ok(values)
}

fn from_file(path: &Path, values: &mut Values) -> Result<(), ConfigError> {
    let text = fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        // Not the error itself, whose text shows the line.
        ConfigError::Syntax { path: path.to_owned(), line, problem: error.message().to_owned() }
    })?;
    for (key, value) in table {
        let origin = Origin::File(path.to_owned());
        let name = known(&key).ok_or_else(|| unknown(&key, &key, origin.clone()))?;
        let given = from_toml(value).ok_or_else(|| ConfigError::Bad {
            name,
            origin: origin.clone(),
            problem: "must be a string, a number, true, false, or a list of strings".to_owned(),
        })?;
        values.insert(name, (given, origin));
    }
    Ok(())
}

fn from_toml(value: toml::Value) -> Option<Given> {
    match value {
        toml::Value::String(text) => Some(Given::One(text)),
        toml::Value::Integer(number) => Some(Given::One(number.to_string())),
        toml::Value::Boolean(truth) => Some(Given::One(truth.to_string())),
        toml::Value::Array(items) => items
            .into_iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .map(Given::Many),
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

fn from_environment(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    values: &mut Values,
) -> Result<(), ConfigError> {
    let mut own = Values::new();
    for (variable, value) in environment {
        let Some(variable) = variable.to_str() else { continue };
        let foreign = FOREIGN.iter().find(|(name, ..)| *name == variable);
        let origin = Origin::Variable(variable.to_owned());
        let name = if let Some((_, name, _)) = foreign {
            name
        } else if let Some(key) = variable.strip_prefix(PREFIX) {
            if variable == CONFIG_VARIABLE || is_service_link(variable) {
                continue;
            }
            let key = key.to_ascii_lowercase();
            known(&key).ok_or_else(|| unknown(variable, &key, origin.clone()))?
        } else {
            continue;
        };
        let Ok(value) = value.into_string() else {
            return Err(ConfigError::Bad { name, origin, problem: "is not UTF-8".to_owned() });
        };
        // Our own name is stronger than another system's for the same thing.
        if let Some((.., meaning)) = foreign {
            values.insert(name, (Given::One(meaning(value)), origin));
        } else {
            own.insert(name, (Given::One(value), origin));
        }
    }
    values.extend(own);
    Ok(())
}

/// Kubernetes sets such variables in every container beside a service named `conclave…`.
fn is_service_link(variable: &str) -> bool {
    let has_port = |after: &str| {
        let number = after.split('_').next().unwrap_or_default();
        after.is_empty() || number.parse::<u16>().is_ok()
    };
    variable.ends_with("_SERVICE_HOST")
        || variable.contains("_SERVICE_PORT")
        || variable.split_once("_PORT").is_some_and(|(_, after)| has_port(after.trim_start_matches('_')))
}

fn known(key: &str) -> Option<&'static str> {
    SETTINGS.iter().map(|setting| setting.name).find(|name| *name == key)
}

fn unknown(given: &str, key: &str, origin: Origin) -> ConfigError {
    let likeness = |name: &&'static str| strsim::damerau_levenshtein(name, key);
    let nearest = SETTINGS.iter().map(|setting| setting.name).min_by_key(likeness);
    // Half of it wrong is not a misspelling.
    let nearest = nearest.filter(|name| likeness(name) <= name.len() / 2);
    // A name may be a misplaced secret, so a long one is cut.
    ConfigError::Unknown { name: given.chars().take(64).collect(), origin, nearest }
}
