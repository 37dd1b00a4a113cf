//! The log in files, by raft-log, on a thread of its own.
//!
//! # Why
//!
//! raft-log's calls may touch the disk, so no runtime worker makes them. The thread takes everything that has
//! queued up, hands it over, and asks for **one** sync; while that runs, the next batch gathers. So a sync
//! covers what arrived during the one before, and raft-log need not wait for company (its own 1 ms wait was
//! a fifth of the speed).
//!
//! A failed write or sync is final: the kernel may have dropped the pages, so trying again would lie. From
//! then on everything fails, and the node stops.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use raft_log::api::raft_log_writer::RaftLogWriter;
use tokio::sync::oneshot;

use super::kinds::{Kinds, Position, Vote};
use super::repair;
use super::sealed::{self, Sealed};
use super::{Done, LogDevice, LogEntry, LogState, VoteRecord};
use crate::files;
use crate::seal::{DataKeyError, Vault};
use crate::state::LogPosition;
use crate::usage::{LogSyncs, SyncClock};

/// The log in a folder.
#[derive(Debug)]
pub(crate) struct DiskLog {
    commands: Sender<Command>,
    syncs: Arc<SyncClock>,
}

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The files are there and not what was written: the disk or something else changed them. A record that
    /// was only half written when the machine stopped is not this: it is cut off.
    #[error(
        "the log in {} is damaged: {source}. It is not repaired by guessing: remove this node from the cluster, \
         and let it join again under a new id with an empty folder",
        folder.display()
    )]
    Damaged {
        /// The log's folder.
        folder: PathBuf,
        /// What the check said, with chunk and offset.
        source: io::Error,
    },
    /// The key of its entries.
    #[error(transparent)]
    Key(#[from] DataKeyError),
    /// The files could not be read or written.
    #[error("the log in {} cannot be opened: {source}", folder.display())]
    Io {
        /// The log's folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl DiskLog {
    /// Opens the log in `folder`, which is made if it is absent; its key lies in `vault`. Blocks: not for a
    /// runtime worker.
    ///
    /// # Errors
    /// When the files are damaged or inaccessible, or sealed with another key.
    pub(crate) fn open(folder: &Path, vault: &Vault) -> Result<Self, LogError> {
        let failed = |source: io::Error| LogError::Io { folder: folder.to_owned(), source };
        let key = sealed::open_key(folder, vault)?;
        files::create_folder(folder).map_err(|error| failed(error.source))?;
        let mut config = raft_log::Config::new(folder.display());
        config.wal.flush_batch_wait = Some(Duration::ZERO);
        config.wal.chunk_max_size = Some(CHUNK_BYTES);
        config.wal.read_buffer_size = Some(READ_BUFFER_BYTES);
        config.log_cache_capacity = Some(CACHE_BYTES);
        let log = repair::open(folder, &Arc::new(config))?;
        let sealed = Sealed { log, key };
        sealed.check().map_err(|source| LogError::Damaged { folder: folder.to_owned(), source })?;
        let (commands, queue) = mpsc::channel();
        let syncs = Arc::<SyncClock>::default();
        let worker = Worker {
            syncs: Arc::clone(&syncs),
            sealed,
            waiting: Vec::new(),
            is_syncing: false,
            failed: None,
            commands: commands.clone(),
        };
        thread::Builder::new()
            .name("raft-log".to_owned())
            .spawn(move || worker.run(queue))
            .map_err(failed)?;
        Ok(Self { commands, syncs })
    }

    fn ask<T: Send + 'static>(
        &self,
        command: impl FnOnce(oneshot::Sender<io::Result<T>>) -> Command,
    ) -> BoxFuture<'static, io::Result<T>> {
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.send(command(reply));
        Box::pin(async move {
            match sent {
                Ok(()) => answer.await.unwrap_or_else(|_| Err(closed())),
                Err(_) => Err(closed()),
            }
        })
    }
}

