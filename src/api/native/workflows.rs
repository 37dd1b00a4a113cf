//! Workflows: who may do every step of one, and which step stops somebody.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::checks::about;
use super::memberships::PrincipalView;
use super::{Answer, Api, Call, Operation, Route, route};
use crate::api::reply;
use crate::app::permit::Check;
use crate::domain::Permission;
use crate::domain::workflow::Steps;
use crate::http::problem::Problem;

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(POST "/v1/accounts/{account}/workflows/who", who, account),
        route!(POST "/v1/accounts/{account}/workflows/check", check, account),
    ]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    let steps = json!(["orders:read", "orders:approve"]);
    vec![
        Operation::read(
            "POST /v1/accounts/{account}/workflows/who",
            "whoCanRun",
            "Who may do every step of a workflow",
        )
        .about(
            "1 to 50 steps, each a permission. At most 1000 principals; the root user, who may do everything, is not \
             listed.",
        )
        .takes::<Workflow>(json!({"steps": steps}))
        .gives::<Runners>(),
        Operation::read(
            "POST /v1/accounts/{account}/workflows/check",
            "checkWorkflow",
            "May this principal do every step, and which one stops it?",
        )
        .about("Without a principal it is about whoever asks.")
        .takes::<Question>(json!({"user": "dev@example.com", "steps": steps}))
        .gives::<Run>(),
    ]
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Workflow {
    /// 1 to 50 permissions, in order.
    steps: Vec<String>,
}

/// A question. Without a principal it is about the caller, who needs no permission to ask that.
#[derive(Deserialize, ToSchema)]
#[schema(as = WorkflowCheck)]
#[serde(deny_unknown_fields)]
struct Question {
    /// A user's id, name or e-mail address.
    user: Option<String>,
    /// A service account's id or name.
    service_account: Option<String>,
    /// 1 to 50 permissions, in order.
    steps: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct Runners {
    items: Vec<PrincipalView>,
    /// Whether there may be more than are listed.
    truncated: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(as = WorkflowRun)]
struct Run {
    can_run: bool,
    /// The first step that the principal may not do.
    stopped_by: Option<String>,
}

async fn who(api: &Api, call: &Call, account: &str) -> Answer {
    let body: Workflow = call.json()?;
    let steps = parse(&body.steps)?;
    let signed = api.reader(call, account).await?;
    let permit = signed.caller.authorize::<Check>(&signed.now, &signed.rows)?;
    let now = api.app.now(&signed.rows);
    let found = steps.runners(permit.rows(), permit.account(), now)?;
    let items: Vec<_> = found.principals.iter().map(PrincipalView::new).collect();
    api.saw(call, signed.caller.asks(), "check.workflow-who", steps.shown(), !items.is_empty());
    let runners = Runners { items, truncated: found.is_cut };
    Ok(reply::at(signed.rows.revision(), StatusCode::OK, &runners))
}

async fn check(api: &Api, call: &Call, account: &str) -> Answer {
    let body: Question = call.json()?;
    let steps = parse(&body.steps)?;
    let signed = api.reader(call, account).await?;
    let about = about(&signed, body.user.as_deref(), body.service_account.as_deref())?;
    let now = api.app.now(&signed.rows);
    let stop = match about {
        Some(principal) => steps.stop(&signed.rows, signed.caller.account(), &principal, now)?,
        None => steps.first(),
    };
    // As in a check, a name that nobody has is not written down.
    let whom = about.map_or_else(|| "nobody".to_owned(), |principal| principal.to_string());
    let target = format!("{} for {whom}", steps.shown());
    api.saw(call, signed.caller.asks(), "check.workflow", target, stop.is_none());
    let run = Run { can_run: stop.is_none(), stopped_by: stop.map(ToString::to_string) };
    Ok(reply::at(signed.rows.revision(), StatusCode::OK, &run))
}

fn parse(texts: &[String]) -> Result<Steps, Problem> {
    Steps::may_be(texts.len())?;
    let permissions = texts.iter().map(|text| Permission::parse(text)).collect::<Result<_, _>>()?;
    Ok(Steps::new(permissions)?)
}
