//! Several actions that happen together or not at all, if the things they rest on are as the client saw.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::openapi::schema::{AdditionalProperties, OneOfBuilder, Type};
use utoipa::openapi::{Object, Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use warp::http::StatusCode;

use super::roles::{NewRole, RolePatch, role_name};
use super::users::{NewUser, UserPatch};
use super::{Answer, Api, Call, Operation, Route, find_for_writing, route};
use crate::api::call::bad_id;
use crate::api::reply;
use crate::app::{Caller, Request};
use crate::domain::user::UserStatus;
use crate::domain::{Action, Expectation, MAX_TRANSACTION, Principal, Resource, UserId};
use crate::http::problem::Problem;

pub(super) fn routes() -> Vec<Route> {
    vec![route!(POST "/v1/accounts/{account}/transactions", commit, account)]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    let transaction = json!({
        "preconditions": [{"resource": "roles/developer", "revision": 0}],
        "actions": [
            {"action": "create_role", "name": "developer", "permissions": ["orders:read"]},
            {"action": "create_user", "name": "dev", "email": "dev@example.com", "password": "KettleOnShelf9"},
            {"action": "assign_role", "principal": "service-accounts/payment-service", "role": "developer"},
        ],
    });
    vec![
        Operation::write(
            "POST /v1/accounts/{account}/transactions",
            "commitTransaction",
            "Several actions that happen together or not at all",
        )
        .about(
            "1 to 100 actions, each judged after those before it. `preconditions` name the \
         revisions that things must still have; 0 is for what must not exist.",
        )
        .takes::<Transaction>(transaction)
        .gives::<Committed>()
        .refuses(&[403, 409, 412]),
    ]
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Transaction {
    #[serde(default)]
    preconditions: Vec<Precondition>,
    actions: Vec<Step>,
}

/// `resource` is `account`, `users/{user}`, `passwords/{user}`, `service-accounts/{service}` or
/// `roles/{role}`; `revision` is its `ETag`, 0 if it must not exist.
#[derive(Deserialize, ToSchema)]
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

impl PartialSchema for Step {
    /// Spelled out: with a derive, `unknown members are refused` of a user or a role would refuse `action`.
    fn schema() -> RefOr<Schema> {
        let whole = |name: &str, fields: RefOr<Schema>| match fields {
            RefOr::T(Schema::Object(mut object)) => {
                object.properties.insert("action".to_owned(), constant(name));
                object.required.insert(0, "action".to_owned());
                object
            }
            RefOr::T(_) | RefOr::Ref(_) => Object::new(),
        };
        let of = |name: &str, fields: &[(&str, RefOr<Schema>)]| {
            let action = Object::builder().property("action", constant(name)).required("action");
            let step = fields
                .iter()
                .fold(action, |step, (field, schema)| step.property(*field, schema.clone()).required(*field));
            step.additional_properties(Some(AdditionalProperties::FreeForm(false))).build()
        };
        let text = String::schema;
        let changes = |name: &str| RefOr::Ref(Ref::from_schema_name(name));
        let steps = [
            whole("create_user", NewUser::schema()),
            of("update_user", &[("user", text()), ("changes", changes("UserPatch"))]),
            of("disable_user", &[("user", text())]),
            of("enable_user", &[("user", text())]),
            of("delete_user", &[("user", text())]),
            whole("create_role", NewRole::schema()),
            of("update_role", &[("role", text()), ("changes", changes("RolePatch"))]),
            of("delete_role", &[("role", text())]),
            of("assign_role", &[("principal", text()), ("role", text())]),
            of("unassign_role", &[("principal", text()), ("role", text())]),
            of("end_sessions", &[("principal", text())]),
        ];
        let about = "One action. `principal` is `users/{user}` or `service-accounts/{service}`.";
        let either = OneOfBuilder::new().description(Some(about));
        steps.into_iter().fold(either, OneOfBuilder::item).into()
    }
}

impl ToSchema for Step {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((UserPatch::name().into_owned(), UserPatch::schema()));
        schemas.push((RolePatch::name().into_owned(), RolePatch::schema()));
    }
}

fn constant(name: &str) -> RefOr<Schema> {
    Object::builder().schema_type(Type::String).enum_values(Some([name])).into()
}

/// What a step made: the id of a user, for a step that creates one.
#[derive(Serialize, ToSchema)]
#[schema(as = StepResult)]
struct StepView {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    id: Option<String>,
}

#[derive(Serialize, ToSchema)]
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
        let action = step.parse(api, call, &caller, &request, &mut ids).await?;
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
        request: &Request,
        ids: &mut impl Iterator<Item = UserId>,
    ) -> Result<Action, Problem> {
        let user = async |text: &str| match find_for_writing(api, call, caller, "users", text).await? {
            Principal::User(id) => Ok(id),
            Principal::Service(_) | Principal::Subject(_) => Err(bad_id()),
        };
        Ok(match self {
            Self::CreateUser(new) => {
                let (person, roles) = new.parse()?;
                let id = ids.next().ok_or_else(Problem::internal)?;
                Action::CreateUser(api.app.new_user(caller.account(), id, person, roles, request).await?)
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
        Principal::Subject(_) => return Err(bad_id()),
    })
}
