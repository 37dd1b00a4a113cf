//! The log in files: what survives, what is cut, what is refused.

use std::fs;

use bytes::Bytes;
use tempfile::TempDir;

use super::super::kinds::Payload;
use super::*;
use crate::identity::{ClusterId, Identity, NodeId};
use crate::seal::Kind;
use crate::testing::keys::TestKeys;

fn entry(index: u64) -> LogEntry {
    let payload = Bytes::from(format!("entry {index} {}", "x".repeat(100)));
    LogEntry { position: LogPosition { term: 1, node: 1, index }, payload }
}

fn vault(data: &Path, keys: &[u8]) -> Vault {
    let owner = Identity { cluster: ClusterId::from_random([7; 16]), node: NodeId(1) };
    Vault::new(data, owner, Arc::new(TestKeys::new(keys)))
}

fn open(folder: &Path) -> Result<DiskLog, LogError> {
    DiskLog::open(folder, &vault(folder.parent().unwrap(), &[1]))
}

async fn append(log: &DiskLog, indexes: Range<u64>) -> io::Result<()> {
    let (done, synced) = oneshot::channel();
    log.append(indexes.map(entry).collect(), Box::new(|outcome| drop(done.send(outcome))));
    synced.await.unwrap()
}

async fn written(folder: &Path, count: u64) {
    let log = open(folder).unwrap();
    for index in 0..count {
        append(&log, index..index + 1).await.unwrap();
    }
    log.close().await.unwrap();
}

async fn read(log: &DiskLog) -> Vec<LogEntry> {
    log.read(0..u64::MAX, None).await.unwrap()
}

/// The chunk that holds the entries.
fn chunk(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files.filter(|file| file.is_file()).max_by_key(|file| file.metadata().unwrap().len()).unwrap()
}

#[tokio::test]
async fn what_was_written_is_there_after_reopening() {
    let folder = TempDir::new().unwrap();
    let vote = VoteRecord { term: 3, node: 2, committed: true };
    {
        let log = open(&folder.path().join("log")).unwrap();
        append(&log, 0..10).await.unwrap();
        log.truncate_after(Some(entry(7).position)).await.unwrap();
        log.purge(entry(2).position).await.unwrap();
        log.save_committed(entry(5).position);
        let (done, synced) = oneshot::channel();
        log.save_vote(vote, Box::new(|outcome| drop(done.send(outcome))));
        synced.await.unwrap().unwrap();
        log.close().await.unwrap();
        assert!(append(&log, 8..9).await.is_err(), "it was closed");
    }
    let log = open(&folder.path().join("log")).unwrap();
    assert_eq!(read(&log).await, (3..8).map(entry).collect::<Vec<_>>());
    let state = log.state().await.unwrap();
    assert_eq!(state.vote, Some(vote));
    assert_eq!(state.committed, Some(entry(5).position));
    assert_eq!(state.purged, Some(entry(2).position));
    assert_eq!(state.last, Some(entry(7).position));
}

#[tokio::test]
async fn a_read_is_cut_by_bytes_but_never_to_nothing() {
    let folder = TempDir::new().unwrap();
    let log = open(&folder.path().join("log")).unwrap();
    append(&log, 0..10).await.unwrap();
    let one = entry(0).payload.len();
    assert_eq!(log.read(0..10, Some(1)).await.unwrap().len(), 1);
    assert_eq!(log.read(0..10, Some(3 * one)).await.unwrap().len(), 3);
    assert_eq!(log.read(4..10, None).await.unwrap().len(), 6);
}

