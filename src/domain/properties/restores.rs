//! A restore opens nothing that was closed: whatever happened between the backup and the restore, a session, a refresh
//! token, an API key, a key of a subject, an owner's key or a recovery secret that was refused before the restore
//! is refused after it. Other accounts do not change by a byte, and what agreed still agrees.

use proptest::prelude::*;

use super::super::restore::{NewPart, Renewal, RestoredRow, WholeRestore, renew};
use super::super::rows::{next_account, prefix_of, tables};
use super::super::testing::MemoryRows;
use super::super::{
    AccountId, Action, Actor, Command, Origin, Rejection, Reply, RestoreId, SecretHash, Timestamp, holder,
    service, session, subject_key,
};
use super::holders::{self, Holders};
use super::pools::{ACCOUNTS, SESSIONS, TOKENS, account, secret};
use super::sessions::Memory;
use super::steps::{self, lives};
use super::trail;
use super::world::World;
use super::{config, indexes};

const PART_ROWS: usize = 40;

/// Commands of every kind, and more of those that end sessions. Boxed: the stack of a test is small.
fn steps_up_to(most: usize) -> impl Strategy<Value = Vec<steps::Step>> {
    prop::collection::vec(prop_oneof![steps::step().boxed(), lives().boxed()].boxed(), 1..most).boxed()
}

fn order(account: AccountId, action: Action) -> Command {
    Command { account, by: Actor::System, origin: Origin::default(), expect: Vec::new(), action }
}

/// The rows of an account as a backup gives them.
fn backup(rows: &MemoryRows, account: AccountId) -> Vec<RestoredRow> {
    let prefix = prefix_of(account);
    let of_account = rows.rows.iter().filter_map(|(key, row)| {
        Some(RestoredRow { key: key.strip_prefix(&prefix[..])?.to_vec(), value: row.value.to_vec() })
    });
    of_account.collect()
}

/// Puts the account back, as a node orders it.
fn restore(
    rows: &mut MemoryRows,
    at: Timestamp,
    account: AccountId,
    backup: &[RestoredRow],
) -> Result<Reply, Rejection> {
    let id = RestoreId::new(uuid::Uuid::from_u128(9));
    rows.apply(at, &order(account, Action::BeginRestore { id }))?;
    let mut parts = 0;
    for (number, rows_of_part) in (0..).zip(backup.chunks(PART_ROWS)) {
        let part = NewPart { id, number, rows: rows_of_part.to_vec() };
        rows.apply(at, &order(account, Action::RestoreRows(part)))?;
        parts = number + 1;
    }
    let whole = WholeRestore { id, parts, rows: backup.len() as u64, backup: 7 };
    rows.apply(at, &order(account, Action::FinishRestore(whole)))
}

/// Everything that opens something in the account at that time.
fn accepted(rows: &MemoryRows, account: AccountId, at: Timestamp) -> Vec<String> {
    let mut good = Vec::new();
    for id in (0..SESSIONS).map(super::pools::session) {
        if let Ok(live) = session::live(rows, account, id, at) {
            good.push(format!("session {id} from {:?}", live.session.opened_at));
        }
    }
    let hashes: Vec<SecretHash> = (0..TOKENS).map(secret).collect();
    for (n, hash) in hashes.iter().enumerate() {
        if session::find_by_refresh(rows, account, hash, at).is_ok() {
            good.push(format!("refresh token {n}"));
        }
        if service::find_key(rows, account, hash).unwrap().is_some_and(|(_, key)| key.is_good(at)) {
            good.push(format!("API key {n}"));
        }
        if subject_key::find(rows, account, hash).unwrap().is_some_and(|(_, key)| key.fault(at).is_none()) {
            good.push(format!("key of a subject {n}"));
        }
        if holder::account_of(rows, hash).unwrap() == Some(account) {
            good.push(format!("owner's key {n}"));
        }
        if holder::account_of_recovery(rows, hash).unwrap() == Some(account) {
            good.push(format!("recovery secret {n}"));
        }
    }
    good
}

/// All rows but those of the account and those of the whole cluster.
fn others(rows: &MemoryRows, account: AccountId) -> Vec<(Vec<u8>, Vec<u8>)> {
    let prefix = prefix_of(account);
    let of_others = rows.rows.iter().filter(|(key, _)| key.starts_with(b"a") && !key.starts_with(&prefix));
    of_others.map(|(key, row)| (key.clone(), row.value.to_vec())).collect()
}

