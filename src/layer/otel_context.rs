//! Between the layer's spans and OpenTelemetry's own current context.
//!
//! A root takes the span as its parent that is current for OpenTelemetry's API; with `activate_otel_context` each
//! entered span is made current there; beside another layer that exports the spans, ids are taken from it.

use std::cell::RefCell;
use std::sync::atomic::Ordering::Relaxed;

use opentelemetry::trace::{
    SpanContext, SpanId as OtelSpanId, TraceContextExt, TraceFlags, TraceId as OtelTraceId, TraceState,
};
use opentelemetry::{Context, ContextGuard};
use tracing::Span;

use super::LayerCore;
use super::callsite::LayerNumber;
use super::config::{ForeignContext, RemoteParent};
use super::open_span::{Slot, flags, trace_id_bytes};
use super::span_ext::{SetParentError, with_layer};

thread_local! {
    /// The contexts this thread's entered spans have made current, innermost last.
    static ATTACHED: RefCell<Attached> = const { RefCell::new(Attached(Vec::new())) };

    /// OpenTelemetry's context of a thread panics once it is gone, and a span may be opened while a thread ends. What
    /// a thread made later goes first: this is made after that context, so while this is there that one is too.
    static CONTEXT_IS_THERE: ContextIsThere = {
        // Only where this is made while the thread ends already can the context be gone.
        let is_there = std::panic::catch_unwind(|| Context::map_current(|_| ())).is_ok();
        ContextIsThere(is_there)
    };
}

struct ContextIsThere(bool);

impl Drop for ContextIsThere {
    fn drop(&mut self) {
        // Something to do, so that the thread remembers that this is gone.
        self.0 = false;
    }
}

/// Whether this thread's current context may be asked for: not while the thread ends.
#[inline]
fn context_is_there() -> bool {
    CONTEXT_IS_THERE.try_with(|there| there.0).unwrap_or(false)
}

struct Attached(Vec<(LayerNumber, u64, ContextGuard)>);

impl Drop for Attached {
    fn drop(&mut self) {
        // The thread ends inside of spans; the context it would go back to may be gone.
        self.0.drain(..).for_each(|(_, _, guard)| std::mem::forget(guard));
    }
}

/// Joins `tracing` spans with OpenTelemetry's own [`Context`]. On a span no longpole layer measures, contexts given out
/// are those that are current anyway.
pub trait OtelSpanExt {
    /// Puts the span, and what will be started under it, under the span in `context`: that of a caller in another
    /// process, or of OpenTelemetry's API. Baggage in it goes along. Works on entered spans too, so inside a function
    /// with `#[instrument]`.
    ///
    /// # Errors
    ///
    /// If no layer measures the span, if `context` holds no valid span, or if a child was started or the span's ids
    /// were handed out already. The span stays where it was.
    fn set_parent_context(&self, context: &Context) -> Result<(), SetParentError>;

    /// A context in which this span is current, for passing it on. From then on its parent is fixed.
    fn otel_context(&self) -> Context;
}

impl OtelSpanExt for Span {
    fn set_parent_context(&self, context: &Context) -> Result<(), SetParentError> {
        let remote = parent_in(context).ok_or(SetParentError::InvalidParent)?;
        with_layer(self, |core, id| core.set_parent(id, remote)).unwrap_or(Err(SetParentError::NotMeasured))
    }

    fn otel_context(&self) -> Context {
        with_layer(self, |core, id| {
            core.slots.with(id, |slot| {
                slot.flags.fetch_or(flags::IDS_GIVEN, Relaxed);
                context_of(slot)
            })
        })
        .flatten()
        .unwrap_or_else(Context::current)
    }
}

/// The span `context` holds, as a parent.
pub(crate) fn parent_in(context: &Context) -> Option<RemoteParent> {
    let span = context.span();
    let found = span.span_context();
    if !found.is_valid() {
        return None;
    }
    let trace_id = u128::from_be_bytes(found.trace_id().to_bytes());
    Some(RemoteParent {
        trace_id: [(trace_id >> 64) as u64, trace_id as u64],
        span_id: u64::from_be_bytes(found.span_id().to_bytes()),
        is_sampled: found.is_sampled(),
        is_remote: found.is_remote(),
        origin: ForeignContext {
            trace_state: found.trace_state().header(),
            context: has_baggage(context).then(|| context.clone()),
        },
    })
}

fn has_baggage(context: &Context) -> bool {
    use opentelemetry::baggage::BaggageExt;
    !context.baggage().is_empty()
}

/// The span that is current for OpenTelemetry's API.
#[inline]
pub(super) fn current_parent() -> Option<RemoteParent> {
    if !context_is_there() {
        return None;
    }
    Context::map_current(|context| if context.has_active_span() { parent_in(context) } else { None })
}

