//! What the parts of a node say of themselves, asked for at each scrape.
//!
//! # Why weak
//! The registry may outlive the node. It must not keep a stopped node's data folder open.

use std::fmt;
use std::sync::{Arc, Weak};

use conclave_cluster::pki::CertificateFacts;
use conclave_cluster::{Clock, Cluster, DiskUsage, LogSyncs, MemberStatus, Role, Status, SystemClock};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::app::App;
use crate::app::backups::BackupStats;
use crate::app::observer::ObserverStats;
use crate::auth::hasher::HasherStats;
use crate::domain::level;
use crate::http::tls::Tls;
use crate::telemetry::{self, ExportStats};
use crate::tenants::{Tenants, TenantsStats};

/// The parts that have figures.
pub(super) struct Sources {
    pub(super) cluster: Cluster,
    pub(super) tenants: Tenants,
    pub(super) app: Arc<App>,
    /// The certificate of the HTTP port, where it has one.
    pub(super) tls: Option<Arc<Tls>>,
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
        let status = sources.cluster.status();
        page.raft(&status)?;
        if let Ok(level) = level::of(&sources.cluster.view()) {
            let help = "The level of the cluster: which kinds of commands all nodes know";
            page.gauge("conclave_level", help, u64::from(level))?;
        }
        page.members(&status.members)?;
        page.certificates(&sources)?;
        page.disk(sources.cluster.disk_usage().unwrap_or_default())?;
        page.syncs(sources.cluster.log_syncs())?;
        page.spans(telemetry::export_stats())?;
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
        match status.tolerance {
            Some(tolerance) => self.gauge(
                "conclave_raft_tolerance",
                "On a leader: how many voters may fail now, with those that are down counted as failed",
                count(tolerance),
            ),
            None => Ok(()),
        }
    }

    /// What the leader knows of each member. On other nodes there are no such series: they do not know.
    fn members(&mut self, members: &[MemberStatus]) -> fmt::Result {
        let each = |figure: fn(&MemberStatus) -> Option<u64>| {
            let known =
                members.iter().filter_map(|member| Some((member.node.0.to_string(), figure(member)?)));
            known.collect::<Vec<_>>()
        };
        for (name, help, values) in [
            (
                "conclave_member_lag_entries",
                "On a leader: log entries that a member has yet to confirm",
                each(|member| member.lag),
            ),
            (
                "conclave_member_healthy",
                "On a leader: whether a member answers and keeps up",
                each(|member| member.is_healthy.map(u64::from)),
            ),
            (
                "conclave_member_silence_seconds",
                "On a leader: whole seconds since a member last answered",
                each(|member| member.last_contact.map(|silence| silence.as_secs())),
            ),
        ] {
            if !values.is_empty() {
                let values = values.iter().map(|(node, value)| (node.as_str(), *value)).collect::<Vec<_>>();
                self.labelled(name, help, "node", &values)?;
            }
        }
        Ok(())
    }

    /// Seconds that are left, 0 when they are over: what a certificate says is compared with this node's clock.
    fn certificates(&mut self, sources: &Sources) -> fmt::Result {
        let left = |until_ms: u64| until_ms.saturating_sub(sources.app.clock_now().0) / 1000;
        if let Some(own) = sources.cluster.certificate() {
            self.gauge(
                "conclave_certificate_expiry_seconds",
                "Seconds until the certificate ends that this node shows to others; it is replaced in time by itself",
                left(own.not_after.0),
            )?;
            self.gauge(
                "conclave_authority_expiry_seconds",
                "Seconds until the authority ends that issues the nodes' certificates",
                left(own.authority_not_after.0),
            )?;
        }
        let http = sources.tls.as_ref().and_then(|tls| CertificateFacts::of_pem(&tls.certificates()).ok());
        match http {
            Some(http) => self.gauge(
                "conclave_http_certificate_expiry_seconds",
                "Seconds until the certificate of the HTTP port ends; whoever gave it replaces it",
                left(http.not_after.0),
            ),
            None => Ok(()),
        }
    }

    fn syncs(&mut self, syncs: LogSyncs) -> fmt::Result {
        self.counter("conclave_log_syncs", "Times that the log was synced to the disk", syncs.count)?;
        let total = ConstCounter::new(syncs.total.as_secs_f64());
        let help = "Time that those syncs took: each write waits for one on a majority of the nodes";
        let name = "conclave_log_sync_seconds";
        total.encode(self.0.encode_descriptor(name, help, None, total.metric_type())?)
    }

    fn spans(&mut self, stats: ExportStats) -> fmt::Result {
        self.counter("conclave_spans_exported", "Spans that the collector has taken", stats.exported)?;
        self.counter("conclave_spans_dropped", "Spans dropped because too many waited", stats.dropped)?;
        self.counter("conclave_spans_failed", "Spans that the collector did not take", stats.failed)
    }

    fn disk(&mut self, usage: DiskUsage) -> fmt::Result {
        if let Some(free) = usage.free_bytes {
            self.gauge(
                "conclave_disk_free_bytes",
                "Bytes that the disk of the data folder still takes",
                free,
            )?;
        }
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

    fn labelled(&mut self, name: &str, help: &str, label: &str, values: &[(&str, u64)]) -> fmt::Result {
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
