//! Tokens for people: by password, and by refresh token.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use warp::http::StatusCode;
use warp::http::header::{HeaderValue, PRAGMA};
use warp::reply::Response;

use super::body::{joined, must_grant, needed, scopes};
use super::caller::{account, agrees};
use super::error::of_sign_in;
use super::{Answer, Api, Call, Operation, Route, route};
use crate::api::reply;
use crate::app::Failure;
use crate::app::refresh::Asked;
use crate::app::sign_in::Who;
use crate::app::tokens::Tokens;
use crate::auth::password::Password;
use crate::auth::refresh::undress;
use crate::domain::session::Family;
use crate::domain::{AccountId, Label};
use crate::http::problem::Problem;
use crate::secret::Secret;

pub(super) fn routes() -> Vec<Route> {
    vec![route!(POST "/api/v1/auth/token", token), route!(POST "/api/v1/auth/refresh", refresh)]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    let credentials = json!({
        "grant_type": "password",
        "username": "john.doe@example.com",
        "password": "SecurePassword123!",
        "scope": "read:profile write:profile",
    });
    let spent = json!({"grant_type": "refresh_token", "refresh_token": "a refresh token"});
    vec![
        Operation::write("POST /api/v1/auth/token", "keystoneToken", "Signs a user in by password")
            .about(
                "`username` is a name or an e-mail address. Takes JSON or a form. What is granted is what is asked \
             for and held; nothing asked is all there is. 403 `account_disabled` and 423 `account_locked` are told \
             only to who knows the password.",
            )
            .open()
            .takes::<TokenRequest>(credentials)
            .gives::<TokenResponse<'_>>()
            .refuses(&[401, 403, 423]),
        Operation::write("POST /api/v1/auth/refresh", "keystoneRefresh", "Gives new tokens for a refresh token")
            .about(
                "A refresh token is good once, whichever nodes are asked at the same time; its reuse ends the \
             session. `scope` may ask for less than before, never for more.",
            )
            .open()
            .takes::<RefreshRequest>(spent)
            .gives::<TokenResponse<'_>>()
            .refuses(&[401]),
    ]
}

/// OAuth's password grant.
#[derive(Deserialize, ToSchema)]
#[schema(as = KeystoneTokenRequest)]
struct TokenRequest {
    /// `password`.
    #[serde(alias = "grantType")]
    grant_type: String,
    #[schema(value_type = String)]
    username: Option<String>,
    #[schema(value_type = String, format = Password)]
    password: Option<Secret<String>>,
    /// What the application calls itself; the token says it.
    #[serde(alias = "clientId")]
    client_id: Option<String>,
    /// Scopes, separated by spaces.
    scope: Option<String>,
}

/// What a client gets for its proof.
#[derive(Serialize, ToSchema)]
#[schema(as = KeystoneTokens)]
pub(super) struct TokenResponse<'t> {
    access_token: &'t str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    refresh_token: Option<&'t str>,
    token_type: &'static str,
    /// Seconds.
    expires_in: u64,
    /// What the token may be used for, separated by spaces.
    scope: String,
    /// The name of the access token.
    jti: &'t str,
}

async fn token(api: &Api, call: &Call) -> Answer {
    let body: TokenRequest = call.json_or_form()?;
    must_grant(&body.grant_type, "password")?;
    let username = needed("username", body.username)?;
    let password = Password::parse(needed("password", body.password)?).map_err(Failure::from)?;
    let client = body.client_id.as_deref().map(Label::parse).transpose()?;
    let terms = api.app.keystone_terms(scopes(body.scope.as_deref())?, client);
    let tokens = match account(call)? {
        Some(account) => {
            let request = call.request(account.as_str(), "")?;
            api.app.sign_in(&Who::Anyone(account, username), password, &terms, &request).await
        }
        None => api.app.sign_in_nobody(password, &call.request("", "")?).await,
    };
    Ok(given(&tokens.map_err(|failure| of_sign_in(api, failure))?))
}

/// What a refresh token is presented with.
#[derive(Deserialize, ToSchema)]
#[schema(as = KeystoneRefreshRequest)]
struct RefreshRequest {
    #[serde(alias = "refreshToken")]
    #[schema(value_type = String, format = Password)]
    refresh_token: Secret<String>,
    /// `refresh_token`, if it is given.
    #[serde(alias = "grantType")]
    grant_type: Option<String>,
    /// If it is given: the application that the user signed in through.
    #[serde(alias = "clientId")]
    client_id: Option<String>,
    /// Scopes, separated by spaces.
    scope: Option<String>,
}

async fn refresh(api: &Api, call: &Call) -> Answer {
    let body: RefreshRequest = call.json_or_form()?;
    if let Some(grant) = &body.grant_type {
        must_grant(grant, "refresh_token")?;
    }
    let scope = scopes(body.scope.as_deref())?;
    let (account, token) = inner(call, &body.refresh_token)?;
    let client = body.client_id.as_deref();
    let asked = Asked { family: Family::Keystone, token: token.expose(), scope, client };
    let request = call.request(account.as_str(), "")?;
    Ok(given(&api.app.refresh(account, &asked, &request).await?))
}

/// The refresh token in its dress, and whose account it says it is of. What is none is handed on as one that there
/// is not, to be refused and counted like any that is not good.
fn inner(call: &Call, dressed: &Secret<String>) -> Result<(AccountId, Secret<String>), Problem> {
    if let Some((said, token)) = undress(dressed.expose())
        && let Ok(account) = AccountId::parse(&said)
        && agrees(call, account)?
    {
        return Ok((account, token));
    }
    Ok((account(call)?.unwrap_or(AccountId::DEFAULT), Secret::new(String::new())))
}

/// Tokens as OAuth has them (RFC 6749 section 5.1).
pub(super) fn given(tokens: &Tokens) -> Response {
    let body = TokenResponse {
        access_token: tokens.access.expose(),
        refresh_token: tokens.refresh.as_ref().map(|token| token.expose().as_str()),
        token_type: "Bearer",
        expires_in: tokens.expires_in,
        scope: joined(&tokens.scope),
        jti: &tokens.jti,
    };
    let mut response = reply::at(tokens.revision, StatusCode::OK, &body);
    // The `Cache-Control` that belongs to it is on every reply.
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}