#[tokio::test]
async fn the_log_may_go_on_behind_a_snapshot() {
    let folder = TempDir::new().unwrap();
    let log = open(&folder.path().join("log")).unwrap();
    append(&log, 0..3).await.unwrap();
    log.purge(entry(100).position).await.unwrap();
    append(&log, 101..103).await.unwrap();
    assert_eq!(read(&log).await, (101..103).map(entry).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_torn_tail_is_cut_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    written(&folder.path().join("log"), 20).await;
    let file = chunk(&folder.path().join("log"));
    let whole = fs::read(&file).unwrap();
    // Cut inside the last record, at several places; and the same, with zeros up to the old length.
    for cut in [20, 60, 100] {
        for pad in [false, true] {
            let mut torn = whole[..whole.len() - cut].to_vec();
            if pad {
                torn.resize(whole.len() + 4096, 0);
            }
            let copy = TempDir::new().unwrap();
            let name = file.file_name().unwrap();
            fs::create_dir(copy.path().join("log")).unwrap();
            fs::copy(folder.path().join("log.dek"), copy.path().join("log.dek")).unwrap();
            fs::write(copy.path().join("log").join(name), &torn).unwrap();
            let log = open(&copy.path().join("log")).unwrap();
            let entries = read(&log).await;
            assert!(entries.len() >= 19, "{cut} {pad}: {} entries", entries.len());
            assert_eq!(entries, (0..entries.len() as u64).map(entry).collect::<Vec<_>>());
            append(&log, entries.len() as u64..30).await.unwrap();
        }
    }
}

#[tokio::test]
async fn rot_in_the_middle_is_refused_and_named() {
    let folder = TempDir::new().unwrap();
    written(&folder.path().join("log"), 20).await;
    let file = chunk(&folder.path().join("log"));
    let whole = fs::read(&file).unwrap();
    for at in (0..whole.len() - 200).step_by(5) {
        let mut rotten = whole.clone();
        rotten[at] ^= 1 << (at % 8);
        fs::write(&file, &rotten).unwrap();
        let opened = open(&folder.path().join("log"));
        let Err(error @ LogError::Damaged { .. }) = opened else { panic!("byte {at}: {opened:?}") };
        assert!(error.to_string().contains(&folder.path().display().to_string()), "{error}");
    }
    fs::write(&file, &whole).unwrap();
    assert_eq!(read(&open(&folder.path().join("log")).unwrap()).await.len(), 20);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_an_error() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(open(&file.join("log")).is_err());
}

#[tokio::test]
async fn entries_are_sealed_and_open_at_their_position_only() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("log");
    written(&log, 3).await;
    for file in fs::read_dir(&log).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"entry "), "an entry lies there open");
    }
    // The same sealed bytes, put by raft-log itself at the next position: its checksums are right then.
    let key = vault(folder.path(), &[1]).open(&folder.path().join("log.dek"), Kind::Log).unwrap();
    let moved = key.seal(&sealed::place(entry(2).position), &entry(2).payload).unwrap();
    let mut config = raft_log::Config::new(log.display());
    config.wal.flush_batch_wait = Some(Duration::ZERO);
    let mut raw = raft_log::RaftLog::<Kinds>::open(Arc::new(config)).unwrap();
    raw.append([(Position::from(entry(3).position), Payload(moved.into()))]).unwrap();
    raw.flush(true, None).unwrap();
    raw.wait_worker_idle().unwrap();
    drop(raw);
    let opened = open(&log);
    let Err(error @ LogError::Damaged { .. }) = opened else { panic!("{opened:?}") };
    assert!(error.to_string().contains("entry 1-1-3"), "{error}");
}

#[tokio::test]
async fn another_key_or_none_is_refused_and_nothing_changes() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("log");
    written(&log, 3).await;
    // A torn tail, which the right key would have cut.
    let file = chunk(&log);
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 20]).unwrap();
    let opened = DiskLog::open(&log, &vault(folder.path(), &[2]));
    assert!(matches!(opened, Err(LogError::Key(DataKeyError::WrongKey { .. }))), "{opened:?}");
    let dek = folder.path().join("log.dek");
    let key = fs::read(&dek).unwrap();
    fs::remove_file(&dek).unwrap();
    let opened = open(&log);
    assert!(matches!(opened, Err(LogError::Key(DataKeyError::Missing(_)))), "{opened:?}");
    fs::write(&dek, vec![0; key.len()]).unwrap();
    let opened = open(&log);
    assert!(matches!(opened, Err(LogError::Damaged { .. })), "{opened:?}");
    assert_eq!(fs::read(&file).unwrap(), whole[..whole.len() - 20]);
    fs::write(&dek, key).unwrap();
    assert_eq!(read(&DiskLog::open(&log, &vault(folder.path(), &[2, 1])).unwrap()).await.len(), 2);
}
