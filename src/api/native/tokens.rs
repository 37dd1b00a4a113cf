//! Tokens: refresh, validate, revoke, introspect.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::sign_in::{TokensView, given};
use super::{Answer, Api, Call, Operation, Route, route};
use crate::api::reply;
use crate::api::signed::account_id;
use crate::app::Caller;
use crate::app::permit::Introspect;
use crate::app::refresh::Asked;
use crate::auth::claims::Audience;
use crate::domain::session::Family;
use crate::secret::Secret;

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(POST "/v1/accounts/{account}/tokens/introspect", introspect, account),
        route!(POST "/v1/accounts/{account}/tokens/validate", validate, account),
        route!(POST "/v1/accounts/{account}/tokens/refresh", refresh, account),
        route!(POST "/v1/accounts/{account}/tokens/revoke", revoke, account),
    ]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    let token = json!({"token": "an access token"});
    let token_2 = json!({"token": "an access token"});
    let refresh_token = json!({"refresh_token": "a refresh token"});
    let token_3 = json!({"token": "an access or refresh token"});
    vec![
        Operation::read(
            "POST /v1/accounts/{account}/tokens/introspect",
            "introspectToken",
            "Tells what an access token is good for",
        )
        .about("RFC 7662. Everybody may look into their own.")
        .takes::<Token>(token)
        .gives_either::<Introspection<'_>, Inactive>(),
        Operation::read(
            "POST /v1/accounts/{account}/tokens/validate",
            "validateToken",
            "Tells whether an access token is good, and nothing else",
        )
        .open()
        .takes::<Token>(token_2)
        .gives::<Valid>(),
        Operation::write(
            "POST /v1/accounts/{account}/tokens/refresh",
            "refreshToken",
            "Gives a new access token for a refresh token",
        )
        .about(
            "A rotating refresh token is good once, whichever nodes are asked at the same \
         time; its reuse ends the session.",
        )
        .open()
        .takes::<RefreshToken>(refresh_token)
        .gives::<TokensView<'_>>()
        .refuses(&[401]),
        Operation::write(
            "POST /v1/accounts/{account}/tokens/revoke",
            "revokeToken",
            "Ends the session of an access or refresh token",
        )
        .about(
            "RFC 7009: 200 also where there is nothing to end. No node takes any token of \
         the session afterwards.",
        )
        .open()
        .takes::<Token>(token_3)
        .gives_schema(json!({"type": "object"})),
    ]
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RefreshToken {
    #[schema(value_type = String, format = Password)]
    refresh_token: Secret<String>,
}

async fn refresh(api: &Api, call: &Call, account: &str) -> Answer {
    let body: RefreshToken = call.json()?;
    let request = call.request(account, "")?;
    let token = body.refresh_token.expose();
    let asked = Asked { family: Family::Native, token, scope: None, client: None };
    given(api.app.refresh(account_id(account)?, &asked, &request).await)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Token {
    #[schema(value_type = String, format = Password)]
    token: Secret<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Validity)]
struct Valid {
    valid: bool,
}

/// Whether an access token is good. Whoever holds it may ask (contract part 2); nothing else is told.
async fn validate(api: &Api, call: &Call, account: &str) -> Answer {
    let body: Token = call.json()?;
    let view = api.app.view(call.freshness()?, call.context.deadline).await?;
    let valid =
        api.app.introspect(&view, account_id(account)?, Family::Native, body.token.expose())?.is_some();
    Ok(reply::at(view.revision(), StatusCode::OK, &Valid { valid }))
}

/// What a token is good for (RFC 7662), for those who may know.
#[derive(Serialize, ToSchema)]
struct Introspection<'t> {
    active: bool,
    sub: &'t str,
    username: &'t str,
    token_type: &'static str,
    account: &'t str,
    session: &'t str,
    kind: &'t str,
    roles: &'t [String],
    iss: &'t str,
    #[schema(value_type = String)]
    aud: &'t Audience,
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: &'t str,
}

impl<'t> Introspection<'t> {
    fn new(caller: &'t Caller) -> Self {
        let claims = caller.claims();
        Self {
            active: true,
            sub: &claims.sub,
            username: caller.name(),
            token_type: "Bearer",
            account: &claims.acct,
            session: &claims.sid,
            kind: &claims.kind,
            roles: claims.roles.as_deref().unwrap_or_default(),
            iss: &claims.iss,
            aud: &claims.aud,
            iat: claims.iat,
            nbf: claims.nbf,
            exp: claims.exp,
            jti: &claims.jti,
        }
    }
}

#[derive(Serialize, ToSchema)]
struct Inactive {
    active: bool,
}

/// Everybody may look into a token of their own; into others with the permission to.
async fn introspect(api: &Api, call: &Call, account: &str) -> Answer {
    let body: Token = call.json()?;
    let signed = api.reader(call, account).await?;
    let found =
        api.app.introspect(&signed.now, signed.caller.account(), Family::Native, body.token.expose())?;
    let is_own = found.as_ref().is_some_and(|owner| owner.principal() == signed.caller.principal());
    if !is_own {
        signed.caller.authorize::<Introspect>(&signed.now, &signed.rows)?;
    }
    let of = found.as_ref().map_or_else(String::new, |owner| owner.principal().to_string());
    api.saw(call, signed.caller.asks(), "token.introspect", of, found.is_some());
    let revision = signed.now.revision();
    Ok(match &found {
        Some(owner) => reply::at(revision, StatusCode::OK, &Introspection::new(owner)),
        None => reply::at(revision, StatusCode::OK, &Inactive { active: false }),
    })
}

/// Ends the session of an access or refresh token. Whoever holds it may; 200 also when there was nothing to
/// end (RFC 7009 section 2.2). After the reply no node takes any token of the session.
async fn revoke(api: &Api, call: &Call, account: &str) -> Answer {
    let body: Token = call.json()?;
    let request = call.request(account, "")?;
    let view = api.app.view(crate::replica::Freshness::Linearizable, call.context.deadline).await?;
    let account = account_id(account)?;
    let done = api.app.revoke_token(&view, account, Family::Native, body.token.expose(), &request).await?;
    let revision = done.map_or(view.revision(), |done| done.revision);
    Ok(reply::at(revision, StatusCode::OK, &serde_json::json!({})))
}
