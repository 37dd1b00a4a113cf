//! The whole state at one position of the log.

use std::sync::Arc;

use imbl::OrdMap;

use crate::clock::LogTime;
use crate::machine::Machine;

use super::history::{History, Past};
use super::meta::{LogPosition, Meta};
use super::record::{Record, Space, decode_past, decode_request, decode_row};
use super::requests::Requests;
use super::row::{Key, Row, Rows};
use super::view::View;

/// How much is remembered, and for how long. Every node of a cluster must have the same: they decide what is
/// forgotten at which revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long a row that ended can be seen by `as_of`, in milliseconds of log time.
    pub history_ms: u64,
    /// How many ended rows are kept at most; the oldest go first.
    pub history_rows: usize,
    /// How long a request is remembered, in milliseconds of log time.
    pub requests_ms: u64,
    /// How many requests are remembered at most; the oldest go first.
    pub requests: usize,
    /// How many ended rows a command forgets, beyond as many as it ended itself; likewise requests. Bounds
    /// the time of a command after a long pause.
    pub forget_per_command: usize,
}

impl Default for Limits {
    fn default() -> Self {
        const HOUR_MS: u64 = 3_600_000;
        Self {
            history_ms: HOUR_MS,
            history_rows: 1_000_000,
            requests_ms: 24 * HOUR_MS,
            requests: 1_000_000,
            forget_per_command: 64,
        }
    }
}

/// Rows, their history, the remembered requests and the meta at one position of the log. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub(super) limits: Limits,
    pub(super) rows: Rows,
    pub(super) history: History,
    pub(super) requests: Requests,
    pub(super) groups: OrdMap<Key, Group>,
    pub(super) meta: Meta,
}

/// The digest of a group, and from how many rows it comes: a group without rows leaves nothing behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) digest: u128,
    pub(super) rows: u64,
}

impl State {
    /// The state before the first entry.
    #[must_use]
    pub fn empty(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// The state of these rows and nothing else; revision, time and the rest are those of `meta`.
    pub(crate) fn of_rows<E>(
        machine: &dyn Machine,
        limits: Limits,
        rows: impl Iterator<Item = Result<(Key, Row), E>>,
        meta: Meta,
    ) -> Result<Self, E> {
        let mut state = Self::empty(limits);
        let mut digest = 0_u128;
        for row in rows {
            let (key, row) = row?;
            let hash = Record::row(&key, &row).hash();
            digest = digest.wrapping_add(hash);
            state.count_in_group(machine, &key, hash, true);
            state.rows.insert(key, row);
        }
        // Nothing is remembered of earlier revisions.
        state.meta = Meta { digest, oldest: meta.revision, ..meta };
        Ok(state)
    }

    /// The same without history and remembered requests.
    pub(crate) fn without_past(&self, machine: &dyn Machine) -> Self {
        let rows =
            self.rows.iter().map(|(key, row)| Ok::<_, std::convert::Infallible>((key.clone(), row.clone())));
        match Self::of_rows(machine, self.limits, rows, self.meta.clone()) {
            Ok(state) => state,
        }
    }

    /// What reads see of it.
    #[must_use]
    pub fn view(&self) -> View {
        View::new(Arc::new(self.clone()))
    }

    /// What is known beside the rows.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The last entry applied.
    #[must_use]
    pub fn applied(&self) -> Option<LogPosition> {
        self.meta.applied
    }

    /// Commands decided so far.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.meta.revision
    }

    /// Log time of the last entry applied.
    #[must_use]
    pub fn at(&self) -> LogTime {
        self.meta.at
    }

    /// The membership last applied, in the Raft layer's own encoding; empty before the first.
    #[must_use]
    pub fn membership(&self) -> &[u8] {
        &self.meta.membership
    }

    /// Digest of all rows, their history and the remembered requests. Equal on all nodes at equal revision.
    #[must_use]
    pub fn digest(&self) -> u128 {
        self.meta.digest
    }

    /// Digest of the rows of one group; 0 when it has none.
    #[must_use]
    pub fn group_digest(&self, group: &[u8]) -> u128 {
        self.groups.get(group).map_or(0, |group| group.digest)
    }

    /// How many records the state has: rows, ended rows and requests.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len() + self.history.len() + self.requests.len()
    }

    /// Whether the state has no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All records, by space and key.
    pub(super) fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let rows = self.rows.iter().map(|(key, row)| Record::row(key, row));
        let history = self.history.iter().map(|(ended, key, past)| Record::past(key, ended, past));
        let requests = self.requests.iter().map(|(id, remembered)| Record::request(id, remembered));
        rows.chain(history).chain(requests)
    }
}

/// Puts a state together from its records, in any order, and believes nothing.
pub(super) struct Loader<'m> {
    machine: &'m dyn Machine,
    state: State,
    history: Vec<(Key, u64, Past)>,
    digest: u128,
    taken: usize,
}

impl<'m> Loader<'m> {
    pub(super) fn new(machine: &'m dyn Machine, limits: Limits) -> Self {
        Self { machine, state: State::empty(limits), history: Vec::new(), digest: 0, taken: 0 }
    }

    /// Takes one record in; `None` when it cannot be one.
    pub(super) fn add(&mut self, record: Record) -> Option<()> {
        let hash = record.hash();
        self.digest = self.digest.wrapping_add(hash);
        self.taken += 1;
        match record.space {
            Space::Rows => {
                let row = decode_row(&record.value)?;
                self.state.count_in_group(self.machine, &record.key, hash, true);
                self.state.rows.insert(record.key, row);
            }
            Space::History => self.history.push(decode_past(&record.key, &record.value)?),
            Space::Requests => {
                let (id, remembered) = decode_request(&record.key, &record.value)?;
                self.state.requests.remember(id, remembered);
            }
        }
        Some(())
    }

    /// The state, if its records are those that `meta` was made for, each there once.
    pub(super) fn finish(mut self, meta: Meta) -> Option<State> {
        if self.digest != meta.digest {
            return None;
        }
        self.state.history = History::from_parts(self.history);
        self.state.meta = meta;
        // The digest is a sum: of two records with the same key it counts both, and the state holds one.
        (self.state.len() == self.taken).then_some(self.state)
    }
}
