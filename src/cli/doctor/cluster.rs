//! What the running node says, and by it all others.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use conclave_cluster::{Clock, SystemClock};
use serde::Deserialize;
use tokio::time::sleep;

use super::super::members::{self, Members};
use super::super::{Failure, ask, operator};
use super::{Check, Health, local};
use crate::clock::parse_rfc3339;
use crate::config::Config;

/// What `GET /v1/cluster/reports` answers.
#[derive(Debug, Deserialize)]
struct Reports {
    node: u64,
    reports: Vec<Report>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Report {
    node: u64,
    silent: Option<String>,
    round_trip_ms: u64,
    clock_ahead_ms: Option<i64>,
    version: Option<String>,
    revision: Option<u64>,
    digest: Option<String>,
    certificate_expires_at: Option<String>,
    sync_us: Option<u64>,
    disk_free_bytes: Option<u64>,
    open_files: Option<u64>,
}

/// Asks. Says also whether a node has answered.
pub(super) async fn look(config: &Config) -> (bool, Vec<Check>) {
    let reports = match reports(config).await {
        Ok(reports) => reports,
        Err(error) => {
            let remedy = "only this machine was looked at; start the node for the rest";
            return (false, vec![Check::is("node", Health::Unknown, error.to_string(), remedy)]);
        }
    };
    let mut checks = vec![Check::ok("node", format!("node {} answers", reports.node))];
    match members(config).await {
        Ok(members) => checks.extend(membership(&members)),
        Err(error) => {
            checks.push(Check::is("membership", Health::Fail, error.to_string(), "look at the node's log"));
        }
    }
    checks.extend([reached(&reports), clocks(&reports), versions(&reports)]);
    checks.push(digests(config, reports.reports.clone()).await);
    checks.extend(others(&reports));
    let own = reports.reports.iter().find(|report| report.node == reports.node && report.silent.is_none());
    if let Some(own) = own {
        checks.push(local::files(own.open_files, config.max_connections, "of the node"));
    }
    checks.extend(backup(config).await);
    (true, checks)
}

async fn reports(config: &Config) -> Result<Reports, Failure> {
    Ok(serde_json::from_str(&operator::ask(config, "GET", "/v1/cluster/reports").await?)?)
}

async fn members(config: &Config) -> Result<Members, Failure> {
    Ok(serde_json::from_str(&operator::ask(config, "GET", members::PATH).await?)?)
}

/// Whether the cluster works, and goes on when a node fails.
fn membership(members: &Members) -> Vec<Check> {
    const NAME: &str = "membership";
    let summary = members.summary();
    let mut checks = Vec::new();
    if let Some(reason) = &members.refused {
        let remedy = "this node is no member: empty its data folder and join again, under a new id";
        checks.push(Check::is(NAME, Health::Fail, reason.clone(), remedy));
    }
    let (health, remedy) = match (members.leader, members.tolerance) {
        (None, _) => {
            (Health::Fail, "bring back the voters that do not answer; see docs/operate/lost-majority.md")
        }
        (Some(_), None) => {
            (Health::Warn, "the leader does not answer this node: look at the network between them")
        }
        (Some(_), Some(0)) => {
            (Health::Warn, "add nodes (`conclave token create`), or bring back those that are down")
        }
        (Some(_), Some(_)) => (Health::Ok, ""),
    };
    checks.push(Check::is(NAME, health, summary, remedy));
    for member in &members.all {
        let lag = member.lag.unwrap_or_default();
        let (health, figure, remedy) = if member.is_leaving {
            let remedy = "it goes once the others can do without it: see `conclave members`";
            (Health::Warn, format!("node {} is leaving", member.node), remedy)
        } else if member.is_healthy == Some(false) {
            let remedy = "bring it back, or put another in its place: `conclave replace`";
            (Health::Warn, format!("node {} does not answer, or not fast enough", member.node), remedy)
        } else if lag > WARN_LAG {
            let remedy = "if it does not go down, its disk or its network is too slow";
            (Health::Warn, format!("node {} has {lag} log entries to catch up", member.node), remedy)
        } else {
            continue;
        };
        checks.push(Check::is(NAME, health, figure, remedy));
    }
    checks
}

/// Whether the nodes reach each other's ports, as far as this one can tell.
fn reached(reports: &Reports) -> Check {
    let silent: Vec<String> = reports
        .reports
        .iter()
        .filter_map(|report| Some(format!("node {} {}", report.node, report.silent.as_deref()?)))
        .collect();
    if silent.is_empty() {
        let slowest = reports.reports.iter().map(|report| report.round_trip_ms).max().unwrap_or_default();
        let figure = format!("all {} nodes answer, within {slowest} ms", reports.reports.len());
        return Check::ok("nodes", figure);
    }
    let remedy = "see whether it runs, and whether its peers' port can be reached from here";
    Check::is("nodes", Health::Fail, silent.join(", "), remedy)
}

/// By as much as is sure: half of the time that an answer took could be either's.
fn clocks(reports: &Reports) -> Check {
    let apart = reports.reports.iter().filter_map(|report| {
        let unsure_ms = report.round_trip_ms / 2;
        Some((report.clock_ahead_ms?.unsigned_abs().saturating_sub(unsure_ms), report))
    });
    let Some((ms, report)) = apart.max_by_key(|(ms, _)| *ms) else {
        return Check::is("clocks", Health::Unknown, "no node has said its time", "see `nodes`");
    };
    let health = if ms <= WARN_CLOCK_MS {
        Health::Ok
    } else if ms <= FAIL_CLOCK_MS {
        Health::Warn
    } else {
        Health::Fail
    };
    let figure = format!("at most {ms} ms apart, node {} from node {}", report.node, reports.node);
    Check::is(
        "clocks",
        health,
        figure,
        "have all machines take the time from a server (chrony, systemd-timesyncd)",
    )
}

fn versions(reports: &Reports) -> Check {
    let versions: BTreeSet<&str> =
        reports.reports.iter().filter_map(|report| report.version.as_deref()).collect();
    let figure = versions.iter().copied().collect::<Vec<_>>().join(", ");
    let health = if versions.len() > 1 { Health::Warn } else { Health::Ok };
    Check::is("releases", health, figure, "finish the upgrade: see docs/operate/upgrade.md")
}

/// Whether all states are equal that can be compared. Nodes under load are seldom at one revision at one moment, so
/// they are asked again for a while, and each pair counts that ever met.
async fn digests(config: &Config, first: Vec<Report>) -> Check {
    const NAME: &str = "states";
    let nodes = first.iter().filter(|report| report.silent.is_none()).count();
    let mut seen: BTreeMap<u64, BTreeMap<String, BTreeSet<u64>>> = BTreeMap::new();
    let mut reports = first;
    for round in 0..ROUNDS {
        for report in &reports {
            if let (Some(revision), Some(digest)) = (report.revision, &report.digest) {
                seen.entry(revision).or_default().entry(digest.clone()).or_default().insert(report.node);
            }
        }
        if let Some((revision, digests)) = seen.iter().find(|(_, digests)| digests.len() > 1) {
            let sides: Vec<String> =
                digests.iter().map(|(digest, nodes)| format!("{digest} on {nodes:?}")).collect();
            let remedy = "stop using the node that stands alone, keep its data folder and logs, and report it as a fault";
            let figure = format!("differ at revision {revision}: {}", sides.join(", "));
            return Check::is(NAME, Health::Fail, figure, remedy);
        }
        let met = seen.iter().rev().find(|(_, digests)| digests.values().any(|at| at.len() == nodes));
        if let Some((revision, _)) = met {
            return Check::ok(NAME, format!("equal on {nodes} nodes at revision {revision}"));
        }
        if round + 1 < ROUNDS {
            sleep(BETWEEN_ROUNDS).await;
            reports = self::reports(config).await.map(|all| all.reports).unwrap_or_default();
        }
    }
    let figure = "not comparable now: the nodes were never all at one revision";
    Check::is(NAME, Health::Unknown, figure, "ask again when less is written")
}

/// What the other nodes say of their disks and certificates; this one was looked at from nearer by.
fn others(reports: &Reports) -> Vec<Check> {
    let mut checks = Vec::new();
    let now = SystemClock.now();
    for report in reports.reports.iter().filter(|report| report.node != reports.node) {
        let node = report.node;
        if let Some(free) = report.disk_free_bytes {
            checks.push(local::free("disk room", free, &format!("node {node}")));
        }
        if let Some(us) = report.sync_us.filter(|us| *us > WARN_SYNC_US) {
            let figure = format!("{} ms on node {node}, the last one", us / 1000);
            checks.push(Check::is("disk sync", Health::Warn, figure, "run `conclave doctor` there"));
        }
        let until = report.certificate_expires_at.as_deref().and_then(parse_rfc3339);
        if let Some(until) = until {
            let remedy = format!("`conclave certs rotate {node}`");
            let mut check = local::expiry("node certificate", until, now, &remedy);
            check.figure = format!("{} on node {node}", check.figure);
            checks.push(check);
        }
    }
    checks
}

/// How old the newest backup is that the node's schedule has saved, where it has one.
async fn backup(config: &Config) -> Option<Check> {
    const NAME: &str = "backups";
    let schedule = config.backup.as_ref()?;
    let every_s = schedule.every.as_secs();
    let figures = ask::ask_plainly(config, "GET", "/metrics").await.ok()?.body;
    let age = figures.lines().find_map(|line| line.strip_prefix("conclave_backup_age_seconds "));
    let Some(age_s) = age.and_then(|age| age.trim().parse::<u64>().ok()) else {
        let figure = "none since the node was started";
        return Some(Check::is(NAME, Health::Warn, figure, "look for its reason in the node's log"));
    };
    let health = if age_s > every_s.saturating_mul(2) { Health::Warn } else { Health::Ok };
    let figure = format!("the newest is {age_s} s old, one is due every {every_s} s");
    Some(Check::is(NAME, health, figure, "look for the reason in the node's log"))
}

const WARN_LAG: u64 = 1000;
const WARN_CLOCK_MS: u64 = 500;
const FAIL_CLOCK_MS: u64 = 5000;
/// One sync that happened to be slow says less than a median, so it takes more.
const WARN_SYNC_US: u64 = 50_000;
const ROUNDS: usize = 8;
const BETWEEN_ROUNDS: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    fn reports(reports: Vec<Report>) -> Reports {
        Reports { node: 1, reports }
    }

