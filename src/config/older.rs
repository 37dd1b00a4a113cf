//! The environment variables of the older systems, and what each means here.
//!
//! # Why
//! - A variable without a use here is still known: who moves from an older system starts a node with the
//!   environment that is there, and is told, once, what happens instead. No value is shown: connection strings
//!   hold passwords.
//! - Two variables for one thing that disagree are an error. Any order between them would be a guess.
//! - The names of addresses, `HOST` and `PORT`, are so common that other programs set them too. So these
//!   alone are weaker than our settings file.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use zeroize::Zeroizing;

use super::sources::{Given, Values};
use super::table::SETTINGS;
use super::{ConfigError, Origin};

/// What a variable means.
#[derive(Clone, Copy)]
enum Meaning {
    /// This setting, with the value in our terms.
    Is(&'static str, fn(&str) -> String),
    /// The host of `http_listen`.
    Host,
    /// Its port.
    Port,
    /// Whether there are allowed origins at all.
    Cors,
    /// How tokens are signed.
    Algorithm,
    /// Nothing, and why.
    Unused(&'static str),
    /// Nothing, and why, where it is on; nothing to say where it is off.
    UnusedIfOn(&'static str),
    /// The other way round.
    UnusedIfOff(&'static str),
}

use Meaning::{Algorithm, Cors, Host, Is, Port, Unused, UnusedIfOff, UnusedIfOn};

const NO_DATABASE: &str =
    "there is no database: the nodes keep and replicate everything themselves, under `data`";
const NO_STORE: &str =
    "there is no store beside the nodes: what it held is replicated, and limits are held by the leader";

const VARIABLES: [(&str, Meaning); 25] = [
    ("ACCESS_TOKEN_EXPIRE_MINUTES", Is("keystone_access_token_lifetime", minutes)),
    ("ALLOWED_ORIGINS", Is("allowed_origins", same)),
    ("ALLOW_CORS", Cors),
    ("AUTH_DB_PATH", Unused(NO_DATABASE)),
    ("AUTH_DB_TYPE", Unused(NO_DATABASE)),
    ("CORS_ORIGINS", Is("allowed_origins", same)),
    ("DATABASE_URL", Unused(NO_DATABASE)),
    ("DEBUG", UnusedIfOn("replies never show what went wrong inside; `log_level` says what is logged")),
    ("ENABLE_ENCRYPTION", UnusedIfOff("secrets are sealed in any case")),
    (
        "ENCRYPTION_KEY",
        Unused(
            "secrets are sealed with a random key, that of `key_file` or CONCLAVE_ENCRYPTION_KEY, never with a \
             passphrase",
        ),
    ),
    ("HOST", Host),
    ("JWT_ACCESS_TOKEN_EXPIRE_MINUTES", Is("access_token_lifetime", minutes)),
    ("JWT_ALGORITHM", Algorithm),
    ("JWT_SECRET_KEY", Is("jwt_secret", same)),
    ("PASSWORD_MIN_LENGTH", Is("keystone_password_min_length", same)),
    ("PORT", Port),
    ("POSTGRESQL_URL", Unused(NO_DATABASE)),
    ("RATELIMIT_STORAGE_URL", Unused(NO_STORE)),
    ("RATE_LIMIT_API", Is("rate_limit_api", same)),
    ("RATE_LIMIT_DEFAULT", Is("rate_limit_default", same)),
    ("RATE_LIMIT_LOGIN", Is("rate_limit_login", same)),
    ("REDIS_URL", Unused(NO_STORE)),
    ("REFRESH_TOKEN_EXPIRE_DAYS", Is("keystone_refresh_token_lifetime", days)),
    ("SERVER_HOST", Host),
    ("SERVER_PORT", Port),
];

fn same(value: &str) -> String {
    value.to_owned()
}

fn minutes(value: &str) -> String {
    format!("{}m", value.trim())
}

fn days(value: &str) -> String {
    format!("{}d", value.trim())
}

/// The variables that stand for a setting, or for a part of it.
pub(super) fn variables_of(setting: &'static str) -> impl Iterator<Item = &'static str> {
    let stands_for = move |meaning: &Meaning| match meaning {
        Is(name, _) => *name == setting,
        Host | Port => setting == LISTEN,
        Cors => setting == ORIGINS,
        Algorithm => setting == SECRET,
        Unused(_) | UnusedIfOn(_) | UnusedIfOff(_) => false,
    };
    VARIABLES.iter().filter(move |(_, meaning)| stands_for(meaning)).map(|(name, _)| *name)
}

/// The variables without a use here, and what there is instead.
pub fn unused_variables() -> impl Iterator<Item = (&'static str, &'static str)> {
    VARIABLES.iter().filter_map(|(name, meaning)| match meaning {
        Unused(why) | UnusedIfOn(why) | UnusedIfOff(why) => Some((*name, *why)),
        Is(..) | Host | Port | Cors | Algorithm => None,
    })
}

const LISTEN: &str = "http_listen";
const ORIGINS: &str = "allowed_origins";
const SECRET: &str = "jwt_secret";

/// The older variables that are set.
#[derive(Default)]
pub(super) struct Older(BTreeMap<&'static str, Zeroizing<String>>);

impl Older {
    /// The name, where it is one of these.
    pub(super) fn known(variable: &str) -> Option<&'static str> {
        VARIABLES.iter().map(|(name, _)| *name).find(|name| *name == variable)
    }

    /// Takes a variable's value; an empty one is none.
    pub(super) fn set(&mut self, variable: &'static str, value: String) {
        if !value.is_empty() {
            self.0.insert(variable, Zeroizing::new(value));
        }
    }

    /// Adds what the variables mean to the `values` of the file, unless `stronger` has it, and says what of
    /// them is of no use.
    pub(super) fn settle(&self, values: &mut Values, stronger: &Values) -> Result<Vec<String>, ConfigError> {
        let is_given = |values: &Values, name| values.contains_key(name) || stronger.contains_key(name);
        if !is_given(values, LISTEN)
            && let Some(listen) = self.listen()?
        {
            values.insert(LISTEN, listen);
        }
        let mut meant = Values::new();
        for (variable, meaning) in self.set_ones() {
            if let (Is(name, in_our_terms), Some(value)) = (meaning, self.0.get(variable))
                && !stronger.contains_key(name)
            {
                agree(&mut meant, name, variable, in_our_terms(value))?;
            }
        }
        let mut notices = self.unused();
        if !stronger.contains_key(ORIGINS) {
            match self.allows_origins()? {
                None => {}
                Some(false) => drop(meant.insert(ORIGINS, one(String::new(), "ALLOW_CORS"))),
                Some(true) if meant.contains_key(ORIGINS) || values.contains_key(ORIGINS) => {}
                Some(true) => notices
                    .push(notice("ALLOW_CORS", "no origin is allowed until `allowed_origins` lists it")),
            }
        }
        values.extend(meant);
        notices.extend(self.algorithm(is_given(values, SECRET))?);
        Ok(notices)
    }

    fn set_ones(&self) -> impl Iterator<Item = (&'static str, Meaning)> {
        VARIABLES.iter().copied().filter(|(name, _)| self.0.contains_key(name))
    }

    /// `http_listen` from its host and port, of which one may be missing.
    fn listen(&self) -> Result<Option<(Given, Origin)>, ConfigError> {
        let mut parts = Values::new();
        for (variable, meaning) in self.set_ones() {
            let part = match meaning {
                Host => "host",
                Port => "port",
                Is(..) | Cors | Algorithm | Unused(_) | UnusedIfOn(_) | UnusedIfOff(_) => continue,
            };
            let value = self.0.get(variable).map(|value| value.trim().to_owned()).unwrap_or_default();
            agree(&mut parts, part, variable, value)?;
        }
        let default = SETTINGS.iter().find(|setting| setting.name == LISTEN).map_or("", |s| s.default);
        let mut address: std::net::SocketAddr = match default.parse() {
            Ok(address) => address,
            Err(_) => return Ok(None),
        };
        let mut origin = None;
        for (part, (given, from)) in parts {
            let Given::One(text) = given else { continue };
            let problem = match part {
                "host" => host(&text).map(|host| address.set_ip(host)),
                _ => port(&text).map(|port| address.set_port(port)),
            };
            problem.map_err(|problem| ConfigError::Bad { name: LISTEN, origin: from.clone(), problem })?;
            origin = Some(from);
        }
        Ok(origin.map(|origin| (Given::One(address.to_string()), origin)))
    }

    fn allows_origins(&self) -> Result<Option<bool>, ConfigError> {
        const CORS: &str = "ALLOW_CORS";
        let Some(value) = self.0.get(CORS) else { return Ok(None) };
        let problem = format!("`{}` is neither true nor false", value.as_str());
        let origin = Origin::Variable(CORS.to_owned());
        truth(value).map(Some).ok_or(ConfigError::Bad { name: ORIGINS, origin, problem })
    }

    fn algorithm(&self, has_secret: bool) -> Result<Option<String>, ConfigError> {
        const ALGORITHM: &str = "JWT_ALGORITHM";
        let problem = match (self.0.get(ALGORITHM).map(|value| value.trim()), has_secret) {
            (None, _) | (Some("HS256"), true) | (Some("EdDSA"), false) => return Ok(None),
            (Some("HS256"), false) => {
                return Ok(Some(notice(
                    ALGORITHM,
                    "tokens are signed with EdDSA until there is a `jwt_secret`",
                )));
            }
            (Some("EdDSA"), true) => {
                "with a jwt_secret tokens are signed with HS256; take one of the two away".to_owned()
            }
            (Some(other), _) => {
                format!("`{other}` is neither HS256, with a jwt_secret, nor EdDSA, without one")
            }
        };
        Err(ConfigError::Bad { name: SECRET, origin: Origin::Variable(ALGORITHM.to_owned()), problem })
    }

    fn unused(&self) -> Vec<String> {
        let is = |variable, wanted| self.0.get(variable).and_then(|value| truth(value)) == Some(wanted);
        let notices = self.set_ones().filter_map(|(variable, meaning)| match meaning {
            Unused(why) => Some(notice(variable, why)),
            UnusedIfOn(why) => (!is(variable, false)).then(|| notice(variable, why)),
            UnusedIfOff(why) => is(variable, false).then(|| notice(variable, why)),
            Is(..) | Host | Port | Cors | Algorithm => None,
        });
        notices.collect()
    }
}

/// Takes a value, unless another variable has said another one.
fn agree(
    values: &mut Values,
    name: &'static str,
    variable: &'static str,
    value: String,
) -> Result<(), ConfigError> {
    match values.get(name) {
        Some((Given::One(other), origin)) if *other != value => Err(ConfigError::Conflict {
            name: if SETTINGS.iter().any(|setting| setting.name == name) { name } else { LISTEN },
            one: origin.clone(),
            other: Origin::Variable(variable.to_owned()),
        }),
        Some(_) => Ok(()),
        None => {
            values.insert(name, one(value, variable));
            Ok(())
        }
    }
}

fn one(value: String, variable: &str) -> (Given, Origin) {
    (Given::One(value), Origin::Variable(variable.to_owned()))
}

/// Never with the value, which may be a secret.
fn notice(variable: &str, instead: &str) -> String {
    format!("the environment variable {variable} has no effect: {instead}")
}

fn truth(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn host(text: &str) -> Result<IpAddr, String> {
    if text == "localhost" {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    text.parse()
        .map_err(|_| format!("`{text}` is not an address like 127.0.0.1 or 0.0.0.0; http_listen is stronger"))
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("`{text}` is not a port; http_listen is stronger"))
}
