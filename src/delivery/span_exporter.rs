//! Spans for an exporter of OpenTelemetry's SDK, in the place of a backend of our own.
//!
//! Such an exporter takes spans as the SDK's own type, so each is decoded and built again: that is its price. It runs
//! on a thread of its own, outside every subscriber and without a runtime, since what it does there is not ours to
//! know.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{
    Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue as OtlpKeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource as OtlpResource;
use opentelemetry_proto::tonic::trace::v1::{Span, status};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter, SpanLinks};
use prost::Message;

use super::SignalName;
use super::queue::Queue;
use super::state::Done;
use super::waiting::Batch;
use crate::decode::protobuf::{Field, Fields, Value as Wire};

/// An exporter whose type is forgotten.
pub(crate) struct AnyExporter(Box<dyn Exporter>);

trait Exporter: Send {
    fn set_resource(&mut self, resource: &Resource);
    fn export(&mut self, spans: Vec<SpanData>) -> Result<(), String>;
    fn shutdown(&mut self);
}

impl<E: SpanExporter> Exporter for E {
    fn set_resource(&mut self, resource: &Resource) {
        SpanExporter::set_resource(self, resource);
    }

    fn export(&mut self, spans: Vec<SpanData>) -> Result<(), String> {
        futures_executor::block_on(SpanExporter::export(self, spans)).map_err(|error| error.to_string())
    }

    fn shutdown(&mut self) {
        let _ = SpanExporter::shutdown(self);
    }
}

impl AnyExporter {
    pub(crate) fn new(exporter: impl SpanExporter + 'static) -> Self {
        AnyExporter(Box::new(exporter))
    }

    /// `resource`: an encoded `Resource` message.
    pub(crate) fn set_resource(&mut self, resource: &[u8]) {
        let resource = OtlpResource::decode(resource).unwrap_or_default();
        let resource = Resource::builder_empty().with_attributes(attributes(resource.attributes)).build();
        // Code of somebody else's.
        let _ = catch_unwind(AssertUnwindSafe(|| self.0.set_resource(&resource)));
    }
}

impl fmt::Debug for AnyExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyExporter")
    }
}

/// How many batches may wait for the exporter; further ones are better kept in the queue.
const WAITING: usize = 2;

/// The way to the exporter's thread. The thread ends when this is dropped.
pub(super) struct ExporterThread {
    to_thread: SyncSender<Batch>,
    in_flight: Arc<AtomicUsize>,
}

impl ExporterThread {
    pub(super) fn start(mut exporter: AnyExporter, queue: Arc<Queue>) -> std::io::Result<ExporterThread> {
        let (to_thread, batches) = sync_channel::<Batch>(WAITING);
        let in_flight = Arc::new(AtomicUsize::new(0));
        let done = in_flight.clone();
        std::thread::Builder::new().name("longpole-exporter".to_owned()).spawn(move || {
            let _untraced = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::default());
            for batch in batches {
                let spans = batch_to_spans(&batch);
                let count = batch.spans();
                let unreadable = count.saturating_sub(spans.len() as u64);
                let exported = catch_unwind(AssertUnwindSafe(|| exporter.0.export(spans)))
                    .unwrap_or_else(|_| Err("the exporter panicked".to_owned()));
                let readable = count.saturating_sub(unreadable);
                let error = exported.err().map(|error| format!("the span exporter failed: {error}"));
                let outcome = if error.is_none() { Done::Acked } else { Done::Rejected };
                if let Some(error) = &error {
                    queue.tell(SignalName::Spans, error, "; they are lost there");
                }
                queue.done(&[(outcome, readable), (Done::Dropped("unreadable"), unreadable)], batch, error);
                done.fetch_sub(1, Ordering::AcqRel);
                queue.wake.notify_one();
            }
            let _ = catch_unwind(AssertUnwindSafe(|| exporter.0.shutdown()));
        })?;
        Ok(ExporterThread { to_thread, in_flight })
    }

    pub(super) fn has_room(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) < WAITING
    }

    /// Hands a batch over; gives it back if the thread is gone.
    pub(super) fn send(&self, batch: Batch) -> Result<(), Batch> {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.to_thread.try_send(batch).map_err(|error| {
            self.in_flight.fetch_sub(1, Ordering::AcqRel);
            match error {
                TrySendError::Full(batch) | TrySendError::Disconnected(batch) => batch,
            }
        })
    }
}

