//! After each command the indexes hold what the rows they point at say, no more and no less.
#![expect(clippy::zero_sized_map_values, reason = "an index without values is compared like one with them")]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::account::AccountState;
use super::super::rows::{Table, joined, tables};
use super::super::session::{Refresh, RefreshPointer};
use super::super::user::UserStatus;
use super::super::{AccountId, Email, Principal, UserName};
use super::pools::{ACCOUNTS, account};
use super::world::World;
use super::{config, history};

proptest! {
    #![proptest_config(config())]

    #[test]
    fn indexes_agree_with_rows(steps in history()) {
        let mut world = World::new();
        check(&world);
        for step in &steps {
            world.take(step);
            check(&world);
        }
    }
}

pub(super) fn check(world: &World) {
    let mut root_emails = BTreeMap::new();
    for account in (0..ACCOUNTS).map(account) {
        users(world, account, &mut root_emails);
        services(world, account);
        roles(world, account);
        memberships(world, account);
        sessions(world, account);
        keys(world, account);
    }
    let mut found = BTreeMap::new();
    for key in world.rows.rows.keys().filter(|key| key.starts_with(b"g\x01")) {
        let account = tables::ROOT_EMAIL.get(&world.rows, &key[2..]).unwrap().unwrap().value;
        found.insert(key[2..].to_vec(), account);
    }
    assert_eq!(found, root_emails, "ROOT_EMAIL");
}

type Found<V> = BTreeMap<Vec<u8>, V>;

fn all<V>(world: &World, account: AccountId, table: &Table<V>) -> Found<V>
where
    V: serde::Serialize + serde::de::DeserializeOwned,
{
    let page = table.scan(&world.rows, account, &[], None, usize::MAX).unwrap();
    page.into_iter().map(|(key, row)| (key, row.value)).collect()
}

fn users(world: &World, account: AccountId, root_emails: &mut Found<AccountId>) {
    let (mut names, mut emails, mut passwords, mut roots) =
        (Found::new(), Found::new(), Vec::new(), Vec::new());
    for (key, user) in all(world, account, &tables::USER) {
        assert_eq!(key, user.id.uuid().as_bytes());
        if user.is_root {
            roots.push((user.id, user.status));
        }
        let principal = Principal::User(user.id);
        if user.status == UserStatus::Deleted {
            let roles = super::super::membership::roles_of(&world.rows, account, &principal).unwrap();
            assert!(roles.is_empty(), "a deleted user has {roles:?}");
            continue;
        }
        passwords.push(key);
        if let Some(name) = user.name.as_ref().map(UserName::folded) {
            assert_eq!(names.insert(name.into_bytes(), user.id), None, "two users have one name");
        }
        if let Some(email) = user.email.as_ref().map(Email::folded) {
            let email = email.into_bytes();
            assert_eq!(emails.insert(email.clone(), user.id), None, "two users have one address");
            if user.is_root {
                assert_eq!(root_emails.insert(email, account), None, "two root users have one address");
            }
        }
        assert!(user.name.is_some() || user.email.is_some());
    }
    for (login, user) in &names {
        assert!(emails.get(login).is_none_or(|other| other == user), "a name is another's address");
    }
    assert_eq!(all(world, account, &tables::USER_NAME), names, "USER_NAME");
    assert_eq!(all(world, account, &tables::USER_EMAIL), emails, "USER_EMAIL");
    assert!(all(world, account, &tables::PASSWORD).keys().eq(passwords.iter()), "PASSWORD");

    let found = all(world, account, &tables::ACCOUNT).into_values().next();
    let expected = found.map(|found| {
        assert_eq!(found.id, account);
        let is_closed = matches!(found.state, AccountState::Closed { .. });
        (found.root().unwrap(), if is_closed { UserStatus::Deleted } else { UserStatus::Active })
    });
    assert_eq!(roots, expected.into_iter().collect::<Vec<_>>(), "an account is open with its root user");
}

