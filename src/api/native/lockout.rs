//! Who is locked out after too many wrong passwords, and ending that.

use serde::Serialize;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::{Answer, Api, Call, Operation, Route, find_for_writing, find_user, must_exist, route};
use crate::api::call::bad_id;
use crate::api::reply::{self, time};
use crate::api::signed::order;
use crate::app::permit::ReadUsers;
use crate::domain::lockout::{self, Attempts, Count};
use crate::domain::{Action, Principal, Timestamp};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(GET "/v1/accounts/{account}/users/{user}/lockout", show, account, user),
        route!(DELETE "/v1/accounts/{account}/users/{user}/lockout", unlock, account, user),
    ]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::read(
            "GET /v1/accounts/{account}/users/{user}/lockout",
            "getLockout",
            "Shows whether anybody is locked out from signing in as a user",
        )
        .about(
            "The addresses from which the user signed in lately count for themselves: strangers lock out \
             strangers.",
        )
        .gives::<LockoutView>(),
        Operation::write(
            "DELETE /v1/accounts/{account}/users/{user}/lockout",
            "unlockUser",
            "Ends every lock of a user and forgets the failures",
        ),
    ]
}

#[derive(Serialize, ToSchema)]
#[schema(as = Lockout)]
struct LockoutView {
    /// Whether anybody is locked out now.
    locked: bool,
    /// Tries from where the user never signed in.
    strangers: CountView,
    /// Tries from where the user signed in lately, the latest last.
    known: Vec<CountView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    last_sign_in_at: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = LockoutCount)]
struct CountView {
    /// In a row, up to now.
    failures: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime)]
    locked_until: Option<String>,
}

impl CountView {
    /// A lock that is over counts no more.
    fn new(count: &Count, now: Timestamp) -> Self {
        match count.locked_until {
            Some(until) if until <= now => Self { failures: 0, locked_until: None },
            until => Self { failures: count.failures, locked_until: until.map(time) },
        }
    }
}

impl LockoutView {
    fn new(attempts: &Attempts, now: Timestamp) -> Self {
        Self {
            locked: attempts.locked_until(now).is_some(),
            strangers: CountView::new(&attempts.strangers, now),
            known: attempts.known.iter().map(|known| CountView::new(&known.count, now)).collect(),
            last_sign_in_at: attempts.last_success.map(time),
        }
    }
}

async fn show(api: &Api, call: &Call, account: &str, text: &str) -> Answer {
    let signed = api.reader(call, account).await?;
    let user = find_user(&signed.rows, &signed.caller, text)?;
    let about = Principal::User(user);
    let permit = signed.caller.authorize_about::<ReadUsers>(&about, &signed.now, &signed.rows)?;
    must_exist(permit.rows(), &signed.caller, &about)?;
    let attempts = lockout::find(permit.rows(), permit.account(), user)?;
    let body = LockoutView::new(&attempts, api.app.now(&signed.rows));
    Ok(reply::at(signed.rows.revision(), StatusCode::OK, &body))
}

async fn unlock(api: &Api, call: &Call, account: &str, text: &str) -> Answer {
    let (caller, request) = api.writer(call, account).await?;
    let Principal::User(user) = find_for_writing(api, call, &caller, "users", text).await? else {
        return Err(bad_id());
    };
    let order = order(call, &caller, &request, None, Action::Unlock { user })?;
    Ok(reply::empty(api.app.execute(&order, &request).await?.revision))
}
