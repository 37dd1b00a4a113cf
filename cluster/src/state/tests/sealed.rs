//! What the files of a state show, and what becomes of them under other keys.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::super::copy::SledCopy;
use super::super::{Recovery, State};
use super::disk::{copy_key, filled, open, open_with, sled_file, vault, vault_of, write};
use super::*;
use crate::testing::keys::TestKeys;

const CACHE_BYTES: u64 = 4 << 20;

/// Every file below a folder, with its content.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

#[tokio::test]
async fn neither_keys_nor_values_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let ops = vec![Op::Put(b"canary key".to_vec(), b"canary value ".repeat(400))];
    let proposals = [proposal(0, &Command { ops, keep: true })];
    store
        .apply(at_index(0), super::super::Entry::Commands { at: LogTime(0), proposals: &proposals })
        .unwrap();
    store.apply(at_index(1), super::super::Entry::Membership(b"canary members")).unwrap();
    store.build_snapshot().await.unwrap();
    store.flush().await.unwrap();
    drop(store);
    let files = contents(dir.path());
    assert!(files.values().map(Vec::len).sum::<usize>() > 10_000, "the files were not found");
    for (path, bytes) in files {
        assert!(!bytes.windows(6).any(|window| window == b"canary"), "{}", path.display());
    }
    let (store, recovery) = open(dir.path());
    assert_eq!(recovery, Recovery::Clean);
    assert!(store.view().get(b"canary key").unwrap().value.starts_with(b"canary value"));
}

#[tokio::test]
async fn with_another_key_nothing_is_read_moved_or_changed() {
    let dir = tempfile::tempdir().unwrap();
    let digests = filled(dir.path()).await;
    // What a start with the right key would tidy up.
    fs::write(dir.path().join("snapshots/7.part"), b"x").unwrap();
    let before = contents(dir.path());
    assert!(vault(dir.path(), &[2]).check().is_err());
    let fault = open_with(dir.path(), &[2]).unwrap_err().to_string();
    assert!(fault.contains("sealed with key 1"), "{fault}");
    assert_eq!(contents(dir.path()), before);
    // The right one among others does.
    vault(dir.path(), &[2, 1]).check().unwrap();
    let (store, recovery) = open_with(dir.path(), &[2, 1]).unwrap();
    assert_eq!((recovery, store.view().digest()), (Recovery::Clean, digests[99]));
}

#[tokio::test]
async fn a_new_key_wraps_the_old_keys_and_no_data_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let digests = filled(dir.path()).await;
    let before = contents(dir.path());
    let keys = TestKeys::new(&[1, 2]);
    let both = vault_of(dir.path(), Arc::new(keys.clone()));
    assert_eq!(both.rewrap().unwrap(), 0);
    keys.replace(&[2, 1]);
    assert!(both.status().unwrap().iter().all(|key| key.is_outdated && key.key.as_deref() == Some("1")));
    assert_eq!(both.rewrap().unwrap(), 2, "of the copy, of the snapshots");
    assert_eq!(both.rewrap().unwrap(), 0);
    assert!(both.status().unwrap().iter().all(|key| !key.is_outdated && key.key.as_deref() == Some("2")));
    let after = contents(dir.path());
    let changed: Vec<_> = before.iter().filter(|(path, bytes)| after.get(*path) != Some(*bytes)).collect();
    assert!(changed.iter().all(|(path, _)| path.ends_with("dek")), "{changed:?}");
    assert_eq!(after.len(), before.len());
    assert!(open_with(dir.path(), &[1]).is_err());
    let (store, recovery) = open_with(dir.path(), &[2]).unwrap();
    assert_eq!((recovery, store.view().digest()), (Recovery::Clean, digests[99]));
}

#[tokio::test]
async fn a_lost_or_rotten_key_is_damage_to_what_it_seals() {
    let dir = tempfile::tempdir().unwrap();
    let digests = filled(dir.path()).await;
    let copy = sled_file(dir.path()).ancestors().nth(2).unwrap().join("dek");
    let snapshots = dir.path().join("snapshots/dek");

    // One of the two places where it stands: it opens, and is made whole again.
    let mut bytes = fs::read(&copy).unwrap();
    bytes[20] ^= 1;
    fs::write(&copy, &bytes).unwrap();
    assert_eq!(open(dir.path()).1, Recovery::Clean);
    assert_eq!(vault(dir.path(), &[1]).rewrap().unwrap(), 1);

    // Both: the copy is rebuilt from the snapshot.
    fs::write(&copy, vec![0; bytes.len()]).unwrap();
    let (store, recovery) = open(dir.path());
    assert!(matches!(recovery, Recovery::RebuiltFromSnapshot { aside: Some(_), .. }), "{recovery:?}");
    assert_eq!(store.view().digest(), digests[59]);
    for index in 60..100 {
        write(&store, index);
    }
    drop(store);

    // That of the snapshots: they are moved aside, the copy is enough, and new ones open.
    fs::remove_file(&snapshots).unwrap();
    let (store, recovery) = open(dir.path());
    assert_eq!((recovery, store.view().digest()), (Recovery::Clean, digests[99]));
    assert_eq!(store.snapshot(), None);
    store.build_snapshot().await.unwrap();
    drop(store);
    let (store, _) = open(dir.path());
    assert!(store.open_snapshot().await.unwrap().is_some());
}

#[test]
fn records_that_change_places_do_not_open() {
    let dir = tempfile::tempdir().unwrap();
    let mut copy = SledCopy::open(dir.path(), CACHE_BYTES, copy_key(1)).unwrap();
    let mut state = State::empty(small_limits());
    for (index, key) in [(0, "a"), (1, "b")] {
        let ops = vec![Op::Put(key.as_bytes().to_vec(), b"value".to_vec())];
        let proposals = [proposal(index, &Command { ops, keep: true })];
        copy.write(&state.apply_entry(&Toy, at_index(index), LogTime(index), &proposals).1).unwrap();
    }
    copy.close().unwrap();
    let sled = sled::open(dir.path()).unwrap();
    let records: Vec<_> = sled.range([1_u8]..[2]).map(Result::unwrap).collect();
    let (one, other) = (&records[0], &records[1]);
    sled.insert(&one.0, &other.1).unwrap();
    sled.insert(&other.0, &one.1).unwrap();
    sled.flush().unwrap();
    drop(sled);
    let mut copy = wait_and_open(dir.path(), 1);
    let damage = copy.read(&Toy, small_limits()).unwrap_err();
    assert!(damage.0.contains("belongs elsewhere"), "{damage}");
    copy.close().unwrap();
    // Nor under another key.
    let mut copy = wait_and_open(dir.path(), 2);
    assert!(copy.read(&Toy, small_limits()).is_err());
    copy.close().unwrap();
}

/// sled lets go of its lock some time after it was dropped.
fn wait_and_open(path: &Path, key: u8) -> SledCopy {
    let db = fs::File::open(path.join("db")).unwrap();
    db.lock().unwrap();
    db.unlock().unwrap();
    SledCopy::open(path, CACHE_BYTES, copy_key(key)).unwrap()
}
