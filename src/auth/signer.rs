//! Signs access tokens.

use std::fmt;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;

use super::claims::Claims;
use super::keys::{KeyAlgorithm, KeyError, VerifyingKey, install_provider};
use super::mint::NoRandomness;
use crate::secret::Secret;

/// The `typ` of an access token (RFC 9068). A token with another one is none.
pub const ACCESS_TOKEN_TYP: &str = "at+jwt";

/// A key that signs tokens.
#[derive(Clone)]
pub struct SigningKey {
    private: Secret<Vec<u8>>,
    encoding: EncodingKey,
    verifying: VerifyingKey,
}

/// A token could not be signed. Cannot happen with a key that was made; a bug if it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token could not be signed")]
pub struct SignError;

impl SigningKey {
    /// Makes an Ed25519 private key, in PKCS#8. Seal it before it goes anywhere.
    ///
    /// It is drawn from the system even for a request that is repeatable: it signs for months, and must not
    /// follow from the cluster's mint key.
    ///
    /// # Errors
    /// Without randomness.
    pub fn generate_ed25519() -> Result<Secret<Vec<u8>>, NoRandomness> {
        let pair = Ed25519KeyPair::generate().map_err(|_| NoRandomness)?;
        let document = pair.to_pkcs8().map_err(|_| NoRandomness)?;
        Ok(Secret::new(document.as_ref().to_vec()))
    }

    /// Takes a private key: PKCS#8 for `EdDsa`, the bare secret for `Hs256`.
    ///
    /// # Errors
    /// When it is not one, or the secret is shorter than 32 bytes, or the kid is not one.
    pub fn new(kid: &str, algorithm: KeyAlgorithm, private: Secret<Vec<u8>>) -> Result<Self, KeyError> {
        install_provider();
        let (encoding, verifying) = match algorithm {
            KeyAlgorithm::EdDsa => {
                let pair = Ed25519KeyPair::from_pkcs8(private.expose()).map_err(|_| KeyError::NotEd25519)?;
                let public = pair.public_key().as_ref();
                (EncodingKey::from_ed_der(private.expose()), VerifyingKey::ed25519(kid, public)?)
            }
            KeyAlgorithm::Hs256 => {
                (EncodingKey::from_secret(private.expose()), VerifyingKey::hs256(kid, &private)?)
            }
        };
        Ok(Self { private, encoding, verifying })
    }

    /// The key that checks what this one signs.
    #[must_use]
    pub fn verifying(&self) -> &VerifyingKey {
        &self.verifying
    }

    /// The private part, to be sealed.
    #[must_use]
    pub fn private(&self) -> &Secret<Vec<u8>> {
        &self.private
    }

    /// Signs an access token.
    ///
    /// # Errors
    /// See [`SignError`].
    pub fn sign(&self, claims: &Claims) -> Result<Secret<String>, SignError> {
        self.sign_as(ACCESS_TOKEN_TYP, claims)
    }

    /// Signs a token of the kind `typ`.
    pub(crate) fn sign_as(&self, typ: &str, claims: &impl Serialize) -> Result<Secret<String>, SignError> {
        let mut header = Header::new(self.verifying.algorithm().jwt());
        header.typ = Some(typ.to_owned());
        header.kid = Some(self.verifying.kid().to_owned());
        jsonwebtoken::encode(&header, claims, &self.encoding).map(Secret::new).map_err(|_| SignError)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("verifying", &self.verifying).finish_non_exhaustive()
    }
}
