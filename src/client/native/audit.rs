//! The audit trail.

use std::time::SystemTime;

use serde::Deserialize;

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
    /// The hash of the record before, in hex.
    pub previous: String,
    /// Its own hash, which covers the one before.
    pub hash: String,
}

impl Audit {
    /// Up to `limit` (1 to 200, 50 unless it is said) records behind the one with that number, oldest first;
    /// 0 begins at the first. Page on with the number of the last.
    pub fn list(&self, after: u64, limit: Option<u16>) -> Call<Answer<Page<AuditRecord>>, Read> {
        self.0.get(self.0.below("audit").query("after", Some(after)).query("limit", limit))
    }
}
