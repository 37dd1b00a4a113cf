//! What a token is good for (RFC 7662), for those who may know.

use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::caller::{anyone, has};
use super::revocation::Token;
use super::{Answer, Api, Call, Operation, Route, route, scope};
use crate::api::reply;
use crate::app::Caller;
use crate::app::terms::scopes_of;
use crate::auth::claims::Audience;
use crate::domain::session::Family;
use crate::http::problem::Problem;
use conclave_cluster::state::View;

pub(super) fn routes() -> Vec<Route> {
    vec![route!(POST "/api/v1/auth/introspect", introspect)]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::read(
            "POST /api/v1/auth/introspect",
            "keystoneIntrospect",
            "Tells what an access token is good for",
        )
        .about(
            "RFC 7662. A client may look into any access token of its account, a user into their own, or into any \
         with `admin:system`. All else is `{\"active\": false}` and nothing more: so is a refresh token, which \
         gives access to nothing by itself.",
        )
        .takes::<Token>(json!({"token": "an access token"}))
        .gives_either::<Introspection<'_>, Inactive>(),
    ]
}

#[derive(Serialize, ToSchema)]
#[schema(as = KeystoneIntrospection)]
struct Introspection<'t> {
    active: bool,
    sub: &'t str,
    /// Of a user's token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    username: Option<&'t str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    client_id: Option<&'t str>,
    /// What of the token's scopes its owner still has.
    scope: String,
    exp: u64,
    iat: u64,
    nbf: u64,
    #[schema(value_type = Vec<String>)]
    aud: &'t Audience,
    iss: &'t str,
    jti: &'t str,
    token_type: &'static str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = KeystoneInactive)]
struct Inactive {
    active: bool,
}

async fn introspect(api: &Api, call: &Call) -> Answer {
    let body: Token = call.json_or_form()?;
    let signed = anyone(api, call).await?;
    let account = signed.caller.account();
    let found = api.app.introspect(&signed.now, account, Family::Keystone, body.token.expose())?;
    let may_know = match &found {
        Some(owner) if owner.principal() == signed.caller.principal() => true,
        Some(_) => signed.caller.is_client() || has(&signed, scope::ADMIN_SYSTEM)?,
        None => false,
    };
    let of = found.as_ref().map_or_else(String::new, |owner| owner.principal().to_string());
    api.saw(call, signed.caller.asks(), "token.introspect", of, found.is_some() && may_know);
    let revision = signed.now.revision();
    Ok(match found.filter(|_| may_know) {
        Some(owner) => reply::at(revision, StatusCode::OK, &told(&owner, &signed.now)?),
        None => reply::at(revision, StatusCode::OK, &Inactive { active: false }),
    })
}

fn told<'t>(owner: &'t Caller, now: &View) -> Result<Introspection<'t>, Problem> {
    let claims = owner.claims();
    let held = scopes_of(now, owner.account(), &owner.principal())?;
    let still = |scope: &&String| held.iter().any(|permission| permission.as_str() == *scope);
    let scope: Vec<&str> = claims.scopes.iter().flatten().filter(still).map(String::as_str).collect();
    Ok(Introspection {
        active: true,
        sub: &claims.sub,
        username: (!owner.is_client()).then(|| owner.name()),
        client_id: claims.client_id.as_deref(),
        scope: scope.join(" "),
        exp: claims.exp,
        iat: claims.iat,
        nbf: claims.nbf,
        aud: &claims.aud,
        iss: &claims.iss,
        jti: &claims.jti,
        token_type: "Bearer",
    })
}
