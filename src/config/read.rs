//! From texts to the typed, checked settings.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::thread::available_parallelism;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::http::Uri;
use zeroize::Zeroizing;

use super::sources::{Given, Values};
use super::table::SETTINGS;
use super::{
    Argon2Cost, BackupSchedule, Config, ConfigError, Discovery, Doors, FirstAdmin, Keystone, LogFormat,
    Nodes, Origin, Otlp, RateLimits, TlsFiles,
};
use crate::rate::Rate;
use crate::secret::Secret;

pub(super) fn config(values: Values, notices: Vec<String>) -> Result<Config, ConfigError> {
    let mut read = Reader(values);
    let data: PathBuf = read.required("data", parse)?;
    let peer_listen = read.required("peer_listen", address)?;
    let encryption_key = read.optional("encryption_key", encryption_key)?;
    let config = Config {
        http_listen: read.required("http_listen", address)?,
        peer_listen,
        peer_advertise: read.optional("peer_advertise", peer)?.unwrap_or_else(|| peer_listen.to_string()),
        public_url: read.optional("public_url", base_url)?,
        join: read.list("join", peer)?,
        discovery: discovery(&mut read)?,
        nodes: nodes(&mut read)?,
        allowed_hosts: read.list("allowed_hosts", host)?,
        allowed_origins: read.list("allowed_origins", origin)?,
        trusted_proxies: read.list("trusted_proxies", said)?,
        tls: tls(&mut read)?,
        key_file: key_file(&mut read, &data, encryption_key.is_some())?,
        encryption_key,
        jwt_secret: read.optional("jwt_secret", jwt_secret)?,
        access_token_lifetime: read.required("access_token_lifetime", duration(MINUTE..=DAY))?,
        refresh_token_lifetime: read.required("refresh_token_lifetime", duration(MINUTE..=YEAR))?,
        api_key_lifetime: read.required("api_key_lifetime", duration(MINUTE..=YEAR * 10))?,
        keystone: keystone(&mut read)?,
        doors: Doors {
            sign_up: read.required("sign_up", switch)?,
            registration: read.required("registration", switch)?,
            key_accounts: read.required("key_accounts", switch)?,
        },
        limits: limits(&mut read)?,
        argon2: Argon2Cost {
            memory_kib: read.required("argon2_memory_kib", number(7168..=4_194_304))?,
            iterations: read.required("argon2_iterations", number(1..=64))?,
            parallelism: read.required("argon2_parallelism", number(1..=64))?,
        },
        hash_threads: read.optional("hash_threads", number(1..=1024))?.unwrap_or_else(cores),
        hash_queue: read.required("hash_queue", number(1..=65_536))?,
        max_in_flight: read.required("max_in_flight", number(1..=1_000_000))?,
        max_in_flight_per_account: read.required("max_in_flight_per_account", number(1..=1_000_000))?,
        snapshot_every: read.required("snapshot_every", number(100..=10_000_000))?,
        backup: backup(&mut read)?,
        heartbeat: read.required("heartbeat", duration(ms(10)..=ms(5_000)))?,
        election_min: read.required("election_min", duration(ms(20)..=ms(30_000)))?,
        election_max: read.required("election_max", duration(ms(30)..=ms(60_000)))?,
        log_level: read.required("log_level", log_level)?,
        log_format: read.required("log_format", log_format)?,
        otlp: otlp(&mut read)?,
        max_connections: read.required("max_connections", number(1..=1_000_000))?,
        max_connections_per_address: read.required("max_connections_per_address", number(1..=1_000_000))?,
        stop_grace: read.required("stop_grace", duration(ms(0)..=ms(4000)))?,
        request_timeout: read.required("request_timeout", duration(ms(100)..=MINUTE))?,
        data,
        notices,
    };
    check_election(&read, &config)?;
    Ok(config)
}

fn backup(read: &mut Reader) -> Result<Option<BackupSchedule>, ConfigError> {
    let every = read.required("backup_every", duration(MINUTE..=YEAR))?;
    let keep = read.required("backup_keep", number(1..=10_000))?;
    let folder: Option<PathBuf> = read.optional("backup_folder", parse)?;
    Ok(folder.map(|folder| BackupSchedule { folder, every, keep }))
}

const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);
const YEAR: Duration = Duration::from_hours(366 * 24);

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// Gives out values by name, and words what is wrong with them.
struct Reader(Values);

