//! The state of a node: the one that reads see, and its durable copy behind it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::{oneshot, watch};

use crate::clock::LogTime;
use crate::machine::{Applied, Machine, NewerLevel, Proposal};

use super::fault::{Durability, Fault};
use super::folder::{Folder, FolderDisk};
use super::image::{Limits, State};
use super::media::Media;
#[cfg(any(test, feature = "testing"))]
use super::memory::MemoryDisk;
use super::meta::LogPosition;
use super::recovery::{Recovery, recover};
use super::snapshot::{self, SnapshotInfo};
use super::transfer::{SnapshotReader, SnapshotWriter};
use super::view::View;

/// Where a store keeps its durable copy.
#[derive(Clone, Debug)]
pub enum Disk {
    /// sled and snapshot files.
    Folder(Folder),
    /// For simulations.
    #[cfg(any(test, feature = "testing"))]
    Memory(MemoryDisk),
}

/// An entry of the log, as far as the state is concerned.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'e> {
    /// It says nothing.
    Blank,
    /// It changes the membership: this, in the Raft layer's own encoding.
    Membership(&'e [u8]),
    /// It holds commands.
    Commands {
        /// The leader's stamp.
        at: LogTime,
        /// The commands, in order.
        proposals: &'e [Proposal],
    },
}

/// How far a store has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The last entry applied.
    pub applied: Option<LogPosition>,
    /// Commands decided so far.
    pub revision: u64,
}

/// Why a received snapshot was not installed. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstallError {
    /// It is not what was sent. Ask for it again.
    #[error("the snapshot is damaged: {0}")]
    Damaged(String),
    /// It is older than what this node has.
    #[error("the snapshot is older than the state here")]
    Stale,
    /// The disk failed; the node must stop.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The state of a node. Clones are the same store.
///
/// One task applies, builds and installs; any number of tasks read. Dropping the last clone makes everything
/// durable that can be, and waits for it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    machine: Arc<dyn Machine>,
    limits: Limits,
    media: Arc<dyn Media>,
    // What the next entry is applied to. `shown` is a clone of it.
    next: Mutex<State>,
    shown: ArcSwap<State>,
    progress: watch::Sender<Progress>,
    durability: watch::Sender<Durability>,
    newest_snapshot: Mutex<Option<SnapshotInfo>>,
    max_lag: MaxLag,
}

/// How far the durable copy may fall behind before applying should wait.
#[derive(Clone, Copy, Debug)]
struct MaxLag {
    bytes: usize,
    records: usize,
}

const MAX_LAG: MaxLag = MaxLag { bytes: 64 << 20, records: 100_000 };

impl Store {
    /// Reads and checks the durable copy; on any doubt it is moved aside, and the newest good snapshot takes
    /// its place. [`Recovery`] says what was found. Blocks: call it off the runtime's workers.
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub fn open(disk: &Disk, machine: Arc<dyn Machine>, limits: Limits) -> Result<(Self, Recovery), Fault> {
        let durability = watch::Sender::new(Durability::default());
        let media: Arc<dyn Media> = match disk {
            Disk::Folder(folder) => Arc::new(FolderDisk::open(folder, durability.clone())?),
            #[cfg(any(test, feature = "testing"))]
            Disk::Memory(memory) => Arc::new(memory.attach(durability.clone())),
        };
        let recovered = recover(&*media, &*machine, limits)?;
        let state = recovered.state;
        let progress = Progress { applied: state.applied(), revision: state.revision() };
        let inner = Inner {
            machine,
            limits,
            media,
            shown: ArcSwap::from_pointee(state.clone()),
            next: Mutex::new(state),
            progress: watch::Sender::new(progress),
            durability,
            newest_snapshot: Mutex::new(recovered.newest_snapshot),
            max_lag: MAX_LAG,
        };
        Ok((Self { inner: Arc::new(inner) }, recovered.recovery))
    }

    /// Makes a folder that is still empty hold `state`: as a snapshot, and as a durable copy. Blocks.
    pub(crate) fn lay_down(folder: &Folder, state: &State) -> Result<SnapshotInfo, Fault> {
        let disk = FolderDisk::open(folder, watch::Sender::new(Durability::default()))?;
        let write = || {
            let mut sink = disk.create_snapshot()?;
            let info = snapshot::write(state, &mut sink)?;
            sink.keep(&info.id())?;
            Ok(info)
        };
        let info = write().map_err(|error: std::io::Error| Fault::io("writing a snapshot", &error))?;
        disk.begin(state, true)?;
        disk.close();
        Ok(info)
    }

