//! An audit record as JSON: what the API shows, and what an exported trail has in each line.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::reply::time;
use crate::domain::audit::{AuditHead, AuditRecord, Chain, Trail};
use crate::domain::{AccountId, Actor};

/// A record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = AuditRecord)]
#[serde(deny_unknown_fields)]
pub struct RecordView {
    pub sequence: u64,
    #[schema(format = DateTime)]
    pub at: String,
    pub revision: u64,
    /// `anonymous`, `system`, `key-holder`, or who was signed in, such as `user/<id>`.
    pub by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub agent: Option<String>,
    pub action: String,
    pub target: String,
    /// Whether it was done, or the question answered with yes.
    pub success: bool,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    pub detail: String,
    /// How often, where the same was asked several times.
    pub count: u32,
    /// The chain, in hex: this record's hash covers the one before.
    pub previous: String,
    pub hash: String,
    /// The bytes whose SHA-256 is the hash, in base64; only where they are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub hashed: Option<String>,
}

/// Both ends of a trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = AuditHead)]
#[serde(deny_unknown_fields)]
pub struct HeadView {
    pub account: String,
    pub trail: TrailName,
    /// The newest record; 0 while there is none.
    pub sequence: u64,
    /// Its hash, in hex: kept elsewhere, it proves later that nothing before it was changed.
    pub hash: String,
    /// The oldest record that is kept; 0 while there is none.
    pub first: u64,
    /// The hash of the record before that, in hex: zeros where there never was one.
    pub anchor: String,
}

/// Which trail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TrailName {
    /// What was done, or tried.
    #[default]
    Acts,
    /// What was asked: permission checks, looks into tokens and trails.
    Checks,
}

impl RecordView {
    /// As the API shows it.
    #[must_use]
    pub fn new(record: AuditRecord) -> Self {
        let (by, session) = match &record.by {
            Actor::Anonymous => ("anonymous".to_owned(), None),
            Actor::System => ("system".to_owned(), None),
            Actor::SignedIn { principal, session } => (principal.to_string(), Some(session.to_string())),
            Actor::KeyHolder(_) => ("key-holder".to_owned(), None),
        };
        Self {
            sequence: record.sequence,
            at: time(record.at),
            revision: record.revision,
            by,
            session,
            address: record.origin.address,
            agent: record.origin.agent,
            action: record.action,
            target: record.target,
            success: record.success,
            detail: record.detail,
            count: record.count,
            previous: hex(&record.previous),
            hash: hex(&record.hash),
            hashed: None,
        }
    }

    /// The same with the bytes that are hashed.
    #[must_use]
    pub fn whole(chain: Chain, record: AuditRecord) -> Self {
        let hashed = Some(STANDARD.encode(chain.hashed(&record)));
        Self { hashed, ..Self::new(record) }
    }

    /// What the bytes that are hashed say, as it would be shown, with the hash that they have; `None` where there
    /// are none or they are no record of that chain.
    #[must_use]
    pub fn as_hashed(&self, chain: Chain) -> Option<Self> {
        let bytes = STANDARD.decode(self.hashed.as_deref()?).ok()?;
        chain.record_of(&bytes).map(|record| Self::whole(chain, record))
    }
}

impl HeadView {
    /// As the API shows it.
    #[must_use]
    pub fn new(account: AccountId, trail: TrailName, head: &AuditHead) -> Self {
        Self {
            account: account.to_string(),
            trail,
            sequence: head.sequence,
            hash: hex(&head.hash),
            first: head.first,
            anchor: hex(&head.anchor),
        }
    }
}

impl TrailName {
    /// As queries and lines name it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Acts => "acts",
            Self::Checks => "checks",
        }
    }
}

impl From<TrailName> for Trail {
    fn from(name: TrailName) -> Self {
        match name {
            TrailName::Acts => Self::Acts,
            TrailName::Checks => Self::Checks,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing into a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
