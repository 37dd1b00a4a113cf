//! How bodies are written and read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _};
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

use super::Error;
use super::transport::Raw;
use crate::secret::Secret;

/// A body, wiped when the last try is over: it may hold a password.
pub(super) fn body(value: &impl Serialize) -> Result<Bytes, &'static str> {
    let json = serde_json::to_vec(value).map_err(|_| "the body cannot be written as JSON")?;
    Ok(Bytes::from_owner(Zeroizing::new(json)))
}

/// Reads an answer's body. The error does not quote it.
pub(super) fn parse<T: DeserializeOwned>(raw: &Raw) -> Result<T, Error> {
    serde_json::from_slice(&raw.body).map_err(|error| {
        let reason = format!("its body is not of the expected shape, at column {}", error.column());
        Error::BadAnswer { status: raw.status.as_u16(), reason }
    })
}

/// For `#[serde(serialize_with)]`: the one place where a secret is written, into the body that carries it.
pub(super) fn exposed<S: Serializer>(secret: &Secret<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

/// As [`exposed`], where there may be none.
#[expect(clippy::ref_option, reason = "what serde calls it with")]
pub(super) fn exposed_if_any<S: Serializer>(
    secret: &Option<Secret<String>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => serializer.serialize_some(secret.expose()),
        None => serializer.serialize_none(),
    }
}

/// As [`time`], or nothing.
pub(super) fn maybe_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SystemTime>, D::Error> {
    #[derive(serde::Deserialize)]
    struct Moment(#[serde(deserialize_with = "time")] SystemTime);
    Ok(Option::<Moment>::deserialize(deserializer)?.map(|Moment(at)| at))
}

/// For `#[serde(deserialize_with)]`: a moment in RFC 3339.
pub(super) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    let at = crate::clock::parse_rfc3339(&text).ok_or_else(|| D::Error::custom("no RFC 3339 time"))?;
    Ok(UNIX_EPOCH + Duration::from_millis(at.0))
}
