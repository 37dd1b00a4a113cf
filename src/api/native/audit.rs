//! Reading the audit trail.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use warp::http::StatusCode;

use super::{Answer, Api, Call, Operation, Route, route};
use crate::api::reply::{self, Page, PageQuery, time};
use crate::app::permit::ReadAudit;
use crate::domain::Actor;
use crate::domain::audit::{self, AuditRecord, Trail};

pub(super) fn routes() -> Vec<Route> {
    vec![route!(GET "/v1/accounts/{account}/audit", list, account)]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::read(
            "GET /v1/accounts/{account}/audit",
            "listAudit",
            "Reads the audit trail, oldest first",
        )
        .about(
            "Each record's hash covers the one before, so that a gap shows. Page on with \
         `after`, the last sequence number seen.",
        )
        .query::<AuditQuery>()
        .lists::<RecordView>(),
    ]
}

#[derive(Serialize, ToSchema)]
#[schema(as = AuditRecord)]
struct RecordView {
    sequence: u64,
    #[schema(format = DateTime)]
    at: String,
    revision: u64,
    by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    agent: Option<String>,
    action: String,
    target: String,
    /// Whether it was done, or only tried.
    success: bool,
    /// What else there is to say.
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
    /// How often.
    count: u32,
    /// The chain, in hex: this record's hash covers the one before.
    previous: String,
    hash: String,
}

impl RecordView {
    fn new(record: AuditRecord) -> Self {
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
        }
    }
}

/// Oldest first; `after` is a sequence number, an easier cursor to keep than an opaque one.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    /// 1 to 200; 50 by default.
    limit: Option<usize>,
    /// The sequence number behind which to start.
    after: Option<u64>,
}

async fn list(api: &Api, call: &Call, account: &str) -> Answer {
    let query: AuditQuery = call.query()?;
    let limit = PageQuery { limit: query.limit, cursor: None }.limit()?;
    let signed = api.reader(call, account).await?;
    let permit = signed.caller.authorize::<ReadAudit>(&signed.now, &signed.rows)?;
    let records =
        audit::list(permit.rows(), permit.account(), Trail::Acts, query.after.unwrap_or_default(), limit)?;
    let items = records.into_iter().map(RecordView::new).collect();
    Ok(reply::at(signed.rows.revision(), StatusCode::OK, &Page { items, next: None }))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
