//! Roles: list, make, delete.

use std::collections::BTreeSet;

use serde::Serialize;
use utoipa::ToSchema;

use super::envelope::{answers, bare, envelope, lists, wraps};
use super::seen::Seen;
use super::{Answer, Api, Call, MAX_ROWS, Operation, Route, names, route};
use crate::app::holders::Absent;
use crate::domain::role::{self, NewRole};
use crate::domain::{Action, Noun, Rejection};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(GET "/api/roles", list),
        route!(POST "/api/role/{role}", create, role),
        route!(DELETE "/api/role/{role}", delete, role),
    ]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        lists::<RoleView>(Operation::read("GET /api/roles", "authzListRoles", "Lists the roles"))
            .refuses(&[422]),
        answers(Operation::write("POST /api/role/{role}", "authzCreateRole", "Makes a role"))
            .about("Takes no body. One that is there stays as it is.")
            .refuses(&[403]),
        wraps::<Done>(Operation::write("DELETE /api/role/{role}", "authzDeleteRole", "Deletes a role"))
            .about("With its permissions and memberships: one that is made again is empty."),
    ]
}

/// What is in the way of changing a role that is not there.
pub(super) const NO_ROLE: Rejection = Rejection::NotFound(Noun::Role);

#[derive(Serialize, ToSchema)]
#[schema(as = AuthzRole)]
struct RoleView {
    role: String,
    description: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuthzDone)]
struct Done {
    /// Whether there was one.
    result: bool,
}

async fn list(api: &Api, call: &Call) -> Answer {
    let reader = api.reading(call).await?;
    let roles = reader.ask(|rows, account| role::list(rows, account, None, MAX_ROWS + 1))?;
    super::memberships::must_fit(roles.len())?;
    let roles: Vec<RoleView> = roles
        .into_iter()
        .map(|row| RoleView {
            role: row.value.name.into(),
            description: row.value.description.map(String::from),
        })
        .collect();
    api.seen(call, &reader, Seen::new("list.roles", "all"));
    Ok(bare(&reader.rows, roles))
}

async fn create(api: &Api, call: &Call, role: &str) -> Answer {
    let name = names::role(role)?;
    let tried = Seen::new("role.create", format!("role/{name}"));
    let action = Action::CreateRole(NewRole { name, description: None, permissions: BTreeSet::new() });
    let written = api.write(call, Absent::Open, action, |rule| *rule == Rejection::RoleExists).await?;
    api.tried(call, &written, true, tried);
    Ok(bare(&written.rows, true))
}

async fn delete(api: &Api, call: &Call, role: &str) -> Answer {
    let role = names::role(role)?;
    let tried = Seen::new("role.delete", format!("role/{role}"));
    let message = format!("Deleted role {role}, if it was there");
    let action = Action::DeleteRole { role };
    let written = api.write(call, Absent::Leave, action, |rule| *rule == NO_ROLE).await?;
    let result = written.is_done();
    api.tried(call, &written, result, tried);
    Ok(envelope(api, &written.rows, &message, Done { result }))
}
