//! Settling a span when it closes: how long it waited and worked, how it ended, and its bytes for the pipeline.

use std::sync::atomic::Ordering::Relaxed;

use crate::conventions;
use crate::encode::finished_span::FinishedSpan;
use crate::encode::span::{
    self, Dropped, EncodedKey, SPAN_ATTRIBUTE, append_dropped, append_name, append_status, append_str,
    append_trace_state,
};
use crate::encode::timing::{self, Timing};
use crate::pipeline::pressure::Level;
use crate::pipeline::shard::{Left, Refused, UpTo, flags as frame_flags};
use crate::time::{Duration, Timestamp};

use super::LayerCore;
use super::callsite::Callsite;
use super::config::LayerConfig;
use super::open_span::{Body, Slot, flags, marks};
use super::poll_clock::PollClock;

/// Keys the layer writes or looks for when a span closes, encoded.
#[derive(Debug)]
pub(crate) struct OwnKeys {
    pub(super) outcome: EncodedKey,
    node_id: EncodedKey,
    operation: EncodedKey,
    workflow_name: EncodedKey,
    workflow_version: EncodedKey,
}

impl OwnKeys {
    pub(crate) fn new() -> Self {
        OwnKeys {
            outcome: EncodedKey::new(conventions::OUTCOME),
            node_id: EncodedKey::new(conventions::NODE_ID),
            operation: EncodedKey::new(conventions::GEN_AI_OPERATION),
            workflow_name: EncodedKey::new(conventions::WORKFLOW_NAME),
            workflow_version: EncodedKey::new(conventions::WORKFLOW_VERSION),
        }
    }
}

/// What running the span looked like, settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Course {
    /// When it, or a child of it, first ran; its creation if nothing did.
    pub(super) first_run: Timestamp,
    /// The end of work.
    pub(super) end: Timestamp,
    pub(super) held_open: Duration,
}

/// Settles the course of a span that closes `now`.
pub(super) fn settle(slot: &Slot, body: &Body, now: Timestamp) -> Course {
    let first_child_run = Timestamp::from_unix_nanos(slot.first_child_run.load(Relaxed));
    let first_run = match body.polls.first_enter_or_max().min(first_child_run) {
        Timestamp::MAX => body.start,
        first_run => first_run,
    };
    let end = match body.polls.last_exit() {
        Some(last_exit) => {
            last_exit.max(Timestamp::from_unix_nanos(slot.last_child_end.load(Relaxed))).min(now)
        }
        None => now,
    };
    let end = end.max(body.start);
    Course { first_run, end, held_open: now.saturating_since(end) }
}

impl LayerConfig {
    /// What a frame says about whether its span is exported.
    pub(super) fn export_flags(&self, is_unsampled: bool) -> u8 {
        let mut flags = 0;
        if !self.export || is_unsampled {
            flags |= frame_flags::ANALYSIS_ONLY;
        }
        if !is_unsampled && (self.export || self.otel.takes_ids) {
            flags |= frame_flags::SAMPLED;
        }
        flags
    }
}

impl Slot {
    /// A child of this span ends.
    #[inline(always)]
    fn note_child(&self, child: &Course, is_detached: bool) {
        let first_run = child.first_run.as_unix_nanos();
        // Looking first is cheaper: of several children only one is the first.
        if first_run < self.first_child_run.load(Relaxed) {
            self.first_child_run.fetch_min(first_run, Relaxed);
        }
        if !is_detached {
            self.last_child_end.fetch_max(child.end.as_unix_nanos(), Relaxed);
        }
    }
}

impl LayerCore {
    #[cold]
    fn note_child_of_overflowed(&self, parent: u64, child: &Course, is_detached: bool) {
        self.slots.with_overflowed(parent, |parent| parent.note_child(child, is_detached));
    }

    /// Writes the closing span in `slot` out and tells its parent.
    pub(super) fn finish(&self, slot: &Slot) {
        self.finish_locked(slot, &mut slot.lock());
    }

