//! Administrators of the default account, made by operators of this machine.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::{Answer, Api, Call, Operation, Route, route};
use crate::api::call::bad_id;
use crate::api::reply;
use crate::app::accounts::Person;
use crate::app::passwords::WantedPassword;
use crate::domain::policy::PasswordPolicy;
use crate::domain::{AccountId, Email, UserName, user};
use crate::secret::Secret;

pub(super) fn routes() -> Vec<Route> {
    vec![route!(POST "/v1/cluster/admins", create)]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    let admin = json!({"username": "grace", "password": "a long and unusual sentence"});
    vec![
        Operation::write(
            "POST /v1/cluster/admins",
            "createAdmin",
            "Makes an administrator of the default account",
        )
        .about("The first one or another; it has the role `admin`.")
        .operator()
        .takes::<NewAdmin>(admin)
        .gives_new::<AdminView>()
        .refuses(&[409]),
    ]
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAdmin {
    username: String,
    email: Option<String>,
    #[schema(value_type = String, format = Password)]
    password: Secret<String>,
}

/// The administrator that was made.
#[derive(Serialize, ToSchema)]
#[schema(as = Admin)]
struct AdminView {
    #[schema(format = Uuid)]
    id: String,
    username: String,
    account: String,
}

async fn create(api: &Api, call: &Call) -> Answer {
    let body: NewAdmin = call.json()?;
    let person = Person {
        name: Some(UserName::parse(&body.username)?),
        email: body.email.as_deref().map(Email::parse).transpose()?,
        first_name: None,
        last_name: None,
        password: WantedPassword::parse(body.password, PasswordPolicy::MODERN)?,
    };
    api.operator(call)?;
    let account = AccountId::DEFAULT;
    let (id, done) = api.app.create_admin(person, &call.request(account.as_str(), "operator")?).await?;
    let stored = user::find(&done.view, account, id)?.ok_or_else(bad_id)?;
    let body = AdminView { id: id.to_string(), username: body.username, account: account.to_string() };
    Ok(reply::tagged(done.revision, stored.revision, StatusCode::CREATED, &body))
}
