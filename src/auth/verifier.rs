//! Says whether an access token is genuine, of this account, and in time.
//!
//! # Why
//! - The key decides everything: it is looked up by kid among the keys of the one account that the request is
//!   about, and it fixes the algorithm. What the token says about itself is only compared.
//! - A header with any other field than `alg`, `typ` and `kid` is refused. We never wrote one, and the others
//!   (`jwk`, `jku`, `x5u`, `crit`, ...) ask the reader to trust the writer.
//! - Time is that of the node's [`conclave_cluster::Clock`], not of the JWT library, which reads the
//!   system's: so a simulation owns it too.

use std::num::NonZeroUsize;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use conclave_cluster::LogTime;
use jsonwebtoken::Validation;
use serde::Deserialize;

use super::cache::TokenCache;
use super::claims::{Claims, Untimely};
use super::keys::{KeySet, VerifyingKey, install_provider};
use super::signer::ACCESS_TOKEN_TYP;
use super::token::sha256;

/// Checks access tokens and remembers their signatures.
#[derive(Debug)]
pub struct Verifier {
    cache: TokenCache,
}

/// What a token has to be for.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'e> {
    /// The keys of the account that the request is about; the token has to be of that account.
    pub keys: &'e KeySet,
    /// The account's issuer.
    pub issuer: &'e str,
    /// Who must be among those that the token is for; `None` where the issuer alone decides.
    pub audience: Option<&'e str>,
    /// The time now.
    pub now: LogTime,
}

/// Why a token does not count. For logs and metrics: a client is told the same for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than [`Verifier::MAX_TOKEN_BYTES`].
    #[error("token too long")]
    TooLong,
    /// Not three parts of base64url, or a header that is not exactly `alg`, `typ` and `kid`.
    #[error("malformed token")]
    Malformed,
    /// A token of another kind.
    #[error("token of another kind")]
    WrongKind,
    /// No key of that name in this account.
    #[error("token signed by a key that this account does not have")]
    UnknownKey,
    /// Another algorithm than the key's.
    #[error("token with another algorithm than its key's")]
    WrongAlgorithm,
    /// Not signed by that key.
    #[error("bad token signature")]
    BadSignature,
    /// Genuine, but a claim is missing or has the wrong type.
    #[error("token with missing or malformed claims")]
    BadClaims,
    /// Of another account, issuer or audience.
    #[error("token for another account, issuer or audience")]
    NotForUs,
    /// From the future.
    #[error("token not yet valid")]
    NotYet,
    /// Past its end.
    #[error("token expired")]
    Expired,
}

impl Verifier {
    /// The longest token, in bytes.
    pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

    /// Remembers at least `capacity` tokens, each in about 1 kB.
    #[must_use]
    pub fn new(capacity: NonZeroUsize) -> Self {
        install_provider();
        Self { cache: TokenCache::new(capacity) }
    }

    /// Checks a token. A repeated one costs a hash instead of a signature; its key, account, issuer,
    /// audience and time are looked at every time.
    ///
    /// **Whether its session still lives is for the caller to ask**, of rows that are fresh enough, every
    /// time: nothing here knows of revocation.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn verify(&self, token: &str, expected: &Expected<'_>) -> Result<Arc<Claims>, TokenError> {
        if token.len() > Self::MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let hash = sha256(token.as_bytes());
        if let Some(claims) = self.cache.get(&hash, expected.keys) {
            return match check(&claims, expected) {
                Ok(()) => Ok(claims),
                Err(error) => {
                    if error == TokenError::Expired {
                        self.cache.remove(&hash);
                    }
                    Err(error)
                }
            };
        }
        let key = find_key(token, expected.keys)?;
        let claims = Arc::new(check_signature(token, key)?);
        check(&claims, expected)?;
        self.cache.put(hash, key.kid(), *key.identity(), Arc::clone(&claims));
        Ok(claims)
    }

    /// How many tokens are remembered, for metrics.
    #[must_use]
    pub fn cached(&self) -> usize {
        self.cache.len()
    }
}

/// The account that a token claims to be of, **unverified**: only to find the key set with which to
/// [`Verifier::verify`] it.
#[must_use]
pub fn unverified_account(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Claimed {
        acct: String,
    }
    if token.len() > Verifier::MAX_TOKEN_BYTES {
        return None;
    }
    let [_, payload, _] = split(token).ok()?;
    let json = URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice(&json).ok().map(|Claimed { acct }| acct)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictHeader {
    alg: String,
    typ: String,
    kid: String,
}

fn find_key<'k>(token: &str, keys: &'k KeySet) -> Result<&'k VerifyingKey, TokenError> {
    let [header, _, _] = split(token)?;
    let json = URL_SAFE_NO_PAD.decode(header).map_err(|_| TokenError::Malformed)?;
    let header: StrictHeader = serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)?;
    if header.typ != ACCESS_TOKEN_TYP {
        return Err(TokenError::WrongKind);
    }
    let key = keys.find(&header.kid).ok_or(TokenError::UnknownKey)?;
    if header.alg == key.algorithm().name() { Ok(key) } else { Err(TokenError::WrongAlgorithm) }
}

fn check_signature(token: &str, key: &VerifyingKey) -> Result<Claims, TokenError> {
    use jsonwebtoken::errors::ErrorKind;

    let mut validation = Validation::new(key.algorithm().jwt());
    validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    // Looked at in `check`, by our clock and again on every hit.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    match jsonwebtoken::decode::<Claims>(token, key.decoding(), &validation) {
        Ok(token) => Ok(token.claims),
        Err(error) if matches!(error.kind(), ErrorKind::Json(_) | ErrorKind::MissingRequiredClaim(_)) => {
            Err(TokenError::BadClaims)
        }
        Err(_) => Err(TokenError::BadSignature),
    }
}

/// What can change between two uses of a token, or differs between two requests.
fn check(claims: &Claims, expected: &Expected<'_>) -> Result<(), TokenError> {
    let is_for_us = claims.acct == expected.keys.account()
        && claims.iss == expected.issuer
        && expected.audience.is_none_or(|audience| claims.aud.is(audience));
    if !is_for_us {
        return Err(TokenError::NotForUs);
    }
    claims.check_time(expected.now).map_err(|untimely| match untimely {
        Untimely::NotYet => TokenError::NotYet,
        Untimely::Expired => TokenError::Expired,
    })
}

fn split(token: &str) -> Result<[&str; 3], TokenError> {
    let mut parts = token.split('.');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(header), Some(payload), Some(signature), None) => Ok([header, payload, signature]),
        _ => Err(TokenError::Malformed),
    }
}

#[cfg(test)]
#[path = "forged_tests.rs"]
mod forged_tests;
#[cfg(test)]
#[path = "verifier_tests.rs"]
mod tests;
