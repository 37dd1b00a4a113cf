//! Who has which role, from both sides.

use serde::Serialize;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::roles::role_name;
use super::{Answer, Api, Call, Operation, Route, find_for_writing, find_principal, must_exist, route};
use crate::api::call::bad_id;
use crate::api::reply::{self, Page, PageQuery};
use crate::api::signed::order;
use crate::app::permit::{ReadRoles, ReadUsers};
use crate::domain::{Action, Principal, Reply, RoleName, membership, role};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(GET "/v1/accounts/{account}/roles/{role}/members", list_members, account, role),
        route!(GET "/v1/accounts/{account}/users/{user}/roles", list, account, "users", user),
        route!(GET "/v1/accounts/{account}/service-accounts/{service}/roles", list, account, "service-accounts", service),
        route!(PUT "/v1/accounts/{account}/users/{user}/roles/{role}", assign, account, "users", user, role),
        route!(PUT "/v1/accounts/{account}/service-accounts/{service}/roles/{role}", assign, account, "service-accounts", service, role),
        route!(DELETE "/v1/accounts/{account}/users/{user}/roles/{role}", unassign, account, "users", user, role),
        route!(DELETE "/v1/accounts/{account}/service-accounts/{service}/roles/{role}", unassign, account, "service-accounts", service, role),
        route!(GET "/v1/accounts/{account}/users/{user}/permissions", list_permissions, account, "users", user),
        route!(GET "/v1/accounts/{account}/service-accounts/{service}/permissions", list_permissions, account, "service-accounts", service),
    ]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::read(
            "GET /v1/accounts/{account}/roles/{role}/members",
            "listRoleMembers",
            "Lists who has a role",
        )
        .query::<PageQuery>()
        .lists::<PrincipalView>(),
        Operation::read(
            "GET /v1/accounts/{account}/users/{user}/roles",
            "listUserRoles",
            "Lists the roles of a user",
        )
        .lists_names(),
        Operation::read(
            "GET /v1/accounts/{account}/service-accounts/{service}/roles",
            "listServiceAccountRoles",
            "Lists the roles of a service account",
        )
        .lists_names(),
        Operation::write(
            "PUT /v1/accounts/{account}/users/{user}/roles/{role}",
            "assignUserRole",
            "Gives a user a role",
        )
        .about("Does nothing where it has the role already.")
        .gives::<Changed>(),
        Operation::write(
            "PUT /v1/accounts/{account}/service-accounts/{service}/roles/{role}",
            "assignServiceAccountRole",
            "Gives a service account a role",
        )
        .about("Does nothing where it has the role already.")
        .gives::<Changed>(),
        Operation::write(
            "DELETE /v1/accounts/{account}/users/{user}/roles/{role}",
            "unassignUserRole",
            "Takes a role from a user",
        )
        .about("Refused everywhere from the revision of the reply on.")
        .gives::<Changed>(),
        Operation::write(
            "DELETE /v1/accounts/{account}/service-accounts/{service}/roles/{role}",
            "unassignServiceAccountRole",
            "Takes a role from a service account",
        )
        .about("Refused everywhere from the revision of the reply on.")
        .gives::<Changed>(),
        Operation::read(
            "GET /v1/accounts/{account}/users/{user}/permissions",
            "listUserPermissions",
            "Lists what a user may do",
        )
        .about("As its roles have them: a final `*` stands for every ending; the root user has `*`.")
        .lists_names(),
        Operation::read(
            "GET /v1/accounts/{account}/service-accounts/{service}/permissions",
            "listServiceAccountPermissions",
            "Lists what a service account may do",
        )
        .about("As its roles have them: a final `*` stands for every ending; the root user has `*`.")
        .lists_names(),
    ]
}

/// A principal as others see it.
#[derive(Serialize, ToSchema)]
#[schema(as = Principal)]
pub(super) struct PrincipalView {
    kind: &'static str,
    #[schema(format = Uuid)]
    id: String,
}

impl PrincipalView {
    pub(super) fn new(principal: &Principal) -> Self {
        let kind = match principal {
            Principal::User(_) => "user",
            Principal::Service(_) => "service_account",
            Principal::Subject(_) => "subject",
        };
        Self { kind, id: principal.id() }
    }
}

