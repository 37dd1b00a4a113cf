//! The audit trail.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::super::path::Target;
use super::super::wire;
use super::{Account, Answer, Call, Page, Read};

/// The audit trail of an account.
#[derive(Clone, Debug)]
pub struct Audit(pub(super) Account);

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AuditRecord {
    /// Its number in the account's trail, without gaps.
    pub sequence: u64,
    /// When.
    #[serde(deserialize_with = "wire::time")]
    pub at: SystemTime,
    /// The revision that it made.
    pub revision: u64,
    /// Who: `user/<id>`, `service-account/<id>`, `anonymous` or `system`.
    pub by: String,
    /// In which session.
    pub session: Option<String>,
    /// From which address.
    pub address: Option<String>,
    /// With which program, by its own account.
    pub agent: Option<String>,
    /// What.
    pub action: String,
    /// To what.
    pub target: String,
    /// Whether it was done, or the question answered with yes.
    pub success: bool,
    /// What else there is to say.
    #[serde(default)]
    pub detail: String,
    /// How often, where the same was asked several times.
    pub count: u32,
    /// The hash of the record before, in hex.
    pub previous: String,
    /// Its own hash, which covers the one before.
    pub hash: String,
}

/// Which trail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trail {
    /// What was done, or tried.
    #[default]
    Acts,
    /// What was asked.
    Checks,
}

/// Both ends of a trail.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AuditHead {
    /// The newest record; 0 while there is none.
    pub sequence: u64,
    /// Its hash, in hex: kept elsewhere, it proves later that nothing before it was changed.
    pub hash: String,
    /// The oldest record that is kept; 0 while there is none.
    pub first: u64,
    /// The hash of the record before that, in hex.
    pub anchor: String,
}

/// Which records; what is `None` does not matter.
#[derive(Clone, Debug, Default)]
pub struct AuditQuery {
    pub trail: Trail,
    /// An action, such as `user.create`; a final `*` stands for every ending.
    pub action: Option<String>,
    /// What it was done to; a final `*` stands for every ending.
    pub target: Option<String>,
    /// Who did it.
    pub by: Option<String>,
    /// Whether it was done, or the question answered with yes.
    pub success: Option<bool>,
    /// The newest first.
    pub newest_first: bool,
    /// 1 to 200.
    pub limit: Option<u16>,
    /// What the page before gave as `next`.
    pub cursor: Option<String>,
}

impl Trail {
    const fn name(self) -> &'static str {
        match self {
            Self::Acts => "acts",
            Self::Checks => "checks",
        }
    }
}

impl AuditQuery {
    pub(super) fn ask(&self, target: Target) -> Target {
        let order = self.newest_first.then_some("desc");
        target
            .query("trail", Some(self.trail.name()))
            .query("action", self.action.as_ref())
            .query("target", self.target.as_ref())
            .query("by", self.by.as_ref())
            .query("success", self.success)
            .query("order", order)
            .query("limit", self.limit)
            .query("cursor", self.cursor.as_ref())
    }
}

impl Audit {
    /// The records that fit. A page may be short and still have a `next`: the cluster looks at a bounded number of
    /// records for each.
    pub fn search(&self, query: &AuditQuery) -> Call<Answer<Page<AuditRecord>>, Read> {
        self.0.get(query.ask(self.0.below("audit")))
    }

    /// Both ends of a trail.
    pub fn head(&self, trail: Trail) -> Call<Answer<AuditHead>, Read> {
        self.0.get(self.0.below("audit").word("head").query("trail", Some(trail.name())))
    }

    /// Up to `limit` (1 to 200, 50 unless it is said) records behind the one with that number, oldest first;
    /// 0 begins at the first. Page on with the number of the last.
    pub fn list(&self, after: u64, limit: Option<u16>) -> Call<Answer<Page<AuditRecord>>, Read> {
        self.0.get(self.0.below("audit").query("after", Some(after)).query("limit", limit))
    }
}
