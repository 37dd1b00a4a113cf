//! Who has which role.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::rows::{joined, tables};
use super::{
    AccountId, Context, Noun, Permission, Principal, Read, Rejection, Reply, RoleName, Timestamp, role,
    subject,
};

/// That a principal has a role. The role may be missing: it then gives nothing until it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    pub since: Timestamp,
}

/// The most roles a principal may have.
pub const MAX_ROLES: usize = 2_000;

/// The names of the principal's roles, in order.
///
/// # Errors
/// [`Rejection::Damaged`] if a row does not decode; so for the others here.
pub fn roles_of(
    rows: &dyn Read,
    account: AccountId,
    principal: &Principal,
) -> Result<Vec<RoleName>, Rejection> {
    let found = tables::MEMBERSHIP.scan(rows, account, &principal.key(), None, usize::MAX)?;
    let names = found.into_iter().map(|(key, _)| {
        let name = key.get(Principal::KEY_BYTES..).and_then(|name| std::str::from_utf8(name).ok());
        RoleName::parse(name.ok_or(Rejection::Damaged)?)
    });
    names.collect()
}

/// Whether the principal has the role.
#[must_use]
pub fn is_member(rows: &dyn Read, account: AccountId, principal: &Principal, role: &RoleName) -> bool {
    tables::MEMBERSHIP.has(rows, account, &key(principal, role))
}

/// Whether the principal has any role.
pub(super) fn has_any(rows: &dyn Read, account: AccountId, principal: &Principal) -> Result<bool, Rejection> {
    Ok(!tables::MEMBERSHIP.scan(rows, account, &principal.key(), None, 1)?.is_empty())
}

/// At most `limit` principals behind `after` that have the role.
///
/// # Errors
/// As [`roles_of`].
pub fn members_of(
    rows: &dyn Read,
    account: AccountId,
    role: &RoleName,
    after: Option<&Principal>,
    limit: usize,
) -> Result<Vec<Principal>, Rejection> {
    let prefix = joined(role.as_str().as_bytes(), &[]);
    let after = after.map(|principal| joined(role.as_str().as_bytes(), &principal.key()));
    let found = tables::ROLE_MEMBER.scan(rows, account, &prefix, after.as_deref(), limit)?;
    let members = found.iter().map(|(key, _)| key.get(prefix.len()..).and_then(Principal::from_key));
    members.map(|member| member.ok_or(Rejection::Damaged)).collect()
}

/// Every permission the principal's roles hold, as they are written there.
///
/// # Errors
/// As [`roles_of`].
pub fn permissions_of(
    rows: &dyn Read,
    account: AccountId,
    principal: &Principal,
) -> Result<BTreeSet<Permission>, Rejection> {
    let mut permissions = BTreeSet::new();
    for name in roles_of(rows, account, principal)? {
        if let Some(role) = role::find(rows, account, &name)? {
            permissions.extend(role.value.permissions);
        }
    }
    Ok(permissions)
}

pub(super) fn assign(
    context: &mut Context<'_>,
    principal: &Principal,
    name: &RoleName,
) -> Result<Reply, Rejection> {
    principal_exists(context, principal)?;
    if role::find(context.rows, context.account, name)?.is_none() {
        return Err(Rejection::NotFound(Noun::Role));
    }
    add(context, principal, name).map(Reply::Changed)
}

pub(super) fn unassign(
    context: &mut Context<'_>,
    principal: &Principal,
    name: &RoleName,
) -> Result<Reply, Rejection> {
    principal_exists(context, principal)?;
    let was_member = is_member(context.rows, context.account, principal, name);
    remove(context, principal, name)?;
    Ok(Reply::Changed(was_member))
}

/// Makes these the roles of the principal, whatever others were given or taken meanwhile.
pub(super) fn set(
    context: &mut Context<'_>,
    principal: &Principal,
    roles: &[RoleName],
) -> Result<Reply, Rejection> {
    principal_exists(context, principal)?;
    let mut is_changed = false;
    for had in roles_of(context.rows, context.account, principal)? {
        if !roles.contains(&had) {
            remove(context, principal, &had)?;
            is_changed = true;
        }
    }
    for name in roles {
        if is_member(context.rows, context.account, principal, name) {
            continue;
        }
        if role::find(context.rows, context.account, name)?.is_none() {
            return Err(Rejection::NotFound(Noun::Role));
        }
        is_changed |= add(context, principal, name)?;
    }
    Ok(Reply::Changed(is_changed))
}

/// Adds the membership and says whether it is new.
pub(super) fn add(
    context: &mut Context<'_>,
    principal: &Principal,
    role: &RoleName,
) -> Result<bool, Rejection> {
    if is_member(context.rows, context.account, principal, role) {
        return Ok(false);
    }
    if roles_of(context.rows, context.account, principal)?.len() >= MAX_ROLES {
        return Err(Rejection::LimitReached { what: "roles".to_owned(), limit: MAX_ROLES as u64 });
    }
    let member = joined(role.as_str().as_bytes(), &principal.key());
    let since = Membership { since: context.at };
    tables::MEMBERSHIP.put(context.rows, context.account, &key(principal, role), &since)?;
    tables::ROLE_MEMBER.put(context.rows, context.account, &member, &())?;
    Ok(true)
}

/// Takes every role from a principal that is deleted.
pub(super) fn remove_all(context: &mut Context<'_>, principal: &Principal) -> Result<(), Rejection> {
    for role in roles_of(context.rows, context.account, principal)? {
        remove(context, principal, &role)?;
    }
    Ok(())
}

/// Takes a role that is deleted from every member.
pub(super) fn remove_members(context: &mut Context<'_>, role: &RoleName) -> Result<(), Rejection> {
    for principal in members_of(context.rows, context.account, role, None, usize::MAX)? {
        remove(context, &principal, role)?;
    }
    Ok(())
}

/// Takes the membership away, and a subject that has nothing left with it.
pub(super) fn remove(
    context: &mut Context<'_>,
    principal: &Principal,
    role: &RoleName,
) -> Result<(), Rejection> {
    let member = joined(role.as_str().as_bytes(), &principal.key());
    tables::MEMBERSHIP.delete(context.rows, context.account, &key(principal, role));
    tables::ROLE_MEMBER.delete(context.rows, context.account, &member);
    match principal {
        Principal::Subject(id) => subject::tidy(context, *id),
        Principal::User(_) | Principal::Service(_) => Ok(()),
    }
}

/// Disabled principals may be given and lose roles; missing ones may not.
fn principal_exists(context: &Context<'_>, principal: &Principal) -> Result<(), Rejection> {
    let is_there = principal.exists(context.rows, context.account)?;
    if is_there { Ok(()) } else { Err(Rejection::NotFound(principal.noun())) }
}

fn key(principal: &Principal, role: &RoleName) -> Vec<u8> {
    [principal.key().as_slice(), role.as_str().as_bytes()].concat()
}
