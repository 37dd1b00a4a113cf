//! `conclave doctor`: looks at all that makes a node or its cluster ill later, and says what to do.
//!
//! `local` looks at this machine, and needs no node; `cluster` asks the node that runs, and by it all others.
//!
//! # Why figures
//! "Ok" is an opinion. So each check says what it has seen, and an operator who knows better can judge.

mod cluster;
mod local;

use serde::Serialize;

use super::{Failure, say};
use crate::config::Config;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Health {
    Ok,
    /// It could not be found out, and that is no fault by itself.
    Unknown,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Check {
    name: &'static str,
    health: Health,
    /// What was seen.
    figure: String,
    /// What to do about it; nothing where all is well.
    remedy: Option<String>,
}

impl Check {
    fn ok(name: &'static str, figure: impl Into<String>) -> Self {
        Self { name, health: Health::Ok, figure: figure.into(), remedy: None }
    }

    fn is(name: &'static str, health: Health, figure: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = (health != Health::Ok).then(|| remedy.into());
        Self { name, health, figure: figure.into(), remedy }
    }
}

/// The whole of it, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Findings {
    /// The worst of all.
    health: Health,
    /// Whether a node answered; without one only this machine was looked at.
    node_answers: bool,
    checks: Vec<Check>,
}

/// Looks, and prints. `config` is what loading the settings gave: that they do not load is a finding too.
///
/// # Errors
/// When something fails that must not.
pub(super) async fn run(
    config: Result<Config, crate::config::ConfigError>,
    json: bool,
) -> Result<(), Failure> {
    let (node_answers, checks) = match config {
        Ok(config) => {
            let mut checks = local::look(&config).await;
            let (node_answers, of_cluster) = cluster::look(&config).await;
            checks.extend(of_cluster);
            (node_answers, checks)
        }
        Err(error) => {
            let remedy = "`conclave settings` prints every setting with its default";
            (false, vec![Check::is("settings", Health::Fail, error.to_string(), remedy)])
        }
    };
    let health = checks.iter().map(|check| check.health).max().unwrap_or(Health::Ok);
    let findings = Findings { health, node_answers, checks };
    if json {
        say(&serde_json::to_string(&findings)?);
    } else {
        say(text(&findings).trim_end());
    }
    let failed = findings.checks.iter().filter(|check| check.health == Health::Fail).count();
    if failed == 0 { Ok(()) } else { Err(format!("{failed} checks failed").into()) }
}

fn text(findings: &Findings) -> String {
    let mut lines = Vec::new();
    for check in &findings.checks {
        let health = match check.health {
            Health::Ok => "ok",
            Health::Unknown => "?",
            Health::Warn => "WARN",
            Health::Fail => "FAIL",
        };
        lines.push(format!("{health:<5} {:<20} {}", check.name, check.figure));
        lines.extend(check.remedy.iter().map(|remedy| format!("{:<26} -> {remedy}", "")));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_well_comes_with_a_remedy() {
        let checks = vec![
            Check::ok("settings", "loaded"),
            Check::is("disk room", Health::Warn, "1.2 GB free", "make room"),
            Check::is("clock", Health::Ok, "3 ms apart", "never said"),
        ];
        let findings = Findings { health: Health::Warn, node_answers: false, checks };
        let expected = "\
ok    settings             loaded
WARN  disk room            1.2 GB free
                           -> make room
ok    clock                3 ms apart";
        assert_eq!(text(&findings), expected);
        assert_eq!(Health::Fail.max(Health::Unknown), Health::Fail);
    }
}