fn check_restored(before: &MemoryRows, after: &MemoryRows, account: AccountId, at: Timestamp) {
    let good_before = accepted(before, account, at);
    for good in accepted(after, account, at) {
        assert!(good_before.contains(&good), "{good} is good again");
    }
    assert_eq!(others(before, account), others(after, account), "another account changed");
    assert!(trail::is_whole(after, account));
    assert!(!after.rows.keys().any(|key| key.starts_with(&[b'g', 0x20]) || key.starts_with(&[b'g', 0x21])));
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn an_account_is_put_back_and_nothing_closed_opens(
        first in steps_up_to(60),
        then in steps_up_to(60),
        later in steps_up_to(30),
        which in 0..ACCOUNTS,
    ) {
        let account = account(which);
        let (mut world, mut memory) = (World::new(), Memory::default());
        let play = |world: &mut World, memory: &mut Memory, steps: &[steps::Step]| {
            for step in steps {
                let taken = world.take(step);
                memory.spend(&taken).unwrap();
                (0..ACCOUNTS).for_each(|n| memory.look(world, super::pools::account(n)).unwrap());
            }
        };
        play(&mut world, &mut memory, &first);
        let saved = backup(&world.rows, account);
        play(&mut world, &mut memory, &then);
        let before = world.rows.clone();
        let restored = restore(&mut world.rows, world.at, account, &saved);
        match restored {
            Ok(_) => check_restored(&before, &world.rows, account, world.at),
            // Its root user's address is another's by now, or there was no such account then.
            Err(Rejection::EmailTaken | Rejection::Invalid { .. }) => {}
            Err(other) => prop_assert!(false, "{other}"),
        }
        indexes::check(&world);
        (0..ACCOUNTS).for_each(|n| memory.look(&world, super::pools::account(n)).unwrap());
        play(&mut world, &mut memory, &later);
        indexes::check(&world);
    }

    #[test]
    fn an_account_of_a_key_is_put_back_and_nothing_closed_opens(
        first in holders::history(),
        then in holders::history(),
        which in 0..ACCOUNTS,
    ) {
        let account = account(which);
        let mut world = Holders::new();
        for step in &first {
            drop(world.take(step));
        }
        let saved = backup(&world.rows, account);
        for step in &then {
            drop(world.take(step));
        }
        let before = world.rows.clone();
        match restore(&mut world.rows, world.at, account, &saved) {
            Ok(_) => check_restored(&before, &world.rows, account, world.at),
            Err(Rejection::Invalid { .. }) => {}
            Err(other) => prop_assert!(false, "{other}"),
        }
        holders::secrets_lead_to_their_account(&world.rows);
        for account in (0..ACCOUNTS).map(super::pools::account) {
            holders::names_are_there_for_a_reason(&world.rows, account, world.at);
        }
    }

    #[test]
    fn a_new_cluster_knows_no_session_and_no_key(
        first in steps_up_to(80),
        keep_api_keys in any::<bool>(),
    ) {
        let mut world = World::new();
        for step in &first {
            world.take(step);
        }
        let keys_before = tables::API_KEY.scan(&world.rows, account(0), &[], None, usize::MAX).unwrap();
        let revision = world.rows.revision + 1;
        renew(&mut world.rows, world.at, revision, Renewal::Restored { keep_api_keys }, "").unwrap();
        for account in (0..ACCOUNTS).map(account) {
            let good = accepted(&world.rows, account, world.at);
            prop_assert!(good.iter().all(|good| keep_api_keys && good.starts_with("API key")), "{good:?}");
        }
        let keys = tables::API_KEY.scan(&world.rows, account(0), &[], None, usize::MAX).unwrap();
        prop_assert_eq!(keys.len(), if keep_api_keys { keys_before.len() } else { 0 });
        indexes::check(&world);
        prop_assert!(trail::is_whole(&world.rows, AccountId::CLUSTER));
    }

    #[test]
    fn a_new_cluster_knows_no_key_of_a_subject_and_no_recovery_secret(first in holders::history()) {
        let mut world = Holders::new();
        for step in &first {
            drop(world.take(step));
        }
        let revision = world.rows.revision + 1;
        renew(&mut world.rows, world.at, revision, Renewal::Restored { keep_api_keys: false }, "").unwrap();
        holders::secrets_lead_to_their_account(&world.rows);
        for account in (0..ACCOUNTS).map(account) {
            holders::names_are_there_for_a_reason(&world.rows, account, world.at);
            let good = accepted(&world.rows, account, world.at);
            prop_assert!(good.iter().all(|good| good.starts_with("owner's key")), "{good:?}");
        }
    }
}

