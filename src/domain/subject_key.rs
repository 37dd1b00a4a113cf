//! Keys of subjects: what a user of seed 003 shows to an application, which asks us whose it is (contract
//! part 3.4). They open no session.

use serde::{Deserialize, Serialize};

use super::rows::tables;
use super::{
    AccountId, ApiKeyId, Context, Label, Lifetime, Noun, Read, Rejection, Reply, SecretHash, SubjectId,
    Timestamp, UserName, subject,
};

/// A key of a subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectKey {
    pub id: ApiKeyId,
    pub hash: SecretHash,
    /// The beginning of the key, by which people tell keys apart.
    pub prefix: Label,
    pub label: Option<Label>,
    pub created_at: Timestamp,
    /// Never, if it is `None`.
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    /// About when it was last asked for: uses are written down some time later, in batches.
    pub last_used_at: Option<Timestamp>,
}

/// What a new key needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewSubjectKey {
    pub id: ApiKeyId,
    pub hash: SecretHash,
    pub prefix: Label,
    pub label: Option<Label>,
    pub expires_at: Option<Timestamp>,
}

/// Why a key says nothing of its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFault {
    Revoked,
    Expired,
}

/// The most keys of one subject that are neither revoked nor expired.
pub const MAX_LIVE_KEYS: usize = 25;
/// How far in the future a key may end.
pub const MAX_LIFETIME: Lifetime = Lifetime::from_secs(365 * 86_400);

impl SubjectKey {
    /// What is wrong with the key at `now`, if anything is.
    #[must_use]
    pub fn fault(&self, now: Timestamp) -> Option<KeyFault> {
        if self.revoked_at.is_some() {
            Some(KeyFault::Revoked)
        } else if self.expires_at.is_some_and(|end| end <= now) {
            Some(KeyFault::Expired)
        } else {
            None
        }
    }
}

/// The key with that hash, good or not, and whose it is.
///
/// # Errors
/// [`Rejection::Damaged`] if a row does not decode; so for the others here.
pub fn find(
    rows: &dyn Read,
    account: AccountId,
    hash: &SecretHash,
) -> Result<Option<(SubjectId, SubjectKey)>, Rejection> {
    let Some(pointer) = tables::SUBJECT_KEY_HASH.get(rows, account, hash.as_bytes())? else {
        return Ok(None);
    };
    let (subject, id) = pointer.value;
    let key = tables::SUBJECT_KEY.get(rows, account, &path(subject, id))?;
    Ok(key.map(|row| (subject, row.value)))
}

/// One key of a subject.
///
/// # Errors
/// As [`find`].
pub fn get(
    rows: &dyn Read,
    account: AccountId,
    subject: SubjectId,
    id: ApiKeyId,
) -> Result<Option<SubjectKey>, Rejection> {
    Ok(tables::SUBJECT_KEY.get(rows, account, &path(subject, id))?.map(|row| row.value))
}

/// Every key of a subject, revoked and expired ones too.
///
/// # Errors
/// As [`find`].
pub fn list(rows: &dyn Read, account: AccountId, subject: SubjectId) -> Result<Vec<SubjectKey>, Rejection> {
    let keys = tables::SUBJECT_KEY.scan(rows, account, subject.uuid().as_bytes(), None, usize::MAX)?;
    Ok(keys.into_iter().map(|(_, row)| row.value).collect())
}

/// How many keys the account has, of all subjects.
///
/// # Errors
/// As [`find`].
pub fn count(rows: &dyn Read, account: AccountId) -> Result<usize, Rejection> {
    Ok(tables::SUBJECT_KEY.scan(rows, account, &[], None, usize::MAX)?.len())
}

/// Whether the subject has a key that is good at `now`: what makes it key-backed in a strict account.
///
/// # Errors
/// As [`find`].
pub fn has_live(
    rows: &dyn Read,
    account: AccountId,
    subject: SubjectId,
    now: Timestamp,
) -> Result<bool, Rejection> {
    Ok(list(rows, account, subject)?.iter().any(|key| key.fault(now).is_none()))
}

