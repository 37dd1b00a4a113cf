//! Accounts that belong to a key, and the names in them: whatever is done with keys, names, roles and recovery
//! secrets from small pools, each secret leads to what it is of and nothing else does, a name is there as long as
//! it has a role or a key, and keys only get worse.

use std::collections::{BTreeMap, BTreeSet};

use proptest::option::weighted;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::super::account::Owner;
use super::super::audit::{Observation, Trail};
use super::super::holder::Recovery;
use super::super::role::NewRole;
use super::super::rows::{Table, tables};
use super::super::settings::SettingsChanges;
use super::super::subject_key::{self, MAX_LIVE_KEYS, NewSubjectKey, SubjectKey};
use super::super::testing::MemoryRows;
use super::super::{
    AccountId, Action, Actor, Command, Label, Lifetime, Origin, Principal, Read, Rejection, Reply, RoleName,
    SecretHash, Timestamp, UserName, account as accounts, apply, membership, settings, subject,
};
use super::config;
use super::overlay::Overlay;
use super::pools::{ACCOUNTS, account, api_key, role, secret};

/// Owners' keys and recovery secrets, which come from one pool so that they are mixed up.
const SECRETS: u8 = 6;
const NAMES: [&str; 6] = ["john", "John", "jane", "svc:batch", "ann", "bob"];
/// The first of them may have keys, and who has one stays.
const KEYED: usize = 3;

/// A command with gaps.
#[derive(Clone, Debug)]
pub(super) struct Step {
    account: u8,
    /// Mostly whoever has the account's key.
    by: Option<u8>,
    wait_ms: u64,
    action: Action,
    /// A key's end is so far from then.
    ends_in: Option<u64>,
}

fn any_secret() -> impl Strategy<Value = SecretHash> {
    (0..SECRETS).prop_map(secret)
}

/// Few, so that what one step gives another takes.
fn any_role() -> impl Strategy<Value = RoleName> {
    (0..2_usize).prop_map(role)
}

fn any_name() -> impl Strategy<Value = UserName> {
    (0..NAMES.len()).prop_map(|n| UserName::parse(NAMES[n]).unwrap())
}

fn any_keyed() -> impl Strategy<Value = UserName> {
    (0..KEYED).prop_map(|n| UserName::parse(NAMES[n]).unwrap())
}

fn holder_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        3 => any_secret().prop_map(|key| Action::OpenKeyAccount { key }),
        2 => any_secret().prop_map(|next| Action::RotateHolder { next }),
        3 => any_secret().prop_map(|secret| Action::SetRecovery { secret }),
        3 => (any_secret(), any_secret(), any_secret())
            .prop_map(|(presented, key, next)| Action::Recover(Recovery { presented, key, next })),
    ]
}

fn subject_action() -> impl Strategy<Value = Action> {
    let key = || (0..6_u8).prop_map(api_key);
    let new = (key(), 0..8_u8).prop_map(|(id, hash)| NewSubjectKey {
        id,
        hash: secret(hash),
        prefix: Label::parse("usk_x").unwrap(),
        label: None,
        expires_at: None,
    });
    let used = (any_keyed(), key()).prop_map(|(user, key)| {
        Action::Observe(vec![Observation {
            trail: Trail::Checks,
            by: Actor::Anonymous,
            origin: Origin::default(),
            action: "user-key.resolve".to_owned(),
            target: String::new(),
            success: true,
            detail: String::new(),
            count: 1,
            used: Some((subject::id_of(&user), key)),
        }])
    });
    prop_oneof![
        3 => any_role().prop_map(|name| {
            Action::CreateRole(NewRole { name, description: None, permissions: BTreeSet::new() })
        }),
        1 => any_role().prop_map(|role| Action::DeleteRole { role }),
        8 => (any_name(), any_role()).prop_map(|(user, role)| Action::AddMember { user, role }),
        12 => (any_name(), any_role()).prop_map(|(user, role)| Action::RemoveMember { user, role }),
        6 => (any_keyed(), new).prop_map(|(user, key)| Action::AddSubjectKey { user, key }),
        3 => (any_keyed(), key()).prop_map(|(user, key)| Action::RevokeSubjectKey { user, key }),
        3 => (any_keyed(), key())
            .prop_map(|(user, key)| Action::ShortenSubjectKey { user, key, end: Timestamp(0) }),
        1 => any::<bool>().prop_map(|strict| Action::ChangeSettings(SettingsChanges {
            strict_users: Some(strict),
            ..SettingsChanges::default()
        })),
        2 => used,
    ]
}

