//! The store over a disk in memory: what a crash loses, and what rot does.

use futures_util::FutureExt as _;

use super::super::{Disk, Entry, InstallError, MemoryDisk, Recovery, Store, View};
use super::*;

fn open(disk: &MemoryDisk) -> (Store, Recovery) {
    Store::open(&Disk::Memory(disk.clone()), toy(), Limits::default()).unwrap()
}

fn write(store: &Store, index: u64) {
    let proposals = [put(index, &format!("key {index}"), &[1; 10])];
    let entry = Entry::Commands { at: LogTime(index), proposals: &proposals };
    let said = store.apply(at_index(index), entry).unwrap();
    assert!(matches!(said[..], [Applied::Done { replayed: false, .. }]));
}

#[test]
fn a_crash_loses_what_was_not_synced() {
    let disk = MemoryDisk::new();
    let (store, recovery) = open(&disk);
    assert_eq!(recovery, Recovery::Empty);
    let mut digests = vec![store.view().digest()];
    for index in 0..5 {
        write(&store, index);
        digests.push(store.view().digest());
    }
    assert!(disk.sync_next());
    assert!(disk.sync_next());
    assert_eq!(store.durability().borrow().durable, Some(at_index(1)));
    disk.crash();
    drop(store);
    let (store, recovery) = open(&disk);
    assert_eq!(recovery, Recovery::Clean);
    assert_eq!(store.view().applied(), Some(at_index(1)));
    assert_eq!(store.view().digest(), digests[2]);
    for index in 2..5 {
        write(&store, index);
    }
    assert_eq!(store.view().digest(), digests[5]);
}

#[test]
fn a_store_from_before_a_crash_can_do_no_harm() {
    let disk = MemoryDisk::prompt();
    let (old, _) = open(&disk);
    write(&old, 0);
    disk.crash();
    let (new, _) = open(&disk);
    write(&old, 1);
    drop(old);
    assert_eq!(open(&disk).0.view().applied(), Some(at_index(0)));
    drop(new);
}

#[tokio::test]
async fn rot_is_found_and_the_newest_good_snapshot_replaces_it() {
    let disk = MemoryDisk::prompt();
    let (store, _) = open(&disk);
    let mut digests = vec![];
    for index in 0..9 {
        write(&store, index);
        digests.push(store.view().digest());
        if index == 3 || index == 6 {
            assert_eq!(store.build_snapshot().await.unwrap().applied, Some(at_index(index)));
        }
    }
    drop(store);
    assert!(disk.rot(11));
    assert!(disk.rot_snapshot(200));
    let (store, recovery) = open(&disk);
    let why = "digest".to_owned();
    let wanted = Recovery::RebuiltFromSnapshot { snapshot: Some(at_index(3)), why, aside: None };
    assert_eq!(recovery, wanted);
    assert_eq!(store.view().digest(), digests[3]);
    assert_eq!(store.snapshot().unwrap().applied, Some(at_index(3)));
    drop(store);
    assert_eq!(open(&disk).1, Recovery::Clean);
}

#[test]
fn what_is_lost_stays_lost_until_it_is_replaced() {
    let disk = MemoryDisk::prompt();
    let (store, _) = open(&disk);
    write(&store, 0);
    write(&store, 1);
    drop(store);
    assert!(disk.rot(0));
    assert!(matches!(open(&disk).1, Recovery::Lost { .. }));
    let (store, recovery) = open(&disk);
    assert!(matches!(recovery, Recovery::Lost { .. }), "a second start must say so again");
    // From the middle of the log it is not whole.
    write(&store, 1);
    drop(store);
    assert!(matches!(open(&disk).1, Recovery::Lost { .. }));
}

#[test]
fn replaying_the_log_from_its_start_makes_up_for_a_loss() {
    let disk = MemoryDisk::prompt();
    let (store, _) = open(&disk);
    write(&store, 0);
    drop(store);
    assert!(disk.rot(0));
    let (store, _) = open(&disk);
    write(&store, 0);
    drop(store);
    assert_eq!(open(&disk).1, Recovery::Clean);
}

#[tokio::test]
async fn a_snapshot_travels_to_another_store() {
    let from = open(&MemoryDisk::prompt()).0;
    assert!(from.open_snapshot().await.unwrap().is_none());
    for index in 0..200 {
        write(&from, index);
    }
    from.apply(at_index(200), Entry::Membership(b"three")).unwrap();
    from.build_snapshot().await.unwrap();
    let disk = MemoryDisk::new();
    let to = open(&disk).0;
    write(&to, 0);
    let (info, mut reader) = from.open_snapshot().await.unwrap().unwrap();
    let mut writer = to.receive_snapshot().unwrap();
    while let Some(bytes) = reader.next(1000).unwrap() {
        assert!(bytes.len() <= 1000);
        writer.write(&bytes).unwrap();
    }
    assert_eq!(writer.bytes(), info.bytes);
    assert_eq!(to.install_snapshot(writer).await.unwrap(), info);
    assert_eq!(to.view().digest(), from.view().digest());
    assert_eq!(&to.view().meta().membership[..], b"three");
    assert_eq!(*to.progress().borrow(), *from.progress().borrow());
    disk.crash();
    drop(to);
    assert_eq!(open(&disk).0.view().digest(), from.view().digest());
}

