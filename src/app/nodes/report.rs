//! How nodes are: each asked for what it knows of itself.

use std::time::Duration;

use conclave_cluster::NodeId;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::letter::{Answer, Errand, Report};
use super::{App, Failure, said};
use crate::domain::Read;
use crate::domain::node::{self, NodeNumber, Part};

/// A node, or why it did not answer.
#[derive(Clone, Debug)]
pub struct Reported {
    pub node: u64,
    pub report: Result<Report, String>,
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
        let cluster = self.cluster.clone();
        let times = cluster.sync_times();
        let usage = tokio::task::spawn_blocking(move || cluster.disk_usage()).await.ok().flatten();
        Report {
            node: status.node.0,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            now_ms: self.clock.now().0,
            uptime_s: self.started.elapsed().as_secs(),
            applied: status.applied.map_or(0, |position| position.index),
            revision: status.revision,
            digest: format!("{:032x}", status.digest),
            certificate_expires_ms: certificate.as_ref().map_or(0, |own| own.not_after.0),
            certificate_serial: certificate.map(|own| own.serial).unwrap_or_default(),
            sync_us: times.total_us.checked_div(times.syncs),
            disk_free_bytes: usage.and_then(|usage| usage.free_bytes),
            disk_used_bytes: usage.map(|usage| usage.log_bytes.saturating_add(usage.state_bytes)),
        }
    }

    /// Asks every member; who does not answer within a second or two is said to be silent.
    pub async fn reports(&self, deadline: Instant) -> Vec<Reported> {
        let patience = deadline.min(Instant::now() + ANSWER);
        let members: Vec<NodeId> = self.cluster.status().members.iter().map(|member| member.node).collect();
        join_all(members.into_iter().map(|node| async move {
            let report = match self.run_errand(Some(node), &Errand::Report, patience).await {
                Ok(Answer::Report(report)) => Ok(*report),
                Ok(other) => Err(said(&super::errands::refusal(other))),
                Err(Failure::Unavailable(_)) => Err("does not answer".to_owned()),
                Err(failure) => Err(said(&failure)),
            };
            Reported { node: node.0, report }
        }))
        .await
    }
}

const ANSWER: Duration = Duration::from_secs(2);
