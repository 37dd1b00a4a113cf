//! Users of an account.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::{Answer, Api, Call, Operation, PASSWORDS, Route, find_for_writing, find_user, location, route};
use crate::api::call::bad_id;
use crate::api::reply::{self, Page, PageQuery, time};
use crate::api::signed::{expected, order};
use crate::app::accounts::Person;
use crate::app::passwords::WantedPassword;
use crate::app::permit::ReadUsers;
use crate::app::{Caller, Done, Failure};
use crate::auth::password::Password;
use crate::domain::user::{self, User, UserChanges, UserStatus};
use crate::domain::{Action, Email, Label, Principal, Resource, RoleName, UserId, UserName};
use crate::http::problem::Problem;
use crate::secret::Secret;

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(GET "/v1/accounts/{account}/users/{user}", show, account, user),
        route!(GET "/v1/accounts/{account}/users", list, account),
        route!(POST "/v1/accounts/{account}/users", create, account),
        route!(PATCH "/v1/accounts/{account}/users/{user}", change, account, user),
        route!(DELETE "/v1/accounts/{account}/users/{user}", remove, account, user),
        route!(PUT "/v1/accounts/{account}/users/{user}/password", set_password, account, user),
        route!(POST "/v1/accounts/{account}/users/{user}/disable", disable_user, account, user),
        route!(POST "/v1/accounts/{account}/users/{user}/enable", enable_user, account, user),
    ]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    let new_user = json!({
        "name": "dev",
        "email": "dev@example.com",
        "password": "KettleOnShelf9",
        "roles": ["developer"],
    });
    let user_patch = json!({"first_name": "Alice"});
    let new_password = json!({"current_password": "KettleOnShelf9", "new_password": "super_secure_password"});
    vec![
        Operation::read("GET /v1/accounts/{account}/users/{user}", "getUser", "Shows a user")
            .gives_tagged::<UserView>(),
        Operation::read("GET /v1/accounts/{account}/users", "listUsers", "Lists the users")
            .query::<PageQuery>()
            .lists::<UserView>(),
        Operation::write("POST /v1/accounts/{account}/users", "createUser", "Makes a user")
            .about(
                "Name and e-mail address are unique in the account, in any case of letters. A password that \
         breaks rules is refused with all of them (`weak_password`, `breaches`).",
            )
            .takes::<NewUser>(new_user)
            .creates::<UserView>()
            .refuses(&[409]),
        Operation::write("PATCH /v1/accounts/{account}/users/{user}", "updateUser", "Changes a user")
            .guarded()
            .takes::<UserPatch>(user_patch)
            .gives_tagged::<UserView>()
            .refuses(&[409]),
        Operation::write(
            "DELETE /v1/accounts/{account}/users/{user}",
            "deleteUser",
            "Deletes a user and ends its sessions",
        )
        .about("Name and e-mail address are free again; the audit trail keeps the id.")
        .guarded(),
        Operation::write(
            "PUT /v1/accounts/{account}/users/{user}/password",
            "setPassword",
            "Changes a password and ends the user's other sessions",
        )
        .about(
            "Who changes their own says the current one; only then it is told whether the new one was used \
         before. A password that breaks rules is refused with all of them (`weak_password`, `breaches`).",
        )
        .takes::<NewPassword>(new_password)
        .refuses(&[412]),
        Operation::write(
            "POST /v1/accounts/{account}/users/{user}/disable",
            "disableUser",
            "Refuses a user from now on and ends its sessions",
        )
        .guarded()
        .gives_tagged::<UserView>(),
        Operation::write(
            "POST /v1/accounts/{account}/users/{user}/enable",
            "enableUser",
            "Lets a user in again",
        )
        .guarded()
        .gives_tagged::<UserView>(),
    ]
}

/// A user as the API shows it.
#[derive(Serialize, ToSchema)]
#[schema(as = User)]
pub(super) struct UserView {
    #[schema(format = Uuid)]
    id: String,
    is_root: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    first_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_name: Option<String>,
    status: &'static str,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

impl UserView {
    pub(super) fn new(user: &User) -> Self {
        let status = match user.status {
            UserStatus::Active => "active",
            UserStatus::Disabled => "disabled",
            UserStatus::Deleted => "deleted",
        };
        Self {
            id: user.id.to_string(),
            is_root: user.is_root,
            name: user.name.as_ref().map(ToString::to_string),
            email: user.email.as_ref().map(ToString::to_string),
            first_name: user.first_name.as_ref().map(ToString::to_string),
            last_name: user.last_name.as_ref().map(ToString::to_string),
            status,
            created_at: time(user.created_at),
            updated_at: time(user.updated_at),
        }
    }
}

/// A user to be made; `roles` may name roles that do not exist yet, if the root user asks.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewUser {
    name: Option<String>,
    email: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    #[schema(value_type = String, format = Password)]
    password: Secret<String>,
    #[serde(default)]
    roles: Vec<String>,
}

impl NewUser {
    pub(super) fn parse(self) -> Result<(Person, Vec<RoleName>), Problem> {
        let person = Person {
            name: self.name.as_deref().map(UserName::parse).transpose()?,
            email: self.email.as_deref().map(Email::parse).transpose()?,
            first_name: self.first_name.as_deref().map(Label::parse).transpose()?,
            last_name: self.last_name.as_deref().map(Label::parse).transpose()?,
            password: WantedPassword::parse(self.password, PASSWORDS)?,
        };
        let roles = self.roles.iter().map(|role| RoleName::parse(role)).collect::<Result<_, _>>()?;
        Ok((person, roles))
    }
}

