//! A log device whose unsynced writes are lost at a crash: all of them, or all behind some point.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::future::{self, BoxFuture};
use tokio::time;

use super::random::Random;
use crate::log::{Done, LogDevice, LogEntry, LogState, VoteRecord};
use crate::state::LogPosition;

/// A disk for one node's log; it outlives the node.
#[derive(Clone)]
pub(crate) struct SimDisk(Arc<Mutex<Content>>);

/// The device as one run of the node has it. After a crash it reaches nothing any more.
pub(crate) struct SimLog {
    disk: SimDisk,
    run: u64,
}

struct Content {
    random: Random,
    /// What would be found after a crash.
    synced: Image,
    /// What the node sees.
    seen: Image,
    /// The difference of the two.
    unsynced: VecDeque<(Write, Option<Done>)>,
    is_syncing: bool,
    run: u64,
    /// The bug that the simulation must find: says "synced" before it is.
    lies: bool,
    /// Longest sync, in milliseconds.
    slowness: u64,
}

#[derive(Clone, Default)]
struct Image {
    vote: Option<VoteRecord>,
    committed: Option<LogPosition>,
    purged: Option<LogPosition>,
    entries: BTreeMap<u64, LogEntry>,
}

enum Write {
    Append(Vec<LogEntry>),
    Vote(VoteRecord),
    Committed(LogPosition),
    Truncate(Option<LogPosition>),
    Purge(LogPosition),
}

impl SimDisk {
    pub(crate) fn new(random: Random) -> Self {
        Self(Arc::new(Mutex::new(Content {
            random,
            synced: Image::default(),
            seen: Image::default(),
            unsynced: VecDeque::new(),
            is_syncing: false,
            run: 0,
            lies: false,
            slowness: 3,
        })))
    }

    #[cfg(test)]
    pub(crate) fn lie(&self) {
        self.content().lies = true;
    }

    pub(crate) fn slow_down(&self, most_ms: u64) {
        self.content().slowness = most_ms;
    }

    /// Opens it for a new run of the node.
    pub(crate) fn open(&self) -> SimLog {
        let mut content = self.content();
        content.run += 1;
        SimLog { disk: self.clone(), run: content.run }
    }

    /// Loses what was not synced, but for a beginning of it that the disk may have got to by itself.
    pub(crate) fn crash(&self) {
        let mut content = self.content();
        content.run += 1;
        content.is_syncing = false;
        let count = content.unsynced.len() as u64;
        let kept = if content.random.per_mille(500) { 0 } else { content.random.below(count + 1) };
        let unsynced = std::mem::take(&mut content.unsynced);
        for (write, _) in unsynced.into_iter().take(usize::try_from(kept).unwrap()) {
            content.synced.write(&write);
        }
        content.seen = content.synced.clone();
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.lock().unwrap()
    }

    /// Syncs what is there when it begins, and again while there is more.
    async fn sync(self, run: u64) {
        loop {
            let (batch, delay) = {
                let content = self.content();
                if content.run != run {
                    return;
                }
                // A disk that lies has a cache to lie about, and takes its time to empty it.
                let slowness = if content.lies { 200 } else { content.slowness };
                (content.unsynced.len(), content.random.micros(100, slowness * 1000))
            };
            time::sleep(delay).await;
            let mut dones = Vec::new();
            {
                let mut content = self.content();
                if content.run != run {
                    return;
                }
                for _ in 0..batch {
                    let Some((write, done)) = content.unsynced.pop_front() else { break };
                    content.synced.write(&write);
                    dones.extend(done);
                }
                if content.unsynced.is_empty() {
                    content.is_syncing = false;
                }
            }
            for done in dones {
                done(Ok(()));
            }
            if !self.content().is_syncing {
                return;
            }
        }
    }
}

impl SimLog {
    fn write(&self, write: Write, done: Option<Done>) -> io::Result<()> {
        let mut content = self.disk.content();
        if content.run != self.run {
            drop(content);
            if let Some(done) = done {
                done(Err(gone()));
            }
            return Err(gone());
        }
        content.seen.write(&write);
        let (now, later) = if content.lies { (done, None) } else { (None, done) };
        content.unsynced.push_back((write, later));
        if !content.is_syncing {
            content.is_syncing = true;
            tokio::spawn(self.disk.clone().sync(self.run));
        }
        drop(content);
        if let Some(done) = now {
            done(Ok(()));
        }
        Ok(())
    }
}

impl LogDevice for SimLog {
    fn state(&self) -> BoxFuture<'static, io::Result<LogState>> {
        let content = self.disk.content();
        let alive = content.run == self.run;
        let Image { vote, committed, purged, entries } = &content.seen;
        let last = entries.last_key_value().map(|(_, entry)| entry.position).or(*purged);
        let state = LogState { vote: *vote, committed: *committed, purged: *purged, last };
        Box::pin(future::ready(if alive { Ok(state) } else { Err(gone()) }))
    }

    fn append(&self, entries: Vec<LogEntry>, done: Done) {
        let _ = self.write(Write::Append(entries), Some(done));
    }

    fn save_vote(&self, vote: VoteRecord, done: Done) {
        let _ = self.write(Write::Vote(vote), Some(done));
    }

    fn save_committed(&self, committed: LogPosition) {
        let _ = self.write(Write::Committed(committed), None);
    }

    fn truncate_after(&self, after: Option<LogPosition>) -> BoxFuture<'static, io::Result<()>> {
        Box::pin(future::ready(self.write(Write::Truncate(after), None)))
    }

    fn purge(&self, upto: LogPosition) -> BoxFuture<'static, io::Result<()>> {
        Box::pin(future::ready(self.write(Write::Purge(upto), None)))
    }

    fn read(
        &self,
        range: Range<u64>,
        most_bytes: Option<usize>,
    ) -> BoxFuture<'static, io::Result<Vec<LogEntry>>> {
        let content = self.disk.content();
        if content.run != self.run {
            return Box::pin(future::ready(Err(gone())));
        }
        let mut bytes = 0;
        let mut entries = Vec::new();
        if !range.is_empty() {
            for entry in content.seen.entries.range(range).map(|(_, entry)| entry) {
                bytes += entry.payload.len();
                if !entries.is_empty() && most_bytes.is_some_and(|most| bytes > most) {
                    break;
                }
                entries.push(entry.clone());
            }
        }
        Box::pin(future::ready(Ok(entries)))
    }

    fn close(&self) -> BoxFuture<'static, io::Result<()>> {
        Box::pin(future::ready(Ok(())))
    }
}

impl Image {
    fn write(&mut self, write: &Write) {
        match write {
            Write::Append(entries) => {
                for entry in entries {
                    let next = self.entries.last_key_value().map(|(index, _)| index + 1);
                    let next = next.or(self.purged.map(|purged| purged.index + 1));
                    // openraft's suite begins an empty log where it likes.
                    assert!(next.is_none_or(|next| next == entry.position.index), "a gap before {entry:?}");
                    self.entries.insert(entry.position.index, entry.clone());
                }
            }
            Write::Vote(vote) => self.vote = Some(*vote),
            Write::Committed(committed) => self.committed = Some(*committed),
            Write::Truncate(after) => {
                let first = after.map_or(0, |after| after.index + 1);
                self.entries.split_off(&first);
            }
            Write::Purge(upto) => {
                self.entries = self.entries.split_off(&(upto.index + 1));
                if self.purged.is_none_or(|purged| purged.index < upto.index) {
                    self.purged = Some(*upto);
                }
            }
        }
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "this run of the node is over")
}