impl LogDevice for DiskLog {
    fn state(&self) -> BoxFuture<'static, io::Result<LogState>> {
        self.ask(Command::State)
    }

    fn append(&self, entries: Vec<LogEntry>, done: Done) {
        if let Err(mpsc::SendError(command)) = self.commands.send(Command::Append(entries, done)) {
            command.refuse();
        }
    }

    fn save_vote(&self, vote: VoteRecord, done: Done) {
        if let Err(mpsc::SendError(command)) = self.commands.send(Command::Vote(vote, done)) {
            command.refuse();
        }
    }

    fn save_committed(&self, committed: LogPosition) {
        // An error here shows at the next append.
        drop(self.commands.send(Command::Committed(committed)));
    }

    fn truncate_after(&self, after: Option<LogPosition>) -> BoxFuture<'static, io::Result<()>> {
        self.ask(|reply| Command::Truncate(after, reply))
    }

    fn purge(&self, upto: LogPosition) -> BoxFuture<'static, io::Result<()>> {
        self.ask(|reply| Command::Purge(upto, reply))
    }

    fn read(
        &self,
        range: Range<u64>,
        most_bytes: Option<usize>,
    ) -> BoxFuture<'static, io::Result<Vec<LogEntry>>> {
        self.ask(|reply| Command::Read(range, most_bytes, reply))
    }

    fn syncs(&self) -> LogSyncs {
        self.syncs.read()
    }

    fn close(&self) -> BoxFuture<'static, io::Result<()>> {
        self.ask(Command::Close)
    }
}

impl Drop for DiskLog {
    fn drop(&mut self) {
        drop(self.commands.send(Command::Abandon));
    }
}

type Reply<T> = oneshot::Sender<io::Result<T>>;

enum Command {
    Append(Vec<LogEntry>, Done),
    Vote(VoteRecord, Done),
    Committed(LogPosition),
    Truncate(Option<LogPosition>, Reply<()>),
    Purge(LogPosition, Reply<()>),
    Read(Range<u64>, Option<usize>, Reply<Vec<LogEntry>>),
    State(Reply<LogState>),
    Close(Reply<()>),
    /// From the sync under way: it ended like this.
    Synced(io::Result<()>),
    /// From the handle, when it is dropped.
    Abandon,
}

impl Command {
    /// For commands that carry a [`Done`] and could not be sent.
    fn refuse(self) {
        if let Self::Append(_, done) | Self::Vote(_, done) = self {
            done(Err(closed()));
        }
    }
}

struct Worker {
    syncs: Arc<SyncClock>,
    sealed: Sealed,
    /// Who waits for the next sync.
    waiting: Vec<Done>,
    is_syncing: bool,
    failed: Option<io::Error>,
    commands: Sender<Command>,
}

impl Worker {
    fn run(mut self, queue: Receiver<Command>) {
        while let Ok(first) = queue.recv() {
            for command in std::iter::once(first).chain(queue.try_iter().take(MOST_COMMANDS)) {
                match command {
                    Command::Close(reply) => {
                        let outcome = self.close(&queue);
                        // The queue goes before the answer: what is sent after it is refused by the sender,
                        // instead of lying in a queue that nobody reads.
                        queue.try_iter().for_each(Command::refuse);
                        drop(queue);
                        drop(reply.send(outcome));
                        return;
                    }
                    Command::Abandon => {
                        drop(self.close(&queue));
                        return;
                    }
                    command @ (Command::Append(..)
                    | Command::Vote(..)
                    | Command::Committed(_)
                    | Command::Truncate(..)
                    | Command::Purge(..)
                    | Command::Read(..)
                    | Command::State(_)
                    | Command::Synced(_)) => self.take(command),
                }
            }
            self.sync();
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Append(entries, done) => {
                let outcome = self.check().and_then(|()| self.sealed.seal(&entries));
                let outcome = outcome.and_then(|entries| self.write(|log| log.append(entries).map(drop)));
                self.wait(outcome, done);
            }
            Command::Vote(vote, done) => {
                let outcome = self.write(|log| log.save_vote(Vote(vote)).map(drop));
                self.wait(outcome, done);
            }
            Command::Committed(committed) => {
                let committed = Position::from(committed);
                // After a snapshot from the leader it may lie behind the last entry, which raft-log refuses.
                if self.sealed.log.log_state().last() >= Some(&committed) {
                    drop(self.write(|log| log.commit(committed).map(drop)));
                }
            }
            Command::Truncate(after, reply) => {
                let first = after.map_or(0, |position| position.index + 1);
                drop(reply.send(self.write(|log| {
                    if first >= Position::next(log.log_state().last()) {
                        return Ok(());
                    }
                    log.truncate(first).map(drop)
                })));
            }
            Command::Purge(upto, reply) => {
                drop(reply.send(self.write(|log| log.purge(Position::from(upto)).map(drop))));
            }
            Command::Read(range, most_bytes, reply) => drop(reply.send(self.read(range, most_bytes))),
            Command::State(reply) => drop(reply.send(self.state())),
            Command::Synced(outcome) => {
                self.is_syncing = false;
                if let Err(error) = outcome {
                    self.fail(&error);
                }
            }
            Command::Close(_) | Command::Abandon => {}
        }
    }