fn services(world: &World, account: AccountId) {
    let services = all(world, account, &tables::SERVICE);
    let names = services.values().map(|service| (service.name.folded().into_bytes(), service.id));
    assert_eq!(all(world, account, &tables::SERVICE_NAME), names.collect(), "SERVICE_NAME");
    let mut hashes = Found::new();
    for (path, key) in all(world, account, &tables::API_KEY) {
        let (service, id) = path.split_at(16);
        assert_eq!(id, key.id.uuid().as_bytes());
        let service = services.get(service).expect("a key of no service account");
        let twin = hashes.insert(key.hash.as_bytes().to_vec(), (service.id, key.id));
        assert_eq!(twin, None, "two keys have one hash");
    }
    assert_eq!(all(world, account, &tables::API_KEY_HASH), hashes, "API_KEY_HASH");
}

fn roles(world: &World, account: AccountId) {
    let mut index = Found::new();
    for (key, role) in all(world, account, &tables::ROLE) {
        assert_eq!(key, role.name.as_str().as_bytes());
        for permission in &role.permissions {
            index.insert(joined(permission.as_str().as_bytes(), &key), ());
        }
    }
    assert_eq!(all(world, account, &tables::PERMISSION_ROLE), index, "PERMISSION_ROLE");
}

fn memberships(world: &World, account: AccountId) {
    let mut index = Found::new();
    for (key, _) in all(world, account, &tables::MEMBERSHIP) {
        let (principal, role) = key.split_at(Principal::KEY_BYTES);
        index.insert(joined(role, principal), ());
        let is_there = match Principal::from_key(principal).expect("a principal") {
            Principal::User(id) => tables::USER.has(&world.rows, account, id.uuid().as_bytes()),
            Principal::Service(id) => tables::SERVICE.has(&world.rows, account, id.uuid().as_bytes()),
            Principal::Subject(id) => tables::SUBJECT.has(&world.rows, account, id.uuid().as_bytes()),
        };
        assert!(is_there, "a membership of nobody");
    }
    assert_eq!(all(world, account, &tables::ROLE_MEMBER), index, "ROLE_MEMBER");
}

fn sessions(world: &World, account: AccountId) {
    let (mut of_principal, mut expiry, mut generations) = (Found::new(), Found::new(), Found::new());
    for (key, session) in all(world, account, &tables::SESSION) {
        assert_eq!(key, session.id.uuid().as_bytes());
        of_principal.insert([session.principal.key(), key.clone()].concat(), ());
        expiry.insert([session.expires_at.0.to_be_bytes().to_vec(), key.clone()].concat(), ());
        let given = match session.refresh {
            Refresh::None | Refresh::Fixed => 0..=0_u64,
            Refresh::Rotating { generation } => 1..=generation,
        };
        for generation in given.filter(|_| session.refresh != Refresh::None) {
            generations
                .insert([key.clone(), generation.to_be_bytes().to_vec()].concat(), (session.id, generation));
        }
    }
    assert_eq!(all(world, account, &tables::PRINCIPAL_SESSION), of_principal, "PRINCIPAL_SESSION");
    assert_eq!(all(world, account, &tables::SESSION_EXPIRY), expiry, "SESSION_EXPIRY");
    let hashes = all(world, account, &tables::SESSION_REFRESH);
    assert!(hashes.keys().eq(generations.keys()), "SESSION_REFRESH");
    let mut pointers = Found::new();
    for (path, hash) in hashes {
        let (session, generation) = generations[&path];
        let twin = pointers.insert(hash.as_bytes().to_vec(), RefreshPointer { session, generation });
        assert_eq!(twin, None, "two refresh tokens have one hash");
    }
    assert_eq!(all(world, account, &tables::REFRESH), pointers, "REFRESH");
}

/// Not an index, but as easily broken: exactly one key signs in an account.
fn keys(world: &World, account: AccountId) {
    use super::super::key::KeyState;
    let keys = all(world, account, &tables::SIGNING_KEY);
    let signing = keys.values().filter(|key| key.state == KeyState::Signing).count();
    let is_account = tables::ACCOUNT.has(&world.rows, account, &[]);
    assert_eq!(signing, usize::from(is_account), "one key signs");
}
