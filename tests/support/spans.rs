//! Span records for tests.

use std::sync::Arc;

use longpole::ids::{SpanId, TraceId};
use longpole::span_record::{Origin, SpanKind, SpanRecord, Status, Timing};
use longpole::time::Timestamp;

/// A span without attributes. Id 0 is the all-zero id.
pub(crate) fn span(id: u64, parent: Option<u64>, name: &str, start: u64, end: u64) -> SpanRecord {
    SpanRecord {
        trace_id: TraceId::from_bytes([7; 16]),
        span_id: SpanId::from_bytes(id.to_be_bytes()),
        parent_id: parent.map(|id| SpanId::from_bytes(id.to_be_bytes())),
        name: name.into(),
        kind: SpanKind::Internal,
        start: Timestamp::from_unix_nanos(start),
        end: Timestamp::from_unix_nanos(end),
        status: Status::Unset,
        timing: Timing::default(),
        facts: None,
        links: None,
        origin: Arc::new(Origin::default()),
        local: None,
    }
}
