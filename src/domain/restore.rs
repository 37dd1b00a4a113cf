//! What of the rows of a backup lives on: after a whole cluster was made from them, and when one account of a
//! running cluster is put back to them.
//!
//! # The rule
//! A restore brings back what people made, and no way in that was closed since.
//!
//! | rows | into a new cluster | one account into a running cluster |
//! |---|---|---|
//! | users, passwords, roles, settings, names | as in the backup | as in the backup |
//! | sessions and their refresh tokens | none | those alive in the cluster and in the backup, as the cluster has them |
//! | API keys, keys of subjects | none, unless the operator keeps them | those that both have, as the cluster has them |
//! | the key that owns an account | as in the backup | as the cluster has it |
//! | its recovery secret | none | as the cluster has it |
//! | lockouts | as in the backup | as the cluster has them, of those whom it knows |
//! | signing keys, audit trails | as in the backup | as the cluster has them |
//! | the cluster's mint key | made anew | not touched |
//!
//! # Why
//!
//! - **A backup does not know what was revoked after it.** In a running cluster the rows do, so they are asked. In a
//!   new one nobody does: whatever opens something without a person who remembers it is dropped. Passwords stay,
//!   also those changed since: without them nobody would get in, and their owners can be told.
//! - **An access token hangs on its session**, so one of a session that is gone is refused by every node. Whoever
//!   checks tokens without asking believes them until they end, here as ever; so signing keys stay, and what they
//!   have signed opens nothing at ours.
//! - **Epochs never fall.** A session of an older epoch is dead; a user put back with its old epoch would wake it. The
//!   higher of the two counts.
//! - **What is minted for a repeated request follows from the mint key**: with the old one a repeated sign-in would
//!   give the very tokens that were revoked.
//! - **One account comes in parts and changes in one command.** The parts lie aside, under the account's name and in
//!   none of its tables, until all are there. Keys in them begin behind the account, so that no part can be about
//!   another one.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::account::{self, Account, AccountState, Owner};
use super::audit::{self, Observation, Trail};
use super::authority::Caller;
use super::holder::KeyHolder;
use super::rows::{Page, is_row, next_account, prefix_of, tables};
use super::service::{ApiKey, ServiceAccount};
use super::subject_key::{self, SubjectKey};
use super::user::{User, UserStatus};
use super::{
    AccountId, Actor, Context, Lifetime, Origin, Principal, RawRow, Read, Rejection, Reply, RestoreId, Rows,
    SessionId, Timestamp,
};
use super::{membership, session};

/// A restore on its way, as it is stored beside its parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restore {
    pub id: RestoreId,
    pub begun_at: Timestamp,
    /// The parts that have come, numbered from 0 without gaps.
    pub parts: u32,
    /// The rows in them.
    pub rows: u64,
}

/// Some rows of a restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestorePart {
    pub rows: Vec<RestoredRow>,
}

/// A row of a backup: its key without the account, and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredRow {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

/// The next part of a restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPart {
    pub id: RestoreId,
    pub number: u32,
    pub rows: Vec<RestoredRow>,
}

/// All parts have come: the account is put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WholeRestore {
    pub id: RestoreId,
    pub parts: u32,
    pub rows: u64,
    /// The revision of the backup, for the audit trail.
    pub backup: u64,
}

/// Why a cluster was made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// From a backup.
    Restored {
        /// Whether keys that programs and people show stay good, also those revoked after the backup.
        keep_api_keys: bool,
    },
    /// From one node alone, which may lack what the majority knew last.
    Recovered,
}

/// What was dropped, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    pub accounts: u64,
    pub sessions: u64,
    /// Of service accounts and of subjects.
    pub api_keys: u64,
    pub recovery_secrets: u64,
}

/// The most rows of one account that are restored: they are changed in one step.
pub const MAX_ROWS: u64 = 1_000_000;
/// After that time a restore that has not come whole is forgotten.
pub const KEPT_UNFINISHED: Lifetime = Lifetime::from_secs(3_600);

