//! Roles and their permissions.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::{Answer, Api, Call, Operation, Route, location, route};
use crate::api::call::bad_id;
use crate::api::reply::{self, Page, PageQuery, time};
use crate::api::signed::order;
use crate::app::permit::ReadRoles;
use crate::domain::role::{self, Role, RoleChanges};
use crate::domain::{Action, Label, Permission, Resource, RoleName};
use crate::http::problem::Problem;

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(GET "/v1/accounts/{account}/roles", list, account),
        route!(POST "/v1/accounts/{account}/roles", create, account),
        route!(GET "/v1/accounts/{account}/roles/{role}", show, account, role),
        route!(PATCH "/v1/accounts/{account}/roles/{role}", change, account, role),
        route!(DELETE "/v1/accounts/{account}/roles/{role}", remove, account, role),
    ]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::read("GET /v1/accounts/{account}/roles", "listRoles", "Lists the roles").query::<PageQuery>().lists::<RoleView>(),
        Operation::write("POST /v1/accounts/{account}/roles", "createRole", "Makes a role").about("Nobody gives permissions that they do not have themselves.").takes::<NewRole>(json!({"name": "developer", "description": "Builds the shop", "permissions": ["orders:read", "carts:*"]})).creates::<RoleView>().refuses(&[409]),
        Operation::read("GET /v1/accounts/{account}/roles/{role}", "getRole", "Shows a role").gives_tagged::<RoleView>(),
        Operation::write("PATCH /v1/accounts/{account}/roles/{role}", "updateRole", "Changes a role").guarded().takes::<RolePatch>(json!({"add_permissions": ["orders:write"], "remove_permissions": ["carts:*"]})).gives_tagged::<RoleView>(),
        Operation::write("DELETE /v1/accounts/{account}/roles/{role}", "deleteRole", "Deletes a role and takes it from everybody").guarded(),
    ]
}

#[derive(Serialize, ToSchema)]
#[schema(as = Role)]
struct RoleView {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    description: Option<String>,
    permissions: Vec<String>,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

impl RoleView {
    fn new(role: &Role) -> Self {
        Self {
            name: role.name.to_string(),
            description: role.description.as_ref().map(ToString::to_string),
            permissions: role.permissions.iter().map(ToString::to_string).collect(),
            created_at: time(role.created_at),
            updated_at: time(role.updated_at),
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRole {
    name: String,
    description: Option<String>,
    #[serde(default)]
    permissions: Vec<String>,
}

impl NewRole {
    pub(super) fn parse(&self) -> Result<role::NewRole, Problem> {
        Ok(role::NewRole {
            name: RoleName::parse(&self.name)?,
            description: self.description.as_deref().map(Label::parse).transpose()?,
            permissions: permissions(&self.permissions)?,
        })
    }
}

/// What to change; an empty description takes it away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RolePatch {
    description: Option<String>,
    #[serde(default)]
    add_permissions: Vec<String>,
    #[serde(default)]
    remove_permissions: Vec<String>,
}

impl RolePatch {
    pub(super) fn parse(&self) -> Result<RoleChanges, Problem> {
        Ok(RoleChanges {
            description: self.description.as_deref().map(Label::parse).transpose()?,
            add: permissions(&self.add_permissions)?,
            remove: permissions(&self.remove_permissions)?,
        })
    }
}

fn permissions(texts: &[String]) -> Result<BTreeSet<Permission>, Problem> {
    Ok(texts.iter().map(|text| Permission::parse(text)).collect::<Result<_, _>>()?)
}

/// The role in a path; what is no role name is a role that does not exist.
pub(super) fn role_name(text: &str) -> Result<RoleName, Problem> {
    RoleName::parse(text).map_err(|_| bad_id())
}

async fn list(api: &Api, call: &Call, account: &str) -> Answer {
    let page: PageQuery = call.query()?;
    let limit = page.limit()?;
    let after = page.after::<String>()?.map(|name| role_name(&name)).transpose()?;
    let signed = api.reader(call, account).await?;
    let permit = signed.caller.authorize::<ReadRoles>(&signed.now, &signed.rows)?;
    let rows = role::list(permit.rows(), permit.account(), after.as_ref(), limit + 1)?;
    let page = Page::new(rows, limit, |row| row.value.name.to_string(), |row| RoleView::new(&row.value));
    Ok(reply::at(signed.rows.revision(), StatusCode::OK, &page))
}

async fn create(api: &Api, call: &Call, account: &str) -> Answer {
    let new = call.json::<NewRole>()?.parse()?;
    let (caller, request) = api.writer(call, account).await?;
    let name = new.name.clone();
    let order = order(call, &caller, &request, None, Action::CreateRole(new))?;
    let done = api.app.execute(&order, &request).await?;
    let stored = role::find(&done.view, caller.account(), &name)?.ok_or_else(bad_id)?;
    let location = location(caller.account(), "roles", &name);
    Ok(reply::created(done.revision, stored.revision, &location, &RoleView::new(&stored.value)))
}

async fn show(api: &Api, call: &Call, account: &str, text: &str) -> Answer {
    let signed = api.reader(call, account).await?;
    let permit = signed.caller.authorize::<ReadRoles>(&signed.now, &signed.rows)?;
    let stored = role::find(permit.rows(), permit.account(), &role_name(text)?)?.ok_or_else(bad_id)?;
    let body = RoleView::new(&stored.value);
    Ok(reply::tagged(signed.rows.revision(), stored.revision, StatusCode::OK, &body))
}

async fn change(api: &Api, call: &Call, account: &str, text: &str) -> Answer {
    let changes = call.json::<RolePatch>()?.parse()?;
    let role = role_name(text)?;
    let (caller, request) = api.writer(call, account).await?;
    let about = Some(Resource::Role(role.clone()));
    let order = order(call, &caller, &request, about, Action::UpdateRole { role: role.clone(), changes })?;
    let done = api.app.execute(&order, &request).await?;
    let stored = role::find(&done.view, caller.account(), &role)?.ok_or_else(bad_id)?;
    Ok(reply::tagged(done.revision, stored.revision, StatusCode::OK, &RoleView::new(&stored.value)))
}

async fn remove(api: &Api, call: &Call, account: &str, text: &str) -> Answer {
    let role = role_name(text)?;
    let (caller, request) = api.writer(call, account).await?;
    let about = Some(Resource::Role(role.clone()));
    let order = order(call, &caller, &request, about, Action::DeleteRole { role })?;
    Ok(reply::empty(api.app.execute(&order, &request).await?.revision))
}
