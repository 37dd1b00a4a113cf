//! The two shapes of answers (contract part 3.1).

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::call::success;
use super::super::transport::Raw;
use super::super::wire::parse;
use crate::client::Error;

#[derive(Deserialize)]
struct Bare<T> {
    result: T,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Wrapped<T> {
    Envelope { data: T },
    Plain(T),
}

/// `{"result": …}`.
pub(super) fn bare<T: DeserializeOwned>(raw: Raw) -> Result<T, Error> {
    Ok(parse::<Bare<T>>(&success(raw)?)?.result)
}

/// `{"success": true, …, "data": …}`, or only what would be in `data`: some versions leave the envelope away.
pub(super) fn data<T: DeserializeOwned>(raw: Raw) -> Result<T, Error> {
    Ok(match parse::<Wrapped<T>>(&success(raw)?)? {
        Wrapped::Envelope { data } | Wrapped::Plain(data) => data,
    })
}