/// A restore at once brings the account to what it is, and no row is written but the record of it.
#[test]
fn a_restore_of_now_changes_nothing() {
    let mut world = World::new();
    let saved = backup(&world.rows, account(0));
    let before = world.rows.clone();
    restore(&mut world.rows, world.at, account(0), &saved).unwrap();
    let changed = world.rows.rows.iter().filter(|(key, row)| before.rows.get(*key) != Some(row));
    assert!(changed.map(|(key, _)| key[1 + AccountId::DIGITS]).all(|tag| tag == 0x70 || tag == 0x71));
    assert!(next_account(&world.rows, None).is_some());
}

/// The cluster has ended all other sessions since the backup, and with them their epoch.
#[test]
fn a_session_alive_in_both_stays_and_one_that_was_ended_does_not() {
    let mut world = World::new();
    let of = account(0);
    let saved = backup(&world.rows, of);
    let mine = super::pools::session(1);
    let principal = session::find(&world.rows, of, mine).unwrap().unwrap().value.principal;
    let other = super::pools::session(2);
    world.must(of, &Actor::System, Action::EndSessions { principal, except: Some(mine) });
    world.must(of, &Actor::System, Action::EndSession { session: other });
    restore(&mut world.rows, world.at, of, &saved).unwrap();
    assert!(session::live(&world.rows, of, mine, world.at).is_ok());
    assert!(session::live(&world.rows, of, other, world.at).is_err());
}

#[test]
fn an_interrupted_restore_changes_nothing_and_makes_room_for_the_next() {
    let mut world = World::new();
    let of = account(0);
    let saved = backup(&world.rows, of);
    let (id, other) = (RestoreId::new(uuid::Uuid::from_u128(1)), RestoreId::new(uuid::Uuid::from_u128(2)));
    let at = world.at;
    let mut give = |action: Action| world.rows.apply(at, &order(of, action));
    let part = |id, number| Action::RestoreRows(NewPart { id, number, rows: saved[..3].to_vec() });
    assert!(give(part(id, 0)).is_err(), "nothing was begun");
    give(Action::BeginRestore { id }).unwrap();
    give(part(id, 0)).unwrap();
    assert!(give(part(id, 0)).is_err(), "the same part twice");
    assert!(give(part(id, 2)).is_err(), "a part is missing");
    let foreign = NewPart { id, number: 1, rows: vec![RestoredRow { key: vec![0xee], value: vec![1] }] };
    assert!(give(Action::RestoreRows(foreign)).is_err(), "of no table");
    let damaged = NewPart { id, number: 1, rows: vec![RestoredRow { key: vec![0x10, 1], value: vec![1] }] };
    assert!(give(Action::RestoreRows(damaged)).is_err(), "no user");
    let early = WholeRestore { id, parts: 2, rows: 6, backup: 7 };
    assert!(give(Action::FinishRestore(early)).is_err(), "not all came");
    give(Action::BeginRestore { id: other }).unwrap();
    assert!(give(part(id, 1)).is_err(), "the first is over");
    give(part(other, 0)).unwrap();
    assert_eq!(give(Action::AbandonRestore { id }), Ok(Reply::Changed(false)));
    assert_eq!(give(Action::AbandonRestore { id: other }), Ok(Reply::Changed(true)));
    let by_user = Command { by: Actor::Anonymous, ..order(of, Action::BeginRestore { id }) };
    assert!(matches!(world.rows.apply(at, &by_user), Err(Rejection::Forbidden(_))));
    let mut cluster = order(AccountId::CLUSTER, Action::BeginRestore { id });
    assert!(world.rows.apply(at, &cluster).is_err());
    cluster.account = of;
    cluster.action = Action::Transaction(vec![cluster.action]);
    assert!(world.rows.apply(at, &cluster).is_err());
    assert_eq!(backup(&world.rows, of), saved);
}