fn batch_to_spans(batch: &Batch) -> Vec<SpanData> {
    let scope = InstrumentationScope::builder("longpole").with_version(env!("CARGO_PKG_VERSION")).build();
    let messages = Fields::new(&batch.fields, 0).map_while(Result::ok).filter_map(|field| match field {
        Field { value: Wire::Bytes(message), .. } => Span::decode(message).ok(),
        _ => None,
    });
    messages.map(|span| span_data(span, &scope)).collect()
}

fn span_data(span: Span, scope: &InstrumentationScope) -> SpanData {
    let parent_span_is_remote = span.flags & crate::encode::span::flags::IS_REMOTE != 0;
    let mut events = SpanEvents::default();
    events.dropped_count = span.dropped_events_count;
    events.events = span
        .events
        .into_iter()
        .map(|event| {
            let attributes = attributes(event.attributes);
            Event::new(event.name, time(event.time_unix_nano), attributes, event.dropped_attributes_count)
        })
        .collect();
    let mut links = SpanLinks::default();
    links.dropped_count = span.dropped_links_count;
    links.links = span
        .links
        .into_iter()
        .map(|link| {
            let context = span_context(&link.trace_id, &link.span_id, link.flags, &link.trace_state, false);
            Link::new(context, attributes(link.attributes), link.dropped_attributes_count)
        })
        .collect();
    SpanData {
        span_context: span_context(&span.trace_id, &span.span_id, span.flags, &span.trace_state, false),
        parent_span_id: SpanId::from_bytes(bytes(&span.parent_span_id)),
        parent_span_is_remote,
        span_kind: match span.kind {
            2 => SpanKind::Server,
            3 => SpanKind::Client,
            4 => SpanKind::Producer,
            5 => SpanKind::Consumer,
            _ => SpanKind::Internal,
        },
        name: span.name.into(),
        start_time: time(span.start_time_unix_nano),
        end_time: time(span.end_time_unix_nano),
        attributes: attributes(span.attributes),
        dropped_attributes_count: span.dropped_attributes_count,
        events,
        links,
        status: match span.status {
            Some(set) if set.code == status::StatusCode::Ok as i32 => Status::Ok,
            Some(set) if set.code == status::StatusCode::Error as i32 => Status::error(set.message),
            _ => Status::Unset,
        },
        instrumentation_scope: scope.clone(),
    }
}

fn span_context(trace_id: &[u8], span_id: &[u8], flags: u32, state: &str, is_remote: bool) -> SpanContext {
    SpanContext::new(
        TraceId::from_bytes(bytes(trace_id)),
        SpanId::from_bytes(bytes(span_id)),
        TraceFlags::new((flags & 0xff) as u8),
        is_remote,
        state.parse::<TraceState>().unwrap_or_default(),
    )
}

/// The bytes of an id; zero if they are not as many.
fn bytes<const N: usize>(id: &[u8]) -> [u8; N] {
    id.try_into().unwrap_or([0; N])
}

fn time(nanos: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_nanos(nanos)).unwrap_or(UNIX_EPOCH)
}

fn attributes(attributes: Vec<OtlpKeyValue>) -> Vec<KeyValue> {
    let attribute = |attribute: OtlpKeyValue| {
        let value = value(attribute.value?)?;
        Some(KeyValue::new(attribute.key, value))
    };
    attributes.into_iter().filter_map(attribute).collect()
}

fn value(any: AnyValue) -> Option<Value> {
    Some(match any.value? {
        any_value::Value::StringValue(text) => Value::String(text.into()),
        any_value::Value::BoolValue(truth) => Value::Bool(truth),
        any_value::Value::IntValue(number) => Value::I64(number),
        any_value::Value::DoubleValue(number) => Value::F64(number),
        any_value::Value::ArrayValue(array) => {
            let texts = array.values.into_iter().filter_map(|item| match item.value? {
                any_value::Value::StringValue(text) => Some(StringValue::from(text)),
                _ => None,
            });
            Value::Array(Array::String(texts.collect()))
        }
        // The layer writes no others.
        _ => return None,
    })
}
