//! The store on a real folder: reopening, crash images, flipped bits, damaged and missing files.

#![expect(clippy::cast_possible_truncation, reason = "the numbers of these tests are small")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::super::copy::SledCopy;
use super::super::{Disk, Entry, Fault, Folder, Recovery, State, Store};
use super::*;
use crate::identity::{ClusterId, Identity, NodeId};
use crate::seal::{DataKey, DataKeyBytes, KeyWrapper, Vault};
use crate::testing::keys::TestKeys;

const CACHE_BYTES: u64 = 4 << 20;

pub(super) fn open(path: &Path) -> (Store, Recovery) {
    open_with(path, &[1]).unwrap()
}

pub(super) fn open_with(path: &Path, keys: &[u8]) -> Result<(Store, Recovery), Fault> {
    let folder = Folder { path: path.to_owned(), cache_bytes: CACHE_BYTES, vault: vault(path, keys) };
    Store::open(&Disk::Folder(folder), toy(), Limits::default())
}

/// The same owner everywhere, so that a folder that was copied opens.
pub(super) fn vault(path: &Path, keys: &[u8]) -> Arc<Vault> {
    vault_of(path, Arc::new(TestKeys::new(keys)))
}

pub(super) fn vault_of(path: &Path, keys: Arc<dyn KeyWrapper>) -> Arc<Vault> {
    let owner = Identity { cluster: ClusterId::from_random([7; 16]), node: NodeId(1) };
    Arc::new(Vault::new(path, owner, keys))
}

pub(super) fn copy_key(byte: u8) -> DataKey {
    DataKey::new(&DataKeyBytes::new([byte; 32])).unwrap()
}

/// Rows of many lengths: short, one piece, several pieces, long keys; some change and go again.
pub(super) fn write(store: &Store, index: u64) {
    let length = [3, 40, 1_990, 1_992, 2_000, 9_000, 0][index as usize % 7];
    let filling = index.to_le_bytes();
    let value: Vec<u8> = filling.iter().copied().cycle().take(length).collect();
    let key = |number: u64| match number % 5 {
        0 => [b"long ".to_vec(), vec![b'k'; 600], number.to_be_bytes().to_vec()].concat(),
        1 => vec![b'a'; number as usize % 11],
        _ => format!("key {}", number % 40).into_bytes(),
    };
    let ops = vec![Op::Put(key(index), value), Op::Delete(key(index / 2))];
    let proposals = [proposal(index, &Command { ops, keep: true })];
    store.apply(at_index(index), Entry::Commands { at: LogTime(index), proposals: &proposals }).unwrap();
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

pub(super) fn sled_file(folder: &Path) -> PathBuf {
    let mut copies: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("copy-"))
        .collect();
    assert_eq!(copies.len(), 1, "{copies:?}");
    copies.pop().unwrap().join("sled/db")
}

/// A store with a snapshot at 59 and more behind it, closed. What its digest was at each index comes too.
pub(super) async fn filled(path: &Path) -> Vec<u128> {
    let (store, recovery) = open(path);
    assert_eq!(recovery, Recovery::Empty);
    let mut digests = vec![];
    for index in 0..100 {
        write(&store, index);
        digests.push(store.view().digest());
        // So many batches that damage to one leaves others.
        if index % 10 == 9 {
            store.flush().await.unwrap();
        }
        if index == 59 {
            store.build_snapshot().await.unwrap();
        }
    }
    digests
}

#[tokio::test]
async fn reopening_gives_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let digests = filled(dir.path()).await;
    for _ in 0..2 {
        let (store, recovery) = open(dir.path());
        assert_eq!(recovery, Recovery::Clean);
        assert_eq!(store.view().digest(), digests[99]);
        assert_eq!(store.view().applied(), Some(at_index(99)));
        assert_eq!(store.durability().borrow().durable, Some(at_index(99)));
        assert_eq!(store.snapshot().unwrap().applied, Some(at_index(59)));
    }
}

