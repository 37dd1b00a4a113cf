//! Permissions of a role: give, take, ask, list.

use serde::Serialize;
use utoipa::ToSchema;

use super::envelope::{answers, bare, envelope, wraps_list};
use super::roles::NO_ROLE;
use super::seen::Seen;
use super::{Answer, Api, Call, Operation, Route, names, route};
use crate::app::holders::Absent;
use crate::domain::Action;
use crate::domain::role::{self, RoleChanges};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(POST "/api/permission/{role}/{permission}", add, role, permission),
        route!(GET "/api/permission/{role}/{permission}", check, role, permission),
        route!(DELETE "/api/permission/{role}/{permission}", remove, role, permission),
        route!(GET "/api/role_permissions/{role}", list, role),
    ]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        answers(Operation::write(
            "POST /api/permission/{role}/{permission}",
            "authzAddPermission",
            "Gives a role a permission",
        ))
        .about("Takes no body. `false` where there is no such role."),
        answers(Operation::read(
            "GET /api/permission/{role}/{permission}",
            "authzRoleHasPermission",
            "Whether a role has a permission",
        )),
        answers(Operation::write(
            "DELETE /api/permission/{role}/{permission}",
            "authzRemovePermission",
            "Takes a permission from a role",
        ))
        .about("`true` also where it had none."),
        wraps_list::<PermissionView>(Operation::read(
            "GET /api/role_permissions/{role}",
            "authzListRolePermissions",
            "Lists the permissions of a role",
        )),
    ]
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuthzPermission)]
pub(super) struct PermissionView {
    pub(super) name: String,
}

async fn add(api: &Api, call: &Call, role: &str, permission: &str) -> Answer {
    let (role, permission) = (names::role(role)?, names::permission(permission)?);
    let tried = Seen::new("role.grant", format!("role/{role} {permission}"));
    let changes = RoleChanges { add: [permission].into(), ..RoleChanges::default() };
    let action = Action::UpdateRole { role, changes };
    let written = api.write(call, Absent::Leave, action, |rule| *rule == NO_ROLE).await?;
    let result = written.is_done();
    api.tried(call, &written, result, tried);
    Ok(bare(&written.rows, result))
}

async fn remove(api: &Api, call: &Call, role: &str, permission: &str) -> Answer {
    let (role, permission) = (names::role(role)?, names::permission(permission)?);
    let tried = Seen::new("role.withdraw", format!("role/{role} {permission}"));
    let changes = RoleChanges { remove: [permission].into(), ..RoleChanges::default() };
    let action = Action::UpdateRole { role, changes };
    let written = api.write(call, Absent::Leave, action, |rule| *rule == NO_ROLE).await?;
    api.tried(call, &written, true, tried);
    Ok(bare(&written.rows, true))
}

async fn check(api: &Api, call: &Call, role: &str, permission: &str) -> Answer {
    let (role, permission) = (names::role(role)?, names::permission(permission)?);
    let reader = api.reading(call).await?;
    let found = reader.ask(|rows, account| role::find(rows, account, &role))?;
    let result = found.is_some_and(|row| row.value.permissions.contains(&permission));
    api.seen(
        call,
        &reader,
        Seen::new("check.permission", format!("role/{role} {permission}")).answered(result),
    );
    Ok(bare(&reader.rows, result))
}

async fn list(api: &Api, call: &Call, role: &str) -> Answer {
    let role = names::role(role)?;
    let reader = api.reading(call).await?;
    let found = reader.ask(|rows, account| role::find(rows, account, &role))?;
    let permissions = found.map(|row| row.value.permissions).unwrap_or_default();
    let permissions: Vec<PermissionView> =
        permissions.into_iter().map(|name| PermissionView { name: name.into() }).collect();
    api.seen(call, &reader, Seen::new("list.permissions", format!("role/{role}")));
    Ok(envelope(api, &reader.rows, &format!("Permissions of role {role}"), permissions))
}
