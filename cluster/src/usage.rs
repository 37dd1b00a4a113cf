//! How much of the disk a node uses, and how fast that disk is.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bytes of the files of a node, as the file system has them at the moment. Files that come and go meanwhile
/// may be counted or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// The log.
    pub log_bytes: u64,
    /// The durable copy of the state, with copies that were moved aside.
    pub state_bytes: u64,
    /// The snapshots.
    pub snapshot_bytes: u64,
    /// What is free for this user on the file system of the log; nothing where that cannot be asked.
    pub free_bytes: Option<u64>,
}

/// How long the disk took to make entries of the log safe, since the node's start. Every write waits for that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncTimes {
    /// Syncs.
    pub syncs: u64,
    /// Microseconds of all of them together.
    pub total_us: u64,
}

/// Counts syncs.
#[derive(Debug, Default)]
pub(crate) struct SyncCounter {
    syncs: AtomicU64,
    total_us: AtomicU64,
}

impl SyncCounter {
    pub(crate) fn took(&self, time: Duration) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        let time_us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.total_us.fetch_add(time_us, Ordering::Relaxed);
    }

    pub(crate) fn times(&self) -> SyncTimes {
        SyncTimes {
            syncs: self.syncs.load(Ordering::Relaxed),
            total_us: self.total_us.load(Ordering::Relaxed),
        }
    }
}

pub(crate) fn of(log: &Path, state: &Path) -> DiskUsage {
    let snapshot_bytes = below(&state.join("snapshots"));
    DiskUsage {
        log_bytes: below(log),
        state_bytes: below(state).saturating_sub(snapshot_bytes),
        snapshot_bytes,
        free_bytes: free(log),
    }
}

fn free(folder: &Path) -> Option<u64> {
    let system = rustix::fs::statvfs(folder).ok()?;
    system.f_bavail.checked_mul(system.f_frsize)
}

/// Bytes of all files below a folder; links are not followed.
fn below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => below(&entry.path()),
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) | Err(_) => 0,
    });
    bytes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_summed_by_what_they_are_for() {
        let folder = tempfile::tempdir().unwrap();
        let (log, state) = (folder.path().join("log"), folder.path().join("state"));
        assert_eq!(of(&log, &state), DiskUsage::default(), "nothing is there yet");
        for (path, length) in [
            (log.join("a.wal"), 10),
            (log.join("old/b.wal"), 20),
            (state.join("sled/db"), 300),
            (state.join("sled/blobs/1"), 400),
            (state.join("snapshots/1"), 5000),
        ] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![0; length]).unwrap();
        }
        std::os::unix::fs::symlink(folder.path(), log.join("loop")).unwrap();
        let usage = of(&log, &state);
        assert!(usage.free_bytes.is_some_and(|bytes| bytes > 0));
        let free_bytes = usage.free_bytes;
        assert_eq!(usage, DiskUsage { log_bytes: 30, state_bytes: 700, snapshot_bytes: 5000, free_bytes });
    }

    #[test]
    fn syncs_are_counted_with_their_time() {
        let counter = SyncCounter::default();
        counter.took(Duration::from_millis(2));
        counter.took(Duration::from_micros(5));
        assert_eq!(counter.times(), SyncTimes { syncs: 2, total_us: 2005 });
    }
}
