//! `conclave join`: lets this machine into a cluster, by a token, and runs its node.

use std::io::{self, Read as _};
use std::time::Duration;

use conclave_cluster::SystemClock;
use tokio::time::sleep;
use zeroize::Zeroizing;

use super::{Failure, members, operator, say};
use crate::app::nodes::{Ticket, enrol};
use crate::auth::join_token::{BadJoinToken, JoinToken};
use crate::auth::key_file::KeySource;
use crate::config::Config;

/// Where the token may be put, so that it is on no command line.
pub(super) const TOKEN_VARIABLE: &str = "CONCLAVE_JOIN_TOKEN";

/// What is wrong with the token that was given.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadToken {
    #[error("no join token: give it as the argument, as - on standard input, or in {TOKEN_VARIABLE}")]
    Missing,
    #[error("the join token cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error(transparent)]
    Bad(#[from] BadJoinToken),
}

/// Takes the token from the command line, from standard input (`-`) or from the environment.
pub(super) fn token(argument: Option<&str>) -> Result<JoinToken, BadToken> {
    let text = match argument {
        Some("-") => {
            let mut text = Zeroizing::new(String::new());
            std::io::stdin().take(8192).read_to_string(&mut text)?;
            text
        }
        Some(text) => Zeroizing::new(text.to_owned()),
        None => Zeroizing::new(std::env::var(TOKEN_VARIABLE).map_err(|_| BadToken::Missing)?),
    };
    Ok(JoinToken::parse(&text)?)
}

/// Gets this machine a place in the cluster, unless it has it.
pub(super) async fn enrol_here(config: &Config, token: &JoinToken) -> Result<(), Failure> {
    if config.peer_advertise.starts_with("0.0.0.0:") || config.peer_advertise.starts_with("[::]:") {
        return Err(
            "this node would give its peers an address that leads nowhere: say --peer-advertise HOST:PORT"
                .into(),
        );
    }
    let keys = KeySource::of(config);
    let own = enrol(&config.data, &keys, Ticket::Token(token), &SystemClock, PATIENCE).await?;
    say(&format!(
        "node {} of cluster {}: the data folder is {}",
        own.node,
        own.cluster,
        config.data.display()
    ));
    Ok(())
}

/// Tells how the node gets on, until it has its place.
pub(super) async fn tell(config: Config) {
    let mut last = String::new();
    loop {
        sleep(Duration::from_millis(300)).await;
        let Ok(answer) = operator::ask(&config, "GET", members::PATH).await else { continue };
        let Ok(all) = serde_json::from_str::<members::Members>(&answer) else { continue };
        let own = all.all.iter().find(|member| member.node == all.node);
        let now = match own {
            None => "asking to be a member".to_owned(),
            Some(own) if own.is_voter || own.wanted.as_deref() == Some("learner") => {
                let role = if own.is_voter { "a voter" } else { "a learner for good" };
                return say(&format!("node {} is {role}: {}", own.node, all.summary()));
            }
            Some(own) => match own.lag {
                Some(lag) if lag > 0 => format!("catching up: {lag} entries behind"),
                Some(_) | None => "caught up; a vote comes when it has kept up for a while".to_owned(),
            },
        };
        if now != last {
            say(&now);
            last = now;
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(30);