pub(super) fn history() -> impl Strategy<Value = Vec<Step>> {
    let action = prop_oneof![1 => holder_action(), 2 => subject_action()];
    let wait = prop_oneof![8 => Just(0_u64), 3 => Just(1_000), 1 => Just(3_600_000)];
    let ends_in = prop_oneof![Just(500_u64), Just(2_000), Just(7_200_000), Just(40_000_000_000)];
    let account = prop_oneof![8 => Just(0_u8), 2 => 1..ACCOUNTS];
    let step = (account, weighted(0.1, 0..SECRETS), wait, action, weighted(0.5, ends_in))
        .prop_map(|(account, by, wait_ms, action, ends_in)| Step { account, by, wait_ms, action, ends_in });
    prop::collection::vec(step, 1..120)
}

/// Three accounts, of which each has a key to begin with, and the time.
pub(super) struct Holders {
    pub(super) rows: MemoryRows,
    pub(super) at: Timestamp,
}

impl Holders {
    pub(super) fn new() -> Self {
        let mut holders = Self { rows: MemoryRows::default(), at: Timestamp(1_000_000_000) };
        // The last one is still to be opened.
        for n in 0..ACCOUNTS - 1 {
            let action = Action::OpenKeyAccount { key: secret(n) };
            let command = Command {
                account: account(n),
                by: Actor::Anonymous,
                origin: Origin::default(),
                expect: Vec::new(),
                action,
            };
            holders.rows.apply(holders.at, &command).unwrap();
        }
        holders
    }

    fn command(&self, step: &Step) -> Command {
        let account = account(step.account);
        let end = step.ends_in.map(|span| self.at.plus(Lifetime(span)));
        let mut action = step.action.clone();
        if let Action::AddSubjectKey { key, .. } = &mut action {
            key.expires_at = end;
        } else if let Action::ShortenSubjectKey { end: shorter, .. } = &mut action {
            *shorter = end.unwrap_or(self.at);
        }
        let by = if matches!(action, Action::Observe(_)) {
            Actor::System
        } else if matches!(action, Action::OpenKeyAccount { .. } | Action::Recover(_)) {
            Actor::Anonymous
        } else {
            let own = tables::HOLDER.get(&self.rows, account, &[]).unwrap();
            let own = own.map_or(secret(0), |row| row.value.key);
            Actor::KeyHolder(step.by.map_or(own, secret))
        };
        Command { account, by, origin: Origin::default(), expect: Vec::new(), action }
    }

    pub(super) fn take(&mut self, step: &Step) -> (Command, Result<Reply, Rejection>) {
        self.at = self.at.plus(Lifetime(step.wait_ms));
        let command = self.command(step);
        let result = self.rows.apply(self.at, &command);
        (command, result)
    }
}

fn all<V>(rows: &dyn Read, account: AccountId, table: &Table<V>) -> BTreeMap<Vec<u8>, V>
where
    V: serde::Serialize + serde::de::DeserializeOwned,
{
    let page = table.scan(rows, account, &[], None, usize::MAX).unwrap();
    page.into_iter().map(|(key, row)| (key, row.value)).collect()
}

/// What a table of the whole cluster has, by its tag.
fn global(rows: &MemoryRows, tag: u8) -> BTreeSet<Vec<u8>> {
    rows.rows.keys().filter(|key| key.starts_with(&[b'g', tag])).map(|key| key[2..].to_vec()).collect()
}

