//! Taking tokens back: one session (RFC 7009), or all of one's own.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::caller::{anyone, named, person};
use super::{Answer, Api, Call, Operation, Route, route};
use crate::api::reply;
use crate::app::Caller;
use crate::auth::refresh::undress;
use crate::domain::session::{self, Family};
use crate::domain::{AccountId, Action};
use crate::secret::Secret;

pub(super) fn routes() -> Vec<Route> {
    vec![route!(POST "/api/v1/auth/revoke", revoke), route!(POST "/api/v1/auth/logout", logout)]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    let token = json!({"token": "an access or refresh token", "token_type_hint": "refresh_token"});
    vec![
        Operation::write("POST /api/v1/auth/revoke", "keystoneRevoke", "Takes one of one's own tokens back")
            .about(
                "RFC 7009: 200 also for what is no token, and for the token of somebody else, of which nothing \
             happens. The session of the token ends, so that its other tokens are no longer good either. Takes \
             JSON or a form.",
            )
            .takes::<Token>(token)
            .gives::<Message>(),
        Operation::write("POST /api/v1/auth/logout", "keystoneLogout", "Ends all sessions of the user")
            .gives::<LoggedOut>(),
    ]
}

/// A token, and what the client thinks it is; that is not looked at.
#[derive(Deserialize, ToSchema)]
#[schema(as = KeystoneToken)]
pub(super) struct Token {
    #[schema(value_type = String, format = Password)]
    pub(super) token: Secret<String>,
    #[serde(alias = "tokenTypeHint")]
    #[expect(dead_code, reason = "typed all the same; RFC 7009 section 2.1 lets a server look at all kinds")]
    token_type_hint: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = KeystoneMessage)]
pub(super) struct Message {
    pub(super) message: &'static str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = KeystoneLoggedOut)]
struct LoggedOut {
    message: &'static str,
    sessions_terminated: usize,
}

async fn revoke(api: &Api, call: &Call) -> Answer {
    let body: Token = call.json_or_form()?;
    let signed = anyone(api, call).await?;
    let caller = &signed.caller;
    let request = named(call, caller)?;
    let token = own_account(caller, body.token);
    let session =
        api.app.session_of_token(&signed.now, caller.account(), Family::Keystone, token.expose())?;
    let mut revision = signed.now.revision();
    // What is not one's own is none of one's business (RFC 7009 section 2.1), and is not told apart.
    if let Some(session) = session.filter(|session| session.principal == caller.principal()) {
        let order = caller.orders(&request, Vec::new(), Action::EndSession { session: session.id });
        revision = api.app.execute(&order, &request).await?.revision;
    }
    Ok(reply::at(revision, StatusCode::OK, &Message { message: "Token revoked successfully" }))
}

/// The token that is looked for: of a dressed refresh token the inner one, if it says it is of this account.
fn own_account(caller: &Caller, token: Secret<String>) -> Secret<String> {
    match undress(token.expose()) {
        Some((said, inner)) if AccountId::parse(&said).is_ok_and(|said| said == caller.account()) => inner,
        Some(_) | None => token,
    }
}

/// Everywhere at once, also what was opened through the native API: who logs out here may have lost a device.
async fn logout(api: &Api, call: &Call) -> Answer {
    let signed = person(api, call).await?;
    let caller = &signed.caller;
    let request = named(call, caller)?;
    let principal = caller.principal();
    let open = session::list(&signed.now, caller.account(), &principal, api.app.now(&signed.now))?;
    let order = caller.orders(&request, Vec::new(), Action::EndSessions { principal, except: None });
    let done = api.app.execute(&order, &request).await?;
    let body = LoggedOut { message: "Logged out successfully", sessions_terminated: open.len() };
    Ok(reply::at(done.revision, StatusCode::OK, &body))
}