impl Reader {
    /// The value, or the default of the table.
    fn required<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        let default = SETTINGS.iter().find(|setting| setting.name == name).map_or("", |s| s.default);
        match self.optional(name, &parse)? {
            Some(value) => Ok(value),
            None => parse(default).map_err(|problem| self.bad(name, problem)),
        }
    }

    /// The value, if one was given. An empty text is none, so that a variable can be unset by emptying it.
    fn optional<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        // Wiped when dropped, because some are secrets.
        let text = Zeroizing::new(match self.0.get_mut(name) {
            None => return Ok(None),
            Some((Given::One(text), _)) => std::mem::take(text),
            Some((Given::Many(texts), _)) if texts.len() == 1 => texts.pop().unwrap_or_default(),
            Some((Given::Many(_), _)) => {
                return Err(self.bad(name, "must be one value, not a list".to_owned()));
            }
        });
        if text.is_empty() {
            return Ok(None);
        }
        parse(&text).map(Some).map_err(|problem| self.bad(name, problem))
    }

    /// The values; what is separated by commas is several.
    fn list<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, ConfigError> {
        let texts = match self.0.get_mut(name) {
            None => return Ok(Vec::new()),
            Some((Given::One(text), _)) => vec![std::mem::take(text)],
            Some((Given::Many(texts), _)) => std::mem::take(texts),
        };
        let texts = match texts.as_slice() {
            // As the older systems write lists in the environment.
            [json] if json.trim_start().starts_with('[') => serde_json::from_str(json).map_err(|_| {
                self.bad(name, "is not a JSON list of strings, nor separated by commas".to_owned())
            })?,
            _ => texts,
        };
        let items =
            texts.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|item| !item.is_empty());
        items.map(|item| parse(item).map_err(|problem| self.bad(name, problem))).collect()
    }

    fn bad(&self, name: &'static str, problem: String) -> ConfigError {
        let origin = self.0.get(name).map_or(Origin::Default, |(_, origin)| origin.clone());
        ConfigError::Bad { name, origin, problem }
    }
}

fn parse<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is not acceptable"))
}

/// What says itself what it expects.
fn said<T: FromStr<Err: Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("`{text}` {error}"))
}

fn rate(text: &str) -> Result<Option<Rate>, String> {
    Rate::parse_setting(text).map_err(|error| format!("`{text}` {error}"))
}

fn switch(text: &str) -> Result<bool, String> {
    match text.trim() {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err(format!("`{text}` is neither on nor off")),
    }
}

fn number<T: FromStr + PartialOrd + Display>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> {
    move |text| {
        text.trim().parse().ok().filter(|value| range.contains(value)).ok_or_else(|| {
            format!("`{text}` is not a whole number from {} to {}", range.start(), range.end())
        })
    }
}

fn duration(range: RangeInclusive<Duration>) -> impl Fn(&str) -> Result<Duration, String> {
    move |text| {
        let value = humantime::parse_duration(text.trim())
            .map_err(|_| format!("`{text}` is not a duration like 500ms, 15m or 7d"))?;
        let show = |bound: &Duration| humantime::format_duration(*bound).to_string();
        if range.contains(&value) {
            Ok(value)
        } else {
            Err(format!("`{text}` is not between {} and {}", show(range.start()), show(range.end())))
        }
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.trim().parse().map_err(|_| format!("`{text}` is not an address with a port, like 127.0.0.1:8080"))
}

fn peer(text: &str) -> Result<String, String> {
    let text = text.trim();
    let good = text
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
        && text.parse::<Uri>().is_ok_and(|uri| uri.authority().is_some());
    if good { Ok(text.to_owned()) } else { Err(format!("`{text}` is not host:port")) }
}

fn host(text: &str) -> Result<String, String> {
    if text == "*" {
        return Err(
            "`*` would let any web site speak to this node through a browser; list the names".to_owned()
        );
    }
    match text.parse::<hyper::http::uri::Authority>() {
        Ok(authority) if !text.contains('@') => Ok(authority.to_string()),
        Ok(_) | Err(_) => Err(format!("`{text}` is not a host name")),
    }
}

/// Scheme and authority only, without a final slash.
fn web_address(text: &str) -> Option<String> {
    let uri: Uri = text.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme))?;
    let authority = uri.authority()?.as_str();
    let bare = format!("{scheme}://{authority}");
    let rest = text.get(bare.len()..)?;
    (!authority.contains('@') && (rest.is_empty() || rest == "/")).then_some(bare)
}