/// A context in which the span of `slot` is current.
fn context_of(slot: &Slot) -> Context {
    let foreign =
        if slot.has(flags::FOREIGN_CONTEXT) { slot.lock().foreign_context().cloned() } else { None };
    let foreign = foreign.unwrap_or_default();
    let current = || if context_is_there() { Context::current() } else { Context::new() };
    let base = foreign.context.unwrap_or_else(current);
    base.with_remote_span_context(SpanContext::new(
        OtelTraceId::from_bytes(trace_id_bytes(slot.trace_id())),
        OtelSpanId::from_bytes(slot.span_id().to_be_bytes()),
        if slot.has(flags::UNSAMPLED) { TraceFlags::default() } else { TraceFlags::SAMPLED },
        false,
        foreign.trace_state.parse::<TraceState>().unwrap_or_default(),
    ))
}

/// Ends what [`LayerCore::entered_in_otel`] began for this span on this thread.
pub(super) fn detach(layer: LayerNumber, id: u64) {
    let guard = ATTACHED.try_with(|attached| {
        let mut attached = attached.try_borrow_mut().ok()?;
        let at = attached.0.iter().rposition(|(of, span, _)| *of == layer && *span == id)?;
        Some(attached.0.remove(at).2)
    });
    match context_is_there() {
        // Dropped outside the borrow: it runs code of OpenTelemetry's.
        true => drop(guard),
        false => std::mem::forget(guard),
    }
}

fn attach(layer: LayerNumber, id: u64, context: Context) {
    if !context_is_there() {
        return;
    }
    let guard = context.attach();
    // While a thread ends there is nowhere to keep it, and nobody to see it.
    let _ = ATTACHED.try_with(|attached| {
        if let Ok(mut attached) = attached.try_borrow_mut() {
            attached.0.push((layer, id, guard));
        }
    });
}

impl LayerCore {
    /// A span was entered on this thread.
    pub(super) fn entered_in_otel(&self, id: u64) {
        if self.config.otel.takes_ids {
            self.take_otel_ids(id);
        }
        if self.config.otel.activates
            && let Some(context) = self.slots.with(id, context_of)
        {
            attach(self.number, id, context);
        }
    }

    /// A span got other ids: contexts with the old ones must not stay current.
    pub(super) fn reattach(&self, id: u64) {
        let is_attached = ATTACHED.try_with(|attached| {
            let attached = attached.try_borrow().ok()?;
            attached.0.last().filter(|(of, span, _)| *of == self.number && *span == id).map(|_| ())
        });
        if is_attached.ok().flatten().is_none() {
            return;
        }
        detach(self.number, id);
        if let Some(context) = self.slots.with(id, context_of) {
            attach(self.number, id, context);
        }
    }

    /// Gives a span the ids under which another layer exports it, if nobody has seen its own yet. That layer has
    /// made it current: it stands before this one in the subscriber.
    fn take_otel_ids(&self, id: u64) {
        if !context_is_there() {
            return;
        }
        let current = Context::map_current(|context| {
            let span = context.span();
            let found = span.span_context();
            found.is_valid().then(|| {
                let trace_id = u128::from_be_bytes(found.trace_id().to_bytes());
                let span_id = u64::from_be_bytes(found.span_id().to_bytes());
                ([(trace_id >> 64) as u64, trace_id as u64], span_id, found.is_sampled())
            })
        });
        let Some((trace_id, span_id, is_sampled)) = current else { return };
        let open = self.slots.with(id, |slot| {
            let is_settled =
                slot.flags.fetch_or(flags::OTEL_IDS_SETTLED, Relaxed) & flags::OTEL_IDS_SETTLED != 0;
            let is_free = !is_settled && slot.children.load(Relaxed) == 0 && !slot.has(flags::IDS_GIVEN);
            is_free.then(|| (slot.parent(), slot.trace_id(), slot.lock().parent_span_id))
        });
        let Some((parent, own_trace, parent_span)) = open.flatten() else { return };
        // A span the other layer does not know leaves one above it current.
        let is_above = span_id == parent_span || self.is_id_of_ancestor(parent, span_id);
        if is_above || (parent.is_some() && trace_id != own_trace) {
            return;
        }
        self.slots.with(id, |slot| {
            slot.set_trace_id(trace_id);
            slot.set_span_id(span_id);
            if is_sampled {
                slot.flags.fetch_and(!flags::UNSAMPLED, Relaxed);
            } else {
                slot.flags.fetch_or(flags::UNSAMPLED, Relaxed);
            }
        });
    }

    fn is_id_of_ancestor(&self, mut parent: Option<u64>, span_id: u64) -> bool {
        while let Some(id) = parent {
            match self.slots.with(id, |slot| (slot.span_id(), slot.parent())) {
                Some((own, _)) if own == span_id => return true,
                Some((_, next)) => parent = next,
                None => return false,
            }
        }
        false
    }
}
