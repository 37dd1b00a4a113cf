//! Checks access tokens without asking the cluster, by the public keys of an account.
//!
//! **A revocation is not seen here.** A token that was revoked, or whose user was disabled, deleted or lost a
//! role, passes [`Verifier::verify`] until its `exp`: nobody who does not ask can know. Where that matters,
//! ask: [`Verifier::check`] gives the word of the cluster, which holds at once on every node.
//!
//! # Why
//! - The key decides: it is looked up by the token's `kid` among the keys of the one account, and it fixes the
//!   algorithm. What the token says of itself is only compared.
//! - A header with any other field than `alg`, `typ` and `kid` is refused. No node writes one, and the others
//!   (`jwk`, `jku`, `x5u`, `crit`, …) ask the reader to trust the writer.
//! - Keys are kept while no node answers, up to a stated age: who checks tokens is then not down with the
//!   cluster. A `kid` that is not known is asked for at once, because a new key signs from its first moment,
//!   but not more often than every few seconds, because a stranger can make up as many as they like.
//! - Tokens that a node signs with a configured HS256 secret cannot be checked here: that secret is no public
//!   key.

mod keys;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;

use super::Error;
use super::native::Account;
use crate::clock::{Clock, SystemClock};
use crate::secret::Secret;

pub use keys::Caching;
use keys::{Found, Keys};

/// The audience of access tokens.
const AUDIENCE: &str = "conclave";

/// The `typ` of access tokens (RFC 9068).
const TYP: &str = "at+jwt";

/// The longest token that is looked at, in bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Checks the access tokens of one account. Cheap to clone; clones share the keys.
#[derive(Clone)]
pub struct Verifier {
    account: Account,
    issuer: Arc<str>,
    audience: Arc<str>,
    leeway: Duration,
    clock: Arc<dyn Clock>,
    keys: Keys,
}

/// What an access token says (RFC 9068). Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Claims {
    /// Issuer.
    pub iss: String,
    /// Audience.
    pub aud: String,
    /// Whose it is: an id.
    pub sub: String,
    /// Good until, exclusive.
    pub exp: u64,
    /// Not good before.
    pub nbf: u64,
    /// Issued at.
    pub iat: u64,
    /// Name of the token.
    pub jti: String,
    /// The session that it was issued in.
    pub sid: String,
    /// The account.
    pub acct: String,
    /// Whose it is: a kind.
    pub kind: Kind,
    /// Names of the roles when it was issued. What counts is what the cluster says now.
    pub roles: Vec<String>,
    /// What its owner signs in with.
    pub username: Option<String>,
    /// Its owner's e-mail address.
    pub email: Option<String>,
}

/// Of what kind the owner of a token is. A token of another kind is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The root user of the account.
    Root,
    /// A user.
    User,
    /// A service account.
    ServiceAccount,
}

/// Why a token does not count.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TokenError {
    /// Longer than any that is issued.
    #[error("token too long")]
    TooLong,
    /// Not three parts of base64url, or a header that is not exactly `alg`, `typ` and `kid`.
    #[error("malformed token")]
    Malformed,
    /// A token of another kind than an access token.
    #[error("token of another kind")]
    WrongKind,
    /// No key of that name in this account.
    #[error("token signed by a key that the account does not have")]
    UnknownKey,
    /// Another algorithm than the key's.
    #[error("token with another algorithm than its key's")]
    WrongAlgorithm,
    /// Not signed by that key.
    #[error("bad token signature")]
    BadSignature,
    /// Genuine, but a claim is missing or of the wrong type.
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
    /// Nothing is wrong with it, but there are no keys, or only keys that are too old.
    #[error("no keys to check the token with: {0}")]
    NoKeys(Error),
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl Verifier {
    /// For the tokens of an account with this issuer, which [`Account::show`] tells, or whoever runs the
    /// cluster. Asks nobody until the first token.
    pub fn new(account: &Account, issuer: impl Into<String>) -> Self {
        // Left to itself the JWT library panics when another crate of the build turns a second backend on. A
        // second call finds the same provider there.
        let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        Self {
            account: account.clone(),
            issuer: issuer.into().into(),
            audience: AUDIENCE.into(),
            leeway: Duration::from_secs(5),
            clock: Arc::new(SystemClock),
            keys: Keys::of_account(account),
        }
    }

    /// With keys that are kept otherwise than by default.
    #[must_use]
    pub fn caching(mut self, caching: Caching) -> Self {
        self.keys = self.keys.kept(caching);
        self
    }

    /// For tokens of another audience than the cluster's own.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = audience.into().into();
        self
    }

    /// How far ahead of ours the cluster's clock may be; 5 s by default. It widens `nbf` and `iat` only: a
    /// token never lives longer than it says.
    #[must_use]
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// With another clock than the system's.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Whether a token is genuine, of this account, and in time. Asks the cluster only for keys, and that
    /// seldom. **Revocation is not seen**: see the head of this module.
    ///
    /// # Errors
    /// See [`TokenError`]. Tell a client the same for all of them, but for [`TokenError::NoKeys`], which is a
    /// 503.
    pub async fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        let header = Header::read(token)?;
        let key = match self.keys.find(&header.kid).await {
            Found::Key(key) => key,
            Found::Unknown => return Err(TokenError::UnknownKey),
            Found::NoKeys(error) => return Err(TokenError::NoKeys(error)),
        };
        if header.alg != keys::ALGORITHM {
            return Err(TokenError::WrongAlgorithm);
        }
        let claims = decode(token, &key)?;
        self.is_for_us_now(&claims)?;
        Ok(claims)
    }

    /// Whether a token is good now, by the word of the cluster, which knows of every revocation.
    ///
    /// # Errors
    /// When nobody could say. That is no yes.
    pub async fn check(&self, token: impl Into<Secret<String>>) -> Result<bool, Error> {
        Ok(self.account.tokens().validate(token).await?.valid)
    }

    fn is_for_us_now(&self, claims: &Claims) -> Result<(), TokenError> {
        let is_for_us =
            claims.acct == self.account.id() && claims.iss == *self.issuer && claims.aud == *self.audience;
        if !is_for_us {
            return Err(TokenError::NotForUs);
        }
        let now = self.clock.now().0 / 1000;
        if now >= claims.exp {
            return Err(TokenError::Expired);
        }
        let soon = now.saturating_add(self.leeway.as_secs());
        if claims.nbf > soon || claims.iat > soon { Err(TokenError::NotYet) } else { Ok(()) }
    }
}

/// The head of a token, as strict as the cluster itself reads it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

impl Header {
    fn read(token: &str) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let mut parts = token.split('.');
        let (Some(head), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Malformed);
        };
        let json = URL_SAFE_NO_PAD.decode(head).map_err(|_| TokenError::Malformed)?;
        let header: Self = serde_json::from_slice(&json).map_err(|_| TokenError::Malformed)?;
        if header.typ == TYP { Ok(header) } else { Err(TokenError::WrongKind) }
    }
}

fn decode(token: &str, key: &jsonwebtoken::DecodingKey) -> Result<Claims, TokenError> {
    use jsonwebtoken::errors::ErrorKind;

    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
    // Looked at afterwards, by our clock.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    match jsonwebtoken::decode::<Claims>(token, key, &validation) {
        Ok(token) => Ok(token.claims),
        Err(error) if matches!(error.kind(), ErrorKind::Json(_) | ErrorKind::MissingRequiredClaim(_)) => {
            Err(TokenError::BadClaims)
        }
        Err(_) => Err(TokenError::BadSignature),
    }
}

#[cfg(test)]
#[path = "verify/tests.rs"]
mod tests;
