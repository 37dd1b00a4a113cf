//! The tenant's audit trail (contract part 3.4).

use serde::Deserialize;
use serde_json::Value;

use super::wire::data;
use super::{AuthClient, Call, Read, Target};

/// A part of the trail, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AuditPage {
    /// How many there are in all.
    pub total: u64,
    /// How many were asked for.
    pub limit: u64,
    /// Behind how many.
    pub offset: u64,
    /// The entries.
    pub entries: Vec<AuditEntry>,
}

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AuditEntry {
    /// Names it: a number or a text.
    pub id: Value,
    /// When, in UTC without a zone.
    pub timestamp: String,
    /// What: `ADD_MEMBERSHIP`.
    pub action: String,
    /// To what.
    pub resource: Option<String>,
    /// More of it.
    pub details: Value,
    /// Whether it did something.
    pub success: bool,
    /// A fingerprint of who.
    pub user: Option<String>,
    /// From which address.
    pub ip_address: Option<String>,
    /// With which program.
    pub user_agent: Option<String>,
}

impl AuthClient {
    /// Up to `limit` entries (1 to 500) behind the `offset` newest, of one action only where one is given.
    pub fn audit(&self, limit: u32, offset: u64, action: Option<&str>) -> Call<AuditPage, Read> {
        let target = Target::new("/api/audit").query("limit", Some(limit)).query("offset", Some(offset));
        self.get(target.query("action", action), data)
    }
}
