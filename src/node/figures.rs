//! What the parts of a node say of themselves, asked for at each scrape.
//!
//! # Why weak
//! The registry may outlive the node. It must not keep a stopped node's data folder open.

use std::fmt;
use std::sync::{Arc, Weak};

use conclave_cluster::{Clock, Cluster, DiskUsage, Role, Status, SystemClock};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::app::App;
use crate::app::backups::BackupStats;
use crate::app::observer::ObserverStats;
use crate::auth::hasher::HasherStats;
use crate::tenants::{Tenants, TenantsStats};

/// The parts that have figures.
pub(super) struct Sources {
    pub(super) cluster: Cluster,
    pub(super) tenants: Tenants,
    pub(super) app: Arc<App>,
}

/// Reads the figures when it is asked.
pub(super) struct Figures(pub(super) Weak<Sources>);

const ROLES: [(Role, &str); 5] = [
    (Role::Learner, "learner"),
    (Role::Follower, "follower"),
    (Role::Candidate, "candidate"),
    (Role::Leader, "leader"),
    (Role::Stopped, "stopped"),
];

impl Collector for Figures {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(sources) = self.0.upgrade() else { return Ok(()) };
        let mut page = Page(encoder);
        page.raft(&sources.cluster.status())?;
        page.disk(sources.cluster.disk_usage().unwrap_or_default())?;
        page.hasher(sources.app.hasher.stats())?;
        page.tenants(sources.tenants.stats())?;
        page.observer(sources.app.observer_stats())?;
        page.backups(sources.app.backup_stats())?;
        page.gauge(
            "conclave_verifier_cached_tokens",
            "Access tokens whose signature is remembered",
            count(sources.app.remembered_tokens()),
        )
    }
}

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Figures")
    }
}

/// Writes one metric after the other.
struct Page<'e>(DescriptorEncoder<'e>);

impl Page<'_> {
    fn raft(&mut self, status: &Status) -> fmt::Result {
        let roles = ROLES.map(|(role, name)| (name, u64::from(status.role == role)));
        self.labelled("conclave_raft_role", "1 for what this node is now", "role", &roles)?;
        let voters = status.members.iter().filter(|member| member.is_voter).count();
        let learners = status.members.len() - voters;
        let members = [("voter", count(voters)), ("learner", count(learners))];
        self.labelled(
            "conclave_raft_members",
            "Members of the cluster, as this node knows them",
            "kind",
            &members,
        )?;
        let behind = status.members.iter().filter_map(|member| member.lag).max();
        let applied = status.applied.map_or(0, |position| position.index);
        for (name, help, value) in [
            (
                "conclave_ready",
                "Whether this node has caught up and knows a leader",
                u64::from(status.is_ready),
            ),
            ("conclave_raft_term", "The term, which rises with every election", status.term),
            (
                "conclave_raft_leader_known",
                "Whether this node knows a leader",
                u64::from(status.leader.is_some()),
            ),
            ("conclave_raft_last", "Index of the last entry in the log", status.last_index.unwrap_or(0)),
            ("conclave_raft_applied", "Index of the last entry applied", applied),
            (
                "conclave_raft_durable",
                "Up to here the state on the disk needs no log",
                status.durable_index.unwrap_or(0),
            ),
            (
                "conclave_raft_snapshot",
                "Index of the last entry in the newest snapshot",
                status.snapshot_index.unwrap_or(0),
            ),
            (
                "conclave_raft_lag_max",
                "On a leader: entries that the slowest member has yet to confirm",
                behind.unwrap_or(0),
            ),
            ("conclave_raft_revision", "Commands decided so far", status.revision),
        ] {
            self.gauge(name, help, value)?;
        }
        Ok(())
    }

    fn disk(&mut self, usage: DiskUsage) -> fmt::Result {
        for (name, help, value) in [
            ("conclave_log_bytes", "Bytes of the log's files", usage.log_bytes),
            ("conclave_state_bytes", "Bytes of the files of the state's durable copy", usage.state_bytes),
            ("conclave_snapshot_bytes", "Bytes of the snapshots", usage.snapshot_bytes),
        ] {
            self.gauge(name, help, value)?;
        }
        Ok(())
    }

    fn hasher(&mut self, stats: HasherStats) -> fmt::Result {
        self.gauge("conclave_hash_pool_waiting", "Passwords that wait to be hashed", count(stats.waiting))?;
        self.gauge("conclave_hash_pool_running", "Passwords being hashed", count(stats.running))?;
        self.counter("conclave_hash_pool_done", "Passwords hashed", stats.done)?;
        self.counter("conclave_hash_pool_refused", "Passwords refused because too many waited", stats.refused)
    }

    fn tenants(&mut self, stats: TenantsStats) -> fmt::Result {
        for (name, help, value) in [
            ("conclave_tenants_actors", "Accounts with an actor on this node", stats.actors),
            ("conclave_tenants_admitted", "Proposals under way", stats.admitted),
            (
                "conclave_tenants_waiting",
                "Proposals that wait in the queues of their accounts",
                stats.waiting,
            ),
            ("conclave_tenants_admitted_bytes", "Bytes of the proposals under way", stats.admitted_bytes),
            ("conclave_tenants_in_flight", "Entries proposed and not answered", stats.in_flight),
        ] {
            self.gauge(name, help, count(value))?;
        }
        self.counter("conclave_tenants_refused", "Proposals refused as busy", stats.refused)?;
        self.counter("conclave_tenants_crashes", "Actors that crashed", stats.crashes)
    }

    fn observer(&mut self, stats: ObserverStats) -> fmt::Result {
        self.gauge(
            "conclave_observations_waiting",
            "Audit records of checks and denials that are not written yet",
            count(stats.waiting),
        )?;
        self.counter(
            "conclave_observations_written",
            "Audit records of checks and denials written",
            stats.written,
        )?;
        self.counter(
            "conclave_observations_lost",
            "Checks and denials that were not written down",
            stats.lost,
        )
    }

    /// The age only once there is one: nobody is to be woken by an age of nothing.
    fn backups(&mut self, stats: BackupStats) -> fmt::Result {
        if let Some(last) = stats.last_success {
            let age = SystemClock.now().0.saturating_sub(last.0) / 1_000;
            self.gauge("conclave_backup_age_seconds", "Since the newest backup that this node saved", age)?;
            self.gauge(
                "conclave_backup_last_success_timestamp_seconds",
                "When it was made, in seconds since 1970",
                last.0 / 1_000,
            )?;
        }
        self.counter("conclave_backup_saved", "Backups saved by the schedule", stats.saved)?;
        self.counter("conclave_backup_failures", "Backups that the schedule could not save", stats.failed)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let gauge = ConstGauge::new(value);
        gauge.encode(self.0.encode_descriptor(name, help, None, gauge.metric_type())?)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let counter = ConstCounter::new(value);
        counter.encode(self.0.encode_descriptor(name, help, None, counter.metric_type())?)
    }

    fn labelled(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: &[(&'static str, u64)],
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (value, number) in values {
            let labels = [(label, *value)];
            ConstGauge::new(*number).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
