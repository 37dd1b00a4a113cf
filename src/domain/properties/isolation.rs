//! No command of one account touches rows of another. Across accounts there is only the index of root
//! users' addresses, and of that a command changes its own account's entries only.

use proptest::prelude::*;

use super::super::rows::tables;
use super::super::{AccountId, Read};
use super::world::{Taken, World, is_of_cluster};
use super::{config, history};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_command_touches_another_account(steps in history()) {
        let mut world = World::new();
        for step in &steps {
            let taken = world.take(step);
            for key in changed(&taken, &world) {
                if let Err(why) = is_own(&taken, &world, &key) {
                    prop_assert!(false, "{why}: key {key:?} by {:?}", taken.command);
                }
            }
        }
    }
}

/// The keys of all rows that differ, their revisions included.
pub(super) fn changed(taken: &Taken, world: &World) -> Vec<Vec<u8>> {
    let (before, after) = (&taken.before.rows, &world.rows.rows);
    let keys = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
    keys.filter(|key| before.get(*key) != after.get(*key)).cloned().collect()
}

fn is_own(taken: &Taken, world: &World, key: &[u8]) -> Result<(), &'static str> {
    let account = taken.command.account;
    match key.split_first() {
        Some((b'a', rest)) if rest.starts_with(account.as_bytes()) => Ok(()),
        Some((b'a', _)) => Err("a row of another account"),
        Some((b'g', [1, email @ ..])) => {
            for rows in [&taken.before, &world.rows] {
                match tables::ROOT_EMAIL.get(rows as &dyn Read, email).map_err(|_| "damage")? {
                    Some(owner) if owner.value != account => return Err("an address of another root user"),
                    Some(_) | None => {}
                }
            }
            Ok(())
        }
        Some((b'g', [2])) => {
            if is_of_cluster(&taken.command.action) && account == AccountId::CLUSTER {
                Ok(())
            } else {
                Err("the cluster's secrets")
            }
        }
        _ => Err("a row outside the key layout"),
    }
}
