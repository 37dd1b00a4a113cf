//! `conclave health`: whether the node of this machine is ready, by the exit code: for containers that have no other
//! program in them.

use super::Failure;
use super::ask::ask_plainly;
use crate::config::Config;

/// Asks `/ready`.
pub(super) async fn check(config: &Config) -> Result<(), Failure> {
    let answer = ask_plainly(config, "GET", "/ready").await?;
    if answer.status == 200 {
        return Ok(());
    }
    Err(format!("not ready: {}", answer.body.trim_end()).into())
}
