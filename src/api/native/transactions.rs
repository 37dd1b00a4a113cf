//! Several actions that happen together or not at all, if the things they rest on are as the client saw.

use serde::{Deserialize, Serialize};
use warp::http::StatusCode;

use super::roles::{NewRole, RolePatch, role_name};
use super::users::{NewUser, UserPatch};
use super::{Answer, Api, Call, Route, find_for_writing, route};
use crate::api::call::bad_id;
use crate::api::reply;
use crate::app::Caller;
use crate::domain::user::UserStatus;
use crate::domain::{Action, Expectation, MAX_TRANSACTION, Principal, Resource, UserId};
use crate::http::problem::Problem;

pub(super) fn routes() -> Vec<Route> {
    vec![route!(POST "/v1/accounts/{account}/transactions", commit, account)]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Transaction {
    #[serde(default)]
    preconditions: Vec<Precondition>,
    actions: Vec<Step>,
}

/// `resource` is `account`, `users/{user}`, `passwords/{user}`, `service-accounts/{service}` or
/// `roles/{role}`; `revision` is its `ETag`, 0 if it must not exist.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Precondition {
    resource: String,
    revision: u64,
}

/// One action. `principal` is `users/{user}` or `service-accounts/{service}`.
#[derive(Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
enum Step {
    CreateUser(NewUser),
    UpdateUser { user: String, changes: UserPatch },
    DisableUser { user: String },
    EnableUser { user: String },
    DeleteUser { user: String },
    CreateRole(NewRole),
    UpdateRole { role: String, changes: RolePatch },
    DeleteRole { role: String },
    AssignRole { principal: String, role: String },
    UnassignRole { principal: String, role: String },
    EndSessions { principal: String },
}

/// What a step made: the id of a user, for a step that creates one.
#[derive(Serialize)]
struct StepView {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
}

#[derive(Serialize)]
struct Committed {
    revision: u64,
    results: Vec<StepView>,
}

async fn commit(api: &Api, call: &Call, account: &str) -> Answer {
    let body: Transaction = call.json()?;
    if body.actions.is_empty() || body.actions.len() > MAX_TRANSACTION {
        return Err(Problem::bad_request("invalid_value", "actions: a transaction has 1 to 100 actions."));
    }
    let (caller, request) = api.writer(call, account).await?;
    let mut expect = Vec::with_capacity(body.preconditions.len());
    for precondition in &body.preconditions {
        let resource = resource(api, call, &caller, &precondition.resource).await?;
        expect.push(Expectation { resource, revision: precondition.revision });
    }
    let mut ids = api.app.draw_ids(&request, body.actions.len())?.into_iter().map(UserId::new);
    let (mut actions, mut results) = (Vec::new(), Vec::new());
    for step in body.actions {
        let action = step.parse(api, call, &caller, &mut ids).await?;
        let id = if let Action::CreateUser(new) = &action { Some(new.id.to_string()) } else { None };
        results.push(StepView { id });
        actions.push(action);
    }
    let done =
        api.app.execute(&caller.orders(&request, expect, Action::Transaction(actions)), &request).await?;
    Ok(reply::at(done.revision, StatusCode::OK, &Committed { revision: done.revision, results }))
}

impl Step {
    async fn parse(
        self,
        api: &Api,
        call: &Call,
        caller: &Caller,
        ids: &mut impl Iterator<Item = UserId>,
    ) -> Result<Action, Problem> {
        let user = async |text: &str| match find_for_writing(api, call, caller, "users", text).await? {
            Principal::User(id) => Ok(id),
            Principal::Service(_) => Err(bad_id()),
        };
        Ok(match self {
            Self::CreateUser(new) => {
                let (person, roles) = new.parse()?;
                let id = ids.next().ok_or_else(Problem::internal)?;
                Action::CreateUser(api.app.new_user(id, person, roles).await?)
            }
            Self::UpdateUser { user: text, changes } => {
                Action::UpdateUser { user: user(&text).await?, changes: changes.parse()? }
            }
            Self::DisableUser { user: text } => {
                Action::SetUserStatus { user: user(&text).await?, status: UserStatus::Disabled }
            }
            Self::EnableUser { user: text } => {
                Action::SetUserStatus { user: user(&text).await?, status: UserStatus::Active }
            }
            Self::DeleteUser { user: text } => Action::DeleteUser { user: user(&text).await? },
            Self::CreateRole(new) => Action::CreateRole(new.parse()?),
            Self::UpdateRole { role, changes } => {
                Action::UpdateRole { role: role_name(&role)?, changes: changes.parse()? }
            }
            Self::DeleteRole { role } => Action::DeleteRole { role: role_name(&role)? },
            Self::AssignRole { principal, role } => Action::AssignRole {
                principal: named(api, call, caller, &principal).await?,
                role: role_name(&role)?,
            },
            Self::UnassignRole { principal, role } => Action::UnassignRole {
                principal: named(api, call, caller, &principal).await?,
                role: role_name(&role)?,
            },
            Self::EndSessions { principal } => {
                Action::EndSessions { principal: named(api, call, caller, &principal).await?, except: None }
            }
        })
    }
}

async fn named(api: &Api, call: &Call, caller: &Caller, text: &str) -> Result<Principal, Problem> {
    let (collection, name) = text.split_once('/').ok_or_else(bad_id)?;
    find_for_writing(api, call, caller, collection, name).await
}

async fn resource(api: &Api, call: &Call, caller: &Caller, text: &str) -> Result<Resource, Problem> {
    let unknown = || {
        Problem::bad_request(
            "invalid_value",
            "resource: account, users/…, passwords/…, service-accounts/… or roles/….",
        )
    };
    if text == "account" {
        return Ok(Resource::Account);
    }
    let (collection, name) = text.split_once('/').ok_or_else(unknown)?;
    match collection {
        "roles" => return Ok(Resource::Role(role_name(name)?)),
        "users" | "passwords" | "service-accounts" => {}
        _ => return Err(unknown()),
    }
    let among = if collection == "passwords" { "users" } else { collection };
    Ok(match find_for_writing(api, call, caller, among, name).await? {
        Principal::User(id) if collection == "passwords" => Resource::Password(id),
        Principal::User(id) => Resource::User(id),
        Principal::Service(id) => Resource::ServiceAccount(id),
    })
}
