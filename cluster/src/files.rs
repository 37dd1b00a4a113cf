//! Small files that must be whole or absent: written aside, synced, renamed; the folder synced after.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// A file or folder could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct FileError {
    /// Which one.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

pub(crate) fn read_text(path: &Path) -> Result<String, FileError> {
    fs::read_to_string(path).map_err(at(path))
}

/// Writes a file that anyone may read.
pub(crate) fn write(path: &Path, contents: &[u8]) -> Result<(), FileError> {
    replace(path, contents, 0o644)
}

/// Writes a file that only its owner may read.
pub(crate) fn write_secret(path: &Path, contents: &[u8]) -> Result<(), FileError> {
    replace(path, contents, 0o600)
}

/// Makes a folder that only its owner may enter, with its parents; nothing happens when it is there.
pub(crate) fn create_folder(path: &Path) -> Result<(), FileError> {
    if path.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(at(path))?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        Some(_) | None => Ok(()),
    }
}

/// Overwrites a file and removes it; nothing happens when it is not there.
pub(crate) fn erase(path: &Path) -> Result<(), FileError> {
    let mut file = match OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(at(path))?,
    };
    let overwriting = file.metadata().and_then(|metadata| {
        io::copy(&mut io::repeat(0).take(metadata.len()), &mut file)?;
        file.sync_all()
    });
    overwriting.map_err(at(path))?;
    fs::remove_file(path).map_err(at(path))?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Makes the names in a folder survive a power cut.
pub(crate) fn sync_folder(path: &Path) -> Result<(), FileError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(at(path))
}

pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError { path, source }
}

fn replace(path: &Path, contents: &[u8], mode: u32) -> Result<(), FileError> {
    let aside = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    let mut file = options.open(&aside).map_err(at(&aside))?;
    file.write_all(contents).and_then(|()| file.sync_all()).map_err(at(&aside))?;
    fs::rename(&aside, path).map_err(at(path))?;
    match path.parent() {
        Some(parent) => sync_folder(parent),
        None => Ok(()),
    }
}
