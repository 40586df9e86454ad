//! The `tracing` layer: measures spans where they run and leaves each, when it closes, as OTLP bytes.
//!
//! Every callback follows the same rules: it never waits, never panics, never logs, and runs no user code under a
//! lock. A span's state lives in the layer's own slots, found by the registry's id; attributes are encoded as they
//! are recorded; what may still change is written at the close.

#![warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod active;
mod buffers;
mod callsite;
mod closing;
pub(crate) mod config;
mod control;
pub(crate) mod counters;
mod current_span;
mod events;
mod eviction;
pub(crate) mod fence;
mod field_recorder;
mod field_visitor;
#[doc(hidden)]
pub mod harness;
mod in_node;
pub(crate) mod open_bytes;
mod open_span;
pub(crate) mod open_tree;
mod origin;
#[cfg(feature = "otlp")]
pub(crate) mod otel_context;
mod overflow;
pub(crate) mod partial;
mod poll_clock;
pub(crate) mod profilers;
mod root;
mod shedding;
mod slots;
mod span_ext;
mod switchable;
#[cfg(test)]
mod tests;
mod tracked_call;
pub(crate) mod usage_log;
mod user_text;
mod withheld;

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};

use tracing_core::dispatcher::WeakDispatch;
use tracing_core::span::{Attributes, Id, Record};
use tracing_core::{Dispatch, Event, Interest, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::clock::Clock;
use crate::encode::span::{LinkMeaning, SHORT_TEXT};
use crate::pipeline::shard::{Shards, thread_ordinal};
use crate::process_identity::ProcessIdentity;
use crate::random::random_id;

use callsite::{Callsite, LayerNumber};
use closing::OwnKeys;
use config::{LayerConfig, Verdict};
use counters::LayerCounters;
use current_span::EnteredSpan;
use field_recorder::FieldRecorder;
use field_visitor::{Changes, Scratch};
pub use in_node::{FutureExt, InNode, phase};
use open_span::{Body, Lineage, Slot, flags, marks};
use slots::Slots;
pub use span_ext::{SetParentError, SpanExt, Value};
pub use switchable::Switch;
pub use tracked_call::track_call;

/// Measures the spans of a program. Made by the builder; given to a subscriber with
/// [`with`](tracing_subscriber::layer::SubscriberExt::with).
///
/// A layer belongs to one subscriber: it finds its spans by that subscriber's ids.
pub struct LongpoleLayer {
    core: Arc<LayerCore>,
}

/// What a layer and its handle share.
pub(crate) struct LayerCore {
    pub(crate) config: LayerConfig,
    pub(crate) shards: Arc<Shards>,
    pub(crate) counters: LayerCounters,
    /// While false, no new span, event or record is taken; open spans are finished.
    pub(crate) enabled: AtomicBool,
    /// Whether callsites are asked anew when that changes.
    is_switchable: AtomicBool,
    /// The subscriber the layer was given to, once it is set as a default.
    pub(crate) dispatch: OnceLock<WeakDispatch>,
    /// Whoever made the layer, for finding that from a span.
    pub(crate) owner: OnceLock<Weak<dyn Any + Send + Sync>>,
    number: LayerNumber,
    clock: Clock,
    process: ProcessIdentity,
    /// Whether this is a child that was forked, as far as somebody looked.
    is_forked: AtomicBool,
    slots: Slots,
    /// Text with fewer bytes is neither searched nor cut, and short.
    short_text: usize,
    /// What a frame says about the export of a span that is sampled.
    sampled_flags: u8,
    /// Where a span was made is written.
    has_origin: bool,
    /// Somebody was ever bound to an open span.
    is_watched: AtomicBool,
    own_keys: OwnKeys,
    pub(crate) profilers: profilers::Profilers,
    pub(crate) usage_logs: usage_log::UsageLogs,
}

impl LayerCore {
    /// The core of a layer that leaves its finished spans in `shards`. The first in a process takes about half a
    /// millisecond, to calibrate the clock.
    pub(crate) fn new(config: LayerConfig, shards: Arc<Shards>) -> Self {
        Self::with_clock(config, shards, Clock::new())
    }

    fn with_clock(config: LayerConfig, shards: Arc<Shards>, clock: Clock) -> Self {
        LayerCore {
            slots: Slots::new(
                config.max_open_spans,
                open_bytes::budget(config.max_open_spans),
                slots::near_for(shards.count(), config.max_open_spans),
            ),
            short_text: config
                .limits
                .masked_from
                .min(config.limits.value_bytes.saturating_add(1))
                .min(SHORT_TEXT.saturating_add(1)),
            sampled_flags: config.export_flags(false),
            has_origin: config.export && (config.location || config.threads || config.target),
            is_watched: AtomicBool::new(false),
            config,
            shards,
            counters: LayerCounters::default(),
            enabled: AtomicBool::new(true),
            is_switchable: AtomicBool::new(false),
            dispatch: OnceLock::new(),
            owner: OnceLock::new(),
            number: LayerNumber::next(),
            clock,
            process: ProcessIdentity::of_this_process(),
            is_forked: AtomicBool::new(false),
            own_keys: OwnKeys::new(),
            profilers: profilers::Profilers::default(),
            usage_logs: usage_log::UsageLogs::default(),
        }
    }

    /// How many spans are open. Looks at every slot: not for hot paths.
    pub(crate) fn open_spans(&self) -> u64 {
        self.slots.open_count()
    }

    /// What is known of a callsite; `None` if nothing is to be taken from it now.
    #[inline]
    fn admit(&self, metadata: &'static Metadata<'static>) -> Option<(&'static Callsite, Verdict)> {
        if !self.enabled.load(Relaxed) {
            self.count_if_forked(metadata);
            return None;
        }
        if fence::is_up() {
            self.counters.reentered.add(1);
            return None;
        }
        let (callsite, verdict) = callsite::look_up(metadata, self.number, &self.config);
        if verdict.is_ignored() { None } else { Some((callsite, verdict)) }
    }

    #[inline(always)]
    fn record(&self, slot: &Slot, values: &Record<'_>) {
        let body = slot.lock();
        let Some(callsite) = body.callsite else { return };
        let mut recorder = FieldRecorder::new(self, slot, callsite, body);
        values.record(&mut recorder);
        recorder.finish();
    }

    #[cold]
    fn record_overflowed(&self, id: u64, values: &Record<'_>) {
        self.slots.with_overflowed(id, |slot| self.record(slot, values));
    }

    /// Takes what a visit found into the open span `id`.
    fn apply(&self, id: u64, scratch: &mut Scratch, changes: &Changes) {
        self.slots.with(id, |slot| self.apply_to(slot, &mut slot.lock(), scratch, changes));
    }

    #[inline(always)]
    fn apply_to(&self, slot: &Slot, body: &mut Body, scratch: &mut Scratch, changes: &Changes) {
        body.apply(scratch, changes, &self.config.limits, &self.counters);
        if body.has_grown() {
            self.charge(body);
        }
        if changes.has_properties {
            body.set_properties(scratch);
            match scratch.properties.marked {
                Some(true) => slot.flags.fetch_or(flags::MARKED, Relaxed),
                Some(false) => slot.flags.fetch_and(!flags::MARKED, Relaxed),
                None => return,
            };
        }
    }

    /// The same for a span that is just being made: before it is cut short, others that seem forgotten go.
    #[cold]
    fn charge_new(&self, body: &mut Body) {
        if !self.slots.bytes.has_room() {
            self.make_room();
        }
        self.charge(body);
    }

    #[cold]
    fn unbind(&self, id: u64) {
        if self.profilers.are_bound() {
            self.profilers.unbind(id);
        }
        if self.usage_logs.are_bound() {
            self.usage_logs.unbind(id);
        }
    }

    /// Takes the buffers of an open span into account.
    #[cold]
    fn charge(&self, body: &mut Body) {
        if !body.charge(&self.slots.bytes, &self.config.limits, &self.counters) {
            self.counters.open_bytes_limit.add(1);
        }
    }

    /// What a root hands down: as yet only a trace. `None` in a forked child, where nothing is taken.
    #[cold]
    fn begin_trace(&self) -> Option<Lineage> {
        if self.is_in_forked_child() {
            self.counters.spans_after_fork.add(1);
            return None;
        }
        let trace_id = [random_id(), random_id()];
        Some(Lineage { trace_id, span_id: 0, anchor: self.clock.anchor(), flags: 0 })
    }

    /// Counts a new child at span `id` and reads what the child takes over. `None` if it is not measured.
    #[inline]
    fn adopt(&self, id: u64) -> Option<(u64, Lineage)> {
        match self.slots.fixed(id) {
            Some(slot) => Some((id, slot.adopt_child())),
            None => self.slots.with_overflowed(id, |slot| (id, slot.adopt_child())),
        }
    }

    /// This thread enters the span in `slot`, having been inside of `before`. Returns whether a poll begins.
    #[inline(always)]
    fn begin_poll(&self, slot: &Slot, before: EnteredSpan) -> bool {
        let now = self.clock.now(slot.anchor());
        slot.lock().polls.enter(thread_ordinal(), now, std::thread::panicking(), before)
    }

    #[cold]
    fn begin_poll_overflowed(&self, id: u64, before: EnteredSpan) -> bool {
        self.slots.with_overflowed(id, |slot| self.begin_poll(slot, before)).unwrap_or(false)
    }

    /// This thread leaves the span in `slot`. If its poll ends, returns what it was inside of before.
    #[inline(always)]
    fn end_poll(&self, slot: &Slot) -> Option<EnteredSpan> {
        let now = self.clock.now(slot.anchor());
        slot.lock().polls.exit(thread_ordinal(), now, std::thread::panicking())
    }

    #[cold]
    fn end_poll_overflowed(&self, id: u64) -> Option<EnteredSpan> {
        self.slots.with_overflowed(id, |slot| self.end_poll(slot)).flatten()
    }

    fn disown(&self, parent: u64) {
        self.slots.with(parent, |slot| slot.children.fetch_sub(1, Relaxed));
    }
}

impl fmt::Debug for LongpoleLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LongpoleLayer").field("config", &self.core.config).finish_non_exhaustive()
    }
}

