//! Secrets at rest: what is sealed here is in the log, in snapshots and on other nodes as ciphertext only.
//!
//! # Why
//! The key lies in a file of its own, outside the data folder, so that a copied disk or backup opens nothing.
//! All nodes of a cluster have the same file. It holds one key on each line: the first one seals, each of them
//! opens. So a key is replaced without downtime: put the new one last on every node, then first on every
//! node, seal all again, and drop the old line.
//!
//! What is sealed is bound to its place (account, record, purpose): moved to another row it does not open. The
//! same key seals secrets in rows and wraps the data keys of the disk, each under a key derived for it alone.
//! Either is few enough for random nonces: 2^32 of them are safe, and keys are not made by the thousand a second.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::Zeroizing;

use super::kek::{Kek, KeyId};
use crate::secret::Secret;

/// Where a sealed secret belongs. It opens there and nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'p> {
    /// The account, or an empty text for what belongs to the cluster.
    pub account: &'p str,
    /// The id of the record that it stands in.
    pub record: &'p str,
    /// What it is for, for instance `signing key`.
    pub purpose: &'p str,
}

/// Why a secret cannot be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Sealed with a key that this node does not have: its key file is another one, or too new or too old.
    #[error("sealed with key {0}, which is not in this node's key file")]
    UnknownKey(KeyId),
    /// Altered, cut, or moved here from another place.
    #[error("a sealed secret is damaged or does not belong here")]
    Damaged,
    /// No randomness for sealing.
    #[error("no randomness to seal with")]
    NoRandomness,
}

/// Seals with the first key of the file and opens with each of them.
#[derive(Clone)]
pub struct Sealer {
    current: Kek,
    retired: Vec<Kek>,
}

/// What a key-encryption key does. Under each it acts as another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Seals secrets that stand in rows.
    Secrets,
    /// Wraps the data keys of what lies on a disk.
    DataKeys,
}

const VERSION: u8 = 1;
const HEAD: usize = 1 + KeyId::BYTES;

impl Sealer {
    /// Takes the keys of a key file: the one that seals, and those that still open.
    #[must_use]
    pub fn new(current: Kek, retired: Vec<Kek>) -> Self {
        Self { current, retired }
    }

    /// Seals a secret for its place. The result is 37 bytes longer: version, key id, nonce, ciphertext, tag.
    ///
    /// # Errors
    /// Without randomness.
    pub fn seal(&self, place: &Place<'_>, secret: &[u8]) -> Result<Vec<u8>, SealError> {
        self.seal_as(Use::Secrets, place, secret)
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    /// When the key is not at hand, or a bit of it or its place is another one.
    pub fn open(&self, place: &Place<'_>, sealed: &[u8]) -> Result<Secret<Vec<u8>>, SealError> {
        self.open_as(Use::Secrets, place, sealed)
    }

    /// Wraps a data key, named by where it is used.
    ///
    /// # Errors
    /// Without randomness.
    pub fn wrap(&self, name: &str, key: &[u8; 32]) -> Result<Vec<u8>, SealError> {
        self.seal_as(Use::DataKeys, &data_key(name), key)
    }

    /// Unwraps a data key.
    ///
    /// # Errors
    /// As [`Sealer::open`].
    pub fn unwrap(&self, name: &str, wrapped: &[u8]) -> Result<Secret<[u8; 32]>, SealError> {
        let opened = self.open_as(Use::DataKeys, &data_key(name), wrapped)?;
        opened.expose().as_slice().try_into().map(Secret::new).map_err(|_| SealError::Damaged)
    }

    fn seal_as(&self, what: Use, place: &Place<'_>, secret: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| SealError::NoRandomness)?;
        let head = head(self.current.id());
        let mut body = secret.to_vec();
        // Encryption is in place, so no copy of the secret is left behind.
        aead(&self.current, what)?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(bind(head, place)),
                &mut body,
            )
            .map_err(|_| SealError::Damaged)?;
        Ok([&head[..], &nonce, &body].concat())
    }