    pub(super) fn finish_locked(&self, slot: &Slot, body: &mut Body) {
        let now = self.clock.now(slot.anchor());
        let Some(callsite) = body.callsite.take() else { return };
        body.polls.close(now);
        let course = settle(slot, body, now);
        if let Some(parent) = slot.parent() {
            match self.slots.fixed(parent) {
                Some(parent) => parent.note_child(&course, body.is_detached),
                None => self.note_child_of_overflowed(parent, &course, body.is_detached),
            }
        }

        if self.is_watched.load(Relaxed) {
            self.tell_watchers(slot, body, callsite.name, &course);
        }
        let mut flags_of_frame = callsite.frame_flags;
        if body.has_other_keys {
            body.add_timing(&course);
            flags_of_frame |= frame_flags::MAY_BE_CALL;
        }
        let never_ran = body.polls.first_enter().is_none();
        if never_ran || body.polls.panicked() || body.marks != 0 {
            self.append_marks(body, callsite.name);
        }
        let is_local_root = slot.parent().is_none();
        let is_outermost_marked = self.settle_workflow(slot, body, is_local_root);

        let slot_flags = slot.flags.load(Relaxed);
        flags_of_frame |= match slot_flags & flags::UNSAMPLED {
            0 => self.sampled_flags,
            _ => self.config.export_flags(true),
        };
        if is_local_root {
            flags_of_frame |= frame_flags::LOCAL_ROOT;
        }
        if is_outermost_marked {
            flags_of_frame |= frame_flags::OUTERMOST_MARKED;
        }
        if slot_flags & flags::PARTIAL_WRITTEN != 0 {
            flags_of_frame |= frame_flags::HAD_PARTIAL;
        }
        let frame = Left { children: slot.children.load(Relaxed), flags: flags_of_frame };
        let pushed = match self.shards.pressure().delivery() {
            Level::Low => self.leave(UpTo::Half, slot, body, callsite, &course, frame),
            _ => Err(Refused::Full),
        };
        match pushed {
            Ok(()) => {}
            Err(Refused::Full) => self.leave_under_pressure(slot, body, callsite, &course, frame),
            Err(refused) => self.count_refused(refused),
        }
        body.end(&self.slots.bytes);
    }

    /// Leaves a span that ended, if its shard then is no fuller than `up_to`.
    #[inline(always)]
    pub(super) fn leave(
        &self,
        up_to: UpTo,
        slot: &Slot,
        body: &Body,
        callsite: &'static Callsite,
        course: &Course,
        frame: Left,
    ) -> Result<(), Refused> {
        if body.status != 0 || body.rare().is_some() {
            return self.leave_with_rare(up_to, slot, body, callsite, course, frame);
        }
        self.shards.push(up_to, frame, [&body.attributes], || Some(finished(slot, body, callsite, course)))
    }

    #[cold]
    fn leave_with_rare(
        &self,
        up_to: UpTo,
        slot: &Slot,
        body: &Body,
        callsite: &'static Callsite,
        course: &Course,
        frame: Left,
    ) -> Result<(), Refused> {
        let span = FinishedSpan { name: None, ..finished(slot, body, callsite, course) };
        self.shards.push(up_to, frame, [&body.attributes, &rare_fields(body, callsite)], || Some(span))
    }

    /// Tells whoever is bound to a span above.
    #[cold]
    fn tell_watchers(&self, slot: &Slot, body: &Body, callsite_name: &'static str, course: &Course) {
        if self.profilers.are_bound() {
            self.record_in_profiler(slot, body, callsite_name, course);
        }
        if self.usage_logs.are_bound() {
            self.log_usage(slot, body, course.end);
        }
    }

    /// Appends how the span ended, if that is not told by its status, and what makes it a node.
    #[inline(never)]
    fn append_marks(&self, body: &mut Body, callsite_name: &'static str) {
        let closed_by_panic =
            body.polls.first_enter().is_none() && !body.created_panicking && std::thread::panicking();
        let outcome = if body.polls.panicked() || closed_by_panic {
            Some("panicked")
        } else if body.has(marks::CANCELLED) {
            Some("cancelled")
        } else if body.has(marks::GIVEN_UP) {
            Some("partial")
        } else {
            None
        };
        if let Some(outcome) = outcome
            && !(body.has_other_keys && body.has_attribute(&self.own_keys.outcome))
        {
            self.append_own_text(body, &self.own_keys.outcome, outcome);
        }
        if body.has(marks::SELECTED) {
            self.append_selected_id(body, callsite_name);
        }
    }

    /// A span found by a selector is a node under its own name, unless it says itself which node it is.
    #[cold]
    pub(super) fn append_selected_id(&self, body: &mut Body, callsite_name: &'static str) {
        let keys = &self.own_keys;
        if body.has_attribute(&keys.node_id) || body.has_attribute(&keys.operation) {
            return;
        }
        let given_name = body.rare().map(|rare| rare.name.clone()).filter(|name| !name.is_empty());
        self.append_own_text(body, &self.own_keys.node_id, given_name.as_deref().unwrap_or(callsite_name));
    }