#[tokio::test]
async fn a_bad_or_old_snapshot_is_not_installed() {
    let disk = MemoryDisk::prompt();
    let store = open(&disk).0;
    write(&store, 0);
    store.build_snapshot().await.unwrap();
    let (_, mut reader) = store.open_snapshot().await.unwrap().unwrap();
    let bytes = reader.next(usize::MAX).unwrap().unwrap();
    write(&store, 1);
    let before = store.view().digest();
    let mut cut = store.receive_snapshot().unwrap();
    cut.write(&bytes[..bytes.len() - 1]).unwrap();
    assert!(matches!(store.install_snapshot(cut).await, Err(InstallError::Damaged(_))));
    let mut old = store.receive_snapshot().unwrap();
    old.write(&bytes).unwrap();
    assert_eq!(store.install_snapshot(old).await, Err(InstallError::Stale));
    assert_eq!(store.view().digest(), before);
}

#[tokio::test]
async fn a_rotten_snapshot_is_replaced_before_it_is_sent() {
    let disk = MemoryDisk::prompt();
    let store = open(&disk).0;
    write(&store, 0);
    store.build_snapshot().await.unwrap();
    write(&store, 1);
    assert!(disk.rot_snapshot(180));
    let (info, mut reader) = store.open_snapshot().await.unwrap().unwrap();
    assert_eq!(info.applied, Some(at_index(1)));
    let bytes = reader.next(usize::MAX).unwrap().unwrap();
    assert!(super::super::snapshot::verify(&bytes[..]).is_ok());
}

#[tokio::test]
async fn a_dead_disk_stops_applying() {
    let disk = MemoryDisk::prompt();
    let store = open(&disk).0;
    write(&store, 0);
    disk.die();
    store.apply(at_index(1), Entry::Blank).unwrap();
    let fault = store.durability().borrow().fault.clone().unwrap();
    assert_eq!(store.apply(at_index(2), Entry::Blank), Err(fault.clone()));
    assert_eq!(store.room().await, Err(fault.clone()));
    assert_eq!(store.flush().await, Err(fault));
}

#[tokio::test]
async fn applying_waits_for_a_copy_that_lags() {
    let disk = MemoryDisk::new();
    let store = open(&disk).0;
    let lag = |index: u64| {
        let key = |number: u64| [index, number].map(u64::to_be_bytes).concat();
        let ops = (0..40_000_u64).map(|number| Op::Put(key(number), vec![1])).collect();
        let proposals = [proposal(index, &Command { ops, keep: true })];
        store.apply(at_index(index), Entry::Commands { at: LogTime(1), proposals: &proposals }).unwrap();
    };
    lag(0);
    lag(1);
    store.room().await.unwrap();
    lag(2);
    assert_eq!(store.room().now_or_never(), None);
    assert!(disk.sync_next());
    assert_eq!(store.room().now_or_never(), Some(Ok(())));
}

#[test]
fn positions_only_rise() {
    let store = open(&MemoryDisk::prompt()).0;
    store.apply(at_index(4), Entry::Blank).unwrap();
    assert!(store.apply(at_index(4), Entry::Blank).is_err());
    assert!(store.apply(at_index(3), Entry::Blank).is_err());
    store.apply(at_index(5), Entry::Blank).unwrap();
}

/// Rows of which one says the level; the program knows the levels up to its own.
struct Levelled(u32);

impl Machine for Levelled {
    fn apply(&self, at: LogTime, revision: u64, rows: &mut Transaction<'_>, command: &[u8]) -> Verdict {
        Toy.apply(at, revision, rows, command)
    }

    fn group<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        Toy.group(key)
    }

    fn known_level(&self) -> u32 {
        self.0
    }

    fn level(&self, rows: &View) -> u32 {
        rows.get(b"x level").and_then(|row| row.value.first().copied()).map_or(1, u32::from)
    }
}

fn open_knowing(disk: &MemoryDisk, level: u32) -> Store {
    Store::open(&Disk::Memory(disk.clone()), Arc::new(Levelled(level)), Limits::default()).unwrap().0
}

const TOO_NEW: &str = "this data was written by a newer release (level 3; this program knows 2)";

#[test]
fn an_entry_that_leads_to_an_unknown_level_stops_the_store() {
    let disk = MemoryDisk::prompt();
    let store = open_knowing(&disk, 2);
    write(&store, 0);
    let level = |to: u8, index| {
        let proposals = [put(index, "before", b"x"), put(index + 100, "x level", &[to])];
        store.apply(at_index(index), Entry::Commands { at: LogTime(index), proposals: &proposals })
    };
    level(2, 1).unwrap();
    assert_eq!(store.level(), 2);
    let before = store.view().digest();
    let fault = level(3, 2).unwrap_err().to_string();
    assert!(fault.contains(TOO_NEW), "{fault}");
    // Nothing of it is seen or kept, and nothing follows it.
    assert_eq!((store.view().digest(), store.level()), (before, 2));
    assert!(store.durability().borrow().fault.is_some());
    store.apply(at_index(3), Entry::Blank).unwrap_err();
    drop(store);
    assert_eq!(open_knowing(&disk, 3).view().digest(), before);
}

#[tokio::test]
async fn a_snapshot_of_an_unknown_level_stops_the_store() {
    let newer = open_knowing(&MemoryDisk::prompt(), 3);
    let proposals = [put(1, "x level", &[3])];
    newer.apply(at_index(0), Entry::Commands { at: LogTime(1), proposals: &proposals }).unwrap();
    newer.build_snapshot().await.unwrap();
    let (_, mut reader) = newer.open_snapshot().await.unwrap().unwrap();
    let bytes = reader.next(usize::MAX).unwrap().unwrap();

    let disk = MemoryDisk::prompt();
    let store = open_knowing(&disk, 2);
    let mut writer = store.receive_snapshot().unwrap();
    writer.write(&bytes).unwrap();
    match store.install_snapshot(writer).await {
        Err(InstallError::Fault(fault)) => assert!(fault.to_string().contains(TOO_NEW), "{fault}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.view().applied(), None);
    drop(store);
    assert_eq!(open_knowing(&disk, 2).view().applied(), None);
}