fn base_url(text: &str) -> Result<String, String> {
    web_address(text.trim()).ok_or_else(|| format!("`{text}` is not a URL like https://iam.example.com"))
}

fn origin(text: &str) -> Result<String, String> {
    if text == "*" {
        return Ok(text.to_owned());
    }
    web_address(text).ok_or_else(|| format!("`{text}` is not an origin like https://app.example.com, nor *"))
}

fn jwt_secret(text: &str) -> Result<Secret<String>, String> {
    const PLACEHOLDERS: [&str; 5] =
        ["changeme", "change-me", "change_me", "change-in-production", "your-secret"];
    let secret = Secret::new(text.to_owned());
    let length = secret.expose().len();
    if length < 32 {
        return Err(format!("has {length} bytes and needs 32; make one with `openssl rand -base64 48`"));
    }
    let lower = Secret::new(secret.expose().to_ascii_lowercase());
    if PLACEHOLDERS.iter().any(|placeholder| lower.expose().contains(placeholder)) {
        return Err("is a placeholder that others know; make one with `openssl rand -base64 48`".to_owned());
    }
    Ok(secret)
}

fn encryption_key(text: &str) -> Result<Secret<String>, String> {
    let is_key = |key: &str| {
        let bytes = STANDARD.decode(key.trim()).map(Zeroizing::new);
        bytes.is_ok_and(|bytes| bytes.len() == 32)
    };
    if text.split(',').all(is_key) {
        Ok(Secret::new(text.to_owned()))
    } else {
        Err("is not base64 of 32 bytes; make a key with `openssl rand -base64 32`".to_owned())
    }
}

fn log_level(text: &str) -> Result<String, String> {
    match text.parse::<tracing_subscriber::filter::EnvFilter>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => {
            Err(format!("`{text}` is not a level (error, warn, info, debug, trace) or module=level, ..."))
        }
    }
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text.trim() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("`{text}` is neither text nor json")),
    }
}

fn limits(read: &mut Reader) -> Result<RateLimits, ConfigError> {
    Ok(RateLimits {
        login: read.required("rate_limit_login", rate)?,
        refresh: read.required("rate_limit_refresh", rate)?,
        service: read.required("rate_limit_service", rate)?,
        register: read.required("rate_limit_register", rate)?,
        native: read.required("rate_limit_native", rate)?,
        api: read.required("rate_limit_api", rate)?,
        default: read.required("rate_limit_default", rate)?,
    })
}

fn keystone(read: &mut Reader) -> Result<Keystone, ConfigError> {
    let username = read.optional("bootstrap_admin_username", parse::<String>)?;
    let password = read.optional("bootstrap_admin_password", |text| Ok(Secret::new(text.to_owned())))?;
    let email = read.optional("bootstrap_admin_email", parse::<String>)?;
    let admin =
        match (username, password, email) {
            (Some(username), Some(password), email) => Some(FirstAdmin { username, password, email }),
            (None, None, None) => None,
            (Some(_), None, _) => {
                return Err(read
                    .bad("bootstrap_admin_username", "needs bootstrap_admin_password beside it".to_owned()));
            }
            (None, Some(_), _) => {
                return Err(read
                    .bad("bootstrap_admin_password", "needs bootstrap_admin_username beside it".to_owned()));
            }
            (None, None, Some(_)) => {
                return Err(
                    read.bad("bootstrap_admin_email", "needs bootstrap_admin_username beside it".to_owned())
                );
            }
        };
    Ok(Keystone {
        access_token_lifetime: read.required("keystone_access_token_lifetime", duration(MINUTE..=DAY))?,
        refresh_token_lifetime: read.required("keystone_refresh_token_lifetime", duration(MINUTE..=YEAR))?,
        password_min_length: read.required("keystone_password_min_length", number(8..=128))?,
        admin,
    })
}

fn tls(read: &mut Reader) -> Result<Option<TlsFiles>, ConfigError> {
    let certificate = read.optional("tls_certificate", parse)?;
    let key = read.optional("tls_key", parse)?;
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles { certificate, key })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(read.bad("tls_certificate", "needs tls_key beside it".to_owned())),
        (None, Some(_)) => Err(read.bad("tls_key", "needs tls_certificate beside it".to_owned())),
    }
}

