//! Subjects: plain names that hold roles and sign in nowhere (the users of seed 003).
//!
//! A subject is there as long as it has a role or a key: the original has no other notion of a user. Its id
//! follows from its name, so that it needs no index and two nodes never draw two for one name.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::rows::tables;
use super::{
    AccountId, Context, Noun, Principal, Read, Rejection, Reply, RoleName, SubjectId, Timestamp, UserName,
    membership, role, settings, subject_key,
};

/// A named subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    pub id: SubjectId,
    /// Case counts here.
    pub name: UserName,
    pub created_at: Timestamp,
}

/// The id of whoever has that name.
#[must_use]
pub fn id_of(name: &UserName) -> SubjectId {
    let hash: [u8; 32] = Sha256::digest([b"subject\0", name.as_str().as_bytes()].concat()).into();
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(hash) {
        *to = from;
    }
    // Version 8: made by a rule of one's own (RFC 9562 section 5.8).
    SubjectId::new(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

/// The subject with that id.
///
/// # Errors
/// [`Rejection::Damaged`] if the row does not decode; so for the others here.
pub fn find(rows: &dyn Read, account: AccountId, id: SubjectId) -> Result<Option<Subject>, Rejection> {
    Ok(tables::SUBJECT.get(rows, account, id.uuid().as_bytes())?.map(|row| row.value))
}

/// Whether the account is a strict one, and the subject has no key that is good at `now`: such a one is told no,
/// whatever it is asked about (contract part 3.4).
///
/// # Errors
/// As [`find`].
pub fn is_barred(
    rows: &dyn Read,
    account: AccountId,
    id: SubjectId,
    now: Timestamp,
) -> Result<bool, Rejection> {
    Ok(settings::of(rows, account)?.strict_users && !subject_key::has_live(rows, account, id, now)?)
}

/// Gives a role to whoever has that name. Changes nothing where it is had already.
pub(super) fn add_member(
    context: &mut Context<'_>,
    name: &UserName,
    role: &RoleName,
) -> Result<Reply, Rejection> {
    let id = id_of(name);
    if is_barred(context.rows, context.account, id, context.at)? {
        return Err(Rejection::NotKeyBacked);
    }
    if role::find(context.rows, context.account, role)?.is_none() {
        return Err(Rejection::NotFound(Noun::Role));
    }
    ensure(context, name)?;
    membership::add(context, &Principal::Subject(id), role).map(Reply::Changed)
}

/// Takes a role from whoever has that name, if it is had.
pub(super) fn remove_member(
    context: &mut Context<'_>,
    name: &UserName,
    role: &RoleName,
) -> Result<Reply, Rejection> {
    let principal = Principal::Subject(id_of(name));
    if !membership::is_member(context.rows, context.account, &principal, role) {
        return Ok(Reply::Changed(false));
    }
    membership::remove(context, &principal, role)?;
    Ok(Reply::Changed(true))
}

/// Makes the subject, if it is not there.
pub(super) fn ensure(context: &mut Context<'_>, name: &UserName) -> Result<SubjectId, Rejection> {
    let id = id_of(name);
    match find(context.rows, context.account, id)? {
        Some(subject) if subject.name == *name => {}
        // Two names with one SHA-256: nobody has found such yet.
        Some(_) => return Err(Rejection::IdTaken),
        None => {
            let subject = Subject { id, name: name.clone(), created_at: context.at };
            tables::SUBJECT.put(context.rows, context.account, id.uuid().as_bytes(), &subject)?;
        }
    }
    Ok(id)
}

/// Forgets a subject that has neither role nor key left.
pub(super) fn tidy(context: &mut Context<'_>, id: SubjectId) -> Result<(), Rejection> {
    let has_role = membership::has_any(context.rows, context.account, &Principal::Subject(id))?;
    if !has_role && !subject_key::has_any(context.rows, context.account, id)? {
        tables::SUBJECT.delete(context.rows, context.account, id.uuid().as_bytes());
    }
    Ok(())
}