pub(super) fn has_any(rows: &dyn Read, account: AccountId, subject: SubjectId) -> Result<bool, Rejection> {
    Ok(!tables::SUBJECT_KEY.scan(rows, account, subject.uuid().as_bytes(), None, 1)?.is_empty())
}

pub(super) fn add(
    context: &mut Context<'_>,
    name: &UserName,
    new: &NewSubjectKey,
) -> Result<Reply, Rejection> {
    if let Some(end) = new.expires_at {
        check_end(end, context.at)?;
    }
    let subject = subject::id_of(name);
    let keys = list(context.rows, context.account, subject)?;
    if keys.iter().filter(|key| key.fault(context.at).is_none()).count() >= MAX_LIVE_KEYS {
        return Err(Rejection::LimitReached {
            what: "live keys of a user".to_owned(),
            limit: MAX_LIVE_KEYS as u64,
        });
    }
    let is_taken = tables::SUBJECT_KEY_HASH.has(context.rows, context.account, new.hash.as_bytes());
    if is_taken || keys.iter().any(|key| key.id == new.id) {
        return Err(Rejection::IdTaken);
    }
    subject::ensure(context, name)?;
    let key = SubjectKey {
        id: new.id,
        hash: new.hash,
        prefix: new.prefix.clone(),
        label: new.label.clone(),
        created_at: context.at,
        expires_at: new.expires_at,
        revoked_at: None,
        last_used_at: None,
    };
    save(context, subject, &key)?;
    tables::SUBJECT_KEY_HASH.put(context.rows, context.account, new.hash.as_bytes(), &(subject, new.id))?;
    Ok(Reply::Done)
}

pub(super) fn revoke(context: &mut Context<'_>, name: &UserName, id: ApiKeyId) -> Result<Reply, Rejection> {
    let subject = subject::id_of(name);
    let mut key = existing(context, subject, id)?;
    if key.revoked_at.is_some() {
        return Ok(Reply::Changed(false));
    }
    key.revoked_at = Some(context.at);
    save(context, subject, &key)?;
    Ok(Reply::Changed(true))
}

/// Lets a key end earlier than it would have; never later.
pub(super) fn shorten(
    context: &mut Context<'_>,
    name: &UserName,
    id: ApiKeyId,
    end: Timestamp,
) -> Result<Reply, Rejection> {
    let subject = subject::id_of(name);
    let mut key = existing(context, subject, id)?;
    if key.revoked_at.is_some() {
        return Err(Rejection::invalid("expires_at", "the key is revoked"));
    }
    check_end(end, context.at)?;
    if key.expires_at.is_some_and(|old| old <= end) {
        return Err(Rejection::invalid("expires_at", "a key's end only moves to an earlier time"));
    }
    key.expires_at = Some(end);
    save(context, subject, &key)?;
    Ok(Reply::Changed(true))
}

/// Writes down that a key was asked for. One that is gone by now is passed over.
pub(super) fn used(
    context: &mut Context<'_>,
    subject: SubjectId,
    id: ApiKeyId,
    at: Timestamp,
) -> Result<(), Rejection> {
    let Some(mut key) = get(context.rows, context.account, subject, id)? else { return Ok(()) };
    if key.last_used_at.is_none_or(|last| last < at) {
        key.last_used_at = Some(at);
        save(context, subject, &key)?;
    }
    Ok(())
}

fn check_end(end: Timestamp, now: Timestamp) -> Result<(), Rejection> {
    if now < end && end <= now.plus(MAX_LIFETIME) {
        Ok(())
    } else {
        Err(Rejection::invalid("expires_at", "a key ends in the future, within 365 days"))
    }
}

fn existing(context: &Context<'_>, subject: SubjectId, id: ApiKeyId) -> Result<SubjectKey, Rejection> {
    get(context.rows, context.account, subject, id)?.ok_or(Rejection::NotFound(Noun::ApiKey))
}

fn save(context: &mut Context<'_>, subject: SubjectId, key: &SubjectKey) -> Result<(), Rejection> {
    tables::SUBJECT_KEY.put(context.rows, context.account, &path(subject, key.id), key)
}

fn path(subject: SubjectId, key: ApiKeyId) -> Vec<u8> {
    [subject.uuid().as_bytes().as_slice(), key.uuid().as_bytes()].concat()
}