fn discovery(read: &mut Reader) -> Result<Option<Discovery>, ConfigError> {
    let addresses = read.list("discover", peer)?;
    let expect = read.optional("discover_expect", number(1..=9))?;
    let authority: Option<PathBuf> = read.optional("authority_file", parse)?;
    let learner = read.required("learner", switch)?;
    match authority {
        None if addresses.is_empty() => Ok(None),
        None => {
            Err(read
                .bad("discover", "needs authority_file beside it; `conclave secrets` makes one".to_owned()))
        }
        Some(_) if addresses.is_empty() => {
            Err(read.bad("authority_file", "needs discover beside it: where the other nodes are".to_owned()))
        }
        Some(authority) => {
            let expect = expect.unwrap_or(addresses.len());
            Ok(Some(Discovery { addresses, expect, authority, learner }))
        }
    }
}

fn otlp(read: &mut Reader) -> Result<Option<Otlp>, ConfigError> {
    let endpoint = read.optional("otlp_endpoint", collector)?;
    let sample_ratio = read.required("otlp_sample_ratio", ratio)?;
    Ok(endpoint.map(|endpoint| Otlp { endpoint, sample_ratio }))
}

/// The address for traces below that of a collector, as OTLP has it.
fn collector(text: &str) -> Result<Uri, String> {
    let bad = || format!("`{text}` is not the address of a collector, like http://127.0.0.1:4318");
    let uri: Uri = text.trim().parse().map_err(|_| bad())?;
    if uri.scheme_str() == Some("https") {
        return Err(
            "is https, which is not supported: run a collector beside the node, and let that send on"
                .to_owned(),
        );
    }
    if uri.scheme_str() != Some("http") || uri.query().is_some() {
        return Err(bad());
    }
    let authority = uri.authority().ok_or_else(bad)?;
    let path = uri.path().trim_end_matches('/');
    let path = if path.ends_with(TRACES) { path.to_owned() } else { format!("{path}{TRACES}") };
    format!("http://{authority}{path}").parse().map_err(|_| bad())
}

const TRACES: &str = "/v1/traces";

fn ratio(text: &str) -> Result<f64, String> {
    let ratio = text.trim().parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| format!("`{text}` is not a number from 0 to 1, like 0.01"))
}

fn nodes(read: &mut Reader) -> Result<Nodes, ConfigError> {
    Ok(Nodes {
        promote_after: read.required("promote_after", duration(ms(0)..=DAY))?,
        remove_dead_after: read.optional("remove_dead_after", duration(ms(1000)..=YEAR))?,
        min_voters: read.required("min_voters", number(1..=9))?,
        certificate_lifetime: read.required("node_certificate_lifetime", duration(MINUTE..=YEAR * 10))?,
    })
}

/// The key file: given, or the data folder's name with `.kek`. Who copies or backs up the data folder must
/// not get the key with it.
fn key_file(read: &mut Reader, data: &Path, has_key: bool) -> Result<PathBuf, ConfigError> {
    let given: Option<PathBuf> = read.optional("key_file", parse)?;
    if given.is_some() && has_key {
        return Err(read.bad("key_file", "and encryption_key exclude each other; give one".to_owned()));
    }
    let real_data = real(data).map_err(|error| read.bad("data", error.to_string()))?;
    let path = if let Some(path) = given {
        path
    } else {
        let Some(name) = real_data.file_name() else {
            return Err(read.bad("data", "cannot be the root folder".to_owned()));
        };
        let mut name = name.to_owned();
        name.push(".kek");
        real_data.with_file_name(name)
    };
    let real_path = real(&path).map_err(|error| read.bad("key_file", error.to_string()))?;
    if real_path.starts_with(&real_data) {
        let problem =
            format!("{} is inside the data folder; keep the key apart from what it locks", path.display());
        return Err(read.bad("key_file", problem));
    }
    Ok(path)
}

/// The path without links and dots, of which the last parts need not exist yet.
fn real(path: &Path) -> std::io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    let mut real = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::ParentDir => drop(real.pop()),
            Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::Normal(_) => {
                real.push(part);
            }
        }
        real = real.canonicalize().unwrap_or(real);
    }
    Ok(real)
}

/// An election must be later than a few lost beats, and its times must be apart.
fn check_election(read: &Reader, config: &Config) -> Result<(), ConfigError> {
    if config.election_min < config.heartbeat * 2 {
        return Err(read.bad("election_min", "must be at least twice the heartbeat".to_owned()));
    }
    if config.election_max <= config.election_min {
        return Err(read.bad("election_max", "must be more than election_min".to_owned()));
    }
    Ok(())
}
