//! What reads see.

use std::ops::Bound;
use std::sync::Arc;

use crate::clock::LogTime;
use crate::machine::RequestId;

use super::image::State;
use super::meta::{LogPosition, Meta};
use super::row::{Key, Row, scan, scan_start};
use super::transaction::Transaction;

/// The rows at one revision. It does not change, whatever is applied meanwhile, and is cheap to clone.
///
/// It pins the rows that it shows: hold it for a request, not for a minute.
#[derive(Clone, Debug)]
pub struct View {
    state: Arc<State>,
    // Set in a view of the past.
    as_of: Option<u64>,
}

/// Why there is no view of a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AsOfError {
    /// Its rows are no longer kept.
    #[error("revision is too old; the oldest kept is {oldest}")]
    TooOld {
        /// The oldest revision that can be asked for.
        oldest: u64,
    },
    /// This node has not got so far.
    #[error("revision is not reached yet; the newest here is {newest}")]
    NotYet {
        /// The newest revision that can be asked for.
        newest: u64,
    },
}

impl View {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state, as_of: None }
    }

    /// The row of this name, if there is one.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Row> {
        match self.as_of {
            None => self.state.rows.get(key).cloned(),
            Some(revision) => self.past_row(&key.into(), revision),
        }
    }

    /// The rows whose keys start with `prefix` and lie behind `after` (a whole key, not a suffix), in key
    /// order.
    pub fn scan<'v>(
        &'v self,
        prefix: &[u8],
        after: Option<&[u8]>,
    ) -> Box<dyn Iterator<Item = (Key, Row)> + Send + 'v> {
        match self.as_of {
            None => {
                Box::new(scan(&self.state.rows, prefix, after).map(|(key, row)| (key.clone(), row.clone())))
            }
            Some(revision) => Box::new(PastScan {
                view: self,
                revision,
                prefix: prefix.to_vec(),
                start: scan_start(prefix, after).map(Key::from),
            }),
        }
    }

    /// The rows as they stood right after the command at `revision`.
    ///
    /// # Errors
    /// When the revision is older than what is kept, or newer than what this view has.
    pub fn as_of(&self, revision: u64) -> Result<Self, AsOfError> {
        let oldest = self.state.meta.oldest;
        let newest = self.revision();
        if revision > newest {
            return Err(AsOfError::NotYet { newest });
        }
        if revision < oldest {
            return Err(AsOfError::TooOld { oldest });
        }
        Ok(Self { state: Arc::clone(&self.state), as_of: Some(revision) })
    }

    /// The revision at which a request was decided, as long as that is remembered.
    #[must_use]
    pub fn decided_at(&self, request: RequestId) -> Option<u64> {
        self.state.requests.get(request).map(|remembered| remembered.revision)
    }

    /// The revision whose rows this shows.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.as_of.unwrap_or(self.state.meta.revision)
    }

    /// The oldest revision that [`View::as_of`] has an answer for.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        self.state.meta.oldest
    }

    /// Log time of the last entry applied. A view of the past has it from the view it was made from.
    #[must_use]
    pub fn at(&self) -> LogTime {
        self.state.meta.at
    }

    /// The last entry applied. A view of the past has it from the view it was made from.
    #[must_use]
    pub fn applied(&self) -> Option<LogPosition> {
        self.state.meta.applied
    }

    /// Everything known beside the rows. A view of the past has it from the view it was made from.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.state.meta
    }

    /// Digest of all rows, their history and the remembered requests. Equal on all nodes at equal revision. A
    /// view of the past has it from the view it was made from.
    #[must_use]
    pub fn digest(&self) -> u128 {
        self.state.digest()
    }

    /// Digest of the rows of one group; 0 when it has none. As for [`View::digest`].
    #[must_use]
    pub fn group_digest(&self, group: &[u8]) -> u128 {
        self.state.group_digest(group)
    }

    /// A transaction over these rows that will never be kept, to ask a machine what it would say. It shows the
    /// present, even in a view of the past.
    #[must_use]
    pub fn trial(&self) -> Transaction<'_> {
        Transaction::new(&self.state.rows, self.state.meta.revision + 1)
    }

    /// The state behind the view.
    #[must_use]
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    fn past_row(&self, key: &Key, revision: u64) -> Option<Row> {
        let version = match self.state.history.after(key, revision) {
            Some(ended) => ended,
            None => self.state.rows.get(&key[..])?,
        };
        (version.revision <= revision).then(|| version.clone())
    }
}

/// A walk over the keys that have a row or a past, showing those that had a row at `revision`.
struct PastScan<'v> {
    view: &'v View,
    revision: u64,
    prefix: Vec<u8>,
    start: Bound<Key>,
}

impl Iterator for PastScan<'_> {
    type Item = (Key, Row);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let start = self.start.as_ref();
            let state = &self.view.state;
            let standing = state.rows.range::<_, [u8]>((start.map(|key| &key[..]), Bound::Unbounded));
            let standing = standing.map(|(key, _)| key).next();
            let key = match (standing, state.history.next_key(start)) {
                (Some(a), Some(b)) => a.min(b),
                (Some(key), None) | (None, Some(key)) => key,
                (None, None) => return None,
            }
            .clone();
            if !key.starts_with(&self.prefix) {
                return None;
            }
            self.start = Bound::Excluded(key.clone());
            if let Some(row) = self.view.past_row(&key, self.revision) {
                return Some((key, row));
            }
        }
    }
}
