//! Accounts: open one, look at it, rotate its signing key.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use warp::http::StatusCode;
use warp::http::header::{CACHE_CONTROL, HeaderValue};

use super::users::UserView;
use super::{Answer, Api, Call, Operation, PASSWORDS, Route, route};
use crate::api::call::bad_id;
use crate::api::reply::{self, time};
use crate::api::signed::{self, account_id};
use crate::app::accounts::Person;
use crate::app::passwords::WantedPassword;
use crate::domain::account::{self, Account, AccountState};
use crate::domain::{Email, Label, Resource, Stored, UserName, user};
use crate::secret::Secret;

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(POST "/v1/accounts", create),
        route!(GET "/v1/accounts/{account}", show, account),
        route!(GET "/v1/accounts/{account}/jwks.json", jwks, account),
        route!(POST "/v1/accounts/{account}/signing-keys", rotate, account),
    ]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::write("POST /v1/accounts", "createAccount", "Opens an account with its root user")
            .about(
                "The root user may do everything in the account. Its e-mail address is unique \
         among root users.",
            )
            .open()
            .takes::<NewAccount>(
                json!({"email": "admin@example.com", "password": "SecurePass123", "first_name": "Alice"}),
            )
            .creates::<Opened>()
            .refuses(&[403, 409]),
        Operation::read("GET /v1/accounts/{account}", "getAccount", "Shows the account")
            .gives_tagged::<AccountView>(),
        Operation::read(
            "GET /v1/accounts/{account}/jwks.json",
            "getSigningKeys",
            "Gives the public keys that check the account's tokens",
        )
        .about(
            "A JSON Web Key Set (RFC 7517), for services that check tokens offline. Those \
         do not learn of a revocation before the token expires.",
        )
        .open()
        .gives_schema(jwks_schema()),
        Operation::write(
            "POST /v1/accounts/{account}/signing-keys",
            "rotateSigningKey",
            "Signs with a new key from now on",
        )
        .about(
            "Tokens signed with the key before stay good until they expire. Gives the key \
         set.",
        )
        .guarded()
        .makes(jwks_schema()),
    ]
}

fn jwks_schema() -> serde_json::Value {
    let text = json!({"type": "string"});
    json!({
        "type": "object",
        "required": ["keys"],
        "properties": {"keys": {"type": "array", "items": {
            "type": "object",
            "required": ["kty", "crv", "alg", "use", "kid", "x"],
            "properties": {"kty": text, "crv": text, "alg": text, "use": text, "kid": text, "x": text},
        }}},
    })
}

/// Somebody who opens an account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    email: String,
    #[schema(value_type = String, format = Password)]
    password: Secret<String>,
    name: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Account)]
struct AccountView {
    id: String,
    /// The root user, if the account has one: the default account does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    root: Option<String>,
    issuer: String,
    state: &'static str,
    #[schema(format = DateTime)]
    created_at: String,
}

impl AccountView {
    fn new(api: &Api, account: &Account) -> Self {
        let state = match account.state {
            AccountState::Open => "open",
            AccountState::Closed { .. } => "closed",
        };
        Self {
            id: account.id.to_string(),
            root: account.root().map(|root| root.to_string()),
            issuer: api.app.issuer(account.id),
            state,
            created_at: time(account.created_at),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = OpenedAccount)]
struct Opened {
    account: AccountView,
    root: UserView,
}

async fn create(api: &Api, call: &Call) -> Answer {
    let body: NewAccount = call.json()?;
    let person = Person {
        name: body.name.as_deref().map(UserName::parse).transpose()?,
        email: Some(Email::parse(&body.email)?),
        first_name: body.first_name.as_deref().map(Label::parse).transpose()?,
        last_name: body.last_name.as_deref().map(Label::parse).transpose()?,
        password: WantedPassword::parse(body.password, PASSWORDS)?,
    };
    let (id, root, done) = api.app.sign_up(person, &call.request("", "")?).await?;
    let Stored { revision, value } = account::find(&done.view, id)?.ok_or_else(bad_id)?;
    let root = user::find(&done.view, id, root)?.ok_or_else(bad_id)?;
    let body = Opened { account: AccountView::new(api, &value), root: UserView::new(&root.value) };
    Ok(reply::created(done.revision, revision, &format!("/v1/accounts/{id}"), &body))
}

/// Every member of an account may look at it.
async fn show(api: &Api, call: &Call, account: &str) -> Answer {
    let signed = api.reader(call, account).await?;
    let stored = account::find(&signed.rows, signed.caller.account())?.ok_or_else(bad_id)?;
    let body = AccountView::new(api, &stored.value);
    Ok(reply::tagged(signed.rows.revision(), stored.revision, StatusCode::OK, &body))
}

/// Public on purpose (RFC 7517): whoever checks tokens offline needs the keys.
async fn jwks(api: &Api, call: &Call, account: &str) -> Answer {
    let view = api.app.view(call.freshness()?, call.context.deadline).await?;
    let keys = api.app.jwks(&view, account_id(account)?)?;
    let mut reply = reply::at(view.revision(), StatusCode::OK, &keys);
    reply.headers_mut().insert(CACHE_CONTROL, KEYS_MAY_BE_KEPT);
    Ok(reply)
}

/// A key that is new signs at once and is unknown to who keeps the set before; so not for long.
const KEYS_MAY_BE_KEPT: HeaderValue = HeaderValue::from_static("public, max-age=60");

async fn rotate(api: &Api, call: &Call, account: &str) -> Answer {
    let (caller, request) = api.writer(call, account).await?;
    let expect = signed::expected(call, Some(Resource::Account))?;
    let done = api.app.rotate_signing_key(&caller, expect, &request).await?;
    let keys = api.app.jwks(&done.view, caller.account())?;
    Ok(reply::at(done.revision, StatusCode::CREATED, &keys))
}
