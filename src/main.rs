//! Reads the command line and does what it says.

use std::process::ExitCode;
use std::sync::Arc;

use conclave::cli::{self, Failure, Stop};
use conclave::config::Config;
use conclave::node::Node;
use conclave::telemetry::Metrics;

fn main() -> ExitCode {
    cli::run(serve)
}

/// Runs a node until it is told to stop, or cannot go on.
async fn serve(config: Config, mut stop: Stop) -> Result<(), Failure> {
    // A start may wait for others for a long time, and is given up like everything else.
    let node = tokio::select! {
        node = Node::start(&config, Arc::new(Metrics::new())) => node?,
        () = stop.asked() => return Ok(()),
    };
    tracing::info!(http = %node.http_address(), identity = ?node.cluster().identity(), "serving");
    let failed = tokio::select! {
        () = stop.asked() => None,
        reason = node.failed() => {
            cli::end_in_time();
            Some(reason)
        }
    };
    tracing::info!("stopping");
    node.stop().await;
    tracing::info!("stopped");
    match failed {
        None => Ok(()),
        Some(reason) => Err(reason.into()),
    }
}
