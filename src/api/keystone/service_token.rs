//! Tokens for programs: OAuth clients with a secret.

use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;

use super::body::{Credentials, Texts, must_grant, scopes};
use super::caller::account;
use super::error::of_client;
use super::tokens::{TokenResponse, given};
use super::{Answer, Api, Call, Operation, Route, route};
use crate::domain::AccountId;
use crate::secret::Secret;

pub(super) fn routes() -> Vec<Route> {
    vec![route!(POST "/api/v1/auth/service-token", service_token)]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    let credentials = json!({
        "grant_type": "client_credentials",
        "client_id": "trading-service",
        "client_secret": "the secret as it was shown",
        "scope": "read:trades write:trades",
        "audience": ["trading-api"],
    });
    vec![
        Operation::write(
            "POST /api/v1/auth/service-token",
            "keystoneServiceToken",
            "Gives a token to a client for its secret",
        )
        .about(
            "Takes JSON or a form; id and secret may come by HTTP Basic instead. There is no refresh token: the \
         secret is good for the next one. Asking only for what the client does not have is 400 `invalid_scope`.",
        )
        .open()
        .takes::<ServiceTokenRequest>(credentials)
        .gives::<TokenResponse<'_>>()
        .refuses(&[401, 403]),
    ]
}

/// OAuth's client credentials grant.
#[derive(Deserialize, ToSchema)]
#[schema(as = KeystoneServiceTokenRequest)]
struct ServiceTokenRequest {
    /// `client_credentials`.
    #[serde(alias = "grantType")]
    grant_type: String,
    #[serde(alias = "clientId")]
    client_id: Option<String>,
    #[serde(alias = "clientSecret")]
    #[schema(value_type = Option<String>, format = Password)]
    client_secret: Option<Secret<String>>,
    /// Scopes, separated by spaces.
    scope: Option<String>,
    /// Whom the token is to be for, among the client's own audiences; none is all of them.
    #[schema(value_type = Option<Vec<String>>)]
    audience: Option<Texts>,
}

async fn service_token(api: &Api, call: &Call) -> Answer {
    let body: ServiceTokenRequest = call.json_or_form()?;
    must_grant(&body.grant_type, "client_credentials")?;
    let scope = scopes(body.scope.as_deref())?;
    let audience = body.audience.as_ref().map(Texts::audiences).transpose()?.flatten();
    let client = Credentials::of(call, body.client_id, body.client_secret)?;
    let terms = api.app.keystone_client_terms(scope, audience);
    // An account that is none has no client either.
    let account = account(call)?.unwrap_or(AccountId::CLUSTER);
    let request = call.request(account.as_str(), "")?;
    let (name, secret) = (Some(client.id.as_str()), client.secret.expose());
    let tokens = api.app.sign_in_with_key(account, name, secret, &terms, &request).await;
    Ok(given(&tokens.map_err(|failure| of_client(failure, client.is_basic))?))
}