    /// Gives a local root the configured workflow's name if it carries none. Returns whether the span carries a
    /// name and none above it in this process does.
    #[inline]
    pub(super) fn settle_workflow(&self, slot: &Slot, body: &mut Body, is_local_root: bool) -> bool {
        let is_marked = slot.has(flags::MARKED);
        if is_local_root {
            let Some(workflow) = self.config.workflow.as_deref().filter(|_| !is_marked) else {
                return is_marked;
            };
            // An empty name marks nothing, but its key is taken.
            body.remove_attribute(&self.own_keys.workflow_name);
            self.append_own_text(body, &self.own_keys.workflow_name, workflow);
            if let Some(version) = &self.config.workflow_version
                && !body.has_attribute(&self.own_keys.workflow_version)
            {
                self.append_own_text(body, &self.own_keys.workflow_version, version);
            }
            return true;
        }
        // With a workflow's name configured the local root carries one, at the latest when it closes.
        is_marked && self.config.workflow.is_none() && !self.has_marked_ancestor(slot)
    }

    #[cold]
    fn has_marked_ancestor(&self, slot: &Slot) -> bool {
        let mut next = slot.parent();
        while let Some(id) = next {
            let seen = self.slots.with(id, |slot| (slot.has(flags::MARKED), slot.parent()));
            match seen {
                Some((true, _)) => return true,
                Some((false, parent)) => next = parent,
                None => return false,
            }
        }
        false
    }

    pub(super) fn append_own_text(&self, body: &mut Body, key: &EncodedKey, text: &str) {
        let limit = self.config.limits.value_bytes;
        append_str(&mut body.attributes, SPAN_ATTRIBUTE, key, text, limit);
    }
}

/// What is fixed in size of the span in `slot`, if that was its course.
#[inline]
pub(super) fn finished(
    slot: &Slot,
    body: &Body,
    callsite: &'static Callsite,
    course: &Course,
) -> FinishedSpan {
    let slot_flags = slot.flags.load(Relaxed);
    let sampled = if slot_flags & flags::UNSAMPLED == 0 { span::flags::SAMPLED } else { 0 };
    let remote = if slot_flags & flags::REMOTE_PARENT == 0 { 0 } else { span::flags::IS_REMOTE };
    FinishedSpan {
        trace_id: slot.trace_id(),
        span_id: slot.span_id(),
        parent_id: body.parent_span_id,
        start: body.start.as_unix_nanos(),
        end: course.end.as_unix_nanos(),
        timing: timing_of(&body.polls, course),
        name: Some(&callsite.encoded_name),
        flags: (span::flags::IS_REMOTE_KNOWN | sampled | remote) as u16,
        kind: body.kind,
        has_timing: !body.has_other_keys,
    }
}

/// What running it looked like.
#[inline]
pub(super) fn timing_of(polls: &PollClock, course: &Course) -> Timing {
    Timing {
        first_enter: polls.first_enter_or_max().as_unix_nanos(),
        first_run: course.first_run.as_unix_nanos(),
        busy: polls.busy().as_nanos(),
        longest_poll: polls.longest_poll().as_nanos(),
        held_open: course.held_open.as_nanos(),
        polls: polls.polls(),
    }
}

impl Body {
    /// Writes the timing among the attributes, where the program may have written keys of ours itself: its word stands.
    #[cold]
    pub(super) fn add_timing(&mut self, course: &Course) {
        let mut fields = Vec::new();
        timing::append(&mut fields, self.start.as_unix_nanos(), &timing_of(&self.polls, course));
        self.add_missing(&fields);
    }
}

/// The name of a span, and what most spans have nothing of, encoded.
#[cold]
pub(super) fn rare_fields(body: &Body, callsite: &Callsite) -> Vec<u8> {
    let mut fields = Vec::new();
    let Some(rare) = body.rare() else {
        callsite.encoded_name.append(&mut fields);
        append_status(&mut fields, body.status, "");
        return fields;
    };
    if rare.name.is_empty() {
        callsite.encoded_name.append(&mut fields);
    } else {
        append_name(&mut fields, &rare.name);
    }
    if let Some(foreign) = rare.foreign.as_deref().filter(|foreign| !foreign.trace_state.is_empty()) {
        append_trace_state(&mut fields, &foreign.trace_state);
    }
    fields.extend_from_slice(&rare.events);
    fields.extend_from_slice(&rare.links);
    append_status(&mut fields, body.status, &rare.status_message);
    append_dropped(&mut fields, Dropped::Attributes, rare.dropped_attributes);
    append_dropped(&mut fields, Dropped::Events, rare.dropped_events);
    append_dropped(&mut fields, Dropped::Links, rare.dropped_links);
    fields
}
