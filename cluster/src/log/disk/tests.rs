//! The log in files: what survives, what is cut, what is refused.

use std::fs;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;

fn entry(index: u64) -> LogEntry {
    let payload = Bytes::from(format!("entry {index} {}", "x".repeat(100)));
    LogEntry { position: LogPosition { term: 1, node: 1, index }, payload }
}

async fn append(log: &DiskLog, indexes: Range<u64>) -> io::Result<()> {
    let (done, synced) = oneshot::channel();
    log.append(indexes.map(entry).collect(), Box::new(|outcome| drop(done.send(outcome))));
    synced.await.unwrap()
}

async fn written(folder: &Path, count: u64) {
    let log = DiskLog::open(folder).unwrap();
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
        let log = DiskLog::open(folder.path()).unwrap();
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
    let log = DiskLog::open(folder.path()).unwrap();
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
    let log = DiskLog::open(folder.path()).unwrap();
    append(&log, 0..10).await.unwrap();
    let one = entry(0).payload.len();
    assert_eq!(log.read(0..10, Some(1)).await.unwrap().len(), 1);
    assert_eq!(log.read(0..10, Some(3 * one)).await.unwrap().len(), 3);
    assert_eq!(log.read(4..10, None).await.unwrap().len(), 6);
}

#[tokio::test]
async fn the_log_may_go_on_behind_a_snapshot() {
    let folder = TempDir::new().unwrap();
    let log = DiskLog::open(folder.path()).unwrap();
    append(&log, 0..3).await.unwrap();
    log.purge(entry(100).position).await.unwrap();
    append(&log, 101..103).await.unwrap();
    assert_eq!(read(&log).await, (101..103).map(entry).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_torn_tail_is_cut_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    written(folder.path(), 20).await;
    let file = chunk(folder.path());
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
            fs::write(copy.path().join(name), &torn).unwrap();
            let log = DiskLog::open(copy.path()).unwrap();
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
    written(folder.path(), 20).await;
    let file = chunk(folder.path());
    let whole = fs::read(&file).unwrap();
    for at in (0..whole.len() - 200).step_by(37) {
        let mut rotten = whole.clone();
        rotten[at] ^= 0x10;
        fs::write(&file, &rotten).unwrap();
        let opened = DiskLog::open(folder.path());
        let Err(error @ LogError::Damaged { .. }) = opened else { panic!("byte {at}: {opened:?}") };
        assert!(error.to_string().contains(&folder.path().display().to_string()), "{error}");
    }
    fs::write(&file, &whole).unwrap();
    assert_eq!(read(&DiskLog::open(folder.path()).unwrap()).await.len(), 20);
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_an_error() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(DiskLog::open(&file.join("log")).is_err());
}
