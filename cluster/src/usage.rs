//! How much of the disk a node uses.

use std::fs;
use std::path::Path;

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
}

pub(crate) fn of(log: &Path, state: &Path) -> DiskUsage {
    let snapshot_bytes = below(&state.join("snapshots"));
    DiskUsage {
        log_bytes: below(log),
        state_bytes: below(state).saturating_sub(snapshot_bytes),
        snapshot_bytes,
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
        assert_eq!(of(&log, &state), DiskUsage { log_bytes: 30, state_bytes: 700, snapshot_bytes: 5000 });
    }
}
