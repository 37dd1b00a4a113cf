//! Permission checks: may this principal do that, one or many at once; and who can.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use warp::http::StatusCode;

use super::memberships::PrincipalView;
use super::{Answer, Api, Call, Operation, Route, Signed, find_service, find_user, route};
use crate::api::reply;
use crate::app::permit::Check;
use crate::domain::{Permission, Principal, Rejection, authority, membership, role};
use crate::http::problem::Problem;

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(GET "/v1/accounts/{account}/check", check_one, account),
        route!(POST "/v1/accounts/{account}/check", check_body, account),
        route!(POST "/v1/accounts/{account}/check/batch", check_many, account),
        route!(GET "/v1/accounts/{account}/who-can", who_can, account),
    ]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    let question = json!({"user": "dev@example.com", "permission": "orders:read"});
    let batch = json!({
        "checks": [
            {"user": "dev@example.com", "permission": "orders:read"},
            {"service_account": "payment-service", "permission": "orders:write"},
        ],
    });
    vec![
        Operation::read("GET /v1/accounts/{account}/check", "check", "May this principal do that?")
            .about("Without a principal it is about whoever asks.")
            .query::<Question>()
            .gives::<Verdict>(),
        Operation::read(
            "POST /v1/accounts/{account}/check",
            "checkInBody",
            "May this principal do that? Asked in a body",
        )
        .about("For principals and permissions that should not be in the logs of proxies.")
        .takes::<Question>(question)
        .gives::<Verdict>(),
        Operation::read(
            "POST /v1/accounts/{account}/check/batch",
            "checkMany",
            "Up to 200 checks at one revision",
        )
        .takes::<Batch>(batch)
        .gives::<Verdicts>(),
        Operation::read("GET /v1/accounts/{account}/who-can", "whoCan", "Who may do that, and by which role")
            .about("At most 1000 rows. The root user, who may do everything, is not listed.")
            .query::<WhoCan>()
            .gives::<Holders>(),
    ]
}

/// A question. Without a principal it is about the caller, who needs no permission to ask that.
#[derive(Debug, Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[schema(as = Check)]
#[serde(deny_unknown_fields)]
struct Question {
    /// A user's id, name or e-mail address.
    user: Option<String>,
    /// A service account's id or name.
    service_account: Option<String>,
    /// What it is to do, such as `orders:read`.
    permission: String,
}

#[derive(Serialize, ToSchema)]
struct Verdict {
    allowed: bool,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = CheckBatch)]
#[serde(deny_unknown_fields)]
struct Batch {
    checks: Vec<Question>,
}

#[derive(Serialize, ToSchema)]
struct Verdicts {
    results: Vec<Verdict>,
}

/// The most questions in a batch.
const MAX_BATCH: usize = 200;

async fn check_one(api: &Api, call: &Call, account: &str) -> Answer {
    let question: Question = call.query()?;
    check(api, call, account, &question).await
}

async fn check_body(api: &Api, call: &Call, account: &str) -> Answer {
    let question: Question = call.json()?;
    check(api, call, account, &question).await
}

async fn check(api: &Api, call: &Call, account: &str, question: &Question) -> Answer {
    let signed = api.reader(call, account).await?;
    let answered = answer(&signed, question)?;
    let verdict = Verdict { allowed: answered.allowed };
    answered.leave(api, call, &signed);
    Ok(reply::at(signed.rows.revision(), StatusCode::OK, &verdict))
}

async fn check_many(api: &Api, call: &Call, account: &str) -> Answer {
    let batch: Batch = call.json()?;
    if batch.checks.len() > MAX_BATCH {
        return Err(Problem::bad_request("invalid_value", "checks: at most 200 at once."));
    }
    let signed = api.reader(call, account).await?;
    let answered = batch.checks.iter().map(|question| answer(&signed, question));
    let answered = answered.collect::<Result<Vec<Answered>, Problem>>()?;
    let results = Verdicts { results: answered.iter().map(|one| Verdict { allowed: one.allowed }).collect() };
    for one in answered {
        one.leave(api, call, &signed);
    }
    Ok(reply::at(signed.rows.revision(), StatusCode::OK, &results))
}