async fn list(api: &Api, call: &Call, account: &str, principals: &str, principal: &str) -> Answer {
    let signed = api.reader(call, account).await?;
    let about = find_principal(&signed.rows, &signed.caller, principals, principal)?;
    let permit = signed.caller.authorize_about::<ReadUsers>(&about, &signed.now, &signed.rows)?;
    must_exist(permit.rows(), &signed.caller, &about)?;
    let roles = membership::roles_of(permit.rows(), permit.account(), &about)?;
    let items: Vec<String> = roles.iter().map(ToString::to_string).collect();
    Ok(reply::at(signed.rows.revision(), StatusCode::OK, &Page { items, next: None }))
}

/// What can this principal do: its permissions, as its roles have them.
async fn list_permissions(
    api: &Api,
    call: &Call,
    account: &str,
    principals: &str,
    principal: &str,
) -> Answer {
    let signed = api.reader(call, account).await?;
    let about = find_principal(&signed.rows, &signed.caller, principals, principal)?;
    let permit = signed.caller.authorize_about::<ReadUsers>(&about, &signed.now, &signed.rows)?;
    must_exist(permit.rows(), &signed.caller, &about)?;
    let mut items: Vec<String> = Vec::new();
    // Who is disabled may do nothing, whatever its roles say, as a check answers.
    if let Ok(standing) = about.standing(permit.rows(), permit.account()) {
        if standing.is_root {
            items.push("*".to_owned());
        }
        let held = membership::permissions_of(permit.rows(), permit.account(), &about)?;
        items.extend(held.iter().map(ToString::to_string));
    }
    Ok(reply::at(signed.rows.revision(), StatusCode::OK, &Page { items, next: None }))
}

async fn list_members(api: &Api, call: &Call, account: &str, text: &str) -> Answer {
    let page: PageQuery = call.query()?;
    let limit = page.limit()?;
    let after = page.after::<String>()?;
    let signed = api.reader(call, account).await?;
    let permit = signed.caller.authorize::<ReadRoles>(&signed.now, &signed.rows)?;
    let name = role_name(text)?;
    role::find(permit.rows(), permit.account(), &name)?.ok_or_else(bad_id)?;
    let after = after.map(|text| parse_principal(&text).ok_or_else(bad_id)).transpose()?;
    let rows = membership::members_of(permit.rows(), permit.account(), &name, after.as_ref(), limit + 1)?;
    let page = Page::new(rows, limit, ToString::to_string, |principal| PrincipalView::new(&principal));
    Ok(reply::at(signed.rows.revision(), StatusCode::OK, &page))
}

/// Whether the call changed anything.
#[derive(Serialize, ToSchema)]
struct Changed {
    changed: bool,
}

async fn assign(
    api: &Api,
    call: &Call,
    account: &str,
    principals: &str,
    principal: &str,
    role: &str,
) -> Answer {
    let about = [account, principals, principal, role];
    change(api, call, about, |principal, role| Action::AssignRole { principal, role }).await
}

async fn unassign(
    api: &Api,
    call: &Call,
    account: &str,
    principals: &str,
    principal: &str,
    role: &str,
) -> Answer {
    let about = [account, principals, principal, role];
    change(api, call, about, |principal, role| Action::UnassignRole { principal, role }).await
}

async fn change(
    api: &Api,
    call: &Call,
    [account, principals, principal, role]: [&str; 4],
    action: fn(Principal, RoleName) -> Action,
) -> Answer {
    let role = role_name(role)?;
    let (caller, request) = api.writer(call, account).await?;
    let principal = find_for_writing(api, call, &caller, principals, principal).await?;
    let order = order(call, &caller, &request, None, action(principal, role))?;
    let done = api.app.execute(&order, &request).await?;
    let changed = done.reply != Reply::Changed(false);
    Ok(reply::at(done.revision, StatusCode::OK, &Changed { changed }))
}

/// Reads what a principal's `Display` wrote: the cursor of a list of members.
fn parse_principal(text: &str) -> Option<Principal> {
    match text.split_once('/')? {
        ("user", id) => id.parse().ok().map(Principal::User),
        ("service-account", id) => id.parse().ok().map(Principal::Service),
        ("subject", id) => id.parse().ok().map(Principal::Subject),
        _ => None,
    }
}