    fn write(
        &mut self,
        write: impl FnOnce(&mut raft_log::RaftLog<Kinds>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.check()?;
        let outcome = write(&mut self.sealed.log);
        if let Err(error) = &outcome {
            self.fail(error);
        }
        outcome
    }

    fn wait(&mut self, outcome: io::Result<()>, done: Done) {
        match outcome {
            Ok(()) => self.waiting.push(done),
            Err(error) => done(Err(error)),
        }
    }

    fn sync(&mut self) {
        if self.is_syncing || self.waiting.is_empty() {
            return;
        }
        let callback = self.callback();
        match self.sealed.log.flush(true, Some(callback)) {
            Ok(()) => self.is_syncing = true,
            // The callback told its callers when it was dropped with the request.
            Err(error) => self.fail(&error),
        }
    }

    fn fail(&mut self, error: &io::Error) {
        tracing::error!(%error, "the log cannot be written; this node must stop");
        for done in self.waiting.drain(..) {
            done(Err(copy(error)));
        }
        self.failed.get_or_insert_with(|| copy(error));
    }

    fn check(&self) -> io::Result<()> {
        match &self.failed {
            Some(error) => Err(copy(error)),
            None => Ok(()),
        }
    }

    fn state(&self) -> io::Result<LogState> {
        self.check()?;
        let state = self.sealed.log.log_state();
        let position = |position: Option<&Position>| position.map(|position| LogPosition::from(*position));
        Ok(LogState {
            vote: state.vote().map(|vote| vote.0),
            committed: position(state.committed()),
            purged: position(state.purged()),
            last: position(state.last()),
        })
    }

    fn read(&self, range: Range<u64>, most_bytes: Option<usize>) -> io::Result<Vec<LogEntry>> {
        self.check()?;
        let mut entries = Vec::new();
        let mut bytes = 0_usize;
        if range.is_empty() {
            return Ok(entries);
        }
        for entry in self.sealed.read(range) {
            let entry = entry?;
            bytes = bytes.saturating_add(entry.payload.len());
            if !entries.is_empty() && most_bytes.is_some_and(|most| bytes > most) {
                break;
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    fn close(mut self, queue: &Receiver<Command>) -> io::Result<()> {
        while self.is_syncing {
            match queue.recv() {
                Ok(command @ Command::Synced(_)) => self.take(command),
                Ok(command) => command.refuse(),
                Err(mpsc::RecvError) => break,
            }
        }
        self.check()?;
        let synced = self.callback();
        self.sealed.log.flush(true, Some(synced))?;
        self.sealed.log.wait_worker_idle()
    }

    /// For the sync that begins now: it serves all that wait.
    fn callback(&mut self) -> Synced {
        Synced {
            waiting: Some(std::mem::take(&mut self.waiting)),
            commands: self.commands.clone(),
            begun: Instant::now(),
            syncs: Arc::clone(&self.syncs),
        }
    }
}

/// The callers that one sync serves. Dropped unsent, it tells them that nothing is safe.
pub(super) struct Synced {
    /// Taken when they have been told.
    waiting: Option<Vec<Done>>,
    commands: Sender<Command>,
    begun: Instant,
    syncs: Arc<SyncClock>,
}

impl Synced {
    fn tell(&mut self, outcome: io::Result<()>) {
        let Some(waiting) = self.waiting.take() else { return };
        for done in waiting {
            done(match &outcome {
                Ok(()) => Ok(()),
                Err(error) => Err(copy(error)),
            });
        }
        drop(self.commands.send(Command::Synced(outcome)));
    }
}

impl raft_log::Callback for Synced {
    fn send(mut self, outcome: io::Result<()>) {
        self.syncs.took(self.begun.elapsed());
        self.tell(outcome);
    }
}

impl Drop for Synced {
    fn drop(&mut self) {
        self.tell(Err(closed()));
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the log is closed")
}

fn copy(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

const CHUNK_BYTES: usize = 64 << 20;
const READ_BUFFER_BYTES: usize = 4 << 20;
/// Entries that followers still need are read from memory up to here.
const CACHE_BYTES: usize = 64 << 20;
/// Commands handed to raft-log before a sync is asked for.
const MOST_COMMANDS: usize = 4096;

#[cfg(test)]
mod tests;
