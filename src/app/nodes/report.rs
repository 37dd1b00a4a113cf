//! How nodes are: each asked for what it knows of itself.

use std::time::Duration;

use conclave_cluster::NodeId;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::letter::{Answer, Errand, Report};
use super::{App, Failure, said};
use crate::domain::Read;
use crate::domain::level::RELEASE;
use crate::domain::node::{self, NodeNumber, Part};

/// A node, or why it did not answer.
#[derive(Clone, Debug)]
pub struct Reported {
    pub node: u64,
    pub report: Result<Report, String>,
    /// How long it took to answer. Its clock was read somewhere in between.
    pub round_trip: Duration,
    /// How far its clock is ahead of this node's, in milliseconds, negative when behind; give or take half the round
    /// trip.
    pub clock_ahead_ms: Option<i64>,
}

impl App {
    /// Whether this node is what it shall be: a voter, or a learner for good.
    ///
    /// # Errors
    /// When a row is damaged.
    pub fn has_place(&self, rows: &dyn Read) -> Result<bool, Failure> {
        let own = self.cluster.identity().node;
        if self.is_voter(own.0) {
            return Ok(true);
        }
        let row = node::find(rows, NodeNumber(own.0))?;
        Ok(row.is_some_and(|row| row.value.part == Part::Learner))
    }

    /// What this node knows of itself.
    pub async fn report(&self) -> Report {
        let status = self.cluster.status();
        let certificate = self.cluster.certificate();
        let syncs = self.cluster.log_syncs();
        let cluster = self.cluster.clone();
        let usage = tokio::task::spawn_blocking(move || cluster.disk_usage()).await.ok().flatten();
        Report {
            node: status.node.0,
            version: RELEASE.to_owned(),
            now_ms: self.clock.now().0,
            uptime_s: self.started.elapsed().as_secs(),
            applied: status.applied.map_or(0, |position| position.index),
            revision: status.revision,
            digest: format!("{:032x}", status.digest),
            certificate_expires_ms: certificate.as_ref().map_or(0, |own| own.not_after.0),
            certificate_serial: certificate.map(|own| own.serial).unwrap_or_default(),
            sync_us: (syncs.count > 0).then(|| u64::try_from(syncs.last.as_micros()).unwrap_or(u64::MAX)),
            disk_free_bytes: usage.and_then(|usage| usage.free_bytes),
            open_files: open_files(),
            disk_used_bytes: usage.map(|usage| usage.log_bytes.saturating_add(usage.state_bytes)),
        }
    }

    /// Asks every member; who does not answer within a second or two is said to be silent.
    pub async fn reports(&self, deadline: Instant) -> Vec<Reported> {
        let patience = deadline.min(Instant::now() + ANSWER);
        let members: Vec<NodeId> = self.cluster.status().members.iter().map(|member| member.node).collect();
        join_all(members.into_iter().map(|node| async move {
            let (begun, at_begin) = (Instant::now(), self.clock.now());
            let report = match self.run_errand(Some(node), &Errand::Report, patience).await {
                Ok(Answer::Report(report)) => Ok(*report),
                Ok(other) => Err(said(&super::errands::refusal(other))),
                Err(Failure::Unavailable(_)) => Err("does not answer".to_owned()),
                Err(failure) => Err(said(&failure)),
            };
            let round_trip = begun.elapsed();
            let half_ms = u64::try_from(round_trip.as_millis() / 2).unwrap_or(u64::MAX);
            let here_ms = at_begin.0.saturating_add(half_ms);
            let clock_ahead_ms = report.as_ref().ok().map(|report| ahead(report.now_ms, here_ms));
            Reported { node: node.0, report, round_trip, clock_ahead_ms }
        }))
        .await
    }
}

/// The difference of two times, or as much of it as there is room for.
fn ahead(there_ms: u64, here_ms: u64) -> i64 {
    let far = i64::try_from(there_ms.abs_diff(here_ms)).unwrap_or(i64::MAX);
    if there_ms >= here_ms { far } else { -far }
}

/// How many files and connections this process may have open; `None` where there is no limit.
#[must_use]
pub fn open_files() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

const ANSWER: Duration = Duration::from_secs(2);
