//! Rows in memory, for tests of the rules and of what stands on them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::level::LEVEL;
use super::rows::tables;
use super::{Command, RawRow, Read, Rejection, Reply, Rows, Timestamp, apply};

/// Rows in a map. By default those of a new cluster, which starts at this program's level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryRows {
    /// Every row.
    pub rows: BTreeMap<Vec<u8>, RawRow>,
    /// The revision of the last command.
    pub revision: u64,
}

impl Default for MemoryRows {
    fn default() -> Self {
        let mut rows = Self::of_the_first_release();
        // A number encodes.
        drop(tables::LEVEL.put(&mut rows, &[], &LEVEL));
        rows
    }
}

impl Read for MemoryRows {
    fn get(&self, key: &[u8]) -> Option<RawRow> {
        self.rows.get(key).cloned()
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], RawRow) -> ControlFlow<()>,
    ) {
        for (key, row) in self.rows.range(prefix.to_vec()..) {
            let is_after = after.is_none_or(|after| key.as_slice() > after);
            if !key.starts_with(prefix) || (is_after && visit(key, row.clone()).is_break()) {
                break;
            }
        }
    }
}

impl Rows for MemoryRows {
    fn put(&mut self, key: &[u8], value: Vec<u8>) {
        self.rows.insert(key.to_vec(), RawRow { revision: self.revision, value: value.into() });
    }

    fn delete(&mut self, key: &[u8]) {
        self.rows.remove(key);
    }
}

impl MemoryRows {
    /// No rows at all: what a cluster began with before there were levels.
    #[must_use]
    pub fn of_the_first_release() -> Self {
        Self { rows: BTreeMap::new(), revision: 0 }
    }

    /// Applies one command as the next; with a rejection no row changes.
    ///
    /// # Errors
    /// The rejection.
    pub fn apply(&mut self, at: Timestamp, command: &Command) -> Result<Reply, Rejection> {
        self.revision += 1;
        let mut next = self.clone();
        let reply = apply(&mut next, at, self.revision, command)?;
        *self = next;
        Ok(reply)
    }
}
