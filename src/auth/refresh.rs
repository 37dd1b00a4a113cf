//! Refresh tokens in the dress of a JWT, for clients that look into them (contract part 4.1).
//!
//! # Why the signature is not what counts
//! The claim `secret` is the refresh token itself: 190 random bits, stored as a hash. Who has it has the token, so
//! there is nothing that a signature could add, and a refresh token outlives the key that dressed it. The dress
//! is signed all the same, because clients expect a JWT.
//!
//! # Why the secret is not the `jti`
//! A `jti` names a token, and names are logged and shown. It follows from the secret, and nothing follows from it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::claims::Audience;
use super::signer::{SignError, SigningKey};
use super::token::sha256;
use super::verifier::Verifier;
use crate::secret::Secret;

/// What the dress says.
#[derive(Debug, Serialize)]
pub struct RefreshClaims<'c> {
    pub iss: &'c str,
    pub aud: Audience,
    pub sub: &'c str,
    /// Seconds since 1970.
    pub exp: u64,
    pub iat: u64,
    pub acct: &'c str,
    /// The client that the user signed in through, as it called itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<&'c str>,
}

/// The `typ` of the dress: with it no verifier takes it for an access token.
const TYP: &str = "refresh+jwt";

#[derive(Serialize)]
struct Dressed<'c> {
    #[serde(flatten)]
    claims: &'c RefreshClaims<'c>,
    jti: Uuid,
    secret: &'c str,
    r#type: &'static str,
}

/// Dresses a refresh token.
///
/// # Errors
/// See [`SignError`].
pub fn dress(
    token: &Secret<String>,
    claims: &RefreshClaims<'_>,
    key: &SigningKey,
) -> Result<Secret<String>, SignError> {
    let secret = token.expose();
    key.sign_as(TYP, &Dressed { claims, jti: name_of(secret), secret, r#type: "refresh" })
}

/// The beginning of the secret's hash, which tells too little to find the stored one.
fn name_of(secret: &str) -> Uuid {
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(sha256(&[b"jti ", secret.as_bytes()].concat())) {
        *to = from;
    }
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// The refresh token in a dress, and the account that it says it is of. `None` for anything else.
#[must_use]
pub fn undress(text: &str) -> Option<(String, Secret<String>)> {
    #[derive(Deserialize)]
    struct Said {
        acct: String,
        secret: Secret<String>,
        r#type: String,
    }
    if text.len() > Verifier::MAX_TOKEN_BYTES {
        return None;
    }
    let mut parts = text.split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    let said: Said = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    (said.r#type == "refresh").then_some((said.acct, said.secret))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::keys::KeyAlgorithm;
    use crate::auth::mint::Mint;

    #[test]
    fn what_was_dressed_is_found_again_and_nothing_else_is() {
        let key = SigningKey::new("k", KeyAlgorithm::EdDsa, SigningKey::generate_ed25519().unwrap()).unwrap();
        let token = Mint::random().refresh_token().unwrap();
        let claims = RefreshClaims {
            iss: "keystone-auth",
            aud: Audience::Many(vec!["keystone-auth".to_owned()]),
            sub: "someone",
            exp: 2,
            iat: 1,
            acct: "000000000001",
            client_id: Some("web-client"),
        };
        let dressed = dress(&token, &claims, &key).unwrap();
        let (account, found) = undress(dressed.expose()).unwrap();
        assert_eq!((account.as_str(), found.expose()), ("000000000001", token.expose()));
        for other in ["", "a.b.c", token.expose(), &format!("{}.x", dressed.expose())] {
            assert!(undress(other).is_none(), "{other}");
        }
        // Its signature is not looked at here, nor its head: only the size of all.
        let (_, rest) = dressed.expose().split_once('.').unwrap();
        let sized = |bytes: usize| format!("{}.{rest}", "A".repeat(bytes - rest.len() - 1));
        assert!(undress(&sized(Verifier::MAX_TOKEN_BYTES)).is_some());
        assert!(undress(&sized(Verifier::MAX_TOKEN_BYTES + 1)).is_none());
    }

    #[test]
    fn each_secret_has_a_name_of_its_own_that_is_not_the_stored_hash() {
        let name = name_of("one secret");
        assert_eq!(name, name_of("one secret"));
        assert_ne!(name, name_of("another"));
        assert_eq!(name.get_version_num(), 4);
        assert_ne!(name.as_bytes()[..6], sha256(b"one secret")[..6]);
    }
}