#[tokio::test]
async fn an_image_taken_at_any_time_is_a_state_that_was() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(&dir.path().join("live"));
    let mut digests = vec![];
    for index in 0..60_u64 {
        write(&store, index);
        digests.push(store.view().digest());
        if index % 6 == 5 {
            store.flush().await.unwrap();
            let image = dir.path().join(format!("image {index}"));
            copy_folder(&dir.path().join("live"), &image);
            let (copy, recovery) = open(&image);
            assert_eq!(recovery, Recovery::Clean);
            assert_eq!(copy.view().applied(), Some(at_index(index)));
            assert_eq!(copy.view().digest(), digests[index as usize]);
        }
    }
}

#[tokio::test]
async fn no_damage_gives_another_state() {
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("good");
    let digests = filled(&good).await;
    let length = fs::metadata(sled_file(&good)).unwrap().len();
    let (mut clean, mut rebuilt) = (0, 0);
    // The same places each time, so that a failure can be looked at.
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for number in 0..80 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let image = dir.path().join(format!("image {number}"));
        copy_folder(&good, &image);
        let file = sled_file(&image);
        let mut bytes = fs::read(&file).unwrap();
        let at = (random % length) as usize;
        match number % 10 {
            8 => bytes.truncate(at),
            9 => bytes.iter_mut().skip(at / 4096 * 4096).take(4096).for_each(|byte| *byte = 0),
            _ => bytes[at] ^= 1 << ((random >> 40) % 8),
        }
        fs::write(&file, bytes).unwrap();
        let (store, recovery) = open(&image);
        let view = store.view();
        let index = view.applied().unwrap().index;
        assert_eq!(view.digest(), digests[index as usize], "flip {number}: {recovery:?}");
        match recovery {
            Recovery::Clean => {
                assert!(index >= 59, "flip {number}: what the log may have purged is missing");
                clean += 1;
            }
            Recovery::RebuiltFromSnapshot { snapshot, .. } => {
                assert_eq!(snapshot, Some(at_index(59)));
                rebuilt += 1;
            }
            Recovery::Empty | Recovery::Lost { .. } => panic!("flip {number}: {recovery:?}"),
        }
        drop(store);
        fs::remove_dir_all(image).unwrap();
    }
    assert!(clean > 0 && rebuilt > 0, "{clean} clean, {rebuilt} rebuilt: the flips miss the data");
}

#[tokio::test]
async fn a_missing_copy_is_rebuilt_from_the_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let digests = filled(dir.path()).await;
    fs::remove_dir_all(sled_file(dir.path()).ancestors().nth(2).unwrap()).unwrap();
    let (store, recovery) = open(dir.path());
    let Recovery::RebuiltFromSnapshot { snapshot, aside: None, .. } = recovery else {
        panic!("{recovery:?}")
    };
    assert_eq!(snapshot, Some(at_index(59)));
    assert_eq!(store.view().digest(), digests[59]);
    for index in 60..100 {
        write(&store, index);
    }
    drop(store);
    let (store, recovery) = open(dir.path());
    assert_eq!((recovery, store.view().digest()), (Recovery::Clean, digests[99]));
}

#[tokio::test]
async fn without_a_good_snapshot_a_damaged_copy_is_lost_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let file = sled_file(dir.path());
    fs::write(&file, vec![0; 5_000]).unwrap();
    let snapshot = only_snapshot(dir.path());
    let mut bytes = fs::read(&snapshot).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&snapshot, bytes).unwrap();
    let (store, recovery) = open(dir.path());
    let Recovery::Lost { aside: Some(aside), .. } = recovery else { panic!("{recovery:?}") };
    assert!(aside.join("sled/db").exists());
    assert_eq!(store.view().applied(), None);
    drop(store);
    assert!(snapshot.with_extension("bad").exists());
    assert!(matches!(open(dir.path()).1, Recovery::Lost { .. }));
}

#[tokio::test]
async fn a_copy_that_keeps_ending_the_process_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let tries = sled_file(dir.path()).ancestors().nth(2).unwrap().join("tries");
    fs::write(&tries, b"xx").unwrap();
    assert_eq!(open(dir.path()).1, Recovery::Clean);
    assert!(!tries.exists());
    fs::write(&tries, b"xxx").unwrap();
    assert!(matches!(open(dir.path()).1, Recovery::RebuiltFromSnapshot { .. }));
}

