//! Spans on their way to a collector: OTLP over HTTP, in batches, from a queue that is never waited for.
//!
//! # Why not the exporter of the SDK
//! It brings an HTTP client of its own and a thread, and does not say how much it drops. What it comes to is a queue, a
//! timer and a POST. So a collector that is slow, gone, or answers nonsense costs a request nothing, and what was lost
//! is a figure.
//!
//! # Why plain HTTP only
//! Trust in a collector far away is for the collector beside the node to handle, which every deployment has. Spans hold
//! methods, routes, states and times; nothing that a caller sent but its trace's id.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use opentelemetry::trace::{SpanKind, TracerProvider};
use opentelemetry::{KeyValue, Value};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, Span, SpanData, SpanProcessor};
use prost::Message;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::config::Otlp;

/// How many spans may wait. More are dropped, and counted.
const QUEUE: usize = 4096;
/// Spans in one message.
const BATCH: usize = 512;
/// Between two messages, so that spans gather.
const PAUSE: Duration = Duration::from_millis(500);
/// For a message.
const PATIENCE: Duration = Duration::from_secs(5);
/// For the last one, when the process ends.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// More of an answer is not read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// What became of the spans of this process that were to be exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportStats {
    /// The collector has them.
    pub exported: u64,
    /// They found the queue full.
    pub dropped: u64,
    /// The collector did not take them.
    pub failed: u64,
}

static EXPORTED: AtomicU64 = AtomicU64::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);
static FAILED: AtomicU64 = AtomicU64::new(0);

/// What became of the spans so far.
#[must_use]
pub fn stats() -> ExportStats {
    let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
    ExportStats { exported: read(&EXPORTED), dropped: read(&DROPPED), failed: read(&FAILED) }
}

/// The task that exports; [`Exporting::end`] has it finish.
#[derive(Debug)]
pub(super) struct Exporting {
    ending: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Exporting {
    /// Sends what waits, for a second at most.
    pub(super) async fn end(self) {
        self.ending.notify_one();
        let _ = timeout(LAST_WORDS, self.task).await;
    }
}

/// Starts the task on `runtime`, and gives what makes spans for it. `instance` tells this process from others.
pub(super) fn start(otlp: &Otlp, instance: String, runtime: &Handle) -> (SdkTracer, Exporting) {
    let (to, queue) = mpsc::channel(QUEUE);
    let resource = Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", "conclave"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", instance),
        ])
        .build();
    let collector = Collector { url: otlp.endpoint.clone(), resource: (&resource).into() };
    // A caller that samples its trace has our part of it sampled too; else the ratio decides.
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(otlp.sample_ratio)));
    let provider = SdkTracerProvider::builder().with_sampler(sampler).with_span_processor(Queue(to)).build();
    let ending = Arc::<Notify>::default();
    let task = runtime.spawn(collector.serve(queue, Arc::clone(&ending)));
    (provider.tracer("conclave"), Exporting { ending, task })
}

/// Takes spans that ended, on whichever thread they did.
#[derive(Debug)]
struct Queue(mpsc::Sender<SpanData>);

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.0.try_send(named(span)).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Says what sort of span it is, which `tracing` has no word for.
fn named(mut span: SpanData) -> SpanData {
    span.span_kind = match &*span.name {
        "http" | "order" => SpanKind::Server,
        "forward" => SpanKind::Client,
        _ => SpanKind::Internal,
    };
    let text = |key: &str| {
        let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key)?;
        if let Value::String(text) = &found.value { Some(text.as_str().to_owned()) } else { None }
    };
    if let (Some(method), Some(route)) = (text("method"), text("http.route")) {
        span.name = format!("{method} {route}").into();
    }
    span
}

/// Where spans go.
struct Collector {
    url: Uri,
    resource: ResourceAttributesWithSchema,
}

impl Collector {
    async fn serve(self, mut queue: mpsc::Receiver<SpanData>, ending: Arc<Notify>) {
        let mut is_reached = true;
        loop {
            let mut batch = Vec::with_capacity(BATCH);
            tokio::select! {
                biased;
                count = queue.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                }
                // What waits is taken, then nothing comes any more.
                () = ending.notified() => {
                    queue.close();
                    continue;
                }
            }
            let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
            let sent = timeout(PATIENCE, self.send(batch)).await.map_err(io::Error::from).flatten();
            match &sent {
                Ok(()) => EXPORTED.fetch_add(count, Ordering::Relaxed),
                Err(_) => FAILED.fetch_add(count, Ordering::Relaxed),
            };
            match (is_reached, sent) {
                (true, Err(error)) => {
                    is_reached = false;
                    tracing::warn!(collector = %self.url, %error, "spans are lost: the collector does not take them");
                }
                (false, Ok(())) => {
                    is_reached = true;
                    tracing::info!(collector = %self.url, "the collector takes spans again");
                }
                (true, Ok(())) | (false, Err(_)) => {}
            }
            tokio::select! {
                () = sleep(PAUSE) => {}
                () = ending.notified() => queue.close(),
            }
        }
    }

    async fn send(&self, batch: Vec<SpanData>) -> io::Result<()> {
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let host = self.url.host().unwrap_or_default().trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, self.url.port_u16().unwrap_or(80))).await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let authority = self.url.authority().map_or("", |authority| authority.as_str());
        let request = Request::post(self.url.path())
            .header(HOST, authority)
            .header(CONNECTION, "close")
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(Full::new(Bytes::from(body)))
            .map_err(io::Error::other)?;
        let asking = async move {
            let response = sender.send_request(request).await.map_err(io::Error::other)?;
            let status = response.status();
            let _ = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
            if status.is_success() { Ok(()) } else { Err(io::Error::other(format!("it answers {status}"))) }
        };
        let (sent, _) = tokio::join!(asking, connection);
        sent
    }
}
