//! Roles: named sets of permissions. A scope is a permission by another name.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::rows::{joined, tables};
use super::{
    AccountId, Context, Label, Noun, Permission, Read, Rejection, Reply, RoleName, Stored, Timestamp,
    membership,
};

/// A set of permissions with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    pub name: RoleName,
    pub description: Option<Label>,
    pub permissions: BTreeSet<Permission>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What a new role needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewRole {
    pub name: RoleName,
    pub description: Option<Label>,
    pub permissions: BTreeSet<Permission>,
}

/// What to change; an empty description takes it away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleChanges {
    pub description: Option<Label>,
    pub add: BTreeSet<Permission>,
    pub remove: BTreeSet<Permission>,
}

/// The most permissions in a role.
pub const MAX_PERMISSIONS: usize = 1_000;

/// The role with that name.
///
/// # Errors
/// [`Rejection::Damaged`] if a row does not decode; so for the others here.
pub fn find(rows: &dyn Read, account: AccountId, role: &RoleName) -> Result<Option<Stored<Role>>, Rejection> {
    tables::ROLE.get(rows, account, role.as_str().as_bytes())
}

/// At most `limit` roles behind `after`, by name.
///
/// # Errors
/// As [`find`].
pub fn list(
    rows: &dyn Read,
    account: AccountId,
    after: Option<&RoleName>,
    limit: usize,
) -> Result<Vec<Stored<Role>>, Rejection> {
    let after = after.map(|role| role.as_str().as_bytes());
    let page = tables::ROLE.scan(rows, account, &[], after, limit)?;
    Ok(page.into_iter().map(|(_, row)| row).collect())
}

/// The roles that hold `permission`, directly or by a `*`, in order.
///
/// # Errors
/// As [`find`].
pub fn which_hold(
    rows: &dyn Read,
    account: AccountId,
    permission: &str,
) -> Result<BTreeSet<RoleName>, Rejection> {
    let mut roles = BTreeSet::new();
    for covering in Permission::covering(permission) {
        let prefix = joined(covering.as_bytes(), &[]);
        for (key, _) in tables::PERMISSION_ROLE.scan(rows, account, &prefix, None, usize::MAX)? {
            let name = key.get(prefix.len()..).and_then(|name| std::str::from_utf8(name).ok());
            roles.insert(RoleName::parse(name.ok_or(Rejection::Damaged)?)?);
        }
    }
    Ok(roles)
}

/// Whether the role holds exactly that permission text.
pub(super) fn has(rows: &dyn Read, account: AccountId, role: &RoleName, permission: &str) -> bool {
    tables::PERMISSION_ROLE.has(rows, account, &joined(permission.as_bytes(), role.as_str().as_bytes()))
}

pub(super) fn create(context: &mut Context<'_>, new: &NewRole) -> Result<Reply, Rejection> {
    if find(context.rows, context.account, &new.name)?.is_some() {
        return Err(Rejection::RoleExists);
    }
    let role = Role {
        name: new.name.clone(),
        description: new.description.clone().filter(|text| !text.as_str().is_empty()),
        permissions: BTreeSet::new(),
        created_at: context.at,
        updated_at: context.at,
    };
    save(context, role, &new.permissions, &BTreeSet::new())
}

pub(super) fn update(
    context: &mut Context<'_>,
    name: &RoleName,
    changes: &RoleChanges,
) -> Result<Reply, Rejection> {
    let before = existing(context, name)?;
    let mut role = before.clone();
    if let Some(text) = &changes.description {
        role.description = Some(text.clone()).filter(|text| !text.as_str().is_empty());
    }
    let add: BTreeSet<_> = changes.add.difference(&before.permissions).cloned().collect();
    let remove: BTreeSet<_> = changes.remove.intersection(&before.permissions).cloned().collect();
    if role == before && add.is_empty() && remove.is_empty() {
        return Ok(Reply::Changed(false));
    }
    save(context, role, &add, &remove)?;
    Ok(Reply::Changed(true))
}

/// Deletes the role, its permissions and its memberships (contract part 3: a role made again is empty).
pub(super) fn delete(context: &mut Context<'_>, name: &RoleName) -> Result<Reply, Rejection> {
    let role = existing(context, name)?;
    let permissions = role.permissions.clone();
    membership::remove_members(context, name)?;
    save(context, role, &BTreeSet::new(), &permissions)?;
    tables::ROLE.delete(context.rows, context.account, name.as_str().as_bytes());
    Ok(Reply::Done)
}

fn existing(context: &Context<'_>, name: &RoleName) -> Result<Role, Rejection> {
    let found = find(context.rows, context.account, name)?;
    found.map(|row| row.value).ok_or(Rejection::NotFound(Noun::Role))
}

fn save(
    context: &mut Context<'_>,
    mut role: Role,
    add: &BTreeSet<Permission>,
    remove: &BTreeSet<Permission>,
) -> Result<Reply, Rejection> {
    let name = role.name.as_str().as_bytes().to_vec();
    for permission in remove {
        role.permissions.remove(permission);
        let key = joined(permission.as_str().as_bytes(), &name);
        tables::PERMISSION_ROLE.delete(context.rows, context.account, &key);
    }
    for permission in add {
        role.permissions.insert(permission.clone());
        let key = joined(permission.as_str().as_bytes(), &name);
        tables::PERMISSION_ROLE.put(context.rows, context.account, &key, &())?;
    }
    if role.permissions.len() > MAX_PERMISSIONS {
        let what = "permissions in a role".to_owned();
        return Err(Rejection::LimitReached { what, limit: MAX_PERMISSIONS as u64 });
    }
    role.updated_at = context.at;
    tables::ROLE.put(context.rows, context.account, &name, &role)?;
    Ok(Reply::Done)
}