/// Drops what must not live on when a cluster is made anew, and writes down that it was.
///
/// # Errors
/// [`Rejection::Damaged`] if a row does not decode.
pub fn renew(
    rows: &mut dyn Rows,
    at: Timestamp,
    revision: u64,
    why: Renewal,
    detail: &str,
) -> Result<Dropped, Rejection> {
    let mut dropped = Dropped::default();
    let keep_api_keys = match why {
        Renewal::Restored { keep_api_keys } => keep_api_keys,
        // What a node lacks that was up to date is a moment; programs without keys would be a second outage.
        Renewal::Recovered => true,
    };
    let mut after = None;
    while let Some(account) = next_account(rows, after) {
        after = Some(account);
        dropped.accounts += u64::from(account != AccountId::CLUSTER);
        dropped.sessions += clear(rows, account, tables::SESSION.tag());
        for tag in SESSION_TAGS {
            clear(rows, account, tag);
        }
        if !keep_api_keys {
            dropped.api_keys += clear(rows, account, tables::API_KEY.tag());
            dropped.api_keys += clear(rows, account, tables::SUBJECT_KEY.tag());
            clear(rows, account, tables::API_KEY_HASH.tag());
            clear(rows, account, tables::SUBJECT_KEY_HASH.tag());
            tidy(rows, account)?;
        }
        dropped.recovery_secrets += u64::from(drop_recovery(rows, account)?);
    }
    for (account, _) in tables::RESTORE.scan(rows, &[])? {
        forget(rows, &account)?;
    }
    let action = match why {
        Renewal::Restored { .. } => {
            tables::CLUSTER_SECRETS.delete(rows, &[]);
            "cluster.restore"
        }
        Renewal::Recovered => "cluster.recover",
    };
    let seen = Observation {
        trail: Trail::Acts,
        by: Actor::System,
        origin: Origin::default(),
        action: action.to_owned(),
        target: "cluster".to_owned(),
        success: true,
        detail: detail.to_owned(),
        count: 1,
        used: None,
    };
    let (caller, origin) = (Caller::System, Origin::default());
    let mut context =
        Context { rows, account: AccountId::CLUSTER, at, revision, caller: &caller, origin: &origin };
    audit::observe(&mut context, &[seen])?;
    Ok(dropped)
}

/// Whether this can be a row of any cluster of this version.
#[must_use]
pub fn is_known(key: &[u8], value: &[u8]) -> bool {
    match key.split_first() {
        Some((b'a', rest)) => rest.get(AccountId::DIGITS..).is_some_and(|below| is_row(below, value)),
        // Tables of the cluster are few, and their rows are read when it starts.
        Some((b'g', _)) => true,
        Some(_) | None => false,
    }
}

/// Begins a restore of the account. An earlier one that has not come whole is forgotten.
pub(super) fn begin(context: &mut Context<'_>, id: RestoreId) -> Result<Reply, Rejection> {
    if context.account == AccountId::CLUSTER {
        return Err(Rejection::Misplaced("the cluster is no account".to_owned()));
    }
    for (account, restore) in tables::RESTORE.scan(context.rows, &[])? {
        let is_over = restore.value.begun_at.plus(KEPT_UNFINISHED) < context.at;
        if is_over || account == context.account.as_bytes() {
            forget(context.rows, &account)?;
        }
    }
    let restore = Restore { id, begun_at: context.at, parts: 0, rows: 0 };
    tables::RESTORE.put(context.rows, context.account.as_bytes(), &restore)?;
    Ok(Reply::Done)
}

