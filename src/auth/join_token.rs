//! The text of a join token: all that a new node needs to find a cluster, to know it for the right one, and to be
//! let in once.
//!
//! `cj1_`, then base64url of the content (postcard) and four bytes of its SHA-256: a token that lost a character on its
//! way is told from one that was used. The content is secret as a whole.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use zeroize::{Zeroize, Zeroizing};

use super::token::SecretHash;
use crate::secret::Secret;

/// How every join token begins.
pub const JOIN_TOKEN_PREFIX: &str = "cj1_";
/// The longest text that is read, in bytes: nine addresses of the longest kind and more.
const MAX_TEXT_BYTES: usize = 4096;
const CHECK_BYTES: usize = 4;

/// What a join token says. `Debug` shows no secret.
#[derive(Clone, Serialize, Deserialize)]
pub struct JoinToken {
    /// The cluster it lets into.
    pub cluster: Uuid,
    /// SHA-256 of the certificate (DER) of the cluster's authority.
    pub fingerprint: [u8; 32],
    /// Which token it is.
    pub id: Uuid,
    secret: [u8; 32],
    /// When it ends, in milliseconds since 1970.
    pub expires_ms: u64,
    /// Where members listen for peers, `host:port` each.
    pub addresses: Vec<String>,
}

/// Why a text is no join token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadJoinToken {
    /// It does not begin like one.
    #[error(
        "this is no join token: one begins with {JOIN_TOKEN_PREFIX}; make one with `conclave token create`"
    )]
    Foreign,
    /// Something of it is missing or changed.
    #[error("the join token is damaged: copy all of it, in one piece")]
    Damaged,
}

impl JoinToken {
    /// A token of what was drawn for it. The secret is two UUIDs, 244 random bits.
    #[must_use]
    pub fn new(
        cluster: Uuid,
        fingerprint: [u8; 32],
        (id, secret): (Uuid, [Uuid; 2]),
        expires_ms: u64,
        addresses: Vec<String>,
    ) -> Self {
        let mut bytes = [0; 32];
        for (to, from) in bytes.iter_mut().zip(secret.iter().flat_map(Uuid::as_bytes)) {
            *to = *from;
        }
        Self { cluster, fingerprint, id, secret: bytes, expires_ms, addresses }
    }

    /// Reads a token as an operator pastes it; white space around it does not count.
    ///
    /// # Errors
    /// When it is none, or not whole.
    pub fn parse(text: &str) -> Result<Self, BadJoinToken> {
        let coded = text.trim().strip_prefix(JOIN_TOKEN_PREFIX).ok_or(BadJoinToken::Foreign)?;
        if coded.len() > MAX_TEXT_BYTES {
            return Err(BadJoinToken::Damaged);
        }
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(coded).map_err(|_| BadJoinToken::Damaged)?);
        let at = bytes.len().checked_sub(CHECK_BYTES).ok_or(BadJoinToken::Damaged)?;
        let (content, check) = bytes.split_at(at);
        if check_of(content) != check {
            return Err(BadJoinToken::Damaged);
        }
        postcard::from_bytes(content).map_err(|_| BadJoinToken::Damaged)
    }

    /// The text to hand over.
    #[must_use]
    pub fn text(&self) -> Secret<String> {
        // Encoding into a vector does not fail.
        let mut bytes = Zeroizing::new(postcard::to_stdvec(self).unwrap_or_default());
        let check = check_of(&bytes);
        bytes.extend_from_slice(&check);
        Secret::new(format!("{JOIN_TOKEN_PREFIX}{}", *Zeroizing::new(URL_SAFE_NO_PAD.encode(&*bytes))))
    }

    /// What the cluster keeps in place of the secret.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        hash_of(&self.secret)
    }

    /// The secret itself, for the node that lets in.
    #[must_use]
    pub fn secret(&self) -> Secret<[u8; 32]> {
        Secret::new(self.secret)
    }
}

/// What the cluster keeps in place of a token's secret.
#[must_use]
pub fn hash_of(secret: &[u8; 32]) -> SecretHash {
    SecretHash::new(Sha256::digest(secret).into())
}

fn check_of(content: &[u8]) -> [u8; CHECK_BYTES] {
    let mut check = [0; CHECK_BYTES];
    for (to, from) in check.iter_mut().zip(Sha256::digest(content)) {
        *to = from;
    }
    check
}

impl Drop for JoinToken {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("cluster", &self.cluster)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> JoinToken {
        token_with(vec!["node-1:9080".to_owned(), "[::1]:9080".to_owned()])
    }

    fn token_with(addresses: Vec<String>) -> JoinToken {
        let drawn = (Uuid::from_bytes([3; 16]), [Uuid::from_bytes([4; 16]), Uuid::from_bytes([5; 16])]);
        JoinToken::new(Uuid::from_bytes([1; 16]), [2; 32], drawn, 3, addresses)
    }

    #[test]
    fn a_token_says_what_it_was_made_with() {
        let made = token();
        let text = made.text();
        let read = JoinToken::parse(&format!(" {}\n", text.expose())).unwrap();
        assert_eq!((read.cluster, read.fingerprint, read.id), (made.cluster, made.fingerprint, made.id));
        assert_eq!((read.expires_ms, &read.addresses), (3, &made.addresses));
        assert_eq!(read.secret().expose(), made.secret().expose());
        assert!(read.hash() == hash_of(made.secret().expose()));
        assert!(!format!("{read:?}").contains("secret"));
    }

    #[test]
    fn a_token_that_is_not_whole_is_told_from_a_foreign_one() {
        let text = token().text();
        let text = text.expose();
        for foreign in ["", "hello", "ck1_abc", &text[1..]] {
            assert_eq!(JoinToken::parse(foreign).unwrap_err(), BadJoinToken::Foreign, "{foreign}");
        }
        for at in JOIN_TOKEN_PREFIX.len()..text.len() {
            assert_eq!(JoinToken::parse(&text[..at]).unwrap_err(), BadJoinToken::Damaged);
            let mut other = text.to_owned();
            let changed = if &text[at..=at] == "A" { "B" } else { "A" };
            other.replace_range(at..=at, changed);
            assert_eq!(JoinToken::parse(&other).unwrap_err(), BadJoinToken::Damaged);
        }
    }

    #[test]
    fn a_token_is_as_long_as_the_bound_and_not_longer() {
        let of = |bytes| token_with(vec!["a".repeat(bytes)]).text();
        let coded = |text: &Secret<String>| text.expose().len() - JOIN_TOKEN_PREFIX.len();
        let longest = (0..MAX_TEXT_BYTES).find(|bytes| coded(&of(*bytes)) == MAX_TEXT_BYTES).unwrap();
        assert!(JoinToken::parse(of(longest).expose()).is_ok());
        assert_eq!(JoinToken::parse(of(longest + 1).expose()).unwrap_err(), BadJoinToken::Damaged);
    }
}
