//! Signing in: as root by e-mail address, as a user of an account, as a service account.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::{Answer, Api, Call, Operation, Route, route};
use crate::api::reply::{self, time};
use crate::app::Failure;
use crate::app::sign_in::{RefreshStyle, Who};
use crate::app::tokens::Tokens;
use crate::auth::password::Password;
use crate::domain::{AccountId, Email, Rejection};
use crate::http::problem::Problem;
use crate::secret::Secret;

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(POST "/v1/sign-in", root),
        route!(POST "/v1/accounts/{account}/sign-in", user, account),
        route!(POST "/v1/accounts/{account}/service-accounts/sign-in", service_account, account),
    ]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    let root_credentials = json!({"email": "admin@example.com", "password": "SecurePass123"});
    let key_credentials = json!({"name": "payment-service", "api_key": "the key as it was shown"});
    vec![
        Operation::write("POST /v1/sign-in", "signInAsRoot", "Signs a root user in by e-mail address")
            .about(REFUSAL)
            .open()
            .takes::<RootCredentials>(root_credentials)
            .gives::<TokensView<'_>>()
            .refuses(&[401, 403]),
        Operation::write(
            "POST /v1/accounts/{account}/sign-in",
            "signIn",
            "Signs a user in by name or e-mail address",
        )
        .about(REFUSAL)
        .open()
        .takes::<Credentials>(
            json!({"login": "dev@example.com", "password": "KettleOnShelf9", "refresh": "rotating"}),
        )
        .gives::<TokensView<'_>>()
        .refuses(&[401, 403]),
        Operation::write(
            "POST /v1/accounts/{account}/service-accounts/sign-in",
            "signInWithApiKey",
            "Signs a service account in with an API key",
        )
        .about("Gives no refresh token: the key is good for the next sign-in.")
        .open()
        .takes::<KeyCredentials>(key_credentials)
        .gives::<TokensView<'_>>()
        .refuses(&[401]),
    ]
}

const REFUSAL: &str = "Whatever is wrong, the refusal is the same. Only who gives the right password learns that \
it has expired (`password_expired`): then it can be changed, and nothing else.";

/// What a client gets for its proof.
#[derive(Serialize, ToSchema)]
#[schema(as = Tokens)]
pub(super) struct TokensView<'t> {
    access_token: &'t str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    refresh_token: Option<&'t str>,
    token_type: &'static str,
    /// Seconds.
    expires_in: u64,
    account: String,
    #[schema(format = Uuid)]
    session: String,
    #[schema(format = DateTime)]
    session_expires_at: String,
}

pub(super) fn given(tokens: Result<Tokens, Failure>) -> Answer {
    let tokens = tokens?;
    let body = TokensView {
        access_token: tokens.access.expose(),
        refresh_token: tokens.refresh.as_ref().map(|token| token.expose().as_str()),
        token_type: "Bearer",
        expires_in: tokens.expires_in,
        account: tokens.account.to_string(),
        session: tokens.session.id.to_string(),
        session_expires_at: time(tokens.session.expires_at),
    };
    Ok(reply::at(tokens.revision, StatusCode::OK, &body))
}

/// `rotating` (the default) is good once and gives the next; `fixed` is good until the session ends.
#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[schema(as = RefreshStyle)]
#[serde(rename_all = "snake_case")]
enum Refresh {
    #[default]
    Rotating,
    Fixed,
}

impl From<Refresh> for RefreshStyle {
    fn from(refresh: Refresh) -> Self {
        match refresh {
            Refresh::Rotating => Self::Rotating,
            Refresh::Fixed => Self::Fixed,
        }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RootCredentials {
    email: String,
    #[schema(value_type = String, format = Password)]
    password: Secret<String>,
    #[serde(default)]
    refresh: Refresh,
}

async fn root(api: &Api, call: &Call) -> Answer {
    let body: RootCredentials = call.json()?;
    let password = Password::parse(body.password).map_err(Failure::from)?;
    let request = call.request("", "")?;
    let Ok(email) = Email::parse(&body.email) else {
        return given(api.app.sign_in_nobody(password, &request).await);
    };
    let terms = api.app.native_terms(body.refresh.into());
    given(api.app.sign_in(&Who::Root(email), password, &terms, &request).await)
}

/// `login` is a name or an e-mail address.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Credentials {
    login: String,
    #[schema(value_type = String, format = Password)]
    password: Secret<String>,
    #[serde(default)]
    refresh: Refresh,
}

async fn user(api: &Api, call: &Call, account: &str) -> Answer {
    let body: Credentials = call.json()?;
    let password = Password::parse(body.password).map_err(Failure::from)?;
    let request = call.request(account, "")?;
    let Ok(account) = AccountId::parse(account) else {
        return given(api.app.sign_in_nobody(password, &request).await);
    };
    let who = Who::Anyone(account, body.login);
    let terms = api.app.native_terms(body.refresh.into());
    given(api.app.sign_in(&who, password, &terms, &request).await)
}

/// `name` may be left out: the key says whose it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct KeyCredentials {
    name: Option<String>,
    #[schema(value_type = String, format = Password)]
    api_key: Secret<String>,
}

async fn service_account(api: &Api, call: &Call, account: &str) -> Answer {
    let body: KeyCredentials = call.json()?;
    let request = call.request(account, "")?;
    let account = AccountId::parse(account).map_err(|_| Problem::from(Rejection::BadCredentials))?;
    let terms = api.app.native_key_terms();
    let (name, key) = (body.name.as_deref(), body.api_key.expose());
    given(api.app.sign_in_with_key(account, name, key, &terms, &request).await)
}
