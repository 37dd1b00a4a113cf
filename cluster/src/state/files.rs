//! Snapshots in files, sealed: `<id>.snapshot`, `<id>.bad` for damaged ones, `<n>.part` for those on their way.
//! `dek` is the key of all of them, from which each file has its own.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::folder::sync_folder;
use super::media::{KEPT_SNAPSHOTS, Sink};
use crate::seal::{DATA_KEY_FILE, DataKey, Kind, SealedReader, SealedWriter, Vault, plain_length};

pub(super) struct SnapshotFolder {
    dir: PathBuf,
    key: Arc<DataKey>,
    next_part: AtomicU64,
}

impl SnapshotFolder {
    pub(super) fn open(dir: &Path, vault: &Vault) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let file = dir.join(DATA_KEY_FILE);
        let key = match vault.open(&file, Kind::Snapshots) {
            Ok(key) => key,
            // Under a new key what there is does not open: it is damaged, and is treated so when it is read.
            Err(error) if error.is_loss() => {
                vault.create(&file, Kind::Snapshots).map_err(io::Error::other)?
            }
            Err(error) => return Err(io::Error::other(error)),
        };
        let folder = Self { dir: dir.to_owned(), key: Arc::new(key), next_part: AtomicU64::new(0) };
        for name in folder.names(PART)? {
            fs::remove_file(folder.path(&name, PART))?;
        }
        dir.parent().map_or(Ok(()), sync_folder)?;
        Ok(folder)
    }

    pub(super) fn create(&self) -> io::Result<Box<dyn Sink>> {
        let number = self.next_part.fetch_add(1, Ordering::Relaxed);
        let part = self.path(&number.to_string(), PART);
        let file = File::options().create(true).truncate(true).read(true).write(true).open(&part)?;
        let sealed = SealedWriter::begin(file, &self.key)?;
        Ok(Box::new(Part { dir: self.dir.clone(), path: Some(part), key: Arc::clone(&self.key), sealed }))
    }

    pub(super) fn ids(&self) -> io::Result<Vec<String>> {
        names(&self.dir, SNAPSHOT)
    }

    pub(super) fn open_one(&self, id: &str) -> io::Result<(Box<dyn Read + Send>, u64)> {
        let file = File::open(self.path(id, SNAPSHOT))?;
        let bytes = plain_length(file.metadata()?.len());
        Ok((opened(file, &self.key), bytes))
    }

    pub(super) fn reject(&self, id: &str) -> io::Result<()> {
        fs::rename(self.path(id, SNAPSHOT), self.path(id, BAD))?;
        for older in self.names(BAD)?.into_iter().skip(KEPT_SNAPSHOTS) {
            fs::remove_file(self.path(&older, BAD))?;
        }
        sync_folder(&self.dir)
    }

    /// Whether there has never been a snapshot.
    pub(super) fn is_untouched(&self) -> io::Result<bool> {
        Ok(self.names(SNAPSHOT)?.is_empty() && self.names(BAD)?.is_empty())
    }

    fn names(&self, kind: &str) -> io::Result<Vec<String>> {
        names(&self.dir, kind)
    }

    fn path(&self, name: &str, kind: &str) -> PathBuf {
        path(&self.dir, name, kind)
    }
}

/// A snapshot on its way.
struct Part {
    dir: PathBuf,
    // `None` once it is kept.
    path: Option<PathBuf>,
    key: Arc<DataKey>,
    sealed: SealedWriter<File>,
}

impl Write for Part {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sealed.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sealed.flush()
    }
}

impl Sink for Part {
    fn reopen(&mut self) -> io::Result<Box<dyn Read + Send>> {
        self.sealed.finish()?;
        let mut file = self.sealed.get_ref().try_clone()?;
        file.seek(SeekFrom::Start(0))?;
        Ok(opened(file, &self.key))
    }

    fn keep(mut self: Box<Self>, id: &str) -> io::Result<()> {
        self.sealed.finish()?;
        self.sealed.get_ref().sync_all()?;
        if let Some(part) = &self.path {
            fs::rename(part, path(&self.dir, id, SNAPSHOT))?;
        }
        self.path = None;
        sync_folder(&self.dir)?;
        for older in names(&self.dir, SNAPSHOT)?.into_iter().skip(KEPT_SNAPSHOTS) {
            fs::remove_file(path(&self.dir, &older, SNAPSHOT))?;
        }
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Some(part) = &self.path {
            // What stays behind goes at the next start.
            drop(fs::remove_file(part));
        }
    }
}

fn opened(file: File, key: &Arc<DataKey>) -> Box<dyn Read + Send> {
    Box::new(SealedReader::new(BufReader::with_capacity(READ_BYTES, file), Arc::clone(key)))
}

/// The names of the files of a kind, the last in order first: newest first.
fn names(dir: &Path, kind: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        names.extend(name.to_str().and_then(|name| name.strip_suffix(kind)).map(str::to_owned));
    }
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}

fn path(dir: &Path, name: &str, kind: &str) -> PathBuf {
    dir.join(format!("{name}{kind}"))
}

const SNAPSHOT: &str = ".snapshot";
const BAD: &str = ".bad";
const PART: &str = ".part";
const READ_BYTES: usize = 256 * 1024;
