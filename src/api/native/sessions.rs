//! Sessions: list a principal's, end one or all.

use serde::Serialize;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::{Answer, Api, Call, Operation, Route, find_for_writing, find_principal, must_exist, route};
use crate::api::call::bad_id;
use crate::api::reply::{self, Page, time};
use crate::api::signed::order;
use crate::app::permit::ReadSessions;
use crate::domain::session::{self, Method, Refresh, Session};
use crate::domain::{Action, SessionId};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(GET "/v1/accounts/{account}/users/{user}/sessions", list, account, "users", user),
        route!(GET "/v1/accounts/{account}/service-accounts/{service}/sessions", list, account, "service-accounts", service),
        route!(DELETE "/v1/accounts/{account}/users/{user}/sessions", end_all, account, "users", user),
        route!(DELETE "/v1/accounts/{account}/service-accounts/{service}/sessions", end_all, account, "service-accounts", service),
        route!(DELETE "/v1/accounts/{account}/sessions/{session}", end, account, session),
    ]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::read(
            "GET /v1/accounts/{account}/users/{user}/sessions",
            "listUserSessions",
            "Lists the live sessions of a user",
        )
        .lists::<SessionView>(),
        Operation::read(
            "GET /v1/accounts/{account}/service-accounts/{service}/sessions",
            "listServiceAccountSessions",
            "Lists the live sessions of a service account",
        )
        .lists::<SessionView>(),
        Operation::write(
            "DELETE /v1/accounts/{account}/users/{user}/sessions",
            "endUserSessions",
            "Ends all sessions of a user",
        )
        .about("No node takes any of their tokens from the revision of the reply on."),
        Operation::write(
            "DELETE /v1/accounts/{account}/service-accounts/{service}/sessions",
            "endServiceAccountSessions",
            "Ends all sessions of a service account",
        )
        .about("No node takes any of their tokens from the revision of the reply on."),
        Operation::write(
            "DELETE /v1/accounts/{account}/sessions/{session}",
            "endSession",
            "Ends a session; `me` signs out",
        )
        .about("No node takes any of its tokens from the revision of the reply on."),
    ]
}

#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
struct SessionView {
    #[schema(format = Uuid)]
    id: String,
    method: &'static str,
    refresh: &'static str,
    #[schema(format = DateTime)]
    opened_at: String,
    #[schema(format = DateTime)]
    used_at: String,
    #[schema(format = DateTime)]
    expires_at: String,
    /// Whether it is the one that asks.
    is_current: bool,
}

impl SessionView {
    fn new(session: &Session, current: SessionId) -> Self {
        let method = match session.method {
            Method::Password => "password",
            Method::ApiKey(_) => "api_key",
        };
        let refresh = match session.refresh {
            Refresh::None => "none",
            Refresh::Fixed => "fixed",
            Refresh::Rotating { .. } => "rotating",
        };
        Self {
            id: session.id.to_string(),
            method,
            refresh,
            opened_at: time(session.opened_at),
            used_at: time(session.used_at),
            expires_at: time(session.expires_at),
            is_current: session.id == current,
        }
    }
}

async fn list(api: &Api, call: &Call, account: &str, principals: &str, principal: &str) -> Answer {
    let signed = api.reader(call, account).await?;
    let about = find_principal(&signed.rows, &signed.caller, principals, principal)?;
    let permit = signed.caller.authorize_about::<ReadSessions>(&about, &signed.now, &signed.rows)?;
    must_exist(permit.rows(), &signed.caller, &about)?;
    let now = api.app.now(&signed.rows);
    let sessions = session::list(permit.rows(), permit.account(), &about, now)?;
    let current = signed.caller.session();
    let items = sessions.iter().map(|session| SessionView::new(session, current)).collect();
    Ok(reply::at(signed.rows.revision(), StatusCode::OK, &Page { items, next: None }))
}

/// `me` in the place of an id is the session that asks: signing out.
async fn end(api: &Api, call: &Call, account: &str, text: &str) -> Answer {
    let (caller, request) = api.writer(call, account).await?;
    let session = match text {
        "me" => caller.session(),
        id => id.parse().map_err(|_| bad_id())?,
    };
    let order = order(call, &caller, &request, None, Action::EndSession { session })?;
    Ok(reply::empty(api.app.execute(&order, &request).await?.revision))
}

async fn end_all(api: &Api, call: &Call, account: &str, principals: &str, principal: &str) -> Answer {
    let (caller, request) = api.writer(call, account).await?;
    let principal = find_for_writing(api, call, &caller, principals, principal).await?;
    let action = Action::EndSessions { principal, except: None };
    let order = order(call, &caller, &request, None, action)?;
    Ok(reply::empty(api.app.execute(&order, &request).await?.revision))
}
