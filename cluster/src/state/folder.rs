//! A state in a folder: the copy in sled, snapshots in files.
//!
//! ```text
//! copy-<n>/sled/      the durable copy; a higher n has replaced the lower ones
//! copy-<n>/dek        the key that seals it, wrapped
//! copy-<n>/whole      there once the copy was synced for the first time; without it the copy is nothing
//! copy-<n>/tries      how often reading it has begun and not ended
//! bad-<n>/            copies that were found damaged; two at most
//! snapshots/          see `files`
//! ```

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::sync::watch;

use crate::machine::Machine;
use crate::seal::{DATA_KEY_FILE, GIVEN_UP, Kind, Vault};

use super::changes::Changes;
use super::copy::SledCopy;
use super::fault::{Damage, Durability, Fault};
use super::files::SnapshotFolder;
use super::image::{Limits, State};
use super::media::{Done, Loaded, Media, Sink};
use super::writer::Writer;

/// Where a node keeps its state.
#[derive(Clone, Debug)]
pub struct Folder {
    /// The folder; made if it is not there. Only one process may use it at a time.
    pub path: PathBuf,
    /// Memory for sled's cache, in bytes. Reads do not come from it: it makes scattered writes cheaper.
    pub cache_bytes: u64,
    /// Makes and opens the keys that seal it.
    pub vault: Arc<Vault>,
}

impl Folder {
    /// A folder with a cache of 128 MiB.
    pub fn new(path: impl Into<PathBuf>, vault: Arc<Vault>) -> Self {
        Self { path: path.into(), cache_bytes: 128 << 20, vault }
    }
}

pub(super) struct FolderDisk {
    copies: Copies,
    snapshots: SnapshotFolder,
    report: watch::Sender<Durability>,
    // Between `load` and `begin`.
    loaded: Mutex<Option<(u64, SledCopy)>>,
    writer: Mutex<Option<Writer>>,
}

impl FolderDisk {
    pub(super) fn open(folder: &Folder, report: watch::Sender<Durability>) -> Result<Self, Fault> {
        let snapshots = (|| {
            fs::create_dir_all(&folder.path)?;
            if let Some(parent) = folder.path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                sync_folder(parent)?;
            }
            SnapshotFolder::open(&folder.path.join("snapshots"), &folder.vault)
        })();
        let snapshots = snapshots.map_err(|error| Fault::io("opening the state's folder", &error))?;
        let (dir, vault) = (folder.path.clone(), Arc::clone(&folder.vault));
        let copies = Copies { dir, cache_bytes: folder.cache_bytes, vault };
        Ok(Self { copies, snapshots, report, loaded: Mutex::new(None), writer: Mutex::new(None) })
    }

    fn loaded(&self) -> MutexGuard<'_, Option<(u64, SledCopy)>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_writer<T>(&self, use_it: impl FnOnce(&Writer) -> T) -> Option<T> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(use_it)
    }
}

impl Media for FolderDisk {
    fn load(&self, machine: &dyn Machine, limits: Limits) -> Result<Loaded, Fault> {
        let failed = |error| Fault::io("reading the durable state", &error);
        let Some(newest) = self.copies.newest_whole().map_err(failed)? else {
            // A state was here: this is no fresh node, whatever became of it.
            let bad = self.copies.numbers(BAD).map_err(failed)?;
            let was_here = !bad.is_empty() || !self.snapshots.is_untouched().map_err(failed)?;
            let missing = || Loaded::Damaged(Damage::new("the durable copy is missing"));
            return Ok(if was_here { missing() } else { Loaded::Nothing });
        };
        match self.copies.read(newest, machine, limits).map_err(failed)? {
            Err(damage) => Ok(Loaded::Damaged(damage)),
            Ok((state, copy)) => {
                *self.loaded() = Some((newest, copy));
                Ok(Loaded::Whole(Box::new(state)))
            }
        }
    }

    fn set_aside(&self) -> Result<Option<PathBuf>, Fault> {
        *self.loaded() = None;
        self.copies.set_aside().map_err(|error| Fault::io("moving the damaged state", &error))
    }

