//! Questions to the node of this machine in the name of its operator: whoever can read the keys runs the node.

use super::Failure;
use super::ask::{Answer, ask_with_token};
use crate::auth::key_file::KeySource;
use crate::config::Config;

/// Asks the node that these settings are of.
pub(super) async fn ask(config: &Config, method: &str, path: &str) -> Result<String, Failure> {
    send(config, method, path, None).await
}

/// The same with a body.
pub(super) async fn send(
    config: &Config,
    method: &str,
    path: &str,
    json: Option<&str>,
) -> Result<String, Failure> {
    let node = config.http_listen;
    let mut refused = None;
    // While a key is being replaced, the node may not know the first one yet.
    for token in KeySource::of(config).read()?.operator_tokens() {
        let Answer { status, body, .. } = ask_with_token(config, method, path, &token, json).await?;
        match status {
            200..=299 => return Ok(body),
            401 => refused = Some(body),
            _ => return Err(refusal(config, status, &body)),
        }
    }
    Err(format!("the node at {node} answered 401: {}", refused.unwrap_or_default()).into())
}

/// What to tell the operator: the node's own words, where it has any.
fn refusal(config: &Config, status: u16, body: &str) -> Failure {
    #[derive(serde::Deserialize)]
    struct Problem {
        detail: String,
        code: String,
    }
    match serde_json::from_str::<Problem>(body) {
        // The code is what scripts look for.
        Ok(Problem { detail, code }) => format!("{detail} ({code})").into(),
        Err(_) => format!("the node at {} answered {status}: {body}", config.http_listen).into(),
    }
}