pub(super) fn secrets_lead_to_their_account(rows: &MemoryRows) {
    let (mut keys, mut recoveries) = (BTreeSet::new(), BTreeSet::new());
    for account in (0..ACCOUNTS).map(account) {
        let holder = tables::HOLDER.get(rows, account, &[]).unwrap().map(|row| row.value);
        let owner = accounts::find(rows, account).unwrap().map(|row| row.value.owner);
        assert_eq!(owner, holder.as_ref().map(|_| Owner::KeyHolder));
        let Some(holder) = holder else { continue };
        assert_eq!(tables::HOLDER_KEY.get(rows, holder.key.as_bytes()).unwrap().unwrap().value, account);
        assert!(keys.insert(holder.key.as_bytes().to_vec()), "two accounts have one key");
        if let Some(recovery) = &holder.recovery {
            let found = tables::HOLDER_RECOVERY.get(rows, recovery.as_bytes()).unwrap().unwrap();
            assert_eq!(found.value, account);
            assert!(recoveries.insert(recovery.as_bytes().to_vec()), "two accounts have one recovery secret");
        }
    }
    assert_eq!(global(rows, 0x03), keys, "HOLDER_KEY");
    assert_eq!(global(rows, 0x04), recoveries, "HOLDER_RECOVERY");
}

pub(super) fn names_are_there_for_a_reason(rows: &MemoryRows, account: AccountId, now: Timestamp) {
    let mut reasons = BTreeSet::new();
    let mut hashes = BTreeMap::new();
    let mut live = BTreeMap::<Vec<u8>, usize>::new();
    for (path, key) in all(rows, account, &tables::SUBJECT_KEY) {
        let (owner, id) = path.split_at(16);
        assert_eq!(id, key.id.uuid().as_bytes());
        reasons.insert(owner.to_vec());
        *live.entry(owner.to_vec()).or_default() += usize::from(key.fault(now).is_none());
        let subject = super::super::SubjectId::new(uuid::Uuid::from_slice(owner).unwrap());
        let twin = hashes.insert(key.hash.as_bytes().to_vec(), (subject, key.id));
        assert_eq!(twin, None, "two keys have one hash");
    }
    assert!(live.values().all(|count| *count <= MAX_LIVE_KEYS));
    assert_eq!(all(rows, account, &tables::SUBJECT_KEY_HASH), hashes, "SUBJECT_KEY_HASH");
    let (mut members, roles) = (BTreeSet::new(), all(rows, account, &tables::ROLE));
    for (path, _) in all(rows, account, &tables::MEMBERSHIP) {
        let (principal, role) = path.split_at(Principal::KEY_BYTES);
        let Some(Principal::Subject(id)) = Principal::from_key(principal) else { panic!("another kind") };
        assert!(roles.contains_key(role), "a membership of no role");
        reasons.insert(id.uuid().as_bytes().to_vec());
        members.insert((role.to_vec(), principal.to_vec()));
    }
    let index: BTreeSet<_> = all(rows, account, &tables::ROLE_MEMBER).into_keys().collect();
    assert_eq!(index, members.iter().map(|(role, who)| super::super::rows::joined(role, who)).collect());
    let subjects = all(rows, account, &tables::SUBJECT);
    for (key, found) in &subjects {
        assert_eq!(
            (key.as_slice(), found.id),
            (found.id.uuid().as_bytes().as_slice(), subject::id_of(&found.name))
        );
    }
    assert_eq!(subjects.into_keys().collect::<BTreeSet<_>>(), reasons, "SUBJECT");
}

/// A key is never given back: revoked stays revoked, an end only moves nearer, and whose it is stays.
fn keys_only_get_worse(before: &MemoryRows, after: &MemoryRows, account: AccountId) {
    let now = all(after, account, &tables::SUBJECT_KEY);
    for (path, old) in all(before, account, &tables::SUBJECT_KEY) {
        let new: &SubjectKey = now.get(&path).expect("keys are kept");
        assert!(old.revoked_at.is_none() || new.revoked_at == old.revoked_at);
        let end = |key: &SubjectKey| key.expires_at.map_or(u64::MAX, |at| at.0);
        assert!(end(new) <= end(&old));
        assert!(new.last_used_at >= old.last_used_at);
        assert_eq!((new.hash, new.created_at), (old.hash, old.created_at));
    }
}

