//! The keys that check tokens, and the public part that others may have.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Serialize;

use super::token::sha256;
use crate::domain;
use crate::secret::Secret;

/// How a key signs. Fixed with the key, so that no token can choose another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, serde::Deserialize)]
pub enum KeyAlgorithm {
    /// Ed25519: anyone may have the public key, and nobody can sign with it.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// HMAC with SHA-256: whoever checks can sign too. For clients that were given the secret.
    #[serde(rename = "HS256")]
    Hs256,
}

impl KeyAlgorithm {
    /// Its name in headers and key sets.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
        }
    }

    pub(super) fn jwt(self) -> Algorithm {
        match self {
            Self::EdDsa => Algorithm::EdDSA,
            Self::Hs256 => Algorithm::HS256,
        }
    }
}

impl From<domain::key::KeyAlgorithm> for KeyAlgorithm {
    fn from(stored: domain::key::KeyAlgorithm) -> Self {
        match stored {
            domain::key::KeyAlgorithm::EdDsa => Self::EdDsa,
        }
    }
}

/// Why something is no key. Does not quote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The private or public key is not of its kind.
    #[error("not an Ed25519 key")]
    NotEd25519,
    /// An HMAC secret below [`VerifyingKey::MIN_SECRET_BYTES`].
    #[error("an HS256 secret needs at least {} bytes", VerifyingKey::MIN_SECRET_BYTES)]
    SecretTooShort,
    /// A key id is 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
    #[error("a key id is 1 to 64 characters of A-Z a-z 0-9 . _ -")]
    BadKid,
}

/// A key that checks tokens.
#[derive(Clone)]
pub struct VerifyingKey {
    kid: Arc<str>,
    algorithm: KeyAlgorithm,
    decoding: DecodingKey,
    /// Tells keys apart that share a kid.
    identity: [u8; 32],
    public: Option<[u8; 32]>,
}

impl VerifyingKey {
    /// The shortest HMAC secret, in bytes.
    pub const MIN_SECRET_BYTES: usize = 32;

    /// The public half of an Ed25519 key, 32 bytes.
    ///
    /// # Errors
    /// When the key id or the length is wrong.
    pub fn ed25519(kid: &str, public: &[u8]) -> Result<Self, KeyError> {
        let public: [u8; 32] = public.try_into().map_err(|_| KeyError::NotEd25519)?;
        Ok(Self {
            kid: parse_kid(kid)?,
            algorithm: KeyAlgorithm::EdDsa,
            decoding: DecodingKey::from_ed_der(&public),
            identity: identity(KeyAlgorithm::EdDsa, &public),
            public: Some(public),
        })
    }

    /// An HMAC secret.
    ///
    /// # Errors
    /// When the key id is wrong or the secret too short.
    pub fn hs256(kid: &str, secret: &Secret<Vec<u8>>) -> Result<Self, KeyError> {
        let secret = secret.expose();
        if secret.len() < Self::MIN_SECRET_BYTES {
            return Err(KeyError::SecretTooShort);
        }
        Ok(Self {
            kid: parse_kid(kid)?,
            algorithm: KeyAlgorithm::Hs256,
            decoding: DecodingKey::from_secret(secret),
            identity: identity(KeyAlgorithm::Hs256, secret),
            public: None,
        })
    }

    /// The name by which tokens ask for it.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// How it signs.
    #[must_use]
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// The public half, where there is one.
    #[must_use]
    pub fn public(&self) -> Option<&[u8; 32]> {
        self.public.as_ref()
    }

    /// What others may know of it: nothing, when it is a shared secret.
    #[must_use]
    pub fn jwk(&self) -> Option<Jwk> {
        let public = self.public?;
        Some(Jwk {
            kty: "OKP",
            crv: "Ed25519",
            alg: self.algorithm.name(),
            r#use: "sig",
            kid: self.kid.to_string(),
            x: URL_SAFE_NO_PAD.encode(public),
        })
    }

    pub(super) fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }

    pub(super) fn identity(&self) -> &[u8; 32] {
        &self.identity
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// A public key as RFC 7517 and RFC 8037 write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Jwk {
    /// Key type, `OKP`.
    pub kty: &'static str,
    /// Curve, `Ed25519`.
    pub crv: &'static str,
    /// Algorithm, `EdDSA`.
    pub alg: &'static str,
    /// What it is for: `sig`.
    pub r#use: &'static str,
    /// Its name in token headers.
    pub kid: String,
    /// The public key, base64url.
    pub x: String,
}

/// The keys by which the tokens of one account are checked: the one that signs now, those that did lately,
/// and those that will soon.
#[derive(Clone, Debug)]
pub struct KeySet {
    account: Arc<str>,
    keys: BTreeMap<Arc<str>, VerifyingKey>,
}

impl KeySet {
    /// Takes an account's keys. Of two with the same kid the later one counts.
    pub fn new(account: impl Into<Arc<str>>, keys: impl IntoIterator<Item = VerifyingKey>) -> Self {
        let keys = keys.into_iter().map(|key| (Arc::clone(&key.kid), key)).collect();
        Self { account: account.into(), keys }
    }

    /// Whose keys these are.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The key of that name.
    #[must_use]
    pub fn find(&self, kid: &str) -> Option<&VerifyingKey> {
        self.keys.get(kid)
    }

    /// The set to publish: public keys only, in order of their names.
    #[must_use]
    pub fn jwks(&self) -> Jwks {
        Jwks { keys: self.keys.values().filter_map(VerifyingKey::jwk).collect() }
    }
}

/// A published key set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Jwks {
    /// The keys.
    pub keys: Vec<Jwk>,
}

/// Names the cryptography that jsonwebtoken is to use: left to itself it panics as soon as another crate of
/// the build turns its second backend on.
pub(super) fn install_provider() {
    // A second call finds the same provider there.
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

fn parse_kid(kid: &str) -> Result<Arc<str>, KeyError> {
    let is_good = (1..=64).contains(&kid.len())
        && kid.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if is_good { Ok(kid.into()) } else { Err(KeyError::BadKid) }
}

fn identity(algorithm: KeyAlgorithm, material: &[u8]) -> [u8; 32] {
    let named = zeroize::Zeroizing::new([algorithm.name().as_bytes(), b"\0", material].concat());
    sha256(&named)
}