    fn clock(ahead_ms: i64, round_trip_ms: u64) -> Health {
        let other = Report { node: 2, clock_ahead_ms: Some(ahead_ms), round_trip_ms, ..Report::default() };
        let own = Report { node: 1, clock_ahead_ms: Some(0), ..Report::default() };
        clocks(&reports(vec![own, other])).health
    }

    #[test]
    fn clocks_are_judged_by_what_is_sure() {
        assert_eq!(clock(500, 0), Health::Ok);
        assert_eq!(clock(-501, 0), Health::Warn);
        assert_eq!(clock(-600, 200), Health::Ok);
        assert_eq!(clock(5001, 1), Health::Fail);
        assert_eq!(clocks(&reports(vec![Report::default()])).health, Health::Unknown);
    }

    #[test]
    fn who_is_silent_is_named_and_releases_must_be_one() {
        let silent = Report { node: 3, silent: Some("does not answer".to_owned()), ..Report::default() };
        let found = reached(&reports(vec![Report { node: 1, ..Report::default() }, silent]));
        assert_eq!((found.health, found.figure.as_str()), (Health::Fail, "node 3 does not answer"));
        let at = |version: &str| Report { version: Some(version.to_owned()), ..Report::default() };
        assert_eq!(versions(&reports(vec![at("1"), at("1")])).health, Health::Ok);
        assert_eq!(versions(&reports(vec![at("1"), at("2")])).health, Health::Warn);
    }
}
