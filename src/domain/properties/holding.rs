//! Who holds what: the quick ways through the indexes against slow copies written from the definitions.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::rows::tables;
use super::super::{AccountId, Permission, Principal, RoleName, authority, role};
use super::pools::{ACCOUNTS, PERMISSIONS, account, every_principal};
use super::world::World;
use super::{config, history};

/// What may be asked, beyond what is in the pool.
const ASKED: [&str; 8] = ["doc:", "doc:read:more", "a", "a/", "a/b.d", "iam:users", "zzz", "iam:users:read"];

/// A permission covers itself, and with a star at its end whatever starts like it.
fn slowly_covers(held: &str, wanted: &str) -> bool {
    match held.split_once('*') {
        Some((start, "")) => wanted.as_bytes().get(..start.len()) == Some(start.as_bytes()),
        Some(_) | None => held == wanted,
    }
}

/// A principal holds a permission if it may act and is the root user, or has a role that covers it.
fn slowly_holds(world: &World, account: AccountId, principal: &Principal, wanted: &str) -> Option<bool> {
    let standing = principal.standing(&world.rows, account).ok()?;
    let mut holds = standing.is_root;
    for (_, role) in tables::ROLE.scan(&world.rows, account, &[], None, usize::MAX).unwrap() {
        let members = tables::MEMBERSHIP.scan(&world.rows, account, &[], None, usize::MAX).unwrap();
        let key = [principal.key(), role.value.name.as_str().as_bytes().to_vec()].concat();
        let is_member = members.iter().any(|(found, _)| *found == key);
        let covers = role.value.permissions.iter().any(|held| slowly_covers(held.as_str(), wanted));
        holds = holds || (is_member && covers);
    }
    Some(holds)
}

fn slowly_which(world: &World, account: AccountId, wanted: &str) -> BTreeSet<RoleName> {
    let roles = tables::ROLE.scan(&world.rows, account, &[], None, usize::MAX).unwrap();
    let holding = roles
        .into_iter()
        .filter(|(_, role)| role.value.permissions.iter().any(|held| slowly_covers(held.as_str(), wanted)));
    holding.map(|(_, role)| role.value.name).collect()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn holding_is_as_defined(steps in history()) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
        }
        for account in (0..ACCOUNTS).map(account) {
            for wanted in PERMISSIONS.iter().chain(&ASKED) {
                let which = role::which_hold(&world.rows, account, wanted).unwrap();
                prop_assert_eq!(which, slowly_which(&world, account, wanted), "{}", wanted);
                for principal in every_principal() {
                    let holds = authority::holds(&world.rows, account, &principal, wanted).ok();
                    let slowly = slowly_holds(&world, account, &principal, wanted);
                    prop_assert_eq!(holds, slowly, "{} {}", principal, wanted);
                }
            }
        }
    }
}

/// Every text over a small alphabet, up to a length.
fn texts(longest: usize) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut last = all.clone();
    for _ in 0..longest {
        last = last.iter().flat_map(|text| "ab:/.*".chars().map(move |c| format!("{text}{c}"))).collect();
        all.extend(last.clone());
    }
    all
}

#[test]
fn covering_finds_whatever_covers() {
    let held: Vec<Permission> = texts(4).iter().filter_map(|text| Permission::parse(text).ok()).collect();
    assert!(held.len() > 500);
    for wanted in texts(4) {
        let covering: BTreeSet<String> = Permission::covering(&wanted).collect();
        for held in &held {
            let is_found = covering.contains(held.as_str());
            assert_eq!(held.covers(&wanted), is_found, "{held} for {wanted}");
            assert_eq!(slowly_covers(held.as_str(), &wanted), is_found, "{held} for {wanted}");
        }
    }
}
