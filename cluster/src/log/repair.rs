//! What may be cut off a log when it is opened, and what must not.
//!
//! # Why
//!
//! A record that was being written when the power failed was acknowledged to nobody, and goes. raft-log cuts
//! one whose end is missing, and zeros where a record should begin. It refuses one that begins well and ends in
//! zeros, which is what a file system leaves when it has noted the file's new length and not all of its bytes;
//! that is made a missing end here, and then cut the same way.
//!
//! Everything else is rot, and refused: what is damaged may have been acknowledged.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::LogError;
use super::kinds::Kinds;

type Log = raft_log::RaftLog<Kinds>;

/// Opens the log, cutting off a torn tail.
pub(super) fn open(folder: &Path, config: &Arc<raft_log::Config>) -> Result<Log, LogError> {
    let source = match Log::open(Arc::clone(config)) {
        Ok(log) => return Ok(log),
        Err(source) => source,
    };
    let kinds = [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof, io::ErrorKind::InvalidInput];
    if !kinds.contains(&source.kind()) {
        return Err(LogError::Io { folder: folder.to_owned(), source });
    }
    without_zeros(folder, || Log::open(Arc::clone(config)).ok())
        .ok()
        .flatten()
        .ok_or_else(|| LogError::Damaged { folder: folder.to_owned(), source })
}

/// What `open` makes of the last chunk without the zeros at its end. They are put back when that is nothing.
fn without_zeros<T>(folder: &Path, open: impl FnOnce() -> Option<T>) -> io::Result<Option<T>> {
    let Some(path) = last_chunk(folder)? else { return Ok(None) };
    let mut chunk = OpenOptions::new().read(true).write(true).open(path)?;
    let length = chunk.metadata()?.len();
    let zeros = zeros_at_end(&mut chunk, length)?;
    if zeros < FEWEST_ZEROS {
        return Ok(None);
    }
    tracing::warn!(zeros, "the last record of the log was not written whole; trying without it");
    chunk.set_len(length - zeros)?;
    let opened = open();
    if opened.is_none() {
        chunk.set_len(length)?;
    }
    Ok(opened)
}

/// Whether there is any log. A folder that cannot be read is taken for one that has none: opening it says why.
pub(super) fn holds_chunks(folder: &Path) -> bool {
    last_chunk(folder).is_ok_and(|chunk| chunk.is_some())
}

/// Chunks are named by their offset, with leading zeros.
fn last_chunk(folder: &Path) -> io::Result<Option<PathBuf>> {
    let mut last: Option<PathBuf> = None;
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        let is_chunk = path.extension().is_some_and(|extension| extension == "wal");
        if is_chunk && last.as_ref().is_none_or(|last| path > *last) {
            last = Some(path);
        }
    }
    Ok(last)
}

fn zeros_at_end(file: &mut File, length: u64) -> io::Result<u64> {
    let mut zeros = 0;
    let mut end = length;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK_BYTES);
        block.clear();
        file.seek(SeekFrom::Start(start))?;
        file.by_ref().take(end - start).read_to_end(&mut block)?;
        let here = block.iter().rev().take_while(|byte| **byte == 0).count() as u64;
        zeros += here;
        if here < end - start {
            break;
        }
        end = start;
    }
    Ok(zeros)
}

/// A whole record ends in its checksum; this many zeros are no end of one.
const FEWEST_ZEROS: u64 = 16;
const BLOCK_BYTES: u64 = 64 << 10;
