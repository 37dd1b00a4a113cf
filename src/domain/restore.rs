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

mod merge;

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::audit::{self, Observation, Trail};
use super::authority::Caller;
use super::holder::KeyHolder;
use super::key::SigningKey;
use super::node;
use super::rows::{Page, from_bytes, is_row, next_account, prefix_of, tables};
use super::{
    AccountId, Actor, Context, Lifetime, Origin, Principal, Read, Rejection, Reply, RestoreId, Rows, Sealed,
    Timestamp, membership, subject_key,
};
use merge::{Backup, Merge, move_indexes};

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
    // It is another cluster, with an authority and nodes of its own.
    node::forget_all(rows)?;
    tables::SETUP_OFFER.delete(rows, &[]);
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

/// The secret that a row holds, and its name, where it is of a table whose rows hold one that is sealed.
#[must_use]
pub fn sealed_in(row: &RestoredRow) -> Option<(String, Sealed)> {
    let id = row.key.strip_prefix(&[tables::SIGNING_KEY.tag()])?;
    let key = from_bytes::<SigningKey>(&row.value).ok()?;
    Some((String::from_utf8_lossy(id).into_owned(), key.private))
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
