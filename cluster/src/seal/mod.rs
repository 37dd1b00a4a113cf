//! Sealing: what reaches a disk from here is ciphertext, bound to its place.
//!
//! ```text
//! key-encryption key (KEK)         outside the data folder; known to whoever implements `KeyWrapper`
//!   └ wraps data keys (DEK)        one in each `log.dek`, `node.dek`, `copy-<n>/dek`, `snapshots/dek`; see `header`
//!       ├ a key for each message   log entries, records of the durable copy, the node's key; see `data_key`
//!       ├ a key for each file      snapshots; see `stream`
//!       └ a key for names          the durable copy finds a record by a keyed hash of its key
//! ```
//!
//! What must never be known here: where the KEK lies, what the sealed bytes mean.
//!
//! # Why
//!
//! - **At the disk's edge, and nowhere above it.** Rules compare names and look rows up by them, so rows in
//!   memory are plain; between nodes there is TLS. A field that somebody forgets to seal cannot exist, because
//!   nothing is written around this module.
//! - **Keys in two steps.** Replacing the KEK wraps a few 32-byte keys again and rewrites no data.
//! - **Nonces cannot run out.** A key under which random 96-bit nonces are drawn is good for 2^32 messages; a log
//!   writes as many in days. A counter instead would have to survive every crash and restored disk. So each
//!   message has a key of its own, derived (HKDF, RFC 5869) from 128 random bits, and a random nonce under it: two
//!   messages meet only when 224 random bits do. Nothing is remembered, so nothing can be rolled back.
//! - **AES-256-GCM everywhere**, because it is approved everywhere and fast on every server. Each sealing has
//!   associated data that says where it belongs, so what was moved does not open.
//! - **Between nodes a snapshot travels opened**, inside TLS, and the receiver seals it under a key of its own. It
//!   could travel sealed, since all nodes of a cluster have the same KEK; but then a file would depend on a header
//!   that another node wrote, wrapped by a key that this one may have dropped or not got yet.
//! - **A wrong KEK is not damage.** A data key file says which KEK wrapped it, under a checksum of its own. So a
//!   foreign one is told from a rotten one, before anything is changed.
//!
//! What stays plain: positions, votes and lengths of the log, identity and certificates of the node, and its
//! authority's key until that is kept elsewhere ([`crate::folder`]), how many records there are, and how large.

mod data_key;
pub(crate) mod header;
mod stream;
mod vault;

use std::fmt;

use zeroize::Zeroizing;

pub(crate) use data_key::{DataKey, MESSAGE_OVERHEAD};
pub(crate) use header::Kind;
pub(crate) use stream::{SealedReader, SealedWriter, plain_length};
pub(crate) use vault::{DATA_KEY_FILE, GIVEN_UP};
pub use vault::{DataKeyError, DataKeyStatus, Vault};

/// The 32 bytes of a data key, wiped when dropped.
pub type DataKeyBytes = Zeroizing<[u8; 32]>;

/// Wraps data keys under a key-encryption key, which only it knows. May hold several: one wraps, all unwrap.
pub trait KeyWrapper: fmt::Debug + Send + Sync {
    /// Wraps a data key for its place.
    ///
    /// # Errors
    /// [`WrapError::NoRandomness`].
    fn wrap(&self, place: &str, key: &DataKeyBytes) -> Result<Vec<u8>, WrapError>;

    /// Unwraps what was wrapped for that place.
    ///
    /// # Errors
    /// [`WrapError::UnknownKey`] when it was wrapped under a key that is not at hand. That must be told from
    /// [`WrapError::Damaged`] without fail: damaged data is given up and fetched again.
    fn unwrap(&self, place: &str, wrapped: &[u8]) -> Result<DataKeyBytes, WrapError>;

    /// The name of the key under which something was wrapped; tells nothing of the key. `None` when the bytes
    /// are nothing that was wrapped.
    fn key_of(&self, wrapped: &[u8]) -> Option<String>;

    /// Whether something should be wrapped again: its key is not the one that wraps now.
    fn is_outdated(&self, wrapped: &[u8]) -> bool;
}

/// Why a data key cannot be wrapped or unwrapped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrapError {
    /// Wrapped under a key that is not at hand.
    #[error("wrapped under key {id}, which is not at hand")]
    UnknownKey {
        /// The name of that key.
        id: String,
    },
    /// Altered, or wrapped for another place.
    #[error("a wrapped key is damaged or belongs elsewhere")]
    Damaged,
    /// The system gives no random bytes.
    #[error("no randomness")]
    NoRandomness,
}
