//! Applying entries: from one state to the next, the same on every node.

use std::sync::Arc;

use bytes::Bytes;

use crate::clock::LogTime;
use crate::machine::{Applied, Machine, Proposal};

use super::changes::Changes;
use super::history::Past;
use super::image::State;
use super::meta::LogPosition;
use super::record::Record;
use super::requests::Remembered;
use super::row::{Key, Row, Value};
use super::transaction::Transaction;

impl State {
    /// Applies an entry with commands, and says what became of each.
    ///
    /// `at` is the leader's stamp; should it run backwards, the last one counts again.
    pub fn apply_entry(
        &mut self,
        machine: &dyn Machine,
        position: LogPosition,
        at: LogTime,
        proposals: &[Proposal],
    ) -> (Vec<Applied>, Changes) {
        let mut changes = Changes::new();
        self.meta.at = self.meta.at.max(at);
        let applied = proposals.iter().map(|proposal| self.decide(machine, proposal, &mut changes)).collect();
        self.arrive(position, &mut changes);
        (applied, changes)
    }

    /// Applies an entry that changes the membership.
    pub fn apply_membership(&mut self, position: LogPosition, membership: &[u8]) -> Changes {
        let mut changes = Changes::new();
        self.meta.membership = Bytes::copy_from_slice(membership);
        self.arrive(position, &mut changes);
        changes
    }

    /// Applies an entry that says nothing.
    pub fn apply_blank(&mut self, position: LogPosition) -> Changes {
        let mut changes = Changes::new();
        self.arrive(position, &mut changes);
        changes
    }

    /// Changes rows as one command at the next revision, outside any log: for a state that a cluster is made anew
    /// from. Nothing changes when `change` fails.
    pub(crate) fn amend<T, E>(
        &mut self,
        machine: &dyn Machine,
        at: LogTime,
        change: impl FnOnce(LogTime, u64, &mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let (at, revision) = (self.meta.at.max(at), self.meta.revision + 1);
        let mut transaction = Transaction::new(&self.rows, revision);
        let done = change(at, revision, &mut transaction)?;
        let writes = transaction.into_writes();
        (self.meta.at, self.meta.revision) = (at, revision);
        let mut changes = Changes::new();
        let mut replaced = Vec::new();
        for (key, written) in writes {
            replaced.extend(self.write_row(machine, key, written.as_ref(), &mut changes));
        }
        self.keep_history(replaced, &mut changes);
        Ok(done)
    }

    /// Takes rows out, without a trace: for a simulated disk with a bug.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn forget_rows(&mut self, machine: &dyn Machine, prefix: &[u8]) {
        let keys: Vec<Key> = super::row::scan(&self.rows, prefix, None).map(|(key, _)| key.clone()).collect();
        let mut changes = Changes::new();
        for key in keys {
            // Not kept as history either.
            drop(self.write_row(machine, key, None, &mut changes));
        }
    }

    fn arrive(&mut self, position: LogPosition, changes: &mut Changes) {
        // Replaying the log from its very start makes up for whatever was lost before.
        if self.meta.applied.is_none() && position.index == 0 {
            self.meta.lost = false;
        }
        self.meta.applied = Some(position);
        changes.meta = self.meta.clone();
    }

    fn decide(&mut self, machine: &dyn Machine, proposal: &Proposal, changes: &mut Changes) -> Applied {
        if let Some(first) = self.requests.get(proposal.request) {
            if first.fingerprint != proposal.fingerprint {
                return Applied::Mismatch;
            }
            return Applied::Done {
                revision: first.revision,
                at: first.at,
                reply: first.reply.clone(),
                replayed: true,
            };
        }
        self.meta.revision += 1;
        let (revision, at) = (self.meta.revision, self.meta.at);
        let mut transaction = Transaction::new(&self.rows, revision);
        let verdict = machine.apply(at, revision, &mut transaction, &proposal.command);
        let writes = transaction.into_writes();
        let mut replaced = Vec::new();
        if verdict.keep {
            for (key, written) in writes {
                replaced.extend(self.write_row(machine, key, written.as_ref(), changes));
            }
        }
        let ended = replaced.len();
        self.keep_history(replaced, changes);
        // A copy, so that a reply cut out of a large buffer does not keep all of that in memory.
        let reply = Bytes::copy_from_slice(&verdict.reply);
        let remembered = Remembered { fingerprint: proposal.fingerprint, revision, at, reply };
        let record = Record::request(proposal.request, &remembered);
        self.count(&record, true);
        changes.write(record, 0);
        self.requests.remember(proposal.request, remembered);
        self.forget_history(ended, changes);
        self.forget_requests(changes);
        Applied::Done { revision, at, reply: verdict.reply, replayed: false }
    }