    fn open_as(&self, what: Use, place: &Place<'_>, sealed: &[u8]) -> Result<Secret<Vec<u8>>, SealError> {
        let (&head, rest) = sealed.split_first_chunk::<HEAD>().ok_or(SealError::Damaged)?;
        let (&nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Damaged)?;
        let id = key_of(sealed).ok_or(SealError::Damaged)?;
        let key = self.keys().find(|key| key.id() == id).ok_or(SealError::UnknownKey(id))?;
        let mut buffer = Zeroizing::new(body.to_vec());
        let aad = Aad::from(bind(head, place));
        let opened = aead(key, what)?.open_in_place(Nonce::assume_unique_for_key(nonce), aad, &mut buffer);
        let length = opened.map_err(|_| SealError::Damaged)?.len();
        buffer.truncate(length);
        Ok(Secret::new(std::mem::take(&mut *buffer)))
    }

    /// Whether a sealed secret should be sealed again: its key is no longer the first.
    #[must_use]
    pub fn is_outdated(&self, sealed: &[u8]) -> bool {
        key_of(sealed) != Some(self.current.id())
    }

    /// The keys at hand by their names, the one that seals first.
    pub fn key_ids(&self) -> impl Iterator<Item = KeyId> {
        self.keys().map(Kek::id)
    }

    /// What an operator of this machine shows to a node: whoever can read the key file is one.
    #[must_use]
    pub fn operator_token(&self) -> Secret<String> {
        self.current.operator_token()
    }

    /// The same of each key at hand: another process may know other keys.
    pub fn operator_tokens(&self) -> impl Iterator<Item = Secret<String>> {
        self.keys().map(Kek::operator_token)
    }

    /// Whether a token was made from one of the keys at hand.
    #[must_use]
    pub fn is_operator(&self, token: &str) -> bool {
        let same =
            |key: &Kek| verify_slices_are_equal(key.operator_token().expose().as_bytes(), token.as_bytes());
        self.keys().any(|key| same(key).is_ok())
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Kek> {
        std::iter::once(&self.current).chain(&self.retired)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("retired", &self.retired.len()).finish_non_exhaustive()
    }
}

/// The key under which something was sealed; `None` when the bytes are nothing that was sealed.
#[must_use]
pub fn key_of(sealed: &[u8]) -> Option<KeyId> {
    let (&version, rest) = sealed.split_first()?;
    let id = rest.first_chunk()?;
    (version == VERSION).then_some(KeyId(*id))
}

fn head(id: KeyId) -> [u8; HEAD] {
    let mut head = [VERSION; HEAD];
    for (to, from) in head.iter_mut().skip(1).zip(id.0) {
        *to = from;
    }
    head
}

fn data_key(name: &str) -> Place<'_> {
    Place { account: "", record: name, purpose: "data key" }
}

fn aead(key: &Kek, what: Use) -> Result<LessSafeKey, SealError> {
    let derived = match what {
        Use::Secrets => key.sealing_key(),
        Use::DataKeys => key.wrapping_key(),
    };
    let key = UnboundKey::new(&AES_256_GCM, derived.expose()).map_err(|_| SealError::Damaged)?;
    Ok(LessSafeKey::new(key))
}