    fn begin(&self, state: &State, afresh: bool) -> Result<(), Fault> {
        let loaded = self.loaded().take();
        let (number, copy) = match loaded {
            Some(loaded) if !afresh => loaded,
            Some(_) | None => on_thread(|| self.copies.make(state))
                .unwrap_or_else(|panic| Err(io::Error::other(panic)))
                .map_err(|error| Fault::io("making a durable copy", &error))?,
        };
        let tidied = self.copies.remove_below(number);
        tidied.map_err(|error| Fault::io("removing a replaced state", &error))?;
        self.report.send_replace(Durability { durable: state.applied(), ..Durability::default() });
        let writer = Writer::start(self.copies.clone(), number, copy, self.report.clone());
        let writer = writer.map_err(|error| Fault::io("starting a thread", &error))?;
        *self.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(writer);
        Ok(())
    }

    fn follow(&self, changes: Changes) {
        self.with_writer(|writer| writer.follow(changes));
    }

    fn hurry(&self) {
        self.with_writer(Writer::hurry);
    }

    fn replace(&self, state: State, done: Done) {
        self.with_writer(|writer| writer.replace(state, done));
    }

    fn run(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Fault> {
        let thread = thread::Builder::new().name("state-snapshot".to_owned()).spawn(job);
        thread.map(drop).map_err(|error| Fault::io("starting a thread", &error))
    }

    fn create_snapshot(&self) -> io::Result<Box<dyn Sink>> {
        self.snapshots.create()
    }

    fn snapshots(&self) -> io::Result<Vec<String>> {
        self.snapshots.ids()
    }

    fn open_snapshot(&self, id: &str) -> io::Result<(Box<dyn io::Read + Send>, u64)> {
        self.snapshots.open_one(id)
    }

    fn reject_snapshot(&self, id: &str) -> io::Result<()> {
        self.snapshots.reject(id)
    }

    fn close(&self) {
        // Dropping it waits for its thread.
        drop(self.writer.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// The copies in a folder.
#[derive(Clone)]
pub(super) struct Copies {
    dir: PathBuf,
    cache_bytes: u64,
    vault: Arc<Vault>,
}

impl Copies {
    /// The number of the copy to use. Copies that were never finished go.
    fn newest_whole(&self) -> io::Result<Option<u64>> {
        let mut newest = None;
        for number in self.numbers(COPY)? {
            let path = self.path(COPY, number);
            if path.join(WHOLE).try_exists()? {
                newest = newest.max(Some(number));
            } else {
                fs::remove_dir_all(path)?;
            }
        }
        Ok(newest)
    }

    /// Reads a copy. The inner error is about the copy; the outer one is not, and must not condemn it.
    fn read(
        &self,
        number: u64,
        machine: &dyn Machine,
        limits: Limits,
    ) -> io::Result<Result<(State, SledCopy), Damage>> {
        let path = self.path(COPY, number);
        check_unlocked(&path.join(SLED).join("db"))?;
        let key = match self.vault.open(&path.join(DATA_KEY_FILE), Kind::Copy) {
            Ok(key) => key,
            Err(error) if error.is_loss() => return Ok(Err(Damage::new(error.to_string()))),
            Err(error) => return Err(io::Error::other(error)),
        };
        let tries = path.join(TRIES);
        // Some damage makes sled abort the process, which nobody can catch: count, so that it ends.
        let before = fs::read(&tries).unwrap_or_default();
        if before.len() >= MAX_TRIES {
            return Ok(Err(Damage::new(format!("reading it ended the process {MAX_TRIES} times"))));
        }
        fs::write(&tries, [&before[..], b"x"].concat())?;
        let read = on_thread(|| match SledCopy::open(&path.join(SLED), self.cache_bytes, key) {
            Ok(mut copy) => Ok(copy.read(machine, limits).map(|state| (state, copy))),
            Err(error) if is_not_about_the_file(&error) => Err(error),
            Err(error) => Ok(Err(Damage::from(error))),
        });
        let read = read.unwrap_or_else(|panic| Ok(Err(Damage::new(format!("sled panicked: {panic}")))));
        fs::remove_file(&tries)?;
        read
    }

    /// Makes a new copy of `state`, durable, under a number above all others.
    pub(super) fn make(&self, state: &State) -> io::Result<(u64, SledCopy)> {
        let used = self.numbers(COPY)?.into_iter().chain(self.numbers(BAD)?).max();
        let number = used.unwrap_or(0) + 1;
        let path = self.path(COPY, number);
        let inner = path.join(SLED);
        fs::create_dir_all(&inner)?;
        let key = self.vault.create(&path.join(DATA_KEY_FILE), Kind::Copy).map_err(io::Error::other)?;
        let mut copy = SledCopy::open(&inner, self.cache_bytes, key)?;
        copy.fill(state)?;
        copy.sync_all(&inner)?;
        // The folders above it must be durable before the mark that they are.
        sync_folder(&path)?;
        sync_folder(&self.dir)?;
        File::create(path.join(WHOLE))?.sync_all()?;
        sync_folder(&path)?;
        Ok((number, copy))
    }

    pub(super) fn remove_below(&self, number: u64) -> io::Result<()> {
        // A key that is wrapped again meanwhile would leave a file in a folder that is being emptied.
        let _still = self.vault.hold();
        for older in self.numbers(COPY)?.into_iter().filter(|&older| older < number) {
            // The mark first: half a copy must not be taken for a whole one.
            let path = self.path(COPY, older);
            match fs::remove_file(path.join(WHOLE)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => sync_folder(&path)?,
            }
            fs::remove_dir_all(path)?;
        }
        sync_folder(&self.dir)
    }

    fn set_aside(&self) -> io::Result<Option<PathBuf>> {
        const KEPT: usize = 2;
        let mut aside = None;
        for number in self.numbers(COPY)? {
            let path = self.path(BAD, number);
            fs::rename(self.path(COPY, number), &path)?;
            aside = Some(path);
        }
        let mut bad = self.numbers(BAD)?;
        bad.sort_unstable_by(|a, b| b.cmp(a));
        for number in bad.into_iter().skip(KEPT) {
            fs::remove_dir_all(self.path(BAD, number))?;
        }
        sync_folder(&self.dir)?;
        Ok(aside)
    }

    fn path(&self, kind: &str, number: u64) -> PathBuf {
        self.dir.join(format!("{kind}{number}"))
    }

    /// The numbers of the folders of a kind, in rising order.
    fn numbers(&self, kind: &str) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            numbers.extend(name.to_str().and_then(|name| name.strip_prefix(kind)?.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }
}

/// sled says of a file in use no more than that something went wrong, which would pass for damage.
fn check_unlocked(file: &Path) -> io::Result<()> {
    match File::open(file).map(|file| file.try_lock()) {
        Ok(Err(TryLockError::WouldBlock)) => Err(io::Error::other("another process uses the folder")),
        Ok(Err(TryLockError::Error(error))) => Err(error),
        // A missing file is for sled to judge.
        Ok(Ok(())) | Err(_) => Ok(()),
    }
}

/// Whether the same file could be read at another time, or by another user.
fn is_not_about_the_file(error: &io::Error) -> bool {
    use io::ErrorKind::{OutOfMemory, PermissionDenied, ReadOnlyFilesystem, ResourceBusy, StorageFull};
    const TOO_MANY_OPEN_FILES: [Option<i32>; 2] = [Some(23), Some(24)];
    matches!(error.kind(), OutOfMemory | PermissionDenied | ReadOnlyFilesystem | ResourceBusy | StorageFull)
        || TOO_MANY_OPEN_FILES.contains(&error.raw_os_error())
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Runs a job on a thread of its own, where sled may panic; the error is what it said.
fn on_thread<T: Send>(job: impl FnOnce() -> T + Send) -> Result<T, String> {
    thread::scope(|scope| {
        let spawned = thread::Builder::new().name("state-open".to_owned()).spawn_scoped(scope, job);
        spawned.map_err(|error| error.to_string())?.join().map_err(|panic| panic_text(&*panic))
    })
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no text".to_owned())
}

const COPY: &str = "copy-";
const BAD: &str = GIVEN_UP;
const SLED: &str = "sled";
const WHOLE: &str = "whole";
const TRIES: &str = "tries";
const MAX_TRIES: usize = 3;