/// Lays a part aside.
pub(super) fn add_part(context: &mut Context<'_>, part: &NewPart) -> Result<Reply, Rejection> {
    let mut restore = begun(context, part.id)?;
    if part.number != restore.parts {
        return Err(Rejection::Misplaced(format!("part {} comes next", restore.parts)));
    }
    if !part.rows.iter().all(|row| is_row(&row.key, &row.value)) {
        return Err(Rejection::invalid("rows", "a row is of no table that this version knows"));
    }
    restore.parts += 1;
    restore.rows += part.rows.len() as u64;
    if restore.rows > MAX_ROWS {
        return Err(Rejection::LimitReached {
            what: "rows of a restored account".to_owned(),
            limit: MAX_ROWS,
        });
    }
    let path = [context.account.as_bytes(), &part.number.to_be_bytes()[..]].concat();
    tables::RESTORE_PART.put(context.rows, &path, &RestorePart { rows: part.rows.clone() })?;
    tables::RESTORE.put(context.rows, context.account.as_bytes(), &restore)?;
    Ok(Reply::Done)
}

/// Forgets a restore that has not come whole.
pub(super) fn abandon(context: &mut Context<'_>, id: RestoreId) -> Result<Reply, Rejection> {
    match tables::RESTORE.get(context.rows, context.account.as_bytes())? {
        Some(restore) if restore.value.id == id => {
            forget(context.rows, context.account.as_bytes())?;
            Ok(Reply::Changed(true))
        }
        Some(_) | None => Ok(Reply::Changed(false)),
    }
}

/// Puts the account back to the rows that have come, as far as the cluster knows nothing better.
pub(super) fn finish(context: &mut Context<'_>, whole: &WholeRestore) -> Result<Reply, Rejection> {
    let restore = begun(context, whole.id)?;
    if (restore.parts, restore.rows) != (whole.parts, whole.rows) {
        return Err(Rejection::Misplaced("not all parts of the restore have come".to_owned()));
    }
    let backup = Backup::of_parts(context)?;
    let rows =
        Merge { now: context.rows, at: context.at, account: context.account, backup: &backup }.merged()?;
    move_indexes(context, &rows)?;
    let prefix = prefix_of(context.account);
    for key in keys_below(context.rows, &prefix) {
        if !rows.0.contains_key(&key) {
            context.rows.delete(&key);
        }
    }
    for (key, value) in rows.0 {
        // A row that is as it was keeps its revision.
        if context.rows.get(&key).is_none_or(|row| row.value != value) {
            context.rows.put(&key, value.to_vec());
        }
    }
    forget(context.rows, context.account.as_bytes())?;
    Ok(Reply::Done)
}

fn begun(context: &Context<'_>, id: RestoreId) -> Result<Restore, Rejection> {
    match tables::RESTORE.get(context.rows, context.account.as_bytes())? {
        Some(restore) if restore.value.id == id => Ok(restore.value),
        Some(_) | None => Err(Rejection::Misplaced(
            "another restore of the account has begun, or this one is over".to_owned(),
        )),
    }
}

/// Rows of one account by their whole keys.
#[derive(Default)]
struct Backup(BTreeMap<Vec<u8>, std::sync::Arc<[u8]>>);

impl Backup {
    fn of_parts(context: &Context<'_>) -> Result<Self, Rejection> {
        let prefix = prefix_of(context.account);
        let mut backup = Self::default();
        for (_, part) in tables::RESTORE_PART.scan(context.rows, context.account.as_bytes())? {
            for row in part.value.rows {
                backup.0.insert([&prefix[..], &row.key].concat(), row.value.into());
            }
        }
        Ok(backup)
    }

    /// Takes over the row as it stands elsewhere, if it does.
    fn copy(&mut self, from: &dyn Read, key: Vec<u8>) {
        if let Some(row) = from.get(&key) {
            self.0.insert(key, row.value);
        }
    }
}

impl Read for Backup {
    fn get(&self, key: &[u8]) -> Option<RawRow> {
        self.0.get(key).map(|value| RawRow { revision: 0, value: value.clone() })
    }

    fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], RawRow) -> ControlFlow<()>,
    ) {
        for (key, value) in self.0.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix)) {
            let is_after = after.is_none_or(|after| key.as_slice() > after);
            if is_after && visit(key, RawRow { revision: 0, value: value.clone() }).is_break() {
                break;
            }
        }
    }
}

