//! Registering oneself.

use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::caller::account;
use super::error::of_order;
use super::fields::Fields;
use super::user_view::UserView;
use super::{Answer, Api, Call, Operation, Route, passwords, route};
use crate::api::call::bad_id;
use crate::api::reply;
use crate::app::accounts::Person;
use crate::domain::{Label, Rejection, user};
use crate::http::problem::Problem;
use crate::secret::Secret;

pub(super) fn routes() -> Vec<Route> {
    vec![route!(POST "/api/v1/users/register", register)]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    let person = json!({
        "username": "jane.doe",
        "email": "jane.doe@example.com",
        "password": "SecurePassword123!",
        "firstName": "Jane",
        "lastName": "Doe",
    });
    vec![
        Operation::write("POST /api/v1/users/register", "keystoneRegister", "Registers a user")
            .about("Where the account lets people in who ask by themselves; it says with which roles.")
            .open()
            .takes::<Registration>(person)
            .gives_new::<UserView>()
            .refuses(&[403, 409]),
    ]
}

/// A person who registers.
#[derive(Deserialize, ToSchema)]
#[schema(as = KeystoneRegistration)]
#[serde(rename_all = "camelCase")]
pub(super) struct Registration {
    /// 3 to 50 letters, digits, or any of `_ - .`.
    pub(super) username: String,
    pub(super) email: String,
    #[schema(value_type = String, format = Password)]
    pub(super) password: Secret<String>,
    #[serde(alias = "first_name")]
    pub(super) first_name: Option<String>,
    #[serde(alias = "last_name")]
    pub(super) last_name: Option<String>,
}

impl Registration {
    /// The person, with every fault that there is noted in `fields`.
    pub(super) fn parse(self, api: &Api, mut fields: Fields) -> Result<Person, Problem> {
        let name = fields.username(&self.username);
        let email = fields.email(&self.email);
        // An empty name is none.
        let mut label = |member, text: Option<String>| {
            fields.label(member, text.as_deref()).filter(|label: &Label| !label.as_str().is_empty())
        };
        let (first_name, last_name) =
            (label("firstName", self.first_name), label("lastName", self.last_name));
        let password = fields.password("password", self.password);
        let password = passwords::wanted(api, fields.done_with(password)?);
        Ok(Person { name, email, first_name, last_name, password })
    }
}

async fn register(api: &Api, call: &Call) -> Answer {
    let body: Registration = call.json()?;
    let account = account(call)?.ok_or(Rejection::RegistrationClosed)?;
    let request = call.request(account.as_str(), "")?;
    let person = body.parse(api, Fields::default())?;
    let (id, done) = api.app.register(account, person, &request).await.map_err(of_order)?;
    let stored = user::find(&done.view, account, id)?.ok_or_else(bad_id)?;
    let body = UserView::new(&done.view, account, &stored.value)?;
    Ok(reply::tagged(done.revision, stored.revision, StatusCode::CREATED, &body))
}
