//! Whatever changed rows left a record, and no byte of a record can be changed unnoticed.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::super::audit::{self, Chain, Trail};
use super::super::testing::MemoryRows;
use super::super::{AccountId, Action, Reply};
use super::isolation::changed;
use super::pools::{ACCOUNTS, account};
use super::world::World;
use super::{config, history};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_change_leaves_a_record(steps in history()) {
        let mut world = World::new();
        for step in &steps {
            let taken = world.take(step);
            let account = taken.command.account;
            let before = audit::head(&taken.before, account, Trail::Acts).unwrap().sequence;
            let new = audit::list(&world.rows, account, Trail::Acts, before, usize::MAX).unwrap();
            let changed = changed(&taken, &world);
            let has_changed = changed.iter().any(|key| !is_pruned(&world.rows, key));
            prop_assert_eq!(!new.is_empty(), has_changed, "{:?}", &taken.command);
            match (&taken.result, &taken.command.action) {
                (Err(_), _) => prop_assert!(changed.is_empty()),
                (Ok(Reply::Changed(false)), _) => prop_assert!(new.is_empty()),
                (Ok(_), Action::Transaction(actions)) => prop_assert!(new.len() <= actions.len()),
                (Ok(_), _) => prop_assert_eq!(new.len(), 1),
            }
            for record in &new {
                prop_assert_eq!(record.revision, taken.revision);
                prop_assert_eq!(record.at, taken.at);
                prop_assert_eq!(&record.by, &taken.command.by);
            }
        }
        for account in (0..ACCOUNTS).map(account).chain([AccountId::CLUSTER]) {
            prop_assert!(is_whole(&world.rows, account));
        }
    }
}

/// Whether the key is one that the upkeep of sessions may take away at any time, and is gone.
fn is_pruned(after: &MemoryRows, key: &[u8]) -> bool {
    let table = key.get(1 + AccountId::DIGITS);
    key.first() == Some(&b'a') && matches!(table, Some(0x50..=0x54)) && !after.rows.contains_key(key)
}

/// Whether the chain has no break and ends where its head says.
pub(super) fn is_whole(rows: &MemoryRows, account: AccountId) -> bool {
    let head = audit::head(rows, account, Trail::Acts);
    let (Ok(head), Ok(records)) = (head, audit::list(rows, account, Trail::Acts, 0, usize::MAX)) else {
        return false;
    };
    let chain = Chain { account, trail: Trail::Acts };
    let end = records.last().map_or((0, [0; 32]), |last| (last.sequence, last.hash));
    chain.first_break(0, [0; 32], &records).is_none() && (head.sequence, head.hash) == end
}

/// The rows of one history with a trail of some length, and the keys of its records.
fn trail() -> (MemoryRows, Vec<Vec<u8>>) {
    let mut runner = TestRunner::deterministic();
    let mut world = World::new();
    for step in history().new_tree(&mut runner).unwrap().current() {
        world.take(&step);
    }
    let head = [b"a".as_slice(), account(0).as_bytes(), &[0x71]].concat();
    let keys: Vec<_> = world.rows.rows.keys().filter(|key| key.starts_with(&head)).cloned().collect();
    assert!(keys.len() > 8 && is_whole(&world.rows, account(0)));
    (world.rows, keys)
}

#[test]
fn a_changed_byte_is_noticed() {
    let (rows, keys) = trail();
    for key in &keys {
        let row = &rows.rows[key];
        for (at, by) in (0..row.value.len()).flat_map(|at| [0x01, 0x20, 0x80, 0xff].map(|by| (at, by))) {
            let mut value = row.value.to_vec();
            value[at] ^= by;
            let mut tampered = rows.clone();
            tampered.rows.get_mut(key).unwrap().value = value.into();
            assert!(!is_whole(&tampered, account(0)), "byte {at} of {key:?} xor {by}");
        }
    }
}

#[test]
fn a_missing_moved_or_longer_record_is_noticed() {
    let (rows, keys) = trail();
    for (at, key) in keys.iter().enumerate() {
        let mut without = rows.clone();
        without.rows.remove(key);
        assert!(!is_whole(&without, account(0)), "without record {at}");

        let mut longer = rows.clone();
        let row = longer.rows.get_mut(key).unwrap();
        row.value = [&row.value[..], &[0]].concat().into();
        assert!(!is_whole(&longer, account(0)), "record {at} with a byte behind it");
    }
    for pair in keys.windows(2) {
        let mut swapped = rows.clone();
        let first = swapped.rows[&pair[0]].clone();
        let second = swapped.rows.insert(pair[1].clone(), first).unwrap();
        swapped.rows.insert(pair[0].clone(), second);
        assert!(!is_whole(&swapped, account(0)));
    }
}