async fn show(api: &Api, call: &Call, account: &str, text: &str) -> Answer {
    let signed = api.reader(call, account).await?;
    let id = find_user(&signed.rows, &signed.caller, text)?;
    let permit =
        signed.caller.authorize_about::<ReadUsers>(&Principal::User(id), &signed.now, &signed.rows)?;
    let found = user::find(permit.rows(), permit.account(), id)?;
    let stored = found.filter(|row| row.value.status != UserStatus::Deleted).ok_or_else(bad_id)?;
    let body = UserView::new(&stored.value);
    Ok(reply::tagged(signed.rows.revision(), stored.revision, StatusCode::OK, &body))
}

async fn list(api: &Api, call: &Call, account: &str) -> Answer {
    let page: PageQuery = call.query()?;
    let (limit, after) = (page.limit()?, page.after()?);
    let signed = api.reader(call, account).await?;
    let permit = signed.caller.authorize::<ReadUsers>(&signed.now, &signed.rows)?;
    let rows = user::list(permit.rows(), permit.account(), after, limit + 1)?;
    let page = Page::new(rows, limit, |row| row.value.id.to_string(), |row| UserView::new(&row.value));
    Ok(reply::at(signed.rows.revision(), StatusCode::OK, &page))
}

async fn create(api: &Api, call: &Call, account: &str) -> Answer {
    let (person, roles) = call.json::<NewUser>()?.parse()?;
    let (caller, request) = api.writer(call, account).await?;
    let (id, done) = api.app.create_user(&caller, person, roles, &request).await?;
    let stored = user::find(&done.view, caller.account(), id)?.ok_or_else(bad_id)?;
    let location = location(caller.account(), "users", &id);
    Ok(reply::created(done.revision, stored.revision, &location, &UserView::new(&stored.value)))
}

/// What to change; an empty first or last name takes it away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UserPatch {
    name: Option<String>,
    email: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
}

impl UserPatch {
    pub(super) fn parse(&self) -> Result<UserChanges, Problem> {
        Ok(UserChanges {
            name: self.name.as_deref().map(UserName::parse).transpose()?,
            email: self.email.as_deref().map(Email::parse).transpose()?,
            first_name: self.first_name.as_deref().map(Label::parse).transpose()?,
            last_name: self.last_name.as_deref().map(Label::parse).transpose()?,
        })
    }
}

async fn change(api: &Api, call: &Call, account: &str, text: &str) -> Answer {
    let changes = call.json::<UserPatch>()?.parse()?;
    let (caller, request) = api.writer(call, account).await?;
    let user = named(api, call, &caller, text).await?;
    let expect = expected(call, Some(Resource::User(user)))?;
    let done = api.app.update_user(&caller, user, changes, None, expect, &request).await?;
    changed(&caller, user, &done)
}

async fn remove(api: &Api, call: &Call, account: &str, text: &str) -> Answer {
    let (caller, request) = api.writer(call, account).await?;
    let user = named(api, call, &caller, text).await?;
    let about = Some(Resource::User(user));
    let order = order(call, &caller, &request, about, Action::DeleteUser { user })?;
    Ok(reply::empty(api.app.execute(&order, &request).await?.revision))
}

/// Who changes their own password says the current one.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    #[schema(value_type = Option<String>, format = Password)]
    current_password: Option<Secret<String>>,
    #[schema(value_type = String, format = Password)]
    new_password: Secret<String>,
}

async fn set_password(api: &Api, call: &Call, account: &str, text: &str) -> Answer {
    let body: NewPassword = call.json()?;
    let current = body.current_password.map(Password::parse).transpose().map_err(Failure::from)?;
    let new = WantedPassword::parse(body.new_password, PASSWORDS)?;
    let (caller, request) = api.writer(call, account).await?;
    let user = named(api, call, &caller, text).await?;
    let done = api.app.change_password(&caller, user, current, new, &request).await?;
    Ok(reply::empty(done.revision))
}

async fn disable_user(api: &Api, call: &Call, account: &str, text: &str) -> Answer {
    set_status(api, call, account, text, UserStatus::Disabled).await
}

async fn enable_user(api: &Api, call: &Call, account: &str, text: &str) -> Answer {
    set_status(api, call, account, text, UserStatus::Active).await
}

async fn set_status(api: &Api, call: &Call, account: &str, text: &str, status: UserStatus) -> Answer {
    let (caller, request) = api.writer(call, account).await?;
    let user = named(api, call, &caller, text).await?;
    let action = Action::SetUserStatus { user, status };
    let order = order(call, &caller, &request, Some(Resource::User(user)), action)?;
    let done = api.app.execute(&order, &request).await?;
    changed(&caller, user, &done)
}

async fn named(api: &Api, call: &Call, caller: &Caller, text: &str) -> Result<UserId, Problem> {
    match find_for_writing(api, call, caller, "users", text).await? {
        Principal::User(id) => Ok(id),
        Principal::Service(_) | Principal::Subject(_) => Err(bad_id()),
    }
}

fn changed(caller: &Caller, user: UserId, done: &Done) -> Answer {
    let stored = user::find(&done.view, caller.account(), user)?.ok_or_else(bad_id)?;
    Ok(reply::tagged(done.revision, stored.revision, StatusCode::OK, &UserView::new(&stored.value)))
}
