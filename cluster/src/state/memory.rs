//! A disk in memory, for simulations: no thread, no clock, and a crash that loses what was not synced.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Cursor, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::machine::Machine;

use super::changes::Changes;
use super::fault::{Damage, Durability, Fault};
use super::image::{Limits, Loader, State};
use super::media::{Done, KEPT_SNAPSHOTS, Loaded, Media, Sink};
use super::meta::Meta;
use super::record::{Record, Space};
use super::row::{Key, Value};
use super::snapshot;

/// A disk that outlives the stores on it. Clones are the same disk.
///
/// Changes wait until [`MemoryDisk::sync_next`] or [`MemoryDisk::sync_all`]; [`MemoryDisk::crash`] loses those
/// that still wait. Installing a snapshot and keeping one are durable when they return, as on a real disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk(Arc<Mutex<Content>>);

#[derive(Debug, Default)]
struct Content {
    copy: Option<Copy>,
    waiting: VecDeque<Changes>,
    snapshots: BTreeMap<String, Bytes>,
    at_once: bool,
    refuses: bool,
    // A bug to be found: says that entries are applied before their rows are here.
    runs_ahead: bool,
    // Another: rows that begin so are left out of snapshots.
    forgets: Option<Forgets>,
    // The store that is open. Older ones, from before a crash, reach nothing any more.
    generation: u64,
    report: Option<watch::Sender<Durability>>,
}

struct Forgets {
    prefix: &'static str,
    machine: Arc<dyn Machine>,
    limits: Limits,
}

#[derive(Debug, Default)]
struct Copy {
    records: BTreeMap<(Space, Key), Value>,
    meta: Meta,
}

impl MemoryDisk {
    /// A disk that syncs when told to.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk that syncs every change at once.
    #[must_use]
    pub fn prompt() -> Self {
        let disk = Self::default();
        disk.content().at_once = true;
        disk
    }

    /// Makes the oldest waiting change durable; false when none waits.
    #[must_use]
    pub fn sync_next(&self) -> bool {
        self.content().sync_next()
    }

    /// Makes all waiting changes durable.
    pub fn sync_all(&self) {
        while self.sync_next() {}
    }

    /// Loses all waiting changes, and cuts off the store that is open: it can do no more harm.
    pub fn crash(&self) {
        let mut content = self.content();
        content.waiting.clear();
        content.report = None;
        content.generation += 1;
    }

    /// How many changes wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.content().waiting.len()
    }

    /// Flips a bit in the durable copy: in the record that `pick` falls on. False when there is none.
    #[must_use]
    pub fn rot(&self, pick: usize) -> bool {
        let mut content = self.content();
        let Some(copy) = &mut content.copy else { return false };
        let Some(at) = pick.checked_rem(copy.records.len()) else { return false };
        let Some(value) = copy.records.values_mut().nth(at) else { return false };
        let mut bytes = value.to_vec();
        let Some(byte) = bytes.last_mut() else { return false };
        *byte ^= 1;
        *value = bytes.into();
        true
    }

    /// Flips a bit in the newest snapshot. False when there is none.
    #[must_use]
    pub fn rot_snapshot(&self, pick: usize) -> bool {
        let mut content = self.content();
        let Some(mut newest) = content.snapshots.last_entry() else { return false };
        let mut bytes = newest.get().to_vec();
        let Some(at) = pick.checked_rem(bytes.len()) else { return false };
        let Some(byte) = bytes.get_mut(at) else { return false };
        *byte ^= 1;
        newest.insert(bytes.into());
        true
    }

    /// From now on every sync fails, as on a disk that dies.
    pub fn die(&self) {
        self.content().refuses = true;
    }

    /// Puts a bug in: the last applied position reaches the disk before the rows of that entry.
    pub(crate) fn run_ahead(&self) {
        self.content().runs_ahead = true;
    }

    /// Puts a bug in: snapshots lack the rows whose keys begin with `prefix`, and look whole.
    pub(crate) fn forget_in_snapshots(
        &self,
        prefix: &'static str,
        machine: Arc<dyn Machine>,
        limits: Limits,
    ) {
        self.content().forgets = Some(Forgets { prefix, machine, limits });
    }

    /// As a new disk in the old one's place.
    pub(crate) fn empty(&self) {
        let mut content = self.content();
        content.copy = None;
        content.snapshots.clear();
    }

    pub(super) fn attach(&self, report: watch::Sender<Durability>) -> AttachedDisk {
        let mut content = self.content();
        content.generation += 1;
        content.waiting.clear();
        content.report = Some(report);
        AttachedDisk { disk: self.clone(), generation: content.generation }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn sync_next(&mut self) -> bool {
        if self.refuses {
            self.tell(|durability| durability.fault = Some(Fault::new("the simulated disk died")));
            return false;
        }
        let Some(changes) = self.waiting.pop_front() else { return false };
        let copy = self.copy.get_or_insert_default();
        let (bytes, records) = (changes.bytes, changes.len());
        for (name, change) in changes.records {
            match change.now {
                Some(value) => drop(copy.records.insert(name, value)),
                None => drop(copy.records.remove(&name)),
            }
        }
        let durable = changes.meta.applied;
        let ahead = copy.meta.applied;
        copy.meta = changes.meta;
        if self.runs_ahead {
            copy.meta.applied = ahead;
        }
        self.tell(|durability| {
            durability.durable = durable;
            durability.lag_bytes = durability.lag_bytes.saturating_sub(bytes);
            durability.lag_records = durability.lag_records.saturating_sub(records);
        });
        true
    }

    fn put(&mut self, state: &State) {
        self.waiting.clear();
        let records = state.records().map(|it| ((it.space, it.key), it.value.into())).collect();
        self.copy = Some(Copy { records, meta: state.meta().clone() });
        let durable = state.applied();
        self.tell(|now| *now = Durability { durable, fault: now.fault.clone(), ..Durability::default() });
    }

    fn tell(&self, how: impl FnOnce(&mut Durability)) {
        if let Some(report) = &self.report {
            report.send_modify(how);
        }
    }
}

