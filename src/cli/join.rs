//! `conclave join`: lets this machine into a cluster, by a token, and runs its node.

use std::io::Read as _;
use std::time::Duration;

use conclave_cluster::SystemClock;
use zeroize::Zeroizing;

use super::{Failure, say};
use crate::app::nodes::{Ticket, enrol};
use crate::auth::join_token::JoinToken;
use crate::auth::key_file::KeySource;
use crate::config::Config;

/// Where the token may be put, so that it is on no command line.
pub(super) const TOKEN_VARIABLE: &str = "CONCLAVE_JOIN_TOKEN";

/// Takes the token from the command line, from standard input (`-`) or from the environment.
pub(super) fn token(argument: Option<&str>) -> Result<JoinToken, Failure> {
    let text = match argument {
        Some("-") => {
            let mut text = Zeroizing::new(String::new());
            std::io::stdin().take(8192).read_to_string(&mut text)?;
            text
        }
        Some(text) => Zeroizing::new(text.to_owned()),
        None => Zeroizing::new(std::env::var(TOKEN_VARIABLE).map_err(|_| {
            format!("no join token: give it as the argument, as - on standard input, or in {TOKEN_VARIABLE}")
        })?),
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

const PATIENCE: Duration = Duration::from_secs(30);