impl Rows for Backup {
    fn put(&mut self, key: &[u8], value: Vec<u8>) {
        self.0.insert(key.to_vec(), value.into());
    }

    fn delete(&mut self, key: &[u8]) {
        self.0.remove(key);
    }
}

/// The account in the cluster and in the backup.
struct Merge<'m> {
    now: &'m dyn Read,
    at: Timestamp,
    account: AccountId,
    backup: &'m Backup,
}

impl Merge<'_> {
    /// The rows of the account from now on.
    fn merged(&self) -> Result<Backup, Rejection> {
        let mut rows = Backup::default();
        let known = account::find(self.now, self.account)?.map(|row| row.value);
        for (key, value) in &self.backup.0 {
            let tag = key.get(1 + AccountId::DIGITS).copied().unwrap_or_default();
            let is_the_clusters = known.is_some() && CLUSTER_TAGS.contains(&tag);
            if !is_the_clusters && !CREDENTIAL_TAGS.contains(&tag) {
                rows.0.insert(key.clone(), value.clone());
            }
        }
        if known.is_some() {
            for tag in CLUSTER_TAGS {
                for key in keys_below(self.now, &below(self.account, tag)) {
                    rows.copy(self.now, key);
                }
            }
        }
        self.account(&mut rows, known.as_ref())?;
        self.holder(&mut rows)?;
        self.principals(&mut rows)?;
        self.sessions(&mut rows)?;
        self.keys(&mut rows)?;
        tidy(&mut rows, self.account)?;
        Ok(rows)
    }

    fn account(&self, rows: &mut Backup, known: Option<&Account>) -> Result<(), Rejection> {
        let found = account::find(self.backup, self.account)?;
        let mut account = found.ok_or_else(|| Rejection::invalid("backup", "it has no such account"))?.value;
        let is_other = |known: &Account| match (known.owner, account.owner) {
            // Every cluster has one, under the same id.
            (Owner::Cluster { .. }, Owner::Cluster { .. }) => false,
            (Owner::Root(_) | Owner::KeyHolder, _) | (_, Owner::Root(_) | Owner::KeyHolder) => {
                (known.owner, known.created_at) != (account.owner, account.created_at)
            }
        };
        if known.is_some_and(is_other) {
            return Err(Rejection::AccountIdTaken);
        }
        if let (Owner::Cluster { has_had_admin }, Some(Owner::Cluster { has_had_admin: before })) =
            (account.owner, known.map(|known| known.owner))
        {
            account.owner = Owner::Cluster { has_had_admin: has_had_admin || before };
        }
        tables::ACCOUNT.put(rows, self.account, &[], &account)
    }

    /// Whoever has the account's key by what the cluster knows; a secret that recovers it is never taken over.
    fn holder(&self, rows: &mut Backup) -> Result<(), Rejection> {
        if let Some(known) = tables::HOLDER.get(self.now, self.account, &[])? {
            return tables::HOLDER.put(rows, self.account, &[], &known.value);
        }
        match tables::HOLDER.get(self.backup, self.account, &[])? {
            Some(row) => {
                let holder = KeyHolder { recovery: None, ..row.value };
                tables::HOLDER.put(rows, self.account, &[], &holder)
            }
            None => Ok(()),
        }
    }

    /// Epochs never fall, and locks are not lifted.
    fn principals(&self, rows: &mut Backup) -> Result<(), Rejection> {
        for (id, row) in all(tables::USER.scan(self.backup, self.account, &[], None, usize::MAX))? {
            let Some(known) = tables::USER.get(self.now, self.account, &id)? else { continue };
            let epoch = row.epoch.max(known.value.epoch);
            tables::USER.put(rows, self.account, &id, &User { epoch, ..row })?;
            if tables::ATTEMPTS.has(self.now, self.account, &id) {
                rows.copy(self.now, tables::ATTEMPTS.key(self.account, &id));
            }
        }
        for (id, row) in all(tables::SERVICE.scan(self.backup, self.account, &[], None, usize::MAX))? {
            let Some(known) = tables::SERVICE.get(self.now, self.account, &id)? else { continue };
            let epoch = row.epoch.max(known.value.epoch);
            tables::SERVICE.put(rows, self.account, &id, &ServiceAccount { epoch, ..row })?;
        }
        Ok(())
    }

    fn sessions(&self, rows: &mut Backup) -> Result<(), Rejection> {
        for (id, row) in all(tables::SESSION.scan(self.backup, self.account, &[], None, usize::MAX))? {
            let session = SessionId::new(uuid::Uuid::from_slice(&id).map_err(|_| Rejection::Damaged)?);
            let live = match session::live(self.now, self.account, session, self.at) {
                Ok(live) => live.session,
                Err(Rejection::Unauthenticated) => continue,
                Err(other) => return Err(other),
            };
            // Ids of sessions that were forgotten may be drawn again.
            if (live.principal, live.opened_at) != (row.principal, row.opened_at) {
                continue;
            }
            rows.copy(self.now, tables::SESSION.key(self.account, &id));
            let of_principal = [live.principal.key().as_slice(), &id].concat();
            rows.copy(self.now, tables::PRINCIPAL_SESSION.key(self.account, &of_principal));
            let expiry = [&live.expires_at.0.to_be_bytes()[..], &id].concat();
            rows.copy(self.now, tables::SESSION_EXPIRY.key(self.account, &expiry));
            for (path, hash) in
                all(tables::SESSION_REFRESH.scan(self.now, self.account, &id, None, usize::MAX))?
            {
                rows.copy(self.now, tables::SESSION_REFRESH.key(self.account, &path));
                rows.copy(self.now, tables::REFRESH.key(self.account, hash.as_bytes()));
            }
        }
        Ok(())
    }

    fn keys(&self, rows: &mut Backup) -> Result<(), Rejection> {
        for (path, key) in all(tables::API_KEY.scan(self.backup, self.account, &[], None, usize::MAX))? {
            let known = tables::API_KEY.get(self.now, self.account, &path)?;
            if known.is_some_and(|known: super::Stored<ApiKey>| known.value.hash == key.hash) {
                rows.copy(self.now, tables::API_KEY.key(self.account, &path));
                rows.copy(self.now, tables::API_KEY_HASH.key(self.account, key.hash.as_bytes()));
            }
        }
        for (path, key) in all(tables::SUBJECT_KEY.scan(self.backup, self.account, &[], None, usize::MAX))? {
            let known = tables::SUBJECT_KEY.get(self.now, self.account, &path)?;
            if known.is_some_and(|known: super::Stored<SubjectKey>| known.value.hash == key.hash) {
                rows.copy(self.now, tables::SUBJECT_KEY.key(self.account, &path));
                rows.copy(self.now, tables::SUBJECT_KEY_HASH.key(self.account, key.hash.as_bytes()));
            }
        }
        Ok(())
    }
}