impl LongpoleLayer {
    pub(crate) fn new(core: Arc<LayerCore>) -> Self {
        LongpoleLayer { core }
    }

    pub(crate) fn core(&self) -> &Arc<LayerCore> {
        &self.core
    }

    /// The span a new one stands under: its parent, else the nearest ancestor that is measured.
    #[inline]
    fn parent_of<S>(
        &self,
        attributes: &Attributes<'_>,
        id: &Id,
        context: &Context<'_, S>,
    ) -> Option<(u64, Lineage)>
    where
        S: Subscriber + for<'l> LookupSpan<'l>,
    {
        let parent = if attributes.is_contextual() {
            current_span::get(self.core.number).or_else(|| context.current_span().id().map(Id::into_u64))
        } else {
            attributes.parent().map(Id::into_u64)
        };
        // Asking the registry for the whole chain is dear; the parent is nearly always measured.
        self.core.adopt(parent?).or_else(|| {
            let mut ancestors = context.span_scope(id)?.skip(1);
            ancestors.find_map(|ancestor| self.core.adopt(ancestor.id().into_u64()))
        })
    }

    /// The measured span an event belongs to.
    fn span_of<S>(&self, event: &Event<'_>, context: &Context<'_, S>) -> Option<u64>
    where
        S: Subscriber + for<'l> LookupSpan<'l>,
    {
        if event.is_contextual()
            && let Some(id) = current_span::get(self.core.number)
            && self.core.slots.with(id, |_| ()).is_some()
        {
            return Some(id);
        }
        let mut scope = context.event_scope(event)?;
        scope.find_map(|span| {
            let id = span.id().into_u64();
            self.core.slots.with(id, |_| id)
        })
    }
}

