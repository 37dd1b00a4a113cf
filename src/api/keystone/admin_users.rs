//! Administration of people.

use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::caller::{reader, writer};
use super::error::of_order;
use super::fields::Fields;
use super::registration::Registration;
use super::user_list::{UserPage, UserQuery};
use super::user_view::ManagedView;
use super::{Answer, Api, Call, Operation, Route, route, scope};
use crate::api::call::bad_id;
use crate::api::reply;
use crate::api::signed::{Signed, expected, order};
use crate::app::first::REGISTERED;
use crate::app::permit::ReadUsers;
use crate::app::{Caller, Done, Request};
use crate::domain::user::{self, UserChanges, UserStatus};
use crate::domain::{Action, Principal, Resource, RoleName, UserId, role};
use crate::http::problem::Problem;
use crate::secret::Secret;

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(GET "/api/v1/admin/users", list),
        route!(POST "/api/v1/admin/users", create),
        route!(GET "/api/v1/admin/users/{user_id}", show, user_id),
        route!(PUT "/api/v1/admin/users/{user_id}", change, user_id),
        route!(DELETE "/api/v1/admin/users/{user_id}", remove, user_id),
        route!(POST "/api/v1/admin/users/{user_id}/unlock", unlock, user_id),
    ]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    let person = json!({
        "username": "bob.stone",
        "email": "bob.stone@example.com",
        "password": "TempSecret123!",
        "roles": ["user", "trader"],
        "enabled": true,
    });
    let changes = json!({"firstName": "Bob", "lastName": "Stone", "roles": ["user"], "enabled": true});
    vec![
        Operation::read("GET /api/v1/admin/users", "keystoneListUsers", "Lists the users, in numbered pages")
            .query::<UserQuery>()
            .gives::<UserPage>(),
        Operation::write("POST /api/v1/admin/users", "keystoneCreateUser", "Makes a user")
            .about("Without `roles` it has the role `user`.")
            .takes::<NewUser>(person)
            .creates::<ManagedView>()
            .refuses(&[409]),
        Operation::read("GET /api/v1/admin/users/{user_id}", "keystoneGetUser", "Shows a user")
            .gives_tagged::<ManagedView>(),
        Operation::write("PUT /api/v1/admin/users/{user_id}", "keystoneUpdateUser", "Changes a user")
            .about("All that is said, or nothing. Nobody disables themselves or gives up the role `admin`.")
            .guarded()
            .takes::<Changes>(changes)
            .gives_tagged::<ManagedView>()
            .refuses(&[409]),
        Operation::write("DELETE /api/v1/admin/users/{user_id}", "keystoneDeleteUser", "Deletes a user")
            .about("Nobody deletes themselves.")
            .guarded(),
        Operation::write(
            "POST /api/v1/admin/users/{user_id}/unlock",
            "keystoneUnlockUser",
            "Lets a user sign in again who was locked out by failed tries",
        )
        .gives_tagged::<ManagedView>(),
    ]
}

async fn list(api: &Api, call: &Call) -> Answer {
    let listing = call.query::<UserQuery>()?.parse()?;
    let signed = reader(api, call, scope::ADMIN_USERS).await?;
    let permit = signed.caller.authorize::<ReadUsers>(&signed.now, &signed.rows)?;
    let now = api.app.now(&signed.rows);
    let page = tokio::task::spawn_blocking(move || listing.run(&permit, now)).await;
    let page = page.unwrap_or_else(|error| {
        tracing::error!(%error, "listing users failed");
        Err(Problem::internal())
    })?;
    Ok(reply::at(signed.rows.revision(), StatusCode::OK, &page))
}

/// A user to be made.
#[derive(Deserialize, ToSchema)]
#[schema(as = KeystoneNewUser)]
#[serde(rename_all = "camelCase")]
struct NewUser {
    /// 3 to 50 letters, digits, or any of `_ - .`.
    username: String,
    email: String,
    #[schema(value_type = String, format = Password)]
    password: Secret<String>,
    #[serde(alias = "first_name")]
    first_name: Option<String>,
    #[serde(alias = "last_name")]
    last_name: Option<String>,
    roles: Option<Vec<String>>,
    enabled: Option<bool>,
}

async fn create(api: &Api, call: &Call) -> Answer {
    let body: NewUser = call.json()?;
    let (signed, request) = writer(api, call, scope::ADMIN_USERS).await?;
    let caller = &signed.caller;
    let mut fields = Fields::default();
    let roles = match &body.roles {
        Some(names) => fields.roles(names),
        None => usual_roles(&signed)?,
    };
    let enabled = body.enabled;
    let NewUser { username, email, password, first_name, last_name, .. } = body;
    let person = Registration { username, email, password, first_name, last_name };
    let person = person.parse(api, fields)?;
    let id = api.app.draw_ids(&request, 1)?.first().copied().map(UserId::new).ok_or_else(bad_id)?;
    let new = api.app.new_user(caller.account(), id, person, roles, &request).await.map_err(of_order)?;
    let mut actions = vec![Action::CreateUser(new)];
    if enabled == Some(false) {
        actions.push(Action::SetUserStatus { user: id, status: UserStatus::Disabled });
    }
    let order = caller.orders(&request, Vec::new(), Action::Transaction(actions));
    let done = api.app.execute(&order, &request).await.map_err(of_order)?;
    let stored = user::find(&done.view, caller.account(), id)?.ok_or_else(bad_id)?;
    let body = ManagedView::new(&done.view, caller.account(), &stored.value, done.at)?;
    Ok(reply::created(done.revision, stored.revision, &format!("/api/v1/admin/users/{id}"), &body))
}

