//! What is handed to the delivery. The kinds, their numbers and their meaning stand in ARCHITECTURE.md: they are
//! those a spool on disk will write, so that its files stay readable.

use std::sync::Arc;

use crate::decode::otlp::span_ids;
use crate::ids::{SpanId, TraceId};
use crate::pipeline::shard::{Chunk, FrameHead, flags};

/// Something to deliver.
#[derive(Debug)]
pub(crate) enum Record {
    /// Kind 1: the spans of a chunk that are exported and wait for nothing.
    Traces(Arc<Chunk>),
    /// Kind 8: a root. It is not sent before its [`Record::RootAttributes`], or the end of the hold.
    HeldRoot {
        /// Which root.
        key: SpanKey,
        /// Its `Span` message, without tag and length.
        message: Vec<u8>,
    },
    /// Kind 9: what the verdict adds to a root; nothing if there is no verdict for it.
    RootAttributes {
        /// Which root.
        key: SpanKey,
        /// `Span.attributes` fields. Protobuf fields of a message concatenate, so they go behind its bytes.
        attributes: Vec<u8>,
    },
    /// Kind 11: whether the spans of a trace are sent, where that depends on how its run ended.
    Decision {
        /// Which trace.
        trace_id: TraceId,
        /// Else they are discarded.
        keeps: bool,
    },
}

/// Names a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SpanKey {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
}

impl SpanKey {
    /// What a `Span` message says of itself; `None` if it does not.
    pub(crate) fn of(message: &[u8]) -> Option<SpanKey> {
        span_ids(message).map(|(trace_id, span_id)| SpanKey { trace_id, span_id })
    }

    /// Trace id and span id, one behind the other.
    pub(crate) fn to_bytes(self) -> [u8; 24] {
        let mut ids = [0; 24];
        let (trace, span) = ids.split_at_mut(TraceId::LEN);
        trace.copy_from_slice(&self.trace_id.to_bytes());
        span.copy_from_slice(&self.span_id.to_bytes());
        ids
    }
}

/// Whether a frame goes out with its chunk: roots go by themselves, and some spans are for the report only.
pub(crate) fn goes_with_its_chunk(head: &FrameHead) -> bool {
    head.flags & (flags::LOCAL_ROOT | flags::OUTERMOST_MARKED | flags::ANALYSIS_ONLY) == 0
}
