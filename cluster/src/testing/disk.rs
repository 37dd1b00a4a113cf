//! A log device whose unsynced writes are lost at a crash: all of them, or all behind some point, which may lie
//! within an append. Its next sync can be made to fail. Bits do not rot here: entries carry no checksum that a
//! real one would have, so rot of the log is left to the tests of the real one.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use futures_util::future::{self, BoxFuture};
use tokio::time;

use super::bug::Bug;
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

#[expect(clippy::struct_excessive_bools, reason = "each is a thing of its own that may be so")]
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
    bug: Bug,
    /// The next sync fails.
    fails: bool,
    /// One has failed in this run of the node.
    has_failed: bool,
    /// And the node was told so.
    has_told: bool,
    /// The newest vote that was said to be synced.
    promised: Option<VoteRecord>,
    /// A rule of Raft that the node has broken.
    broken: Option<String>,
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
    pub(crate) fn new(random: Random, bug: Bug) -> Self {
        Self(Arc::new(Mutex::new(Content {
            random,
            synced: Image::default(),
            seen: Image::default(),
            unsynced: VecDeque::new(),
            is_syncing: false,
            run: 0,
            bug,
            fails: false,
            has_failed: false,
            has_told: false,
            promised: None,
            broken: None,
            slowness: USUAL_SYNC_MS,
        })))
    }

    /// The next sync of this run of the node fails.
    pub(crate) fn fail(&self) {
        self.content().fails = true;
    }

    /// Whether a sync has failed in this run of the node.
    pub(crate) fn has_failed(&self) -> bool {
        self.content().has_failed
    }

    /// Whether a sync has failed in this run of the node, and something that waited for it was told so.
    pub(crate) fn has_told_of_failure(&self) -> bool {
        self.content().has_told
    }

    /// A rule of Raft that the node has broken on this disk, if it has.
    pub(crate) fn broken(&self) -> Option<String> {
        self.content().broken.clone()
    }

    /// The entry at `index` as the node sees it.
    pub(crate) fn entry(&self, index: u64) -> Option<LogEntry> {
        self.content().seen.entries.get(&index).cloned()
    }

    /// The last entry purged, as the node sees it.
    pub(crate) fn purged(&self) -> Option<LogPosition> {
        self.content().seen.purged
    }

    /// As a new disk in the old one's place.
    pub(crate) fn empty(&self) {
        let mut content = self.content();
        (content.synced, content.seen, content.promised) = (Image::default(), Image::default(), None);
    }

    pub(crate) fn slow_down(&self, most_ms: u64) {
        self.content().slowness = most_ms;
    }

    /// Opens it for a new run of the node.
    pub(crate) fn open(&self) -> SimLog {
        let mut content = self.content();
        content.run += 1;
        (content.fails, content.has_failed, content.has_told) = (false, false, false);
        let (held, promised) = (content.seen.vote, content.promised);
        // A disk that lies is not asked what it promised: the cluster must show it.
        if held < promised && !matches!(content.bug, Bug::LyingLog | Bug::IgnoredSyncError) {
            content.broken = Some(format!("a vote was lost: {promised:?} was synced, and {held:?} is there"));
        }
        SimLog { disk: self.clone(), run: content.run }
    }

    /// Loses what was not synced, but for a beginning of it that the disk may have got to by itself. Of an append it
    /// may have got to the first entries only.
    pub(crate) fn crash(&self) {
        let mut content = self.content();
        content.run += 1;
        content.is_syncing = false;
        // Behind a sync that failed, and was taken for one that did not, is a hole.
        let is_cut = content.has_failed && content.bug == Bug::IgnoredSyncError;
        let count = content.unsynced.len() as u64;
        let keeps = !is_cut && content.random.per_mille(500);
        let kept = if keeps { content.random.below(count + 1) } else { 0 };
        let mut unsynced = std::mem::take(&mut content.unsynced).into_iter().map(|(write, _)| write);
        for write in unsynced.by_ref().take(usize::try_from(kept).unwrap()) {
            content.synced.write(&write);
        }
        if keeps && let Some(Write::Append(mut torn)) = unsynced.next() {
            let whole = content.random.below(torn.len() as u64 + 1);
            torn.truncate(usize::try_from(whole).unwrap());
            content.synced.write(&Write::Append(torn));
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
                let slowness = if content.bug == Bug::LyingLog { 200 } else { content.slowness };
                (content.unsynced.len(), content.random.micros(100, slowness * 1000))
            };
            time::sleep(delay).await;
            let dones = {
                let mut content = self.content();
                if content.run != run {
                    return;
                }
                // A disk whose errors are ignored has some.
                let is_bad = content.bug == Bug::IgnoredSyncError && content.random.per_mille(5);
                content.has_failed |= std::mem::take(&mut content.fails) || is_bad;
                if content.has_failed && content.bug != Bug::IgnoredSyncError {
                    let waiting = content.fail_all();
                    drop(content);
                    for done in waiting {
                        done(Err(broken()));
                    }
                    return;
                }
                content.sync(batch)
            };
            for done in dones {
                done(Ok(()));
            }
            if !self.content().is_syncing {
                return;
            }
        }
    }
}

impl Content {
    fn sync(&mut self, batch: usize) -> Vec<Done> {
        let mut dones = Vec::new();
        for _ in 0..batch {
            let Some((write, done)) = self.unsynced.pop_front() else { break };
            if !self.has_failed {
                self.synced.write(&write);
            }
            if let Write::Vote(vote) = write {
                self.promised = Some(vote);
            }
            dones.extend(done);
        }
        if self.unsynced.is_empty() {
            self.is_syncing = false;
        }
        dones
    }

    /// What was written stays where it is: some of it may have reached the disk all the same.
    fn fail_all(&mut self) -> Vec<Done> {
        self.is_syncing = false;
        let waiting: Vec<Done> = self.unsynced.iter_mut().filter_map(|(_, done)| done.take()).collect();
        self.has_told |= !waiting.is_empty();
        waiting
    }

    /// Whether what belongs to this run of the node still works.
    fn check(&self, run: u64) -> io::Result<()> {
        if self.run != run {
            return Err(gone());
        }
        if self.has_failed && self.bug != Bug::IgnoredSyncError { Err(broken()) } else { Ok(()) }
    }
}

impl SimLog {
    fn write(&self, write: Write, done: Option<Done>) -> io::Result<()> {
        let mut content = self.disk.content();
        if let Err(error) = content.check(self.run) {
            content.has_told |= content.run == self.run && done.is_some();
            drop(content);
            if let Some(done) = done {
                done(Err(io::Error::new(error.kind(), "the log takes no more")));
            }
            return Err(error);
        }
        if let Write::Vote(vote) = &write
            && content.seen.vote.is_some_and(|before| before > *vote)
        {
            content.broken = Some(format!("a vote went back: {:?}, then {vote:?}", content.seen.vote));
        }
        content.seen.write(&write);
        let (now, later) = if content.bug == Bug::LyingLog { (done, None) } else { (None, done) };
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
        let check = content.check(self.run);
        let Image { vote, committed, purged, entries } = &content.seen;
        let last = entries.last_key_value().map(|(_, entry)| entry.position).or(*purged);
        let state = LogState { vote: *vote, committed: *committed, purged: *purged, last };
        Box::pin(future::ready(check.map(|()| state)))
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
        if let Err(error) = content.check(self.run) {
            return Box::pin(future::ready(Err(error)));
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

fn broken() -> io::Error {
    io::Error::other("the simulated disk reports an error")
}

/// Longest sync when nothing is wrong.
pub(crate) const USUAL_SYNC_MS: u64 = 3;
