//! The key-encryption key: what is derived from it, and the name that tells it from others.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::secret::Secret;

/// A key that seals other secrets: 32 random bytes.
#[derive(Clone, Debug)]
pub struct Kek(pub(super) Secret<[u8; 32]>);

/// Names a key and tells nothing of it. Two keys share one with a chance of 2^-64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(pub(super) [u8; Self::BYTES]);

impl KeyId {
    pub(super) const BYTES: usize = 8;
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Kek {
    /// Takes 32 random bytes.
    #[must_use]
    pub fn from_bytes(bytes: Secret<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let mac = self.mac(b"conclave key id 2");
        KeyId(mac.as_ref().first_chunk().copied().unwrap_or_default())
    }

    pub(super) fn operator_token(&self) -> Secret<String> {
        Secret::new(URL_SAFE_NO_PAD.encode(self.derive(b"conclave operator token 1")))
    }

    /// The key for AES; another one than those of the operator's token and the id.
    pub(super) fn sealing_key(&self) -> Secret<[u8; 32]> {
        Secret::new(self.derive(b"conclave sealing key 1"))
    }

    /// The key for wrapping data keys.
    pub(super) fn wrapping_key(&self) -> Secret<[u8; 32]> {
        Secret::new(self.derive(b"conclave wrapping key 1"))
    }

    fn derive(&self, label: &[u8]) -> [u8; 32] {
        let mut out = [0; 32];
        for (to, from) in out.iter_mut().zip(self.mac(label).as_ref()) {
            *to = *from;
        }
        out
    }

    fn mac(&self, label: &[u8]) -> hmac::Tag {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, self.0.expose()), label)
    }
}