    /// The rows as they stand on this node.
    #[must_use]
    pub fn view(&self) -> View {
        View::new(self.inner.shown.load_full())
    }

    /// The level of the rows; see [`Machine::level`].
    #[must_use]
    pub fn level(&self) -> u32 {
        self.inner.machine.level(&self.view())
    }

    /// Tells when entries are applied.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.inner.progress.subscribe()
    }

    /// Tells how far the durable copy has got, and when it has failed.
    #[must_use]
    pub fn durability(&self) -> watch::Receiver<Durability> {
        self.inner.durability.subscribe()
    }

    /// Waits until the durable copy is close enough behind (64 MiB and 100,000 records) to apply more.
    ///
    /// # Errors
    /// When it has failed.
    pub async fn room(&self) -> Result<(), Fault> {
        let max = self.inner.max_lag;
        self.wait(|now| now.lag_bytes <= max.bytes && now.lag_records <= max.records).await
    }

    /// Applies the next entry, shows the result to reads, and hands the changes to the durable copy. Does not
    /// wait for the disk: see [`Store::room`].
    ///
    /// # Errors
    /// When the durable copy has failed, `position` is not behind the last one, or the entry takes the rows to a
    /// level that this program does not know. Nothing is shown then, or written.
    pub fn apply(&self, position: LogPosition, entry: Entry<'_>) -> Result<Vec<Applied>, Fault> {
        if let Some(fault) = &self.inner.durability.borrow().fault {
            return Err(fault.clone());
        }
        let mut next = self.inner.next();
        if next.applied().is_some_and(|last| last.index >= position.index) {
            return Err(Fault::new(format!("entry {position} is not behind what was applied")));
        }
        let machine = &*self.inner.machine;
        let (applied, changes) = match entry {
            Entry::Blank => (Vec::new(), next.apply_blank(position)),
            Entry::Membership(membership) => (Vec::new(), next.apply_membership(position, membership)),
            Entry::Commands { at, proposals } => next.apply_entry(machine, position, at, proposals),
        };
        let shown = Arc::new(next.clone());
        if let Entry::Commands { .. } = entry {
            self.inner.check_level(&shown).map_err(|newer| self.inner.fail(Fault::new(newer.to_string())))?;
        }
        self.inner.media.follow(changes);
        self.inner.show(shown);
        Ok(applied)
    }

    /// Waits until everything applied so far is durable.
    ///
    /// # Errors
    /// When the durable copy has failed.
    pub async fn flush(&self) -> Result<(), Fault> {
        let applied = self.inner.shown.load().applied();
        self.inner.media.hurry();
        self.wait(|now| now.durable.map(|it| it.index) >= applied.map(|it| it.index)).await
    }

    /// Makes everything durable that can be, and lets go of the disk; reads go on. What is applied afterwards
    /// does not reach the disk. Blocks: call it off the runtime's workers.
    pub fn close(&self) {
        self.inner.media.close();
    }

    /// Writes a snapshot of the state as it is now, while more is applied.
    ///
    /// # Errors
    /// When the disk failed; the node must stop.
    pub async fn build_snapshot(&self) -> Result<SnapshotInfo, Fault> {
        self.on_media("building a snapshot", |inner| {
            let state = inner.shown.load_full();
            let mut sink = inner.media.create_snapshot()?;
            let info = snapshot::write(&state, &mut sink)?;
            sink.keep(&info.id())?;
            *inner.newest() = Some(info.clone());
            Ok(info)
        })
        .await
    }

    /// The newest snapshot, if there is one.
    #[must_use]
    pub fn snapshot(&self) -> Option<SnapshotInfo> {
        self.inner.newest().clone()
    }

    /// The newest snapshot, checked, to be sent to another node. One found damaged is replaced by a new one
    /// first. `None` when there has never been one.
    ///
    /// # Errors
    /// When the disk failed; the node must stop.
    pub async fn open_snapshot(&self) -> Result<Option<(SnapshotInfo, SnapshotReader)>, Fault> {
        let Some(info) = self.snapshot() else { return Ok(None) };
        let whole = self
            .on_media("checking a snapshot", move |inner| {
                let id = info.id();
                let good = match inner.media.open_snapshot(&id) {
                    Ok((input, _)) => snapshot::verify(input).is_ok(),
                    Err(_) => false,
                };
                if !good {
                    inner.media.reject_snapshot(&id)?;
                }
                Ok(good.then_some(info))
            })
            .await?;
        let info = match whole {
            Some(info) => info,
            None => self.build_snapshot().await?,
        };
        let (input, _) = self
            .inner
            .media
            .open_snapshot(&info.id())
            .map_err(|error| self.inner.fail(Fault::io("opening a snapshot", &error)))?;
        Ok(Some((info, SnapshotReader::new(input))))
    }

    /// Where to put a snapshot that another node sends. It counts once it is installed.
    ///
    /// # Errors
    /// When the disk failed; the node must stop.
    pub fn receive_snapshot(&self) -> Result<SnapshotWriter, Fault> {
        let sink = self.inner.media.create_snapshot();
        let sink = sink.map_err(|error| self.inner.fail(Fault::io("receiving a snapshot", &error)))?;
        Ok(SnapshotWriter::new(sink))
    }

    /// Checks a received snapshot and puts it in the place of the state, in memory and on the disk. A crash
    /// meanwhile leaves the old state or the new one. Nothing may be applied meanwhile.
    ///
    /// # Errors
    /// See [`InstallError`].
    pub async fn install_snapshot(&self, received: SnapshotWriter) -> Result<SnapshotInfo, InstallError> {
        let (state, info) = self
            .on_media("installing a snapshot", move |inner| {
                let length = received.bytes();
                let mut sink = received.into_sink();
                let state = match snapshot::read(sink.reopen()?, &*inner.machine, inner.limits) {
                    Ok(state) => state,
                    Err(damage) => return Ok(Err(InstallError::Damaged(damage.0))),
                };
                // The sender would only send it again: this program must go.
                inner.check_level(&Arc::new(state.clone())).map_err(io::Error::other)?;
                let here = inner.shown.load().applied().map(|position| position.index);
                if state.applied().map(|position| position.index) < here {
                    return Ok(Err(InstallError::Stale));
                }
                let info = SnapshotInfo::new(state.meta(), length);
                sink.keep(&info.id())?;
                *inner.newest() = Some(info.clone());
                Ok(Ok((state, info)))
            })
            .await??;
        let (done, answer) = oneshot::channel();
        self.inner.media.replace(state.clone(), done);
        let gone = |_| Err(Fault::new("the durable copy stopped during an installation"));
        answer.await.unwrap_or_else(gone).map_err(|fault| self.inner.fail(fault))?;
        let mut next = self.inner.next();
        *next = state;
        self.inner.show(Arc::new(next.clone()));
        Ok(info)
    }

    async fn wait(&self, enough: impl Fn(&Durability) -> bool) -> Result<(), Fault> {
        let mut durability = self.inner.durability.subscribe();
        let reached = durability.wait_for(|now| now.fault.is_some() || enough(now)).await;
        match reached {
            Ok(now) => now.fault.clone().map_or(Ok(()), Err),
            // The sender lives in `self`.
            Err(_) => Ok(()),
        }
    }

    async fn on_media<T: Send + 'static>(
        &self,
        doing: &'static str,
        job: impl FnOnce(&Inner) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let (answer, answered) = oneshot::channel();
        let inner = Arc::clone(&self.inner);
        let job = move || {
            let result = job(&inner);
            drop(inner);
            // Nobody may be waiting any more.
            drop(answer.send(result));
        };
        self.inner.media.run(Box::new(job)).map_err(|fault| self.inner.fail(fault))?;
        match answered.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.inner.fail(Fault::io(doing, &error))),
            Err(_) => Err(self.inner.fail(Fault::new(format!("{doing}: panicked")))),
        }
    }
}

impl Inner {
    fn next(&self) -> std::sync::MutexGuard<'_, State> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn newest(&self) -> std::sync::MutexGuard<'_, Option<SnapshotInfo>> {
        self.newest_snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, state: Arc<State>) {
        let progress = Progress { applied: state.applied(), revision: state.revision() };
        self.shown.store(state);
        self.progress.send_replace(progress);
    }

    fn check_level(&self, state: &Arc<State>) -> Result<(), NewerLevel> {
        NewerLevel::check(self.machine.level(&View::new(Arc::clone(state))), self.machine.known_level())
    }

    fn fail(&self, fault: Fault) -> Fault {
        self.durability.send_modify(|now| {
            now.fault.get_or_insert_with(|| fault.clone());
        });
        fault
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.media.close();
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("progress", &*self.inner.progress.borrow()).finish_non_exhaustive()
    }
}