/// An answer, and what the trail says of it.
struct Answered {
    allowed: bool,
    target: String,
}

impl Answered {
    /// In the trail.
    fn leave(self, api: &Api, call: &Call, signed: &Signed) {
        api.saw(call, signed.caller.asks(), "check.permission", self.target, self.allowed);
    }
}

/// A principal that does not exist, or may not act, may do nothing: that is an answer, not an error.
fn answer(signed: &Signed, question: &Question) -> Result<Answered, Problem> {
    let permission = Permission::parse(&question.permission)?;
    let about = about(signed, question.user.as_deref(), question.service_account.as_deref())?;
    let allowed = match &about {
        Some(principal) => {
            match authority::holds(&signed.rows, signed.caller.account(), principal, permission.as_str()) {
                Ok(holds) => holds,
                Err(Rejection::NotFound(_)) => false,
                Err(other) => return Err(other.into()),
            }
        }
        None => false,
    };
    // A name that nobody has may be anything, a password in the wrong field too.
    let who = about.map_or_else(|| "nobody".to_owned(), |principal| principal.to_string());
    Ok(Answered { allowed, target: format!("{permission} for {who}") })
}

/// Whom a question is about: the caller where it names nobody, and nobody where it names one that is not there.
pub(super) fn about(
    signed: &Signed,
    user: Option<&str>,
    service_account: Option<&str>,
) -> Result<Option<Principal>, Problem> {
    let caller = &signed.caller;
    let about = match (user, service_account) {
        (None, None) => Some(caller.principal()),
        (Some(user), None) => found(find_user(&signed.rows, caller, user).map(Principal::User))?,
        (None, Some(service)) => found(find_service(&signed.rows, caller, service).map(Principal::Service))?,
        (Some(_), Some(_)) => {
            let rule = "A check is about a user or a service account, not both.";
            return Err(Problem::bad_request("invalid_value", rule));
        }
    };
    // Asked before it is known whether there is such a principal: the answer tells nothing to strangers.
    if about != Some(caller.principal()) {
        caller.authorize::<Check>(&signed.now, &signed.rows)?;
    }
    Ok(about)
}

fn found(principal: Result<Principal, Problem>) -> Result<Option<Principal>, Problem> {
    match principal {
        Ok(principal) => Ok(Some(principal)),
        Err(problem) if problem.status() == StatusCode::NOT_FOUND => Ok(None),
        Err(problem) => Err(problem),
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct WhoCan {
    /// What they are to do, such as `orders:read`.
    permission: String,
}

#[derive(Serialize, ToSchema)]
struct Holder {
    #[serde(flatten)]
    principal: PrincipalView,
    role: String,
}

#[derive(Serialize, ToSchema)]
struct Holders {
    /// Each principal with each role that gives it the permission; the root user, who has every
    /// permission without a role, is not listed.
    items: Vec<Holder>,
    /// Whether there are more than are listed.
    truncated: bool,
}

/// The most rows of a `who-can` answer.
const MAX_HOLDERS: usize = 1_000;

async fn who_can(api: &Api, call: &Call, account: &str) -> Answer {
    let query: WhoCan = call.query()?;
    let permission = Permission::parse(&query.permission)?;
    let signed = api.reader(call, account).await?;
    let permit = signed.caller.authorize::<Check>(&signed.now, &signed.rows)?;
    let mut items = Vec::new();
    let mut truncated = false;
    for name in role::which_hold(permit.rows(), permit.account(), permission.as_str())? {
        let room = MAX_HOLDERS.saturating_sub(items.len());
        let mut members = membership::members_of(permit.rows(), permit.account(), &name, None, room + 1)?;
        truncated |= members.len() > room;
        members.truncate(room);
        for principal in members {
            if principal.standing(permit.rows(), permit.account()).is_ok() {
                items.push(Holder { principal: PrincipalView::new(&principal), role: name.to_string() });
            }
        }
    }
    api.saw(call, signed.caller.asks(), "check.who-can", permission.to_string(), !items.is_empty());
    Ok(reply::at(signed.rows.revision(), StatusCode::OK, &Holders { items, truncated }))
}
