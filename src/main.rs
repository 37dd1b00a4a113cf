//! Reads the command line and does what it says.

use std::process::ExitCode;

use conclave::cli::{self, Failure, Stop};
use conclave::config::Config;
use conclave::http::metrics::HttpMetrics;
use conclave::http::{Router, Server, Settings, json};
use conclave::telemetry::Metrics;
use warp::Filter;
use warp::http::StatusCode;

fn main() -> ExitCode {
    cli::run(serve)
}

/// Serves the probes only.
async fn serve(config: Config, mut stop: Stop) -> Result<(), Failure> {
    let metrics = Metrics::new();
    let ready =
        warp::path!("ready").map(|| json::reply(StatusCode::OK, &serde_json::json!({"status": "ready"})));
    let router = Router::new().with(conclave::http::Surface::new("/ready", ready.boxed()));
    let server =
        Server::bind(Settings::from_config(&config)?, router, metrics.register(HttpMetrics::register))
            .await?;
    tracing::info!(address = %server.local_addr(), "listening");
    stop.asked().await;
    server.stop().await;
    Ok(())
}
