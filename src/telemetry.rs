//! Logs, metrics and traces of the process.
//!
//! # Why
//! - Logs go to standard error, so that what a command prints can be piped.
//! - A panic is logged by its place, and by its message only when that is part of the program: a formatted
//!   one may hold data of a request.

mod export;
pub mod trace;

use std::io::IsTerminal;
use std::panic::{self, PanicHookInfo};
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::runtime::Handle;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::config::{Config, LogFormat};
pub use export::{ExportStats, stats as export_stats};

/// What must be told that the process ends.
#[derive(Debug)]
#[must_use = "what was not exported yet is lost"]
pub struct Telemetry(Option<export::Exporting>);

impl Telemetry {
    /// Sends what is not exported yet, for a second at most.
    pub async fn end(self) {
        if let Some(exporting) = self.0 {
            exporting.end().await;
        }
    }
}

/// Starts logging for the whole process, and the export of spans where the settings name a collector. A second call
/// changes nothing.
///
/// A bad filter, which the configuration refuses, logs `info`.
pub fn start(config: &Config, runtime: &Handle) -> Telemetry {
    let filter = EnvFilter::try_new(&config.log_level).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let lines = match config.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let lines = tracing_subscriber::registry().with(lines.with_filter(filter));
    let (started, exporting) = match &config.otlp {
        None => (lines.try_init(), None),
        Some(otlp) => {
            let (tracer, exporting) = export::start(otlp, config.base_url(), runtime);
            // Whatever is logged, all of our own spans.
            let ours = filter_fn(|metadata| metadata.is_span() && metadata.target().starts_with("conclave"));
            let spans = tracing_opentelemetry::layer()
                .with_tracer(tracer)
                .with_location(false)
                .with_threads(false)
                .with_tracked_inactivity(false)
                .with_filter(ours);
            trace::spans_are_exported();
            (lines.with(spans).try_init(), Some(exporting))
        }
    };
    if started.is_ok() {
        panic::set_hook(Box::new(log_panic));
    }
    Telemetry(exporting)
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or_default();
    let message = info.payload().downcast_ref::<&'static str>().copied().unwrap_or("(message withheld)");
    tracing::error!(place, thread, message, "panic");
}

/// All metrics of a node, in the text format of Prometheus (`OpenMetrics` 1.0).
#[derive(Debug, Default)]
pub struct Metrics(Mutex<Registry>);

impl Metrics {
    /// The content type of [`Metrics::render`].
    pub const CONTENT_TYPE: &'static str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// No metrics yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets a part of the node make its metrics known.
    pub fn register<T>(&self, part: impl FnOnce(&mut Registry) -> T) -> T {
        part(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The current values as text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing into a string does not fail.
        let _ = encode(&mut text, &self.0.lock().unwrap_or_else(PoisonError::into_inner));
        text
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;
    use crate::http::metrics::HttpMetrics;

    #[test]
    fn what_is_registered_is_rendered() {
        let metrics = Metrics::new();
        let counter = metrics.register(|registry| {
            let counter: Counter = Counter::default();
            registry.register("conclave_proposals", "Commands proposed", counter.clone());
            HttpMetrics::register(registry);
            counter
        });
        counter.inc_by(3);
        let text = metrics.render();
        assert!(text.contains("\nconclave_proposals_total 3\n"), "{text}");
        assert!(text.contains("# TYPE http_connections gauge"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
