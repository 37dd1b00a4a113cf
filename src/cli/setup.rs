//! `conclave setup`: the link by which the first administrator comes in.

use serde::Deserialize;

use super::{Failure, operator, say};
use crate::config::Config;

#[derive(Debug, Deserialize)]
struct Offer {
    url: String,
    expires_at: String,
}

/// Has the node of this machine make a link, and prints it.
pub(super) async fn print(config: &Config, json: bool) -> Result<(), Failure> {
    let answer = operator::send(config, "POST", "/v1/cluster/setup", None).await?;
    if json {
        say(answer.trim_end());
        return Ok(());
    }
    let Offer { url, expires_at } = serde_json::from_str(&answer)
        .map_err(|error| format!("the node answered something else: {error}"))?;
    say(&format!("Open this once, until {expires_at}:\n\n  {url}\n"));
    Ok(())
}