    /// Puts or deletes a row; the one that it replaces comes back.
    fn write_row(
        &mut self,
        machine: &dyn Machine,
        key: Key,
        written: Option<&Value>,
        changes: &mut Changes,
    ) -> Option<(Key, Past)> {
        let before = match written {
            Some(value) => {
                let row = Row { revision: self.meta.revision, value: value.clone() };
                let record = Record::row(&key, &row);
                let hash = self.count(&record, true);
                self.count_in_group(machine, &key, hash, true);
                let before = self.rows.insert(key.clone(), row);
                changes.write(record, before.as_ref().map_or(0, Record::row_bytes));
                before
            }
            None => self.rows.remove(&key[..]),
        }?;
        let record = Record::row(&key, &before);
        let hash = self.count(&record, false);
        self.count_in_group(machine, &key, hash, false);
        if written.is_none() {
            changes.erase(record);
        }
        Some((key, Past { ended_at: self.meta.at, row: before }))
    }

    fn keep_history(&mut self, replaced: Vec<(Key, Past)>, changes: &mut Changes) {
        let ended = self.meta.revision;
        for (key, past) in &replaced {
            let record = Record::past(key, ended, past);
            self.count(&record, true);
            changes.write(record, 0);
        }
        self.history.keep(ended, replaced);
    }

    /// Forgets whole commands at a time, so that what is left is exact from `oldest` on.
    fn forget_history(&mut self, ended_now: usize, changes: &mut Changes) {
        let mut left = self.limits.forget_per_command + ended_now;
        while left > 0
            && let Some((ended, at)) = self.history.oldest()
            && (self.is_over(at, self.limits.history_ms) || self.history.len() > self.limits.history_rows)
        {
            let forgotten = self.history.forget(ended);
            left = left.saturating_sub(forgotten.len().max(1));
            for (key, past) in forgotten {
                let record = Record::past(&key, ended, &past);
                self.count(&record, false);
                changes.erase(record);
            }
            self.meta.oldest = self.meta.oldest.max(ended);
        }
    }

    fn forget_requests(&mut self, changes: &mut Changes) {
        for _ in 0..=self.limits.forget_per_command {
            let Some((id, at)) = self.requests.oldest() else { return };
            if !self.is_over(at, self.limits.requests_ms) && self.requests.len() <= self.limits.requests {
                return;
            }
            if let Some(remembered) = self.requests.forget(id) {
                let record = Record::request(id, &remembered);
                self.count(&record, false);
                changes.erase(record);
            }
        }
    }

    fn is_over(&self, at: LogTime, kept_ms: u64) -> bool {
        self.meta.at.0.saturating_sub(at.0) > kept_ms
    }

    /// Takes a record into the digest, or out of it, and returns its share.
    fn count(&mut self, record: &Record, is_in: bool) -> u128 {
        let hash = record.hash();
        self.meta.digest = add_or_subtract(self.meta.digest, hash, is_in);
        hash
    }

    pub(super) fn count_in_group(&mut self, machine: &dyn Machine, key: &[u8], hash: u128, is_in: bool) {
        let Some(name) = machine.group(key) else { return };
        let mut group = self.groups.get(name).copied().unwrap_or_default();
        group.digest = add_or_subtract(group.digest, hash, is_in);
        group.rows = if is_in { group.rows + 1 } else { group.rows.saturating_sub(1) };
        if group.rows == 0 {
            self.groups.remove(name);
        } else {
            self.groups.insert(Arc::from(name), group);
        }
    }
}

fn add_or_subtract(sum: u128, hash: u128, is_in: bool) -> u128 {
    if is_in { sum.wrapping_add(hash) } else { sum.wrapping_sub(hash) }
}