/// A [`MemoryDisk`] as one store sees it, until the next crash.
pub(super) struct AttachedDisk {
    disk: MemoryDisk,
    generation: u64,
}

impl AttachedDisk {
    fn content(&self) -> Option<MutexGuard<'_, Content>> {
        Some(self.disk.content()).filter(|content| content.generation == self.generation)
    }

    fn content_or_gone(&self) -> io::Result<MutexGuard<'_, Content>> {
        self.content().ok_or_else(|| io::Error::other("the simulated node has crashed"))
    }
}

impl Media for AttachedDisk {
    fn load(&self, machine: &dyn Machine, limits: Limits) -> Result<Loaded, Fault> {
        let content = self.content_or_gone().map_err(|error| Fault::io("open", &error))?;
        let Some(copy) = &content.copy else { return Ok(Loaded::Nothing) };
        let mut loader = Loader::new(machine, limits);
        for ((space, key), value) in &copy.records {
            let record = Record { space: *space, key: key.clone(), value: value.to_vec() };
            if loader.add(record).is_none() {
                return Ok(Loaded::Damaged(Damage::new("record")));
            }
        }
        let state = loader.finish(copy.meta.clone());
        Ok(state
            .map_or_else(|| Loaded::Damaged(Damage::new("digest")), |state| Loaded::Whole(Box::new(state))))
    }

    fn set_aside(&self) -> Result<Option<PathBuf>, Fault> {
        if let Some(mut content) = self.content() {
            content.copy = None;
        }
        Ok(None)
    }

    fn begin(&self, state: &State, afresh: bool) -> Result<(), Fault> {
        let mut content = self.content_or_gone().map_err(|error| Fault::io("open", &error))?;
        if afresh {
            content.put(state);
        }
        content.tell(|durability| durability.durable = state.applied());
        Ok(())
    }

    fn follow(&self, changes: Changes) {
        let Some(mut content) = self.content() else { return };
        content.tell(|durability| {
            durability.lag_bytes += changes.bytes;
            durability.lag_records += changes.len();
        });
        if content.runs_ahead
            && let Some(copy) = &mut content.copy
        {
            copy.meta.applied = changes.meta.applied;
        }
        content.waiting.push_back(changes);
        if content.at_once {
            content.sync_next();
        }
    }

    fn hurry(&self) {
        if let Some(mut content) = self.content() {
            while content.sync_next() {}
        }
    }

    fn replace(&self, state: State, done: Done) {
        let result = match self.content() {
            None => Err(Fault::new("the simulated node has crashed")),
            Some(content) if content.refuses => Err(Fault::new("the simulated disk died")),
            Some(mut content) => {
                content.put(&state);
                Ok(())
            }
        };
        // Nobody may be waiting any more.
        drop(done.send(result));
    }

    fn run(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Fault> {
        job();
        Ok(())
    }

    fn create_snapshot(&self) -> io::Result<Box<dyn Sink>> {
        Ok(Box::new(MemorySink { disk: self.disk.clone(), generation: self.generation, bytes: Vec::new() }))
    }

    fn snapshots(&self) -> io::Result<Vec<String>> {
        Ok(self.content_or_gone()?.snapshots.keys().rev().cloned().collect())
    }

    fn open_snapshot(&self, id: &str) -> io::Result<(Box<dyn Read + Send>, u64)> {
        let content = self.content_or_gone()?;
        let bytes = content.snapshots.get(id).ok_or(io::ErrorKind::NotFound)?.clone();
        let length = bytes.len() as u64;
        Ok((Box::new(Cursor::new(bytes)), length))
    }

    fn reject_snapshot(&self, id: &str) -> io::Result<()> {
        self.content_or_gone()?.snapshots.remove(id);
        Ok(())
    }

    fn close(&self) {
        self.hurry();
    }
}

struct MemorySink {
    disk: MemoryDisk,
    generation: u64,
    bytes: Vec<u8>,
}

impl Write for MemorySink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for MemorySink {
    fn reopen(&mut self) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(Cursor::new(self.bytes.clone())))
    }

    fn keep(self: Box<Self>, id: &str) -> io::Result<()> {
        let mut content = self.disk.content();
        if content.generation != self.generation || content.refuses {
            return Err(io::Error::other("the simulated disk is gone"));
        }
        let bytes = match &content.forgets {
            Some(forgets) => forgets.rewrite(&self.bytes)?,
            None => self.bytes,
        };
        content.snapshots.insert(id.to_owned(), bytes.into());
        while content.snapshots.len() > KEPT_SNAPSHOTS {
            content.snapshots.pop_first();
        }
        Ok(())
    }
}

impl Forgets {
    fn rewrite(&self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let state = snapshot::read(bytes, &*self.machine, self.limits);
        let mut state = state.map_err(|Damage(why)| io::Error::other(why))?;
        state.forget_rows(&*self.machine, self.prefix.as_bytes());
        let mut without = Vec::new();
        snapshot::write(&state, &mut without)?;
        Ok(without)
    }
}

impl std::fmt::Debug for Forgets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forgets").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