#[tokio::test]
async fn an_installed_snapshot_outlives_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let digests = filled(&dir.path().join("from")).await;
    let (from, _) = open(&dir.path().join("from"));
    from.build_snapshot().await.unwrap();
    let (to, _) = open(&dir.path().join("to"));
    for index in 0..30 {
        write(&to, index);
    }
    let (info, mut reader) = from.open_snapshot().await.unwrap().unwrap();
    let mut writer = to.receive_snapshot().unwrap();
    while let Some(bytes) = reader.next(4096).unwrap() {
        writer.write(&bytes).unwrap();
    }
    assert_eq!(to.install_snapshot(writer).await.unwrap(), info);
    assert_eq!(to.durability().borrow().durable, Some(at_index(99)));
    let image = dir.path().join("image");
    copy_folder(&dir.path().join("to"), &image);
    let (copy, recovery) = open(&image);
    assert_eq!((recovery, copy.view().digest()), (Recovery::Clean, digests[99]));
    write(&to, 100);
    drop(to);
    let (to, recovery) = open(&dir.path().join("to"));
    assert_eq!((recovery, to.view().applied()), (Recovery::Clean, Some(at_index(100))));
}

#[tokio::test]
async fn a_crash_amid_an_installation_leaves_the_old_or_the_new() {
    let dir = tempfile::tempdir().unwrap();
    let digests = filled(&dir.path().join("from")).await;
    let live = dir.path().join("live");
    let (store, _) = open(&live);
    for index in 0..30 {
        write(&store, index);
    }
    drop(store);
    // Half a new copy: without its mark it is nothing.
    let half = live.join("copy-2");
    copy_folder(&live.join("copy-1"), &half);
    fs::remove_file(half.join("whole")).unwrap();
    let (store, recovery) = open(&live);
    assert_eq!((recovery, store.view().digest()), (Recovery::Clean, digests[29]));
    assert!(!half.exists());
    drop(store);
    // The snapshot is kept, the copy not made yet.
    let snapshot = only_snapshot(&dir.path().join("from"));
    fs::copy(&snapshot, live.join("snapshots").join(snapshot.file_name().unwrap())).unwrap();
    fs::copy(snapshot.with_file_name("dek"), live.join("snapshots/dek")).unwrap();
    let (store, recovery) = open(&live);
    assert!(matches!(recovery, Recovery::RebuiltFromSnapshot { aside: None, .. }), "{recovery:?}");
    assert_eq!(store.view().digest(), digests[59]);
    drop(store);
    // Both copies are whole, the old one is not gone yet.
    copy_folder(&dir.path().join("from/copy-1"), &live.join("copy-9"));
    let (store, recovery) = open(&live);
    assert_eq!((recovery, store.view().digest()), (Recovery::Clean, digests[99]));
    assert_eq!(sled_file(&live), live.join("copy-9/sled/db"));
    drop(store);
}

#[tokio::test]
async fn the_two_newest_snapshots_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    for index in 0..4 {
        write(&store, index);
        store.build_snapshot().await.unwrap();
    }
    drop(store.receive_snapshot().unwrap());
    let names = fs::read_dir(dir.path().join("snapshots")).unwrap().count();
    assert_eq!(names, 3, "two and their key");
    assert_eq!(store.snapshot().unwrap().applied, Some(at_index(3)));
}

#[tokio::test]
async fn a_disk_fault_is_reported_and_final() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let (store, _) = open(&path);
    write(&store, 0);
    store.flush().await.unwrap();
    fs::remove_dir_all(path.join("snapshots")).unwrap();
    let fault = store.build_snapshot().await.unwrap_err();
    assert_eq!(store.durability().borrow().fault.as_ref(), Some(&fault));
    assert_eq!(store.apply(at_index(1), Entry::Blank), Err(fault));
}

