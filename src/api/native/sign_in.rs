//! Signing in: as root by e-mail address, as a user of an account, as a service account.

use serde::{Deserialize, Serialize};
use warp::http::StatusCode;

use super::{Answer, Api, Call, Route, route};
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

/// What a client gets for its proof.
#[derive(Serialize)]
pub(super) struct TokensView<'t> {
    access_token: &'t str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'t str>,
    token_type: &'static str,
    /// Seconds.
    expires_in: u64,
    account: String,
    session: String,
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
#[derive(Clone, Copy, Default, Deserialize)]
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RootCredentials {
    email: String,
    password: Secret<String>,
    #[serde(default)]
    refresh: Refresh,
}

async fn root(api: &Api, call: &Call) -> Answer {
    let body: RootCredentials = call.json()?;
    let password = Password::parse(body.password).map_err(Failure::from)?;
    let request = call.request("", "")?;
    let Ok(email) = Email::parse(&body.email) else { return nobody(api, password).await };
    given(api.app.sign_in(&Who::Root(email), password, body.refresh.into(), &request).await)
}

/// `login` is a name or an e-mail address.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    login: String,
    password: Secret<String>,
    #[serde(default)]
    refresh: Refresh,
}

async fn user(api: &Api, call: &Call, account: &str) -> Answer {
    let body: Credentials = call.json()?;
    let password = Password::parse(body.password).map_err(Failure::from)?;
    let request = call.request(account, "")?;
    let Ok(account) = AccountId::parse(account) else { return nobody(api, password).await };
    let who = Who::Anyone(account, body.login);
    given(api.app.sign_in(&who, password, body.refresh.into(), &request).await)
}

/// `name` may be left out: the key says whose it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyCredentials {
    name: Option<String>,
    api_key: Secret<String>,
}

async fn service_account(api: &Api, call: &Call, account: &str) -> Answer {
    let body: KeyCredentials = call.json()?;
    let request = call.request(account, "")?;
    let account = AccountId::parse(account).map_err(|_| Problem::from(Rejection::BadCredentials))?;
    given(api.app.sign_in_with_key(account, body.name.as_deref(), body.api_key.expose(), &request).await)
}

/// Refuses after as much work as for somebody: the time taken tells nothing.
async fn nobody(api: &Api, password: Password) -> Answer {
    api.app.hasher.verify_unknown(password).await.map_err(Failure::from)?;
    Err(Rejection::BadCredentials.into())
}
