//! What names a request on every node that it passes: its id, and the trace it is a part of.
//!
//! # Why it is not an argument
//! It decides nothing. Every step that asks another node would have to hand it on, and none would look at it. So it goes
//! with the task that answers the request, as the span does that log lines are written in.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use serde::{Deserialize, Serialize};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The header of W3C Trace Context by which a caller names the trace that its request is a part of.
pub const TRACEPARENT: &str = "traceparent";

/// What goes to another node with what it is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// The request's id.
    pub request: String,
    /// The span that asks, as a `traceparent`, while spans are exported.
    pub parent: Option<String>,
}

tokio::task_local! {
    static REQUEST: Arc<str>;
}

/// Whether spans are exported. Where they are not, nothing is asked of them.
static IS_EXPORTED: AtomicBool = AtomicBool::new(false);

/// From now on.
pub(super) fn spans_are_exported() {
    IS_EXPORTED.store(true, Ordering::Relaxed);
}

/// Does the work of a request in its name.
pub async fn of_request<F: Future>(request: Arc<str>, work: F) -> F::Output {
    REQUEST.scope(request, work).await
}

/// What names the request that is being worked for; nothing for what a node does by itself.
#[must_use]
pub fn current() -> Option<Trace> {
    let request = REQUEST.try_with(|request| String::from(&**request)).ok()?;
    Some(Trace { request, parent: parent() })
}

/// The span that work is done in now.
fn parent() -> Option<String> {
    if !IS_EXPORTED.load(Ordering::Relaxed) {
        return None;
    }
    let context = Span::current().context();
    let span = context.span().span_context().clone();
    let flags = span.trace_flags().to_u8();
    span.is_valid().then(|| format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id()))
}

/// Makes a new span a child of the one that a `traceparent` names. One that is none changes nothing.
pub fn adopt(span: &Span, parent: &str) {
    if !IS_EXPORTED.load(Ordering::Relaxed) {
        return;
    }
    if let Some(parent) = read(parent) {
        // It fails for a span that nobody exports, or that has begun.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
}

/// Says of the span of a request what became of it. Not in log lines: they say it themselves.
pub fn answered(span: &Span, route: &'static str, status: u16) {
    if IS_EXPORTED.load(Ordering::Relaxed) {
        span.set_attribute("http.route", route);
        span.set_attribute("http.response.status_code", i64::from(status));
    }
}

/// Reads a `traceparent` (W3C Trace Context, section 3.2): of later versions what ours has.
pub(crate) fn read(text: &str) -> Option<SpanContext> {
    let mut parts = text.trim().split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_good = is_hex(version, 2)
        && version != "ff"
        && (version != "00" || parts.next().is_none())
        && is_hex(trace, 32)
        && is_hex(span, 16)
        && is_hex(flags, 2);
    if !is_good {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    Some(SpanContext::new(trace, span, flags, true, TraceState::default())).filter(SpanContext::is_valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_standard_allows_is_a_parent() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let parent = read(good).unwrap();
        assert!(parent.is_sampled() && parent.is_remote());
        assert_eq!(parent.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert!(!read(&good.replace("-01", "-00")).unwrap().is_sampled());
        assert!(read(&good.replace("00-0", "01-0")).is_some());
        assert!(read(&format!("{}-more", good.replace("00-0", "cc-0"))).is_some());
        for bad in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        ] {
            assert!(read(bad).is_none(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_request_is_named_as_long_as_it_is_worked_for() {
        assert_eq!(current(), None);
        let named = of_request("abc".into(), async {
            tokio::task::yield_now().await;
            current()
        });
        assert_eq!(named.await, Some(Trace { request: "abc".to_owned(), parent: None }));
        assert_eq!(current(), None);
    }
}
