//! Workflows: who may run one, and for one of several steps, where somebody is stopped.
//!
//! A workflow of one step is the permission of its name, as the original has it; one of several steps is named by
//! its steps, each a permission.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::checks::{Verdict, who_can};
use super::envelope::{envelope, wraps};
use super::memberships::{MembershipView, NOT_KEY_BACKED, name_of};
use super::seen::Seen;
use super::{Answer, Api, Call, Operation, Route, names, route};
use crate::domain::workflow::Steps;
use crate::domain::{Principal, subject};
use crate::http::problem::Problem;

pub(super) fn routes() -> Vec<Route> {
    vec![
        route!(GET "/api/workflow/users/{workflow}", users_of_one, workflow),
        route!(GET "/api/workflow/user/{user}/can_run/{workflow}", can_run_one, user, workflow),
        route!(POST "/api/workflows/users", users_of_all),
        route!(POST "/api/workflows/user/{user}", can_run_all, user),
    ]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    let steps = json!({"steps": ["draft", "approve", "publish"]});
    vec![
        wraps::<WorkflowUsers>(Operation::read(
            "GET /api/workflow/users/{workflow}",
            "authzWorkflowUsers",
            "Lists who may run a workflow, and by which role",
        ))
        .refuses(&[422]),
        wraps::<Verdict>(Operation::read(
            "GET /api/workflow/user/{user}/can_run/{workflow}",
            "authzUserCanRun",
            "Whether a user may run a workflow",
        )),
        wraps::<Runners>(Operation::read(
            "POST /api/workflows/users",
            "authzStepsUsers",
            "Lists who may do every step of a workflow",
        ))
        .about(
            "1 to 50 steps, each a permission. At most 1000 users; `truncated` says that there may be more.",
        )
        .takes::<WorkflowSteps>(steps.clone()),
        wraps::<Run>(Operation::read(
            "POST /api/workflows/user/{user}",
            "authzUserCanRunSteps",
            "Whether a user may do every step of a workflow, and which one stops it",
        ))
        .takes::<WorkflowSteps>(steps),
    ]
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuthzWorkflowUsers)]
struct WorkflowUsers {
    count: usize,
    members: Vec<MembershipView>,
}

async fn users_of_one(api: &Api, call: &Call, workflow: &str) -> Answer {
    let workflow = names::permission(workflow)?;
    let reader = api.reading(call).await?;
    let members = who_can(&reader, &workflow)?;
    let users = WorkflowUsers { count: members.len(), members };
    api.seen(call, &reader, Seen::new("list.memberships", format!("workflow:{workflow}")));
    Ok(envelope(api, &reader.rows, &format!("Who may run workflow {workflow}"), users))
}

async fn can_run_one(api: &Api, call: &Call, user: &str, workflow: &str) -> Answer {
    let (user, workflow) = (names::user(user)?, names::workflow(workflow)?);
    let reader = api.reading(call).await?;
    let verdict = Verdict::on_permission(&reader, &user, &workflow)?;
    let seen = Seen::new("check.permission", format!("subject/{user} workflow:{workflow}"));
    api.seen(call, &reader, seen.answered(verdict.has_permission));
    Ok(envelope(api, &reader.rows, &format!("Whether {user} may run workflow {workflow}"), verdict))
}

#[derive(Deserialize, ToSchema)]
#[schema(as = AuthzSteps)]
#[serde(deny_unknown_fields)]
struct WorkflowSteps {
    /// 1 to 50 permissions, in order.
    steps: Vec<String>,
}

impl WorkflowSteps {
    fn parse(&self) -> Result<Steps, Problem> {
        Steps::may_be(self.steps.len())?;
        let steps = self.steps.iter().map(|step| names::permission(step)).collect::<Result<_, _>>()?;
        Ok(Steps::new(steps)?)
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuthzRunner)]
struct Runner {
    user: String,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuthzRunners)]
struct Runners {
    count: usize,
    members: Vec<Runner>,
    /// Whether there may be more than are listed.
    truncated: bool,
}

async fn users_of_all(api: &Api, call: &Call) -> Answer {
    let body: WorkflowSteps = call.json()?;
    let steps = body.parse()?;
    let reader = api.reading(call).await?;
    let mut truncated = false;
    let members = reader.ask(|rows, account| {
        let found = steps.runners(rows, account, reader.now)?;
        truncated = found.is_cut;
        let mut names = Vec::with_capacity(found.principals.len());
        for principal in &found.principals {
            names.push(name_of(rows, account, principal)?);
        }
        names.sort();
        Ok(names)
    })?;
    let members: Vec<Runner> = members.into_iter().map(|name| Runner { user: name.into() }).collect();
    api.seen(call, &reader, Seen::new("list.memberships", format!("workflow:{}", steps.shown())));
    let runners = Runners { count: members.len(), members, truncated };
    Ok(envelope(api, &reader.rows, "Who may do every step", runners))
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuthzRun)]
struct Run {
    can_run: bool,
    /// The first step that the user may not do.
    stopped_by: Option<String>,
    /// As in a check.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<&'static str>,
}

async fn can_run_all(api: &Api, call: &Call, user: &str) -> Answer {
    let user = names::user(user)?;
    let body: WorkflowSteps = call.json()?;
    let steps = body.parse()?;
    let reader = api.reading(call).await?;
    let id = subject::id_of(&user);
    let run = match reader.account {
        None => Run { can_run: false, stopped_by: steps.first().map(ToString::to_string), reason: None },
        Some(account) => {
            let is_barred = subject::is_barred(&reader.rows, account, id, reader.now)?;
            let stop = steps.stop(&reader.rows, account, &Principal::Subject(id), reader.now)?;
            Run {
                can_run: stop.is_none(),
                stopped_by: stop.map(ToString::to_string),
                reason: is_barred.then_some(NOT_KEY_BACKED),
            }
        }
    };
    let seen = Seen::new("check.permission", format!("subject/{user} workflow:{}", steps.shown()));
    api.seen(call, &reader, seen.answered(run.can_run));
    Ok(envelope(api, &reader.rows, &format!("Whether {user} may do every step"), run))
}
