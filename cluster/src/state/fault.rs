//! What can go wrong with a durable copy, and how far it has got.

use std::io;
use std::sync::Arc;

use super::meta::LogPosition;

/// The durable copy can no longer be written. The node must stop: after a failed write nobody knows what the
/// disk has, so nothing is tried again. A restart reads everything and finds out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("durable state: {what}")]
pub struct Fault {
    what: Arc<str>,
}

impl Fault {
    pub(super) fn new(what: impl AsRef<str>) -> Self {
        Self { what: what.as_ref().into() }
    }

    pub(super) fn io(doing: &str, error: &io::Error) -> Self {
        Self::new(format!("{doing}: {error}"))
    }
}

/// Stored bytes are not what was written, and why one thinks so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("damaged: {0}")]
pub(crate) struct Damage(pub(super) String);

impl Damage {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl From<io::Error> for Damage {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

/// How far the durable copy has got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durability {
    /// Everything up to this entry outlives a power cut. The log may be purged up to here, and no further
    /// than the newest snapshot.
    pub durable: Option<LogPosition>,
    /// Changed bytes that are not durable yet, roughly.
    pub lag_bytes: usize,
    /// Changed records that are not durable yet.
    pub lag_records: usize,
    /// Set once, when writing has failed; the node must stop.
    pub fault: Option<Fault>,
}