/// What is unique among all accounts follows the account's rows, or refuses them.
fn move_indexes(context: &mut Context<'_>, rows: &Backup) -> Result<(), Rejection> {
    let account = context.account;
    let (before, after) = (root_email(context.rows, account)?, root_email(rows, account)?);
    if before != after {
        if let Some(before) = before {
            tables::ROOT_EMAIL.delete(context.rows, before.as_bytes());
        }
        if let Some(after) = after {
            if tables::ROOT_EMAIL.get(context.rows, after.as_bytes())?.is_some() {
                return Err(Rejection::EmailTaken);
            }
            tables::ROOT_EMAIL.put(context.rows, after.as_bytes(), &account)?;
        }
    }
    // A holder that the cluster knows was taken over as it is.
    if tables::HOLDER.has(context.rows, account, &[]) {
        return Ok(());
    }
    if let Some(holder) = tables::HOLDER.get(rows, account, &[])? {
        let key = holder.value.key;
        if tables::HOLDER_KEY.get(context.rows, key.as_bytes())?.is_some() {
            return Err(Rejection::KeyTaken);
        }
        tables::HOLDER_KEY.put(context.rows, key.as_bytes(), &account)?;
    }
    Ok(())
}

/// The folded e-mail address by which the account's root user is found.
fn root_email(rows: &dyn Read, account: AccountId) -> Result<Option<String>, Rejection> {
    let Some(found) = account::find(rows, account)? else { return Ok(None) };
    let (Some(root), AccountState::Open) = (found.value.root(), found.value.state) else { return Ok(None) };
    let user = super::user::find(rows, account, root)?.map(|row| row.value);
    let user = user.filter(|user| user.status != UserStatus::Deleted);
    Ok(user.and_then(|user| Some(user.email?.folded())))
}