/// The role of everybody, where the account has it.
fn usual_roles(signed: &Signed) -> Result<Vec<RoleName>, Problem> {
    let name = RoleName::parse(REGISTERED)?;
    let is_there = role::find(&signed.now, signed.caller.account(), &name)?.is_some();
    Ok(is_there.then_some(name).into_iter().collect())
}

async fn show(api: &Api, call: &Call, id: &str) -> Answer {
    let signed = reader(api, call, scope::ADMIN_USERS).await?;
    let permit = signed.caller.authorize::<ReadUsers>(&signed.now, &signed.rows)?;
    let found = user::find(permit.rows(), permit.account(), user_id(id)?)?;
    let stored = found.filter(|row| row.value.status != UserStatus::Deleted).ok_or_else(bad_id)?;
    let now = api.app.now(&signed.rows);
    let body = ManagedView::new(permit.rows(), permit.account(), &stored.value, now)?;
    Ok(reply::tagged(signed.rows.revision(), stored.revision, StatusCode::OK, &body))
}

/// What to change; an empty first or last name takes it away. `roles` are all that the user is to have.
#[derive(Deserialize, ToSchema)]
#[schema(as = KeystoneUserChanges)]
#[serde(rename_all = "camelCase")]
struct Changes {
    #[serde(alias = "first_name")]
    first_name: Option<String>,
    #[serde(alias = "last_name")]
    last_name: Option<String>,
    email: Option<String>,
    roles: Option<Vec<String>>,
    enabled: Option<bool>,
}

impl Changes {
    /// What has to be done for it, in one go.
    fn actions(&self, user: UserId) -> Result<Vec<Action>, Problem> {
        let mut fields = Fields::default();
        let changes = UserChanges {
            name: None,
            email: self.email.as_deref().and_then(|email| fields.email(email)),
            first_name: fields.label("firstName", self.first_name.as_deref()),
            last_name: fields.label("lastName", self.last_name.as_deref()),
        };
        let roles = self.roles.as_ref().map(|names| fields.roles(names));
        fields.done()?;
        let mut actions = vec![Action::UpdateUser { user, changes }];
        if let Some(roles) = roles {
            actions.push(Action::SetRoles { principal: Principal::User(user), roles });
        }
        if let Some(enabled) = self.enabled {
            let status = if enabled { UserStatus::Active } else { UserStatus::Disabled };
            actions.push(Action::SetUserStatus { user, status });
        }
        Ok(actions)
    }

    /// Whether whoever does this to themselves could not undo it.
    fn locks_out(&self) -> bool {
        let gives_up = |roles: &Vec<String>| !roles.iter().any(|role| role == crate::app::first::ADMIN);
        self.enabled == Some(false) || self.roles.as_ref().is_some_and(gives_up)
    }
}

async fn change(api: &Api, call: &Call, id: &str) -> Answer {
    let body: Changes = call.json()?;
    let id = user_id(id)?;
    let actions = body.actions(id)?;
    let (signed, request) = writer(api, call, scope::ADMIN_USERS).await?;
    if body.locks_out() {
        must_be_another(&signed.caller, id, "Nobody disables themselves or gives up the role admin.")?;
    }
    let expect = expected(call, Some(Resource::User(id)))?;
    let order = signed.caller.orders(&request, expect, Action::Transaction(actions));
    let done = api.app.execute(&order, &request).await.map_err(of_order)?;
    changed(&signed.caller, id, &done)
}

async fn remove(api: &Api, call: &Call, id: &str) -> Answer {
    let id = user_id(id)?;
    let (signed, request) = writer(api, call, scope::ADMIN_USERS).await?;
    must_be_another(&signed.caller, id, "Nobody deletes themselves.")?;
    let done = ordered(api, call, &signed, &request, id, Action::DeleteUser { user: id }).await?;
    Ok(reply::empty(done.revision))
}

async fn unlock(api: &Api, call: &Call, id: &str) -> Answer {
    let id = user_id(id)?;
    let (signed, request) = writer(api, call, scope::ADMIN_USERS).await?;
    let done = ordered(api, call, &signed, &request, id, Action::Unlock { user: id }).await?;
    changed(&signed.caller, id, &done)
}

async fn ordered(
    api: &Api,
    call: &Call,
    signed: &Signed,
    request: &Request,
    id: UserId,
    action: Action,
) -> Result<Done, Problem> {
    let order = order(call, &signed.caller, request, Some(Resource::User(id)), action)?;
    Ok(api.app.execute(&order, request).await?)
}

/// What is no id is the id of nobody.
fn user_id(text: &str) -> Result<UserId, Problem> {
    text.parse().map_err(|_| bad_id())
}

fn must_be_another(caller: &Caller, id: UserId, rule: &'static str) -> Result<(), Problem> {
    if caller.principal() == Principal::User(id) {
        Err(Problem::forbidden("forbidden", rule))
    } else {
        Ok(())
    }
}

fn changed(caller: &Caller, id: UserId, done: &Done) -> Answer {
    let stored = user::find(&done.view, caller.account(), id)?.ok_or_else(bad_id)?;
    let body = ManagedView::new(&done.view, caller.account(), &stored.value, done.at)?;
    Ok(reply::tagged(done.revision, stored.revision, StatusCode::OK, &body))
}
