//! Changes of the membership, as an operator orders them, and the certificates of the nodes.
//!
//! Each goes through the node of this machine, whichever that is, and may be given again: what is done already stays
//! done.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{Failure, PlaceArgs, operator, say};
use crate::config::Config;

/// One member of the cluster.
#[derive(Debug, Args)]
pub(super) struct NodeArgs {
    #[command(flatten)]
    pub(super) place: PlaceArgs,
    /// The number of the node, as `conclave members` shows it.
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    node: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ReplaceArgs {
    #[command(flatten)]
    pub(super) place: PlaceArgs,
    /// The node that is to go, dead or alive.
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    node: u64,
    /// A member that is to take its place; without it a join token is made for a new one.
    #[arg(long, value_name = "NODE")]
    with: Option<u64>,
    /// Print the join token and do not wait until the new node has its place.
    #[arg(long)]
    no_wait: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct StepDownArgs {
    #[command(flatten)]
    pub(super) place: PlaceArgs,
    /// The voter that is to lead; the one that is furthest by default.
    #[arg(long, value_name = "NODE")]
    to: Option<u64>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum CertsCommand {
    /// List the nodes' certificates, revoked ones too.
    List {
        #[command(flatten)]
        place: PlaceArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Have a node, or all, make a new key and use a new certificate, while they serve.
    Rotate {
        #[command(flatten)]
        place: PlaceArgs,
        /// The number of the node; all of them by default.
        node: Option<u64>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Refuse all certificates of a node but a new one: for a key that may be in wrong hands.
    Revoke(NodeArgs),
}

impl CertsCommand {
    pub(super) const fn place(&self) -> &PlaceArgs {
        match self {
            Self::List { place, .. } | Self::Rotate { place, .. } | Self::Revoke(NodeArgs { place, .. }) => {
                place
            }
        }
    }
}

/// How the cluster stands after a change.
#[derive(Debug, Deserialize)]
struct Changed {
    #[serde(rename = "changed")]
    is_new: bool,
    voters: u64,
    tolerance: u64,
    leader: u64,
}

impl Changed {
    fn print(&self, done: &str, was: &str) {
        let text = if self.is_new { done } else { was };
        let leads = if self.leader == 0 { String::new() } else { format!(", node {} leads", self.leader) };
        say(&format!("{text}; {} voters{leads}, can lose {}", self.voters, self.tolerance));
    }
}

pub(super) async fn remove(config: &Config, args: &NodeArgs) -> Result<(), Failure> {
    let path = format!("/v1/cluster/members/{}", args.node);
    let node = args.node;
    let (done, was) =
        (format!("node {node} is removed for ever"), format!("node {node} was removed already"));
    ordered(config, "DELETE", &path, None, args.json, (&done, &was)).await
}

pub(super) async fn promote(config: &Config, args: &NodeArgs) -> Result<(), Failure> {
    let path = format!("/v1/cluster/members/{}/promote", args.node);
    let node = args.node;
    let (done, was) = (format!("node {node} votes now"), format!("node {node} votes already"));
    ordered(config, "POST", &path, None, args.json, (&done, &was)).await
}

pub(super) async fn demote(config: &Config, args: &NodeArgs) -> Result<(), Failure> {
    let path = format!("/v1/cluster/members/{}/demote", args.node);
    let node = args.node;
    let (done, was) = (format!("node {node} is a learner now"), format!("node {node} is a learner already"));
    ordered(config, "POST", &path, None, args.json, (&done, &was)).await
}

pub(super) async fn step_down(config: &Config, args: &StepDownArgs) -> Result<(), Failure> {
    let body = json!({ "to": args.to }).to_string();
    let texts = ("another node leads", "it leads already");
    ordered(config, "POST", "/v1/cluster/step-down", Some(&body), args.json, texts).await
}

async fn ordered(
    config: &Config,
    method: &str,
    path: &str,
    body: Option<&str>,
    json: bool,
    (done, was): (&str, &str),
) -> Result<(), Failure> {
    let answer = operator::send(config, method, path, body).await?;
    if json {
        say(answer.trim_end());
    } else {
        read::<Changed>(&answer)?.print(done, was);
    }
    Ok(())
}

/// Puts another node in the place of one: a member now, or a new one by a join token.
pub(super) async fn replace(config: &Config, args: &ReplaceArgs) -> Result<(), Failure> {
    let old = args.node;
    if let Some(new) = args.with {
        let body = json!({ "with": new }).to_string();
        let path = format!("/v1/cluster/members/{old}/replace");
        let done = format!("node {new} has the place of node {old}, which is removed for ever");
        return ordered(config, "POST", &path, Some(&body), args.json, (&done, &done)).await;
    }
    let token = super::tokens::make(config, super::tokens::DEFAULT_S, false, Some(old)).await?;
    if args.json {
        say(&json!({ "token": token.token, "expires_at": token.expires_at, "replaces": old }).to_string());
    } else {
        say(&format!(
            "On the new machine, before {}:\n\n  conclave join {}\n",
            token.expires_at, token.token
        ));
    }
    if args.no_wait {
        return Ok(());
    }
    watch_replacement(config, old, args.json).await
}

/// Tells how the new node gets on, until the old one is gone.
async fn watch_replacement(config: &Config, old: u64, json: bool) -> Result<(), Failure> {
    let (deadline, mut last) =
        (Instant::now() + Duration::from_secs(super::tokens::DEFAULT_S), String::new());
    loop {
        let members: super::members::Members =
            read(&operator::ask(config, "GET", super::members::PATH).await?)?;
        let new = members.all.iter().find(|member| member.replaces == Some(old));
        if members.all.iter().all(|member| member.node != old) {
            let said = format!("node {old} is removed; {}", members.summary());
            say(&if json {
                json!({ "done": true, "removed": old, "voters": members.voters }).to_string()
            } else {
                said
            });
            return Ok(());
        }
        let now = match new {
            None => "waiting for the new node".to_owned(),
            Some(member) if !member.is_voter => {
                let lag = member.lag.map_or(String::new(), |lag| format!(", {lag} entries behind"));
                format!("node {} is a learner{lag}", member.node)
            }
            Some(member) => format!("node {} votes; taking node {old} out", member.node),
        };
        if now != last && !json {
            eprintln!("{now}");
            last = now;
        }
        if Instant::now() >= deadline {
            return Err("the join token has expired and no node has come; nothing was changed".into());
        }
        sleep(Duration::from_millis(500)).await;
    }
}

#[derive(Debug, Deserialize)]
struct Certificates {
    certificates: Vec<Certificate>,
}

#[derive(Debug, Deserialize)]
struct Certificate {
    node: u64,
    serial: String,
    expires_at: String,
    revoked_at: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Rotated {
    node: u64,
    serial: String,
    expires_at: String,
}

#[derive(Debug, Deserialize)]
struct Revoked {
    node: u64,
    kept: Option<String>,
}

pub(super) async fn certs(config: &Config, command: &CertsCommand) -> Result<(), Failure> {
    match command {
        CertsCommand::List { json, .. } => list_certs(config, *json).await,
        CertsCommand::Rotate { node, json, .. } => rotate(config, *node, *json).await,
        CertsCommand::Revoke(args) => {
            let path = format!("/v1/cluster/members/{}/certificates/revoke", args.node);
            let answer = operator::send(config, "POST", &path, None).await?;
            if args.json {
                say(answer.trim_end());
                return Ok(());
            }
            let Revoked { node, kept } = read(&answer)?;
            say(&match kept {
                Some(serial) => {
                    format!(
                        "all certificates of node {node} are refused but the new one, {serial}; it goes on"
                    )
                }
                None => format!(
                    "all certificates of node {node} are refused; it did not answer, so it has no new one and is shut \
                     out. To bring that machine back, remove the node and let it join anew"
                ),
            });
            Ok(())
        }
    }
}

async fn list_certs(config: &Config, json: bool) -> Result<(), Failure> {
    let answer = operator::ask(config, "GET", "/v1/cluster/certificates").await?;
    if json {
        say(answer.trim_end());
        return Ok(());
    }
    let all: Certificates = read(&answer)?;
    say(&format!("{:<6}{:<42}{:<26}{}", "NODE", "SERIAL", "EXPIRES", "REVOKED"));
    for each in all.certificates {
        let revoked = each.revoked_at.as_deref().unwrap_or("-");
        say(&format!("{:<6}{:<42}{:<26}{revoked}", each.node, each.serial, each.expires_at));
    }
    Ok(())
}

async fn rotate(config: &Config, node: Option<u64>, json: bool) -> Result<(), Failure> {
    let nodes = if let Some(node) = node {
        vec![node]
    } else {
        let members: super::members::Members =
            read(&operator::ask(config, "GET", super::members::PATH).await?)?;
        members.all.iter().map(|member| member.node).collect()
    };
    let mut failed = Vec::new();
    for node in nodes {
        let path = format!("/v1/cluster/members/{node}/certificates/rotate");
        match operator::send(config, "POST", &path, None).await {
            Ok(answer) if json => say(answer.trim_end()),
            Ok(answer) => {
                let Rotated { node, serial, expires_at } = read(&answer)?;
                say(&format!("node {node} shows certificate {serial}, good until {expires_at}"));
            }
            Err(error) => failed.push(format!("node {node}: {error}")),
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}

fn read<T: serde::de::DeserializeOwned>(answer: &str) -> Result<T, Failure> {
    serde_json::from_str(answer).map_err(|error| format!("the node answered something else: {error}").into())
}
