//! What a root without a parent in this process stands under, and whether its trace is exported.

use std::sync::atomic::Ordering::Relaxed;

use tracing_core::span::Attributes;

use super::LayerCore;
use super::config::{ForeignContext, RemoteParent};
use super::open_span::{Slot, flags};

impl LayerCore {
    /// Settles where a span comes from that was just begun and is a root here, or came with something from outside.
    #[cold]
    pub(super) fn settle_origin(&self, slot: &Slot, parent: u64, attributes: &Attributes<'_>) {
        match parent {
            0 => self.settle_root(slot, attributes.is_contextual()),
            parent => self.inherit_foreign_context(slot, parent),
        }
    }

    /// Settles a span that was just begun and has no parent here. `is_contextual`: it was not asked to be a root.
    fn settle_root(&self, slot: &Slot, is_contextual: bool) {
        match is_contextual.then(|| self.parent_from_outside()).flatten() {
            Some(remote) => {
                let is_sampled = self.config.sampler.samples(remote.trace_id, Some(remote.is_sampled));
                slot.adopt_remote_parent(remote, is_sampled);
            }
            None if !self.config.sampler.samples(slot.trace_id(), None) => {
                slot.flags.fetch_or(flags::UNSAMPLED, Relaxed);
            }
            None => {}
        }
    }

    /// The span that is current for OpenTelemetry's own API, else the one the process was started under.
    fn parent_from_outside(&self) -> Option<RemoteParent> {
        #[cfg(feature = "otlp")]
        if let Some(current) = super::otel_context::current_parent() {
            return Some(current);
        }
        self.config.process_parent.clone()
    }

    /// Takes over what came with the trace from the parent, a span of this process.
    fn inherit_foreign_context(&self, slot: &Slot, parent: u64) {
        let context: Option<ForeignContext> =
            self.slots.with(parent, |parent| parent.lock().foreign_context().cloned()).flatten();
        if let Some(context) = context {
            slot.lock().set_foreign_context(context);
        }
    }
}
