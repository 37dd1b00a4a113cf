//! Setting a new cluster up: an operator has a link made, whoever opens it becomes the first administrator.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::{Answer, Api, Call, Operation, Route, bad_id, route};
use crate::api::reply;
use crate::app::accounts::Person;
use crate::app::passwords::WantedPassword;
use crate::app::setup::SETUP_LIFETIME;
use crate::clock::{LogTime, rfc3339};
use crate::domain::policy::PasswordPolicy;
use crate::domain::{AccountId, Email, UserName, user};
use crate::secret::Secret;

pub(super) fn routes() -> Vec<Route> {
    vec![route!(POST "/v1/cluster/setup", offer), route!(POST "/v1/setup", set_up)]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    let example = json!({"secret": "...", "username": "grace", "password": "a long and unusual sentence"});
    vec![
        Operation::local("POST /v1/cluster/setup", "offerSetup", "Makes a setup link")
            .about("Good for 30 minutes and for one administrator; a link made before is void.")
            .operator()
            .stamped()
            .hands_out::<Offer>()
            .refuses(&[409, 503]),
        Operation::write("POST /v1/setup", "setUp", "Makes the first administrator, by a setup link")
            .open()
            .takes::<Setup>(example)
            .gives_new::<FirstAdmin>()
            .refuses(&[401]),
    ]
}

#[derive(Serialize, ToSchema)]
#[schema(as = SetupOffer)]
struct Offer {
    /// For a browser. What follows `#` is not sent to servers.
    url: String,
    #[schema(format = DateTime)]
    expires_at: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Setup {
    /// What follows `#` in the link.
    #[schema(value_type = String, format = Password)]
    secret: Secret<String>,
    username: String,
    email: Option<String>,
    #[schema(value_type = String, format = Password)]
    password: Secret<String>,
}

#[derive(Serialize, ToSchema)]
struct FirstAdmin {
    #[schema(format = Uuid)]
    id: String,
    username: String,
    account: String,
}

async fn offer(api: &Api, call: &Call) -> Answer {
    api.operator(call)?;
    let request = call.request("", "operator")?;
    let secret = api.app.offer_setup(&request).await?;
    let status = api.app.cluster.status();
    let own = status.members.iter().find(|member| member.node == status.node);
    let base = own.map(|member| member.member.api_url.clone()).unwrap_or_default();
    let expires = LogTime(api.app.clock_now().0.saturating_add(SETUP_LIFETIME.0));
    let offer = Offer { url: format!("{base}/setup#{}", secret.expose()), expires_at: rfc3339(expires) };
    Ok(reply::at(status.revision, StatusCode::CREATED, &offer))
}

async fn set_up(api: &Api, call: &Call) -> Answer {
    let body: Setup = call.json()?;
    let person = Person {
        name: Some(UserName::parse(&body.username)?),
        email: body.email.as_deref().filter(|email| !email.is_empty()).map(Email::parse).transpose()?,
        first_name: None,
        last_name: None,
        password: WantedPassword::parse(body.password, PasswordPolicy::MODERN)?,
    };
    let account = AccountId::DEFAULT;
    let request = call.request(account.as_str(), "")?;
    let (id, done) = api.app.set_up(&body.secret, person, &request).await?;
    let stored = user::find(&done.view, account, id)?.ok_or_else(bad_id)?;
    let body = FirstAdmin { id: id.to_string(), username: body.username, account: account.to_string() };
    Ok(reply::tagged(done.revision, stored.revision, StatusCode::CREATED, &body))
}
