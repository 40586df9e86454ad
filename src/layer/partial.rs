//! Spans that are still open, written as far as they have come.

use std::sync::atomic::Ordering::Relaxed;

use crate::encode::finished_span::FinishedSpan;
use crate::ids::{SpanId, TraceId};
use crate::pipeline::shard::{Left, UpTo, flags as frame_flags};
use crate::time::Duration;

use super::LayerCore;
use super::callsite::Callsite;
use super::closing::{Course, finished, rare_fields, settle, timing_of};
use super::open_span::{Body, Slot, flags, marks, trace_id_bytes};

/// An open span, written as if it ended now with the outcome `partial`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenSpan<'a> {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    /// It has no parent in this process.
    pub(crate) is_local_root: bool,
    /// Children started under it.
    pub(crate) children: u32,
    /// A `Span` message.
    pub(crate) message: &'a [u8],
}

impl LayerCore {
    /// Writes every open span that is exported and was created at least `older_than` ago: roots of this process first,
    /// then the others, until the next would make the messages take more than `max_bytes` together. Gives how many did
    /// not fit.
    ///
    /// The spans go on as if nothing had happened; when one that was written closes, its frame says so. A span that
    /// gets a parent from outside meanwhile closes with other ids, so what was written here counts only until the
    /// next time. Looks at every slot twice, and locks an open span as long as it takes to copy it.
    pub(crate) fn write_open_spans(
        &self,
        older_than: Duration,
        max_bytes: usize,
        each: &mut dyn FnMut(OpenSpan<'_>),
    ) -> u64 {
        if !self.config.export {
            return 0;
        }
        let (mut room, mut left_out) = (Some(max_bytes), 0u64);
        for roots in [true, false] {
            self.slots.for_each_open(|slot| {
                if slot.parent().is_none() != roots || slot.has(flags::UNSAMPLED) {
                    return;
                }
                let now = self.clock.now(slot.anchor());
                let body = slot.lock();
                // While this is locked and has a callsite, the slot's ids are those of the same span.
                let Some(callsite) = body.callsite else { return };
                if now.saturating_since(body.start) < older_than {
                    return;
                }
                if room.is_none() {
                    left_out = left_out.saturating_add(1);
                    return;
                }
                // Before it can close: the frame must not miss it.
                slot.flags.fetch_or(flags::PARTIAL_WRITTEN, Relaxed);
                let end = now.max(body.start);
                let first_run = settle(slot, &body, end).first_run.min(end);
                let course = Course { first_run, end, held_open: Duration::ZERO };
                let span = finished(slot, &body, callsite, &course);
                let copy = body.copy();
                drop(body);
                let message = self.partial_message(slot, copy, callsite, &course, span);
                room = room.and_then(|room| room.checked_sub(message.len()));
                if room.is_none() {
                    left_out = left_out.saturating_add(1);
                    return;
                }
                each(OpenSpan {
                    trace_id: TraceId::from_bytes(trace_id_bytes(span.trace_id)),
                    span_id: SpanId::from_bytes(span.span_id.to_be_bytes()),
                    is_local_root: roots,
                    children: slot.children.load(Relaxed),
                    message: &message,
                });
            });
        }
        left_out
    }

    /// Leaves every open span that is exported for the pipeline, as it has come so far: nobody takes it when it
    /// closes. Gives how many found no room, in `max_bytes` or there.
    pub(crate) fn leave_open_spans(&self, max_bytes: usize) -> u64 {
        let mut refused = 0u64;
        let left_out = self.write_open_spans(Duration::ZERO, max_bytes, &mut |span| {
            let root = if span.is_local_root { frame_flags::LOCAL_ROOT } else { 0 };
            let flags = root | frame_flags::SAMPLED | frame_flags::HAD_PARTIAL;
            let head = Left { children: span.children, flags };
            if self.shards.push(UpTo::Reserve, head, [span.message], || None).is_err() {
                refused = refused.saturating_add(1);
            }
        });
        refused.saturating_add(left_out)
    }

    /// Ends the copy of an open span the way [`LayerCore::finish`] ends a span.
    fn partial_message(
        &self,
        slot: &Slot,
        mut copy: Body,
        callsite: &'static Callsite,
        course: &Course,
        mut span: FinishedSpan,
    ) -> Vec<u8> {
        copy.polls.close(course.end);
        span.timing = timing_of(&copy.polls, course);
        if copy.has_other_keys {
            copy.add_timing(course);
        }
        copy.remove_attribute(&self.own_keys.outcome);
        self.append_own_text(&mut copy, &self.own_keys.outcome, "partial");
        if copy.has(marks::SELECTED) {
            self.append_selected_id(&mut copy, callsite.name);
        }
        if slot.parent().is_none() {
            self.settle_workflow(slot, &mut copy, true);
        }
        let rare = rare_fields(&copy, callsite);
        let mut message = copy.attributes;
        message.extend_from_slice(&rare);
        span.name = None;
        span.append(&mut message);
        message
    }
}