fn check_reply(before: &MemoryRows, at: Timestamp, command: &Command, reply: &Reply) {
    let account = command.account;
    if let Action::AddMember { user, role } = &command.action {
        let id = subject::id_of(user);
        let is_strict = settings::of(before, account).unwrap().strict_users;
        assert!(!is_strict || subject_key::has_live(before, account, id, at).unwrap());
        let principal = Principal::Subject(id);
        let had = membership::is_member(before, account, &principal, role);
        assert_eq!(*reply, Reply::Changed(!had));
    }
    // Whoever recovers has shown the secret of that very account.
    if let Action::Recover(recovery) = &command.action {
        let of = tables::HOLDER_RECOVERY.get(before, recovery.presented.as_bytes()).unwrap();
        assert_eq!(of.map(|row| row.value), Some(account));
    }
    if let Actor::KeyHolder(key) = &command.by {
        let of = tables::HOLDER_KEY.get(before, key.as_bytes()).unwrap();
        assert_eq!(of.map(|row| row.value), Some(account), "somebody else's key was good");
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn secrets_names_and_keys_agree(steps in history()) {
        let mut holders = Holders::new();
        for step in &steps {
            let before = holders.rows.clone();
            let (command, result) = holders.take(step);
            if let Ok(reply) = &result {
                check_reply(&before, holders.at, &command, reply);
            } else {
                prop_assert_eq!(&before.rows, &holders.rows.rows);
            }
            secrets_lead_to_their_account(&holders.rows);
            for account in (0..ACCOUNTS).map(account) {
                names_are_there_for_a_reason(&holders.rows, account, holders.at);
                keys_only_get_worse(&before, &holders.rows, account);
            }
        }
    }

    /// As for the other kind of accounts: replicas that keep their rows in another way agree.
    #[test]
    fn replicas_of_key_accounts_agree(steps in history()) {
        let mut holders = Holders::new();
        let mut replica = holders.rows.clone();
        for step in &steps {
            let (command, result) = holders.take(step);
            let mut overlay = Overlay::new(&replica, holders.rows.revision);
            let reply = apply(&mut overlay, holders.at, holders.rows.revision, &command);
            let changes = overlay.into_changes();
            prop_assert_eq!(&reply, &result, "{:?}", command);
            if reply.is_ok() {
                changes.commit(&mut replica);
            }
            replica.revision = holders.rows.revision;
            prop_assert_eq!(&replica.rows, &holders.rows.rows);
        }
    }
}

#[test]
fn histories_carry_out_and_refuse_all_of_it() {
    let mut runner = TestRunner::deterministic();
    let (mut done, mut refused) = (BTreeMap::<String, usize>::new(), BTreeMap::<String, usize>::new());
    let mut gone = 0;
    for _ in 0..60 {
        let mut holders = Holders::new();
        for step in &history().new_tree(&mut runner).unwrap().current() {
            let before = all(&holders.rows, account(0), &tables::SUBJECT).len();
            let (command, result) = holders.take(step);
            gone += usize::from(all(&holders.rows, account(0), &tables::SUBJECT).len() < before);
            let name = format!("{:?}", command.action);
            let name = name.split(['(', ' ']).next().unwrap_or_default().to_owned();
            match result {
                Ok(Reply::Changed(false)) => {}
                Ok(_) => *done.entry(name).or_default() += 1,
                Err(rejection) => *refused.entry(rejection.code().to_owned()).or_default() += 1,
            }
        }
    }
    assert_eq!(done.len(), 13, "{done:#?}");
    assert!(gone > 20, "only {gone} names went");
    for rejection in [
        Rejection::Unauthenticated,
        Rejection::KeyTaken,
        Rejection::RecoveryIssued,
        Rejection::BadCredentials,
        Rejection::NotKeyBacked,
        Rejection::RoleExists,
        Rejection::IdTaken,
        Rejection::NotFound(super::super::Noun::Role),
        Rejection::invalid("expires_at", ""),
    ] {
        assert!(refused.contains_key(rejection.code()), "never {rejection:?}: {refused:#?}");
    }
}
