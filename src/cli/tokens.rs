//! `conclave token`: join tokens, each of which lets one new node in.

use std::time::Duration;

use clap::Subcommand;
use serde::Deserialize;
use serde_json::json;

use super::{Failure, PlaceArgs, operator, say};
use crate::config::Config;

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a join token. Whoever has it can become a member, once: hand it over as you would a key.
    Create {
        #[command(flatten)]
        place: PlaceArgs,
        /// How long it is good: 30m, 2h, up to 7d.
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
        expires: Duration,
        /// The node will get the log and never vote.
        #[arg(long)]
        learner: bool,
        /// The node that is taken out once the new one has its place.
        #[arg(long, value_name = "NODE")]
        replaces: Option<u64>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the join tokens that are kept. None is shown again.
    List {
        #[command(flatten)]
        place: PlaceArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Take a join token back.
    Revoke {
        #[command(flatten)]
        place: PlaceArgs,
        /// Its id, as `token list` shows it.
        id: uuid::Uuid,
    },
}

impl TokenCommand {
    pub(super) const fn place(&self) -> &PlaceArgs {
        match self {
            Self::Create { place, .. } | Self::List { place, .. } | Self::Revoke { place, .. } => place,
        }
    }
}

/// A token that was made.
#[derive(Debug, Deserialize)]
pub(super) struct Made {
    pub(super) token: String,
    pub(super) expires_at: String,
}

#[derive(Debug, Deserialize)]
struct Tokens {
    tokens: Vec<Kept>,
}

#[derive(Debug, Deserialize)]
struct Kept {
    id: String,
    state: String,
    role: String,
    expires_at: String,
    used_by: Option<u64>,
    replaces: Option<u64>,
}

const PATH: &str = "/v1/cluster/join-tokens";
/// How long a token is good by default.
pub(super) const DEFAULT_S: u64 = 3600;

pub(super) async fn run(config: &Config, command: &TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::Create { expires, learner, replaces, json, .. } => {
            let body = body(expires.as_secs(), *learner, *replaces);
            let answer = operator::send(config, "POST", PATH, Some(&body)).await?;
            if *json {
                say(answer.trim_end());
                return Ok(());
            }
            let made: Made = read(&answer)?;
            // To be used in another command: the token alone on standard output.
            eprintln!("good for one node until {}; on its machine: conclave join TOKEN", made.expires_at);
            say(&made.token);
            Ok(())
        }
        TokenCommand::List { json, .. } => {
            let answer = operator::ask(config, "GET", PATH).await?;
            if *json {
                say(answer.trim_end());
                return Ok(());
            }
            let all: Tokens = read(&answer)?;
            say(&format!(
                "{:<38}{:<9}{:<9}{:<26}{:<9}{}",
                "ID", "STATE", "ROLE", "EXPIRES", "USED BY", "REPLACES"
            ));
            let node = |node: Option<u64>| node.map_or("-".to_owned(), |node| node.to_string());
            for each in all.tokens {
                let Kept { id, state, role, expires_at, used_by, replaces } = each;
                let (used_by, replaces) = (node(used_by), node(replaces));
                say(&format!("{id:<38}{state:<9}{role:<9}{expires_at:<26}{used_by:<9}{replaces}"));
            }
            Ok(())
        }
        TokenCommand::Revoke { id, .. } => {
            operator::send(config, "DELETE", &format!("{PATH}/{id}"), None).await?;
            say(&format!("the join token {id} lets nobody in any more"));
            Ok(())
        }
    }
}

/// Has the node of this machine make one.
pub(super) async fn make(
    config: &Config,
    expires_in_s: u64,
    learner: bool,
    replaces: Option<u64>,
) -> Result<Made, Failure> {
    read(&operator::send(config, "POST", PATH, Some(&body(expires_in_s, learner, replaces))).await?)
}

fn body(expires_in_s: u64, learner: bool, replaces: Option<u64>) -> String {
    json!({ "expires_in_s": expires_in_s, "learner": learner, "replaces": replaces }).to_string()
}

fn read<T: serde::de::DeserializeOwned>(answer: &str) -> Result<T, Failure> {
    serde_json::from_str(answer).map_err(|error| format!("the node answered something else: {error}").into())
}
