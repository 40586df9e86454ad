//! What the layer could not take, by reason. Touched on cold paths only.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// One number that many threads add to.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The layer's counters.
        #[derive(Debug, Default)]
        pub(crate) struct LayerCounters {
            $($(#[$doc])* pub(crate) $name: Counter,)*
        }

        impl LayerCounters {
            /// All of them by name, zeros included.
            pub(crate) fn snapshot(&self) -> BTreeMap<&'static str, u64> {
                BTreeMap::from([$((stringify!($name), self.$name.get()),)*])
            }
        }
    };
}

counters! {
    /// Finished spans lost because their shard was full.
    spans_shard_full,
    /// Finished spans lost because the pipeline was shut down.
    spans_after_shutdown,
    /// Spans not exported because too much waited to be delivered.
    spans_internal_shed,
    /// Finished spans lost because their shard was nearly full.
    spans_internal_shed_in_shard,
    /// Spans of a child that was forked from the process: it has no threads to take them.
    spans_after_fork,
    /// Spans not measured because too many were open.
    spans_open_limit,
    /// Open spans written as partial and given up, because others needed their place.
    open_spans_evicted,
    /// Times an open span was cut short because all of them together held too much.
    open_bytes_limit,
    /// Attributes not kept: too many, or too many bytes.
    attributes_dropped,
    /// Events not kept: too many, or too many bytes.
    events_dropped,
    /// Links not kept: too many, or too many bytes.
    links_dropped,
    /// Texts cut because too much was on its way.
    payload_shed,
    /// Events left out because too much was on its way.
    events_shed,
    /// Links left out because too much was on its way.
    links_shed,
    /// Events outside any span.
    events_outside_spans,
    /// Values that hold the content of a conversation, not written because nobody asked for them.
    content_left_out,
    /// Values of content that were cut.
    content_cut,
    /// Values that were replaced, whole or in part, because they are secrets by their key or their shape.
    redacted_values,
    /// Values whose `Debug` or `Display` panicked.
    formatting_panics,
    /// Parents of another process that could not be read: a new trace was begun.
    traceparents_malformed,
    /// Spans, events and records made by formatting code the layer ran.
    reentered,
}
