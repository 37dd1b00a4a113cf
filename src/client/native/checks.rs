//! Permission checks: may this principal do that, and who can.

use std::fmt::Display;

use serde::{Deserialize, Serialize};

use super::{Account, Answer, Call, PrincipalView, Read};
use crate::client::Error;

/// The permission checks of an account.
#[derive(Clone, Debug)]
pub struct Checks(pub(super) Account);

/// May this principal do that? Without a principal it is about whoever asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Question {
    /// A user, by id, name or e-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// A service account, by id or name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// What it is to do, such as `orders:read`.
    pub permission: String,
}

impl Question {
    /// About whoever asks.
    pub fn of_me(permission: impl Into<String>) -> Self {
        Self { user: None, service_account: None, permission: permission.into() }
    }

    /// About a user.
    pub fn of_user(user: impl Display, permission: impl Into<String>) -> Self {
        Self { user: Some(user.to_string()), ..Self::of_me(permission) }
    }

    /// About a service account.
    pub fn of_service(service: impl Display, permission: impl Into<String>) -> Self {
        Self { service_account: Some(service.to_string()), ..Self::of_me(permission) }
    }
}

/// The answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Verdict {
    /// Whether it may. Who does not exist, or may not act, may do nothing.
    pub allowed: bool,
}

/// May this principal do every step of a workflow? Without a principal it is about whoever asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkflowQuestion {
    /// A user, by id, name or e-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// A service account, by id or name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// 1 to 50 permissions, in order.
    pub steps: Vec<String>,
}

/// The answer to a question about a workflow.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Run {
    /// Whether it may do all of it.
    pub can_run: bool,
    /// The first step that it may not do.
    pub stopped_by: Option<String>,
}

/// Who may do every step.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Runners {
    /// In no order; the root user, who may everything, is not listed.
    pub items: Vec<PrincipalView>,
    /// Whether there may be more than are listed.
    pub truncated: bool,
}

#[derive(Serialize)]
struct Workflow<'s> {
    steps: &'s [String],
}

/// One who may, and by which role.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Holder {
    /// Who.
    #[serde(flatten)]
    pub principal: PrincipalView,
    /// The role that gives it.
    pub role: String,
}

/// Who may.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Holders {
    /// Each principal with each role that gives it; the root user, who may everything, is not listed.
    pub items: Vec<Holder>,
    /// Whether there are more than are listed.
    pub truncated: bool,
}

#[derive(Serialize)]
struct Batch<'q> {
    checks: &'q [Question],
}

#[derive(Deserialize)]
struct Verdicts {
    results: Vec<Verdict>,
}

impl Checks {
    /// One question, in the query: proxies and their caches see it.
    pub fn in_query(&self, question: &Question) -> Call<Answer<Verdict>, Read> {
        let target = self.0.below("check").query("user", question.user.as_ref());
        let target = target.query("service_account", question.service_account.as_ref());
        self.0.get(target.query("permission", Some(&question.permission)))
    }

    /// One question, in a body: what logs of proxies do not see.
    pub fn one(&self, question: &Question) -> Call<Answer<Verdict>, Read> {
        self.0.query(self.0.below("check")).json(question)
    }

    /// Up to 200 questions at one revision; the answers are in their order.
    pub fn many(&self, questions: &[Question]) -> Call<Answer<Vec<Verdict>>, Read> {
        let target = self.0.below("check").word("batch");
        let read = |raw| {
            let answer = super::answer::<Verdicts>(raw)?;
            Ok(Answer { value: answer.value.results, revision: answer.revision, tag: answer.tag })
        };
        let call = Call::reading(&self.0.client, &self.0.proof, reqwest::Method::POST, target, read);
        call.json(&Batch { checks: questions })
    }

    /// Who may do that, at most 1000 rows.
    pub fn who_can(&self, permission: impl Display) -> Call<Answer<Holders>, Read> {
        self.0.get(self.0.below("who-can").query("permission", Some(permission)))
    }

    /// May it do every step of a workflow, and which one stops it?
    pub fn run(&self, question: &WorkflowQuestion) -> Call<Answer<Run>, Read> {
        self.0.query(self.0.below("workflows").word("check")).json(question)
    }

    /// Who may do every one of 1 to 50 steps, at most 1000 principals.
    pub fn who_can_run(&self, steps: &[String]) -> Call<Answer<Runners>, Read> {
        self.0.query(self.0.below("workflows").word("who")).json(&Workflow { steps })
    }

    /// Whether whoever asks may do that: [`Checks::one`] in one word.
    ///
    /// # Errors
    /// As the call.
    pub async fn may_i(&self, permission: impl Into<String>) -> Result<bool, Error> {
        Ok(self.one(&Question::of_me(permission)).await?.allowed)
    }
}
