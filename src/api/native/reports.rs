//! How every node is, as it says itself. For operators.

use serde::Serialize;
use utoipa::ToSchema;
use warp::http::StatusCode;

use super::{Answer, Api, Call, Operation, Route, route};
use crate::api::reply;
use crate::app::nodes::report::Reported;
use crate::clock::{LogTime, rfc3339};

pub(super) fn routes() -> Vec<Route> {
    vec![route!(GET "/v1/cluster/reports", reports)]
}

/// The same for the API document.
pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::local("GET /v1/cluster/reports", "listReports", "How every node is, as it says itself")
            .about("Asks all members at once, also while there is no leader; who does not answer within two seconds is silent.")
            .operator()
            .stamped()
            .gives::<ReportsView>(),
    ]
}

#[derive(Serialize, ToSchema)]
#[schema(as = Reports)]
struct ReportsView {
    /// The node that asked the others.
    node: u64,
    reports: Vec<ReportView>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Report)]
struct ReportView {
    node: u64,
    /// Why there is nothing of it, where there is not.
    silent: Option<String>,
    /// Milliseconds until it had answered.
    round_trip_ms: u64,
    /// Milliseconds that its clock is ahead of that of the node that asked, negative when behind; give or take half the
    /// round trip.
    clock_ahead_ms: Option<i64>,
    /// The release it runs.
    version: Option<String>,
    /// Seconds since it was started.
    uptime_s: Option<u64>,
    /// Index of the last log entry that it shows.
    applied: Option<u64>,
    /// Of the last command that it shows.
    revision: Option<u64>,
    /// Digest of its whole state at that revision, in hex: equal on all nodes.
    digest: Option<String>,
    #[schema(format = DateTime)]
    certificate_expires_at: Option<String>,
    /// How long the last sync of its log took, in microseconds.
    sync_us: Option<u64>,
    disk_free_bytes: Option<u64>,
    disk_used_bytes: Option<u64>,
    /// How many files and connections its process may have open.
    open_files: Option<u64>,
}

impl From<Reported> for ReportView {
    fn from(reported: Reported) -> Self {
        let (report, silent) = match reported.report {
            Ok(report) => (Some(report), None),
            Err(reason) => (None, Some(reason)),
        };
        let certificate = report.as_ref().map(|report| rfc3339(LogTime(report.certificate_expires_ms)));
        Self {
            node: reported.node,
            silent,
            round_trip_ms: u64::try_from(reported.round_trip.as_millis()).unwrap_or(u64::MAX),
            clock_ahead_ms: reported.clock_ahead_ms,
            uptime_s: report.as_ref().map(|report| report.uptime_s),
            applied: report.as_ref().map(|report| report.applied),
            revision: report.as_ref().map(|report| report.revision),
            sync_us: report.as_ref().and_then(|report| report.sync_us),
            disk_free_bytes: report.as_ref().and_then(|report| report.disk_free_bytes),
            disk_used_bytes: report.as_ref().and_then(|report| report.disk_used_bytes),
            open_files: report.as_ref().and_then(|report| report.open_files),
            certificate_expires_at: certificate,
            version: report.as_ref().map(|report| report.version.clone()),
            digest: report.map(|report| report.digest),
        }
    }
}

async fn reports(api: &Api, call: &Call) -> Answer {
    api.operator(call)?;
    let reports = api.app.reports(call.context.deadline).await;
    let status = api.app.cluster.status();
    let view =
        ReportsView { node: status.node.0, reports: reports.into_iter().map(ReportView::from).collect() };
    Ok(reply::at(status.revision, StatusCode::OK, &view))
}