#[tokio::test]
async fn a_copy_in_use_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let digests = filled(dir.path()).await;
    let (first, _) = open(dir.path());
    let folder = Folder::new(dir.path(), vault(dir.path(), &[1]));
    let second = Store::open(&Disk::Folder(folder), toy(), Limits::default());
    assert!(second.unwrap_err().to_string().contains("another process"));
    write(&first, 100);
    drop(first);
    let (again, recovery) = open(dir.path());
    assert_eq!((recovery, again.view().as_of(100).is_ok()), (Recovery::Clean, true));
    assert_ne!(again.view().digest(), digests[99]);
}

#[tokio::test]
async fn rows_that_go_missing_in_sled_are_missed() {
    let dir = tempfile::tempdir().unwrap();
    let digests = filled(dir.path()).await;
    let sled = sled::open(sled_file(dir.path()).parent().unwrap()).unwrap();
    let (row, _) = sled.range([1_u8]..[2]).next_back().unwrap().unwrap();
    sled.remove(row).unwrap();
    drop(sled);
    let (store, recovery) = open(dir.path());
    let Recovery::RebuiltFromSnapshot { why, aside: Some(_), .. } = recovery else { panic!("{recovery:?}") };
    assert_eq!(why, "digest");
    assert_eq!(store.view().digest(), digests[59]);
}

#[test]
fn a_value_that_shrinks_leaves_no_piece_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (dir.path().join("one"), dir.path().join("other"));
    let mut followed = SledCopy::open(&one, CACHE_BYTES, copy_key(1)).unwrap();
    let mut state = State::empty(small_limits());
    followed.fill(&state).unwrap();
    for (index, length) in (0..).zip([9_000, 10, 70_000, 2_001, 1_950, 10, 1_992, 0, 4_000]) {
        let key = if index % 3 == 0 { vec![b'a'; 600] } else { b"a".to_vec() };
        let put = Op::Put(key.clone(), vec![1; length]);
        let ops = if index == 8 { vec![Op::Delete(key)] } else { vec![put] };
        let proposals = [proposal(index, &Command { ops, keep: true })];
        // Far apart in log time, so that history and requests come and go too.
        let at = LogTime(index * 60);
        followed.write(&state.apply_entry(&Toy, at_index(index), at, &proposals).1).unwrap();
        assert_eq!(followed.read(&Toy, small_limits()).unwrap().digest(), state.digest());
    }
    let mut fresh = SledCopy::open(&other, CACHE_BYTES, copy_key(1)).unwrap();
    fresh.fill(&state).unwrap();
    assert_eq!(followed.names(), fresh.names());
    assert!(followed.longest_value() <= 2_048);
}

#[test]
fn what_a_batch_replaced_is_freed_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut copy = SledCopy::open(dir.path(), CACHE_BYTES, copy_key(1)).unwrap();
    let mut state = State::empty(Limits::default());
    copy.fill(&state).unwrap();
    // Other tests may hold up the collector of this process for a moment, hence more than one try.
    let deadline = Instant::now() + Duration::from_secs(20);
    for index in 0.. {
        let put = |number: u64| Op::Put(number.to_be_bytes().to_vec(), vec![index as u8; 100]);
        let command = Command { ops: (0..5_000).map(put).collect(), keep: true };
        let proposals = [proposal(index, &command)];
        copy.write(&state.apply_entry(&Toy, at_index(index), LogTime(index), &proposals).1).unwrap();
        if is_next_in_line() {
            return;
        }
        assert!(Instant::now() < deadline, "there is garbage in line after each of {index} batches");
    }
}

/// Whether what is given to sled's collector now is freed within six turns, of which it needs three.
fn is_next_in_line() -> bool {
    let is_gone = Arc::new(AtomicBool::new(false));
    let of_collector = Arc::clone(&is_gone);
    crossbeam_epoch::pin().defer(move || of_collector.store(true, Ordering::Relaxed));
    (0..6).any(|_| {
        crossbeam_epoch::pin().flush();
        is_gone.load(Ordering::Relaxed)
    })
}

fn only_snapshot(folder: &Path) -> PathBuf {
    let mut all: Vec<_> =
        fs::read_dir(folder.join("snapshots")).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| path.file_name().is_some_and(|name| name != "dek"));
    assert_eq!(all.len(), 1, "{all:?}");
    all.pop().unwrap()
}
