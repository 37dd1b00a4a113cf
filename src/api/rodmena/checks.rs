//! Permission checks: what a user may do, and who may do something.

use conclave_cluster::state::View;
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::Reader;
use super::envelope::{bare, envelope, lists, wraps};
use super::memberships::{MembershipView, NOT_KEY_BACKED, members, must_fit};
use super::permissions::PermissionView;
use super::seen::Seen;
use super::{Answer, Api, Call, Operation, Route, names, route};
use crate::domain::{
    AccountId, Permission, Principal, Rejection, UserName, authority, membership, role, subject,
};
use crate::http::problem::Problem;

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(GET "/api/has_permission/{user}/{permission}", has_permission, user, permission),
        route!(GET "/api/user_permissions/{user}", list, user),
        route!(GET "/api/which_roles_can/{permission}", which_roles, permission),
        route!(GET "/api/which_users_can/{permission}", which_users, permission),
    ]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        wraps::<Verdict>(Operation::read(
            "GET /api/has_permission/{user}/{permission}",
            "authzUserHasPermission",
            "Whether a user has a permission",
        ))
        .about("A user that nobody knows has none: that is an answer, not an error."),
        wraps::<UserPermissions>(Operation::read(
            "GET /api/user_permissions/{user}",
            "authzListUserPermissions",
            "Lists what a user may do",
        ))
        .about("A permission that is held through two roles is listed once."),
        lists::<RoleName>(Operation::read(
            "GET /api/which_roles_can/{permission}",
            "authzWhichRolesCan",
            "Lists the roles that have a permission",
        )),
        lists::<MembershipView>(Operation::read(
            "GET /api/which_users_can/{permission}",
            "authzWhichUsersCan",
            "Lists who has a permission, and by which role",
        ))
        .about("A row for each role that gives it.")
        .refuses(&[422]),
    ]
}

/// The answer to a question about one user.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = AuthzVerdict)]
pub(super) struct Verdict {
    pub(super) has_permission: bool,
    /// `user_not_key_backed`, where the account has `strict_users` on and the user has no live key of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<&'static str>,
}

impl Verdict {
    /// What `ask` says of the user, where nothing bars it from everything.
    pub(super) fn about(
        reader: &Reader,
        user: &UserName,
        ask: impl FnOnce(&View, AccountId, &Principal) -> Result<bool, Rejection>,
    ) -> Result<Self, Problem> {
        reader.ask(|rows, account| {
            let id = subject::id_of(user);
            if subject::is_barred(rows, account, id, reader.now)? {
                return Ok(Self { has_permission: false, reason: Some(NOT_KEY_BACKED) });
            }
            let has_permission = ask(rows, account, &Principal::Subject(id))?;
            Ok(Self { has_permission, reason: None })
        })
    }

    /// Whether the user has the permission.
    pub(super) fn on_permission(
        reader: &Reader,
        user: &UserName,
        permission: &Permission,
    ) -> Result<Self, Problem> {
        Self::about(reader, user, |rows, account, principal| holds(rows, account, principal, permission))
    }
}

/// Whether a user has a permission. One that nobody knows has none.
pub(super) fn holds(
    rows: &View,
    account: AccountId,
    principal: &Principal,
    permission: &Permission,
) -> Result<bool, Rejection> {
    match authority::holds(rows, account, principal, permission.as_str()) {
        Err(Rejection::NotFound(_)) => Ok(false),
        other => other,
    }
}

async fn has_permission(api: &Api, call: &Call, user: &str, permission: &str) -> Answer {
    let (user, permission) = (names::user(user)?, names::permission(permission)?);
    let reader = api.reading(call).await?;
    let verdict = Verdict::on_permission(&reader, &user, &permission)?;
    let seen = Seen::new("check.permission", format!("subject/{user} {permission}"));
    api.seen(call, &reader, seen.answered(verdict.has_permission));
    Ok(envelope(api, &reader.rows, &format!("Whether {user} has permission {permission}"), verdict))
}

#[derive(Default, Serialize, ToSchema)]
#[schema(as = AuthzUserPermissions)]
struct UserPermissions {
    count: usize,
    permissions: Vec<PermissionView>,
    /// As in a check.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<&'static str>,
}

async fn list(api: &Api, call: &Call, user: &str) -> Answer {
    let user = names::user(user)?;
    let reader = api.reading(call).await?;
    let held = reader.ask(|rows, account| {
        let id = subject::id_of(&user);
        if subject::is_barred(rows, account, id, reader.now)? {
            return Ok(UserPermissions { reason: Some(NOT_KEY_BACKED), ..UserPermissions::default() });
        }
        let held = membership::permissions_of(rows, account, &Principal::Subject(id))?;
        let permissions: Vec<_> = held.into_iter().map(|name| PermissionView { name: name.into() }).collect();
        Ok(UserPermissions { count: permissions.len(), permissions, reason: None })
    })?;
    api.seen(call, &reader, Seen::new("list.user-permissions", format!("subject/{user}")));
    Ok(envelope(api, &reader.rows, &format!("Permissions of {user}"), held))
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuthzRoleName)]
struct RoleName {
    role: String,
}

async fn which_roles(api: &Api, call: &Call, permission: &str) -> Answer {
    let permission = names::permission(permission)?;
    let reader = api.reading(call).await?;
    let roles = reader.ask(|rows, account| role::which_hold(rows, account, permission.as_str()))?;
    let roles: Vec<RoleName> = roles.into_iter().map(|role| RoleName { role: role.into() }).collect();
    api.seen(call, &reader, Seen::new("list.roles", permission.to_string()));
    Ok(bare(&reader.rows, roles))
}

async fn which_users(api: &Api, call: &Call, permission: &str) -> Answer {
    let permission = names::permission(permission)?;
    let reader = api.reading(call).await?;
    let users = who_can(&reader, &permission)?;
    api.seen(call, &reader, Seen::new("list.memberships", permission.to_string()));
    Ok(bare(&reader.rows, users))
}

/// Who has a permission, a row for each role that gives it.
pub(super) fn who_can(reader: &Reader, permission: &Permission) -> Result<Vec<MembershipView>, Problem> {
    let users = reader.ask(|rows, account| {
        let roles = role::which_hold(rows, account, permission.as_str())?;
        members(rows, account, &roles)
    })?;
    must_fit(users.len())?;
    Ok(users)
}
