//! Key holders: whoever presents an account's key owns it (seed 003, contract part 3).
//!
//! The key is a UUID that the client drew. It is looked up by its hash, over all accounts; the account itself
//! has an id like any other, so that a new key takes nothing with it: rotating and recovering change one row.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::account::{self, Owner};
use super::rows::tables;
use super::{AccountId, Context, Noun, Principal, Read, Rejection, Reply, SecretHash, settings, subject_key};

/// The secrets of an account that is owned by its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyHolder {
    /// The account's key.
    pub key: SecretHash,
    /// What gives the account a new key when the old one is lost; given out once.
    pub recovery: Option<SecretHash>,
}

/// A new key for whoever holds the recovery secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    pub presented: SecretHash,
    pub key: SecretHash,
    /// The recovery secret from then on: the presented one is good once.
    pub next: SecretHash,
}

/// The account that belongs to whoever holds that key.
///
/// # Errors
/// [`Rejection::Damaged`] if a row does not decode; so for the others here.
pub fn account_of(rows: &dyn Read, key: &SecretHash) -> Result<Option<AccountId>, Rejection> {
    Ok(tables::HOLDER_KEY.get(rows, key.as_bytes())?.map(|row| row.value))
}

/// The account that this recovery secret gives a new key to.
///
/// # Errors
/// As [`account_of`].
pub fn account_of_recovery(rows: &dyn Read, secret: &SecretHash) -> Result<Option<AccountId>, Rejection> {
    Ok(tables::HOLDER_RECOVERY.get(rows, secret.as_bytes())?.map(|row| row.value))
}

/// What an account holds, in numbers: what a new key is told that it owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    pub roles: usize,
    /// Whoever has a role, once each.
    pub members: usize,
    /// Permissions that some role holds, once each.
    pub permissions: usize,
    /// Keys of subjects, revoked and expired ones too.
    pub subject_keys: usize,
    /// Whether the settings were ever changed.
    pub has_settings: bool,
}

/// Counts what is in an account. Reads all of it, so it is for what happens seldom.
///
/// # Errors
/// As [`account_of`].
pub fn holdings(rows: &dyn Read, account: AccountId) -> Result<Holdings, Rejection> {
    let members = tables::MEMBERSHIP.scan(rows, account, &[], None, usize::MAX)?;
    let members: BTreeSet<_> =
        members.iter().filter_map(|(key, _)| key.get(..Principal::KEY_BYTES)).collect();
    let permissions = tables::PERMISSION_ROLE.scan(rows, account, &[], None, usize::MAX)?;
    let permissions: BTreeSet<_> =
        permissions.iter().filter_map(|(key, _)| key.split(|byte| *byte == 0).next()).collect();
    Ok(Holdings {
        roles: tables::ROLE.scan(rows, account, &[], None, usize::MAX)?.len(),
        members: members.len(),
        permissions: permissions.len(),
        subject_keys: subject_key::count(rows, account)?,
        has_settings: settings::find(rows, account)?.is_some(),
    })
}

/// Opens an account for a key that has none. Of several nodes that do so at once, the first in the log wins.
pub(super) fn open(context: &mut Context<'_>, key: SecretHash) -> Result<Reply, Rejection> {
    if account_of(context.rows, &key)?.is_some() {
        return Err(Rejection::KeyTaken);
    }
    account::add(context, Owner::KeyHolder)?;
    save(context, &KeyHolder { key, recovery: None })?;
    tables::HOLDER_KEY.put(context.rows, key.as_bytes(), &context.account)?;
    Ok(Reply::Done)
}

/// Replaces the key: the old one owns nothing from then on.
pub(super) fn rotate(context: &mut Context<'_>, next: SecretHash) -> Result<Reply, Rejection> {
    let mut holder = existing(context)?;
    replace_key(context, &mut holder, next)?;
    save(context, &holder)?;
    Ok(Reply::Done)
}

/// Sets the recovery secret, once in the life of an account.
pub(super) fn set_recovery(context: &mut Context<'_>, secret: SecretHash) -> Result<Reply, Rejection> {
    let mut holder = existing(context)?;
    if holder.recovery.is_some() {
        return Err(Rejection::RecoveryIssued);
    }
    replace_recovery(context, &mut holder, secret)?;
    save(context, &holder)?;
    Ok(Reply::Done)
}

/// Gives the account a new key and a new recovery secret; the presented one has been used.
pub(super) fn recover(context: &mut Context<'_>, recovery: &Recovery) -> Result<Reply, Rejection> {
    if account_of_recovery(context.rows, &recovery.presented)? != Some(context.account) {
        return Err(Rejection::BadCredentials);
    }
    let mut holder = existing(context)?;
    if holder.key != recovery.key {
        replace_key(context, &mut holder, recovery.key)?;
    }
    replace_recovery(context, &mut holder, recovery.next)?;
    save(context, &holder)?;
    Ok(Reply::Done)
}

fn replace_key(context: &mut Context<'_>, holder: &mut KeyHolder, next: SecretHash) -> Result<(), Rejection> {
    if account_of(context.rows, &next)?.is_some() {
        return Err(Rejection::KeyTaken);
    }
    tables::HOLDER_KEY.delete(context.rows, holder.key.as_bytes());
    tables::HOLDER_KEY.put(context.rows, next.as_bytes(), &context.account)?;
    holder.key = next;
    Ok(())
}

fn replace_recovery(
    context: &mut Context<'_>,
    holder: &mut KeyHolder,
    next: SecretHash,
) -> Result<(), Rejection> {
    if account_of_recovery(context.rows, &next)?.is_some() {
        return Err(Rejection::IdTaken);
    }
    if let Some(old) = &holder.recovery {
        tables::HOLDER_RECOVERY.delete(context.rows, old.as_bytes());
    }
    tables::HOLDER_RECOVERY.put(context.rows, next.as_bytes(), &context.account)?;
    holder.recovery = Some(next);
    Ok(())
}

fn existing(context: &Context<'_>) -> Result<KeyHolder, Rejection> {
    let found = tables::HOLDER.get(context.rows, context.account, &[])?;
    found.map(|row| row.value).ok_or(Rejection::NotFound(Noun::Account))
}

fn save(context: &mut Context<'_>, holder: &KeyHolder) -> Result<(), Rejection> {
    tables::HOLDER.put(context.rows, context.account, &[], holder)
}
