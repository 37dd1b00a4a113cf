//! How much of the disk a node uses, and how fast that is.

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
    /// What the file system below them still takes from a program without privileges; `None` when it does not say.
    pub free_bytes: Option<u64>,
}

/// Syncs of the log since the start. Every acknowledged command has waited for one on a majority of the nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSyncs {
    /// How many.
    pub count: u64,
    /// How long all of them took together.
    pub total: Duration,
    /// How long the last one took.
    pub last: Duration,
}

/// Counts syncs while they happen.
#[derive(Debug, Default)]
pub(crate) struct SyncClock {
    count: AtomicU64,
    total_us: AtomicU64,
    last_us: AtomicU64,
}

impl SyncClock {
    pub(crate) fn took(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.total_us.fetch_add(us, Ordering::Relaxed);
        self.last_us.store(us, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> LogSyncs {
        let us = |figure: &AtomicU64| Duration::from_micros(figure.load(Ordering::Relaxed));
        LogSyncs {
            count: self.count.load(Ordering::Relaxed),
            total: us(&self.total_us),
            last: us(&self.last_us),
        }
    }
}

/// What the file system of a path still takes from a program without privileges.
pub(crate) fn free_bytes(path: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(path).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

pub(crate) fn of(log: &Path, state: &Path) -> DiskUsage {
    let snapshot_bytes = below(&state.join("snapshots"));
    DiskUsage {
        log_bytes: below(log),
        state_bytes: below(state).saturating_sub(snapshot_bytes),
        snapshot_bytes,
        free_bytes: free_bytes(state),
    }
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
        let used = |log: &Path, state: &Path| DiskUsage { free_bytes: None, ..of(log, state) };
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
        let expected = DiskUsage { log_bytes: 30, state_bytes: 700, snapshot_bytes: 5000, free_bytes: None };
        assert_eq!(used(&log, &state), expected);
        assert!(of(&log, &state).free_bytes.is_some_and(|free| free > 0));
    }

    #[test]
    fn syncs_are_counted() {
        let clock = SyncClock::default();
        assert_eq!(clock.read(), LogSyncs::default());
        clock.took(Duration::from_millis(3));
        clock.took(Duration::from_micros(500));
        let (total, last) = (Duration::from_micros(3500), Duration::from_micros(500));
        assert_eq!(clock.read(), LogSyncs { count: 2, total, last });
    }
}
