//! Rows as a transaction over others: what is written waits apart until it is committed.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::super::testing::MemoryRows;
use super::super::{RawRow, Read, Rows};

pub(super) struct Overlay<'a> {
    base: &'a MemoryRows,
    revision: u64,
    changes: Changes,
}

/// What a command wants to be written, `None` for a row that goes.
#[derive(Default)]
pub(super) struct Changes(BTreeMap<Vec<u8>, Option<RawRow>>);

impl<'a> Overlay<'a> {
    pub(super) fn new(base: &'a MemoryRows, revision: u64) -> Self {
        Self { base, revision, changes: Changes::default() }
    }

    pub(super) fn into_changes(self) -> Changes {
        self.changes
    }
}

impl Changes {
    pub(super) fn commit(self, rows: &mut MemoryRows) {
        for (key, row) in self.0 {
            match row {
                Some(row) => rows.rows.insert(key, row),
                None => rows.rows.remove(&key),
            };
        }
    }
}

impl Read for Overlay<'_> {
    fn get(&self, key: &[u8]) -> Option<RawRow> {
        match self.changes.0.get(key) {
            Some(change) => change.clone(),
            None => self.base.get(key),
        }
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], RawRow) -> ControlFlow<()>,
    ) {
        let mut found: BTreeMap<&[u8], &RawRow> =
            self.base.rows.iter().map(|(key, row)| (key.as_slice(), row)).collect();
        for (key, change) in &self.changes.0 {
            match change {
                Some(row) => found.insert(key, row),
                None => found.remove(key.as_slice()),
            };
        }
        for (key, row) in found {
            let is_wanted = key.starts_with(prefix) && after.is_none_or(|after| key > after);
            if is_wanted && visit(key, row.clone()).is_break() {
                return;
            }
        }
    }
}

impl Rows for Overlay<'_> {
    fn put(&mut self, key: &[u8], value: Vec<u8>) {
        let row = RawRow { revision: self.revision, value: value.into() };
        self.changes.0.insert(key.to_vec(), Some(row));
    }

    fn delete(&mut self, key: &[u8]) {
        self.changes.0.insert(key.to_vec(), None);
    }
}
