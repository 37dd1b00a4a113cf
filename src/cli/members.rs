//! `conclave members`: who is in the cluster, as the node of this machine sees it.

use serde::Deserialize;

use super::{Failure, operator};
use crate::config::Config;

/// What `GET /v1/cluster/members` answers. More members are welcome and shown with `--json`.
#[derive(Debug, Deserialize)]
struct Members {
    /// The node that leads, if there is one.
    leader: Option<u64>,
    members: Vec<Member>,
}

#[derive(Debug, Deserialize)]
struct Member {
    node: u64,
    is_voter: bool,
    peer_addr: String,
    api_url: String,
}

const PATH: &str = "/v1/cluster/members";

/// Asks the node that these settings are of, and prints.
pub(super) async fn print(config: &Config, json: bool) -> Result<(), Failure> {
    let answer = operator::ask(config, "GET", PATH).await?;
    if json {
        println!("{}", answer.trim_end());
        return Ok(());
    }
    let members: Members = serde_json::from_str(&answer)
        .map_err(|error| format!("the node answered something else: {error}"))?;
    print!("{}", table(&members));
    Ok(())
}

fn table(members: &Members) -> String {
    let mut lines = vec![format!("{:<6}{:<10}{:<24}{}", "NODE", "ROLE", "PEERS", "HTTP")];
    for member in &members.members {
        let role = match (Some(member.node) == members.leader, member.is_voter) {
            (true, _) => "leader",
            (false, true) => "voter",
            (false, false) => "learner",
        };
        lines.push(format!("{:<6}{role:<10}{:<24}{}", member.node, member.peer_addr, member.api_url));
    }
    let voters = members.members.iter().filter(|member| member.is_voter).count();
    let can_lose = voters.saturating_sub(1) / 2;
    let leaderless = if members.leader.is_some() { "" } else { "; no leader now" };
    lines.push(format!("\n{voters} voters, can lose {can_lose}{leaderless}\n"));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_who_leads_and_what_can_be_lost() {
        let member = |node: u64, is_voter: bool| Member {
            node,
            is_voter,
            peer_addr: format!("127.0.0.1:908{node}"),
            api_url: format!("http://127.0.0.1:808{node}"),
        };
        let members =
            Members { leader: Some(2), members: vec![member(1, true), member(2, true), member(3, false)] };
        let expected = "NODE  ROLE      PEERS                   HTTP\n\
            1     voter     127.0.0.1:9081          http://127.0.0.1:8081\n\
            2     leader    127.0.0.1:9082          http://127.0.0.1:8082\n\
            3     learner   127.0.0.1:9083          http://127.0.0.1:8083\n\
            \n2 voters, can lose 0\n";
        assert_eq!(table(&members), expected);
        assert!(
            table(&Members { leader: None, members: vec![] })
                .ends_with("0 voters, can lose 0; no leader now\n")
        );
    }
}
