//! `conclave members`: who is in the cluster, and how everybody is.

use serde::Deserialize;

use super::{Failure, operator, say};
use crate::config::Config;

/// What `GET /v1/cluster/members` answers. More members are welcome and shown with `--json`.
#[derive(Debug, Deserialize)]
pub(super) struct Members {
    /// The node that answers.
    pub(super) node: u64,
    /// The node that leads, if there is one.
    pub(super) leader: Option<u64>,
    pub(super) voters: usize,
    pub(super) tolerance: Option<usize>,
    pub(super) refused: Option<String>,
    #[serde(rename = "members")]
    pub(super) all: Vec<Member>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Member {
    pub(super) node: u64,
    pub(super) is_voter: bool,
    pub(super) wanted: Option<String>,
    pub(super) is_leaving: bool,
    pub(super) replaces: Option<u64>,
    pub(super) peer_addr: String,
    pub(super) api_url: String,
    pub(super) version: Option<String>,
    pub(super) lag: Option<u64>,
    pub(super) last_contact_ms: Option<u64>,
    pub(super) is_healthy: Option<bool>,
}

pub(super) const PATH: &str = "/v1/cluster/members";

/// Asks the node that these settings are of, and prints.
pub(super) async fn print(config: &Config, json: bool) -> Result<(), Failure> {
    let answer = operator::ask(config, "GET", PATH).await?;
    if json {
        say(answer.trim_end());
        return Ok(());
    }
    let members: Members = serde_json::from_str(&answer)
        .map_err(|error| format!("the node answered something else: {error}"))?;
    say(table(&members).trim_end());
    Ok(())
}

impl Members {
    /// In a line: how many vote, and how many may be lost.
    pub(super) fn summary(&self) -> String {
        let voters = self.voters;
        let noun = if voters == 1 { "voter" } else { "voters" };
        let of_voters = self.all.iter().filter(|member| member.is_voter);
        let healthy = of_voters.filter(|member| member.is_healthy == Some(true)).count();
        match (self.leader, self.tolerance) {
            (Some(_), Some(_)) if healthy <= voters / 2 => format!(
                "{voters} {noun}, and only {healthy} of them healthy: nothing is written or read until {} are",
                voters / 2 + 1
            ),
            (None, _) => format!(
                "{voters} {noun}, no leader now: nothing is written or read until {} of them are back",
                voters / 2 + 1
            ),
            (Some(_), Some(lose)) => format!("{voters} {noun}, can lose {lose}"),
            (Some(_), None) => format!("{voters} {noun}; the leader does not answer this node"),
        }
    }
}

fn table(members: &Members) -> String {
    let mut lines = vec![row(["NODE", "ROLE", "HEALTHY", "LAG", "CONTACT", "VERSION", "PEERS"], "HTTP")];
    for member in &members.all {
        let role = match (Some(member.node) == members.leader, member.is_voter) {
            (_, _) if member.is_leaving => "leaving",
            (true, _) => "leader",
            (false, true) => "voter",
            (false, false) if member.wanted.as_deref() == Some("voter") => "joining",
            (false, false) => "learner",
        };
        let unknown = || "-".to_owned();
        let healthy = member.is_healthy.map_or_else(unknown, |is| if is { "yes" } else { "NO" }.to_owned());
        let lag = member.lag.map_or_else(unknown, |lag| lag.to_string());
        let contact = member.last_contact_ms.map_or_else(unknown, |ms| format!("{ms} ms"));
        let version = member.version.clone().unwrap_or_else(|| "no answer".to_owned());
        let node = member.node.to_string();
        let cells = [node.as_str(), role, &healthy, &lag, &contact, &version, &member.peer_addr];
        lines.push(row(cells, &member.api_url));
    }
    lines.push(format!("\n{}", members.summary()));
    if let Some(refused) = &members.refused {
        lines.push(format!("the others refuse this node: {refused}"));
    }
    lines.join("\n") + "\n"
}

fn row([node, role, healthy, lag, contact, version, peers]: [&str; 7], http: &str) -> String {
    format!("{node:<6}{role:<10}{healthy:<9}{lag:<8}{contact:<10}{version:<11}{peers:<24}{http}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(node: u64, is_voter: bool) -> Member {
        Member {
            node,
            is_voter,
            wanted: Some("voter".to_owned()),
            is_leaving: false,
            replaces: None,
            peer_addr: format!("127.0.0.1:908{node}"),
            api_url: format!("http://127.0.0.1:808{node}"),
            version: (node != 1).then(|| "0.1.0".to_owned()),
            lag: Some(7),
            last_contact_ms: Some(12),
            is_healthy: Some(node != 1),
        }
    }

    #[test]
    fn the_table_says_who_leads_who_is_ill_and_what_can_be_lost() {
        let members = vec![member(1, true), member(2, true), member(3, false)];
        let all =
            Members { node: 1, leader: Some(2), voters: 2, tolerance: Some(0), refused: None, all: members };
        let expected = "\
NODE  ROLE      HEALTHY  LAG     CONTACT   VERSION    PEERS                   HTTP
1     voter     NO       7       12 ms     no answer  127.0.0.1:9081          http://127.0.0.1:8081
2     leader    yes      7       12 ms     0.1.0      127.0.0.1:9082          http://127.0.0.1:8082
3     joining   yes      7       12 ms     0.1.0      127.0.0.1:9083          http://127.0.0.1:8083

2 voters, and only 1 of them healthy: nothing is written or read until 2 are
";
        assert_eq!(table(&all), expected);
        let members = vec![member(1, true), member(2, true)];
        let alone =
            Members { node: 2, leader: Some(2), voters: 3, tolerance: Some(0), refused: None, all: members };
        assert!(alone.summary().contains("only 1 of them healthy"), "{}", alone.summary());
        let none = Members { node: 1, leader: None, voters: 3, tolerance: None, refused: None, all: vec![] };
        assert!(none.summary().starts_with("3 voters, no leader now"), "{}", none.summary());
    }
}