/// Forgets what came of a restore, by the bytes of the account.
fn forget(rows: &mut dyn Rows, account: &[u8]) -> Result<(), Rejection> {
    for (path, _) in tables::RESTORE_PART.scan(rows, account)? {
        tables::RESTORE_PART.delete(rows, &path);
    }
    tables::RESTORE.delete(rows, account);
    Ok(())
}

/// A name without roles is there for its keys: it goes with them.
fn tidy(rows: &mut dyn Rows, account: AccountId) -> Result<(), Rejection> {
    for (id, subject) in all(tables::SUBJECT.scan(rows, account, &[], None, usize::MAX))? {
        let has_role = membership::has_any(rows, account, &Principal::Subject(subject.id))?;
        if !has_role && !subject_key::has_any(rows, account, subject.id)? {
            tables::SUBJECT.delete(rows, account, &id);
        }
    }
    Ok(())
}

fn drop_recovery(rows: &mut dyn Rows, account: AccountId) -> Result<bool, Rejection> {
    let Some(holder) = tables::HOLDER.get(rows, account, &[])? else { return Ok(false) };
    let Some(secret) = holder.value.recovery else { return Ok(false) };
    tables::HOLDER_RECOVERY.delete(rows, secret.as_bytes());
    tables::HOLDER.put(rows, account, &[], &KeyHolder { recovery: None, ..holder.value })?;
    Ok(true)
}

/// Deletes all rows of a table of the account, and says how many there were.
fn clear(rows: &mut dyn Rows, account: AccountId, tag: u8) -> u64 {
    let keys = keys_below(rows, &below(account, tag));
    for key in &keys {
        rows.delete(key);
    }
    keys.len() as u64
}

fn below(account: AccountId, tag: u8) -> Vec<u8> {
    [&prefix_of(account)[..], &[tag]].concat()
}

fn keys_below(rows: &dyn Read, prefix: &[u8]) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    rows.scan(prefix, None, &mut |key, _| {
        keys.push(key.to_vec());
        ControlFlow::Continue(())
    });
    keys
}

fn all<V>(page: Result<Page<V>, Rejection>) -> Result<Vec<(Vec<u8>, V)>, Rejection> {
    Ok(page?.into_iter().map(|(key, row)| (key, row.value)).collect())
}

/// What belongs to sessions, beside the sessions themselves.
const SESSION_TAGS: [u8; 4] = [
    tables::PRINCIPAL_SESSION.tag(),
    tables::REFRESH.tag(),
    tables::SESSION_EXPIRY.tag(),
    tables::SESSION_REFRESH.tag(),
];

/// What a backup alone does not bring back.
const CREDENTIAL_TAGS: [u8; 10] = [
    tables::HOLDER.tag(),
    tables::SESSION.tag(),
    tables::PRINCIPAL_SESSION.tag(),
    tables::REFRESH.tag(),
    tables::SESSION_EXPIRY.tag(),
    tables::SESSION_REFRESH.tag(),
    tables::API_KEY.tag(),
    tables::API_KEY_HASH.tag(),
    tables::SUBJECT_KEY.tag(),
    tables::SUBJECT_KEY_HASH.tag(),
];

/// What stays as the cluster has it.
const CLUSTER_TAGS: [u8; 3] = [tables::SIGNING_KEY.tag(), tables::AUDIT_HEAD.tag(), tables::AUDIT.tag()];