/// The associated data: the head and the place, each part with its length so that no two places are equal.
fn bind(head: [u8; HEAD], place: &Place<'_>) -> Vec<u8> {
    let mut bound = head.to_vec();
    for part in [place.account, place.record, place.purpose] {
        bound.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bound.extend_from_slice(part.as_bytes());
    }
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Place<'_> = Place { account: "123456789012", record: "key-1", purpose: "signing key" };

    fn sealer(current: u8, retired: &[u8]) -> Sealer {
        let kek = |byte: u8| Kek::from_bytes(Secret::new([byte; 32]));
        Sealer::new(kek(current), retired.iter().copied().map(kek).collect())
    }

    /// In rows and around data keys, as the first release sealed them.
    #[test]
    fn what_was_sealed_long_ago_opens() {
        let keys = sealer(1, &[]);
        let secret = "01803027368a070cf347e97fb932b5cb4319a3235f13091a833ab51415b815c9134531d9f9a24d677e6ced";
        let data_key = "01803027368a070cf321ad2c2f2ef78cc9e9d03b7273b271b526f1e807539d3036ad3bcdcf57dbd5f767c011\
                        fc169beba20198cf35d67af069b4278a7b3b1af221fb6e2636";
        assert_eq!(keys.open(&HERE, &unhex(secret)).unwrap().expose(), b"secret");
        assert_eq!(keys.unwrap("log", &unhex(data_key)).unwrap().expose(), &[7; 32]);
        assert_eq!(keys.key_ids().next().unwrap().to_string(), "803027368a070cf3");
    }

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn opens_what_it_sealed_and_seals_anew_each_time() {
        let keys = sealer(1, &[]);
        for secret in [&b""[..], b"x", &[7; 5000]] {
            let sealed = keys.seal(&HERE, secret).unwrap();
            assert_eq!(sealed.len(), secret.len() + 37);
            assert_eq!(keys.open(&HERE, &sealed).unwrap().expose(), secret);
            assert_ne!(sealed, keys.seal(&HERE, secret).unwrap());
        }
    }

    #[test]
    fn a_changed_bit_or_another_place_does_not_open() {
        let keys = sealer(1, &[]);
        let sealed = keys.seal(&HERE, b"secret").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(keys.open(&HERE, &bad).is_err(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(keys.open(&HERE, &sealed[..length]).is_err(), "{length} bytes");
        }
        for place in [
            Place { account: "123456789013", ..HERE },
            Place { record: "key-2", ..HERE },
            Place { purpose: "totp seed", ..HERE },
            Place { account: "123456789012k", record: "ey-1", ..HERE },
            Place { record: "key-1s", purpose: "igning key", ..HERE },
        ] {
            assert_eq!(keys.open(&place, &sealed).err(), Some(SealError::Damaged), "{place:?}");
        }
    }

    #[test]
    fn a_key_is_replaced_without_losing_what_it_sealed() {
        let (old, both, new) = (sealer(1, &[]), sealer(2, &[1]), sealer(2, &[]));
        let sealed = old.seal(&HERE, b"secret").unwrap();
        assert_eq!(both.open(&HERE, &sealed).unwrap().expose(), b"secret");
        assert!(both.is_outdated(&sealed) && !old.is_outdated(&sealed));
        let again = both.seal(&HERE, b"secret").unwrap();
        assert_eq!(new.open(&HERE, &again).unwrap().expose(), b"secret");
        assert_eq!(
            new.open(&HERE, &sealed).err(),
            Some(SealError::UnknownKey(old.key_ids().next().unwrap()))
        );
        assert_eq!(key_of(&again), both.key_ids().next());
    }

    #[test]
    fn the_wrong_key_file_is_found_by_its_check_value() {
        let token = sealer(1, &[]).operator_token();
        assert!(sealer(1, &[]).is_operator(token.expose()) && sealer(2, &[1]).is_operator(token.expose()));
        assert!(!sealer(2, &[3]).is_operator(token.expose()));
        let tokens: Vec<_> =
            sealer(2, &[1, 3]).operator_tokens().map(|token| token.expose().clone()).collect();
        assert_eq!(tokens, [2, 1, 3].map(|key| sealer(key, &[]).operator_token().expose().clone()));
    }

    #[test]
    fn data_keys_and_secrets_are_sealed_under_different_keys() {
        let keys = sealer(1, &[]);
        let wrapped = keys.wrap("log", &[7; 32]).unwrap();
        assert_eq!(keys.unwrap("log", &wrapped).unwrap().expose(), &[7; 32]);
        assert_eq!(keys.unwrap("copy", &wrapped).err(), Some(SealError::Damaged));
        assert_eq!(keys.open(&data_key("log"), &wrapped).err(), Some(SealError::Damaged));
        assert_eq!(
            keys.unwrap("log", &keys.seal(&data_key("log"), &[7; 32]).unwrap()).err(),
            Some(SealError::Damaged)
        );
        assert_eq!(
            keys.unwrap("log", &keys.seal_as(Use::DataKeys, &data_key("log"), b"short").unwrap()).err(),
            Some(SealError::Damaged)
        );
        let other = sealer(2, &[]);
        assert_eq!(
            other.unwrap("log", &wrapped).err(),
            Some(SealError::UnknownKey(keys.key_ids().next().unwrap()))
        );
    }
}