impl<S> Layer<S> for LongpoleLayer
where
    S: Subscriber + for<'l> LookupSpan<'l>,
{
    fn on_register_dispatch(&self, subscriber: &Dispatch) {
        let _ = self.core.dispatch.set(subscriber.downgrade());
    }

    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        // A layer that answers "never" silences every other layer; what is not wanted is left out later.
        Interest::always()
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let core = &*self.core;
        let Some((callsite, verdict)) = core.admit(attributes.metadata()) else { return };
        let (parent, lineage) = match self.parent_of(attributes, id, &context) {
            Some(found) => found,
            None => match core.begin_trace() {
                Some(lineage) => (0, lineage),
                None => return,
            },
        };
        let start = core.clock.now(lineage.anchor);
        let claimed = core.slots.claim(
            id.into_u64(),
            || core.make_room(),
            |slot| {
                slot.begin(parent, &lineage);
                let mut body = slot.lock();
                body.begin(callsite, start, lineage.span_id, core.config.limits.attributes);
                if verdict.is_selected() {
                    body.marks = marks::SELECTED;
                }
                if parent == 0 || lineage.flags & flags::FOREIGN_CONTEXT != 0 {
                    drop(body);
                    core.settle_origin(slot, parent, attributes);
                    body = slot.lock();
                }
                if core.has_origin {
                    core.append_origin(&mut body.attributes, callsite);
                }
                let mut recorder = FieldRecorder::new(core, slot, callsite, body);
                attributes.record(&mut recorder);
                recorder.open();
            },
        );
        if claimed.is_err() {
            core.counters.spans_open_limit.add(1);
            if parent != 0 {
                core.disown(parent);
            }
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let core = &*self.core;
        if !core.enabled.load(Relaxed) {
            return;
        }
        if fence::is_up() {
            return core.counters.reentered.add(1);
        }
        match core.slots.fixed(id.into_u64()) {
            Some(slot) => core.record(slot, values),
            None => core.record_overflowed(id.into_u64(), values),
        }
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, _: Context<'_, S>) {
        let core = &*self.core;
        // Not only for export: that one waited for the other is part of the analysis.
        if !core.enabled.load(Relaxed) || fence::is_up() {
            return;
        }
        let followed = core.slots.with(follows.into_u64(), |slot| {
            slot.flags.fetch_or(flags::IDS_GIVEN, Relaxed);
            slot.lineage()
        });
        if let Some(followed) = followed {
            core.slots.with(id.into_u64(), |slot| {
                let mut body = slot.lock();
                body.push_link(followed, LinkMeaning::DependsOn, &core.config.limits, &core.counters);
                core.charge(&mut body);
            });
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let core = &*self.core;
        if event.metadata().level() > &core.config.event_level {
            return;
        }
        let Some((callsite, _)) = core.admit(event.metadata()) else { return };
        match self.span_of(event, &context) {
            Some(id) => core.record_event(id, event, callsite),
            None => core.counters.events_outside_spans.add(1),
        }
    }

    fn on_enter(&self, id: &Id, _: Context<'_, S>) {
        let core = &*self.core;
        let id = id.into_u64();
        let before = current_span::enter(core.number, id);
        let began = match core.slots.fixed(id) {
            Some(slot) => core.begin_poll(slot, before),
            None => core.begin_poll_overflowed(id, before),
        };
        if !began {
            return current_span::forget();
        }
        #[cfg(feature = "otlp")]
        if core.config.otel.is_used() {
            core.entered_in_otel(id);
        }
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        let core = &*self.core;
        let id = id.into_u64();
        let ended = match core.slots.fixed(id) {
            Some(slot) => core.end_poll(slot),
            None => core.end_poll_overflowed(id),
        };
        let Some(before) = ended else { return current_span::forget() };
        #[cfg(feature = "otlp")]
        if core.config.otel.activates {
            otel_context::detach(core.number, id);
        }
        current_span::leave(core.number, id, before);
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        self.core.slots.release(id.into_u64(), |slot| self.core.finish(slot));
        if self.core.is_watched.load(Relaxed) {
            self.core.unbind(id.into_u64());
        }
    }
}
