//! Rows as they were: what `as_of` reads.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;

use crate::clock::LogTime;

use super::row::{Key, Row};

/// A row that was overwritten or deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Past {
    /// Log time of the command that ended it.
    pub(super) ended_at: LogTime,
    /// The row; its revision is where it began.
    pub(super) row: Row,
}

/// All past rows that are kept.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    rows: OrdMap<(Key, u64), Past>,
    // Which keys each revision ended, so that forgetting finds the oldest at once.
    ended: OrdMap<u64, Arc<[Key]>>,
}

impl History {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Keeps the rows that the command at `ended` replaced.
    pub(super) fn keep(&mut self, ended: u64, replaced: Vec<(Key, Past)>) {
        if replaced.is_empty() {
            return;
        }
        self.ended.insert(ended, replaced.iter().map(|(key, _)| key.clone()).collect());
        for (key, past) in replaced {
            self.rows.insert((key, ended), past);
        }
    }

    /// The oldest revision that ended rows, and when it was.
    pub(super) fn oldest(&self) -> Option<(u64, LogTime)> {
        let (ended, keys) = self.ended.get_min()?;
        let past = self.rows.get(&(keys.first()?.clone(), *ended))?;
        Some((*ended, past.ended_at))
    }

    /// Forgets every row that the command at `ended` replaced, and returns them.
    pub(super) fn forget(&mut self, ended: u64) -> Vec<(Key, Past)> {
        let keys = self.ended.remove(&ended).unwrap_or_default();
        keys.iter().filter_map(|key| Some((key.clone(), self.rows.remove(&(key.clone(), ended))?))).collect()
    }

    /// The version of `key` that stood after `revision` and has ended since: the first that ended later. It
    /// may have begun later too, and then the key had no row.
    pub(super) fn after(&self, key: &Key, revision: u64) -> Option<&Row> {
        let from = (key.clone(), revision);
        let ((found, _), past) = self.rows.range((Bound::Excluded(from), Bound::Unbounded)).next()?;
        (found == key).then_some(&past.row)
    }

    /// The first key at or behind `start` that has a past.
    pub(super) fn next_key(&self, start: Bound<&Key>) -> Option<&Key> {
        let from = match start {
            Bound::Included(key) => Bound::Included((key.clone(), 0)),
            Bound::Excluded(key) => Bound::Excluded((key.clone(), u64::MAX)),
            Bound::Unbounded => Bound::Unbounded,
        };
        self.rows.range((from, Bound::Unbounded)).next().map(|((key, _), _)| key)
    }

    /// Everything kept, by the revision that ended it and then by key.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Key, &Past)> {
        self.ended.iter().flat_map(|(ended, keys)| {
            keys.iter().filter_map(|key| Some((*ended, key, self.rows.get(&(key.clone(), *ended))?)))
        })
    }

    /// Builds a history from records in any order.
    pub(super) fn from_parts(parts: Vec<(Key, u64, Past)>) -> Self {
        let mut ended: BTreeMap<u64, Vec<(Key, Past)>> = BTreeMap::new();
        for (key, at, past) in parts {
            ended.entry(at).or_default().push((key, past));
        }
        let mut history = Self::default();
        for (at, mut replaced) in ended {
            replaced.sort_by(|(a, _), (b, _)| a.cmp(b));
            history.keep(at, replaced);
        }
        history
    }
}
