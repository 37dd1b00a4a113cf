//! Logs and metrics of the process.
//!
//! # Why
//! - Logs go to standard error, so that what a command prints can be piped.
//! - A panic is logged by its place, and by its message only when that is part of the program: a formatted
//!   one may hold data of a request.

use std::io::IsTerminal;
use std::panic::{self, PanicHookInfo};
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogFormat;

/// Starts logging for the whole process. A second call changes nothing.
///
/// `filter` is a level or a list of `module=level`, checked by the configuration; a bad one logs `info`.
pub fn start_logging(filter: &str, format: LogFormat) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let started = match format {
        LogFormat::Text => builder.finish().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init(),
    };
    if started.is_ok() {
        panic::set_hook(Box::new(log_panic));
    }
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
