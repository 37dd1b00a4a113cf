//! What a durable copy has to follow.

use std::collections::BTreeMap;

use super::meta::Meta;
use super::record::{Record, Space};
use super::row::{Key, Value};

/// The records that entries have changed, each with what it is now, and where that brought the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    pub(super) records: BTreeMap<(Space, Key), Change>,
    pub(super) meta: Meta,
    pub(super) bytes: usize,
}

/// A changed record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it holds now; `None` when it is gone.
    pub now: Option<Value>,
    /// How long it was at most since the copy last saw it, in bytes: a copy that splits long values knows
    /// from it which pieces may be left over.
    pub was_bytes: usize,
}

impl Changes {
    pub(super) fn new() -> Self {
        Self { records: BTreeMap::new(), meta: Meta::default(), bytes: 0 }
    }

    /// The changed records, by kind and key.
    pub fn iter(&self) -> impl Iterator<Item = (Space, &Key, &Change)> {
        self.records.iter().map(|((space, key), change)| (*space, key, change))
    }

    /// Where the state is once these are in.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// How many records changed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether no record changed. The meta may have.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Roughly how much memory they hold, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes in the changes of later entries. A record that changed twice is written once.
    pub fn follow(&mut self, later: Self) {
        for ((space, key), change) in later.records {
            self.put(space, key, change);
        }
        self.meta = later.meta;
    }

    pub(super) fn write(&mut self, record: Record, was_bytes: usize) {
        let now = Some(record.value.into());
        self.put(record.space, record.key, Change { now, was_bytes });
    }

    pub(super) fn erase(&mut self, record: Record) {
        let was_bytes = record.value.len();
        self.put(record.space, record.key, Change { now: None, was_bytes });
    }

    fn put(&mut self, space: Space, key: Key, mut change: Change) {
        const OVERHEAD_BYTES: usize = 64;
        self.bytes += OVERHEAD_BYTES + key.len() + change.now_bytes();
        let name = (space, key);
        if let Some(earlier) = self.records.get(&name) {
            self.bytes -= OVERHEAD_BYTES + name.1.len() + earlier.now_bytes();
            change.was_bytes = change.was_bytes.max(earlier.was_bytes);
        }
        self.records.insert(name, change);
    }
}

impl Change {
    fn now_bytes(&self) -> usize {
        self.now.as_ref().map_or(0, |value| value.len())
    }
}
