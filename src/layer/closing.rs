//! Settling a span when it closes: how long it waited and worked, how it ended, and its bytes for the pipeline.

use std::sync::atomic::Ordering::Relaxed;

use crate::conventions;
use crate::encode::span::{
    self, Dropped, EncodedKey, SPAN_ATTRIBUTE, SpanHead, append_dropped, append_int, append_status,
    append_str, find_attribute, name_field,
};
use crate::pipeline::shard::{FrameHead, Refused, flags as frame_flags};
use crate::time::{Duration, Timestamp};

use super::LayerCore;
use super::open_span::{Body, Slot, flags, trace_id_bytes};

/// Held open for less than this is not worth telling.
const TOLD_HELD_OPEN: Duration = Duration::from_millis(1);

/// Keys the layer writes or looks for when a span closes, encoded.
#[derive(Debug)]
pub(crate) struct OwnKeys {
    queued: EncodedKey,
    busy: EncodedKey,
    polls: EncodedKey,
    longest_poll: EncodedKey,
    first_enter: EncodedKey,
    held_open: EncodedKey,
    outcome: EncodedKey,
    node_id: EncodedKey,
    operation: EncodedKey,
    workflow_name: EncodedKey,
    workflow_version: EncodedKey,
}

impl OwnKeys {
    pub(crate) fn new() -> Self {
        OwnKeys {
            queued: EncodedKey::new(conventions::QUEUED_NS),
            busy: EncodedKey::new(conventions::BUSY_NS),
            polls: EncodedKey::new(conventions::POLLS),
            longest_poll: EncodedKey::new(conventions::LONGEST_POLL_NS),
            first_enter: EncodedKey::new(conventions::FIRST_ENTER_NS),
            held_open: EncodedKey::new(conventions::HELD_OPEN_NS),
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
struct Course {
    /// When it, or a child of it, first ran; its creation if nothing did.
    first_run: Timestamp,
    /// The end of work.
    end: Timestamp,
    held_open: Duration,
}

/// Settles the course of a span that closes `now`.
fn settle(slot: &Slot, body: &Body, now: Timestamp) -> Course {
    let first_child_run = slot.first_child_run.load(Relaxed);
    let first_child_run = (first_child_run != u64::MAX).then(|| Timestamp::from_unix_nanos(first_child_run));
    let first_run = body.polls.first_enter().into_iter().chain(first_child_run).min().unwrap_or(body.start);
    let end = match body.polls.last_exit() {
        Some(last_exit) => {
            last_exit.max(Timestamp::from_unix_nanos(slot.last_child_end.load(Relaxed))).min(now)
        }
        None => now,
    };
    let end = end.max(body.start);
    Course { first_run, end, held_open: now.saturating_since(end) }
}

impl LayerCore {
    /// Writes the closing span in `slot` out and tells its parent.
    pub(super) fn finish(&self, slot: &Slot) {
        let now = slot.anchor().saturating_add(self.clock.elapsed());
        let mut body = slot.lock();
        let body = &mut *body;
        let Some(callsite) = body.callsite.take() else { return };
        body.polls.close(now);
        let course = settle(slot, body, now);
        if let Some(parent) = slot.parent() {
            self.slots.with(parent, |parent| {
                parent.first_child_run.fetch_min(course.first_run.as_unix_nanos(), Relaxed);
                if !body.is_detached {
                    parent.last_child_end.fetch_max(course.end.as_unix_nanos(), Relaxed);
                }
            });
        }

        let shadowed = body.has_other_keys || callsite.shadows_layer_keys;
        self.append_timing(body, &course, shadowed);
        self.append_outcome(body, shadowed);
        if body.is_selected {
            self.append_selected_id(body, callsite.name);
        }
        let is_local_root = slot.parent().is_none();
        let is_outermost_marked = self.settle_workflow(slot, body, is_local_root);

        append_status(&mut body.events, body.status, &body.status_message);
        body.events.extend_from_slice(&body.links);
        append_dropped(&mut body.events, Dropped::Attributes, body.dropped_attributes);
        append_dropped(&mut body.events, Dropped::Events, body.dropped_events);
        append_dropped(&mut body.events, Dropped::Links, body.dropped_links);

        let is_unsampled = slot.has(flags::UNSAMPLED);
        let head = SpanHead {
            trace_id: trace_id_bytes(slot.trace_id()),
            span_id: slot.span_id().to_be_bytes(),
            parent_id: body.parent_span_id.to_be_bytes(),
            kind: body.kind,
            flags: span::flags::IS_REMOTE_KNOWN
                | if is_unsampled { 0 } else { span::flags::SAMPLED }
                | if slot.has(flags::REMOTE_PARENT) { span::flags::IS_REMOTE } else { 0 },
            start: body.start.as_unix_nanos(),
            end: course.end.as_unix_nanos(),
        };
        let mut flags_of_frame = 0;
        if is_local_root {
            flags_of_frame |= frame_flags::LOCAL_ROOT;
        }
        if is_outermost_marked {
            flags_of_frame |= frame_flags::OUTERMOST_MARKED;
        }
        if !self.config.export || is_unsampled {
            flags_of_frame |= frame_flags::ANALYSIS_ONLY;
        }
        let frame = FrameHead {
            children: slot.children.load(Relaxed),
            flags: flags_of_frame,
            ..FrameHead::default()
        };
        self.push(frame, &head, body, &callsite.name_field);
    }

    fn push(&self, frame: FrameHead, head: &SpanHead, body: &Body, callsite_name: &[u8]) {
        let (head, head_len) = head.encode();
        let head = head.get(..head_len).unwrap_or_default();
        let given_name = if body.name.is_empty() { Vec::new() } else { name_field(&body.name) };
        let name = if given_name.is_empty() { callsite_name } else { &given_name };
        // Most spans end with their attributes.
        let pushed = if body.events.is_empty() {
            self.shards.push(frame, &[head, name, &body.attributes])
        } else {
            self.shards.push(frame, &[head, name, &body.attributes, &body.events])
        };
        match pushed {
            Ok(()) => {}
            Err(Refused::Full) => self.counters.spans_shard_full.add(1),
            Err(Refused::Closed) => self.counters.spans_after_shutdown.add(1),
        }
    }

    /// `shadowed`: the program may have written keys of ours itself; its word stands.
    #[inline]
    fn append_timing(&self, body: &mut Body, course: &Course, shadowed: bool) {
        let keys = &self.own_keys;
        let mut append = |key: &EncodedKey, value: u64| {
            if !shadowed || find_attribute(&body.attributes, key.text()).is_none() {
                let value = i64::try_from(value).unwrap_or(i64::MAX);
                append_int(&mut body.attributes, SPAN_ATTRIBUTE, key, value);
            }
        };
        let queued = course.first_run.saturating_since(body.start);
        if let Some(first_enter) = body.polls.first_enter() {
            let busy = body.polls.busy();
            append(&keys.busy, busy.as_nanos());
            append(&keys.polls, body.polls.polls());
            let longest = body.polls.longest_poll();
            if longest != busy {
                append(&keys.longest_poll, longest.as_nanos());
            }
            let first_enter = first_enter.saturating_since(body.start);
            if first_enter != queued {
                append(&keys.first_enter, first_enter.as_nanos());
            }
        }
        if !queued.is_zero() {
            append(&keys.queued, queued.as_nanos());
        }
        if course.held_open > TOLD_HELD_OPEN {
            append(&keys.held_open, course.held_open.as_nanos());
        }
    }

    #[inline]
    fn append_outcome(&self, body: &mut Body, shadowed: bool) {
        let closed_by_panic =
            body.polls.first_enter().is_none() && !body.created_panicking && std::thread::panicking();
        let outcome = if body.polls.panicked() || closed_by_panic {
            "panicked"
        } else if body.is_cancelled {
            "cancelled"
        } else {
            return;
        };
        if !shadowed || !body.has_attribute(&self.own_keys.outcome) {
            self.append_own_text(body, &self.own_keys.outcome, outcome);
        }
    }

    /// A span found by a selector is a node under its own name, unless it says itself which node it is.
    #[cold]
    fn append_selected_id(&self, body: &mut Body, callsite_name: &'static str) {
        let keys = &self.own_keys;
        if body.has_attribute(&keys.node_id) || body.has_attribute(&keys.operation) {
            return;
        }
        let given_name = std::mem::take(&mut body.name);
        let name = if given_name.is_empty() { callsite_name } else { &given_name };
        self.append_own_text(body, &self.own_keys.node_id, name);
        body.name = given_name;
    }

    /// Gives a local root the configured workflow's name if it carries none. Returns whether the span carries a
    /// name and none above it in this process does.
    #[inline]
    fn settle_workflow(&self, slot: &Slot, body: &mut Body, is_local_root: bool) -> bool {
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

    fn append_own_text(&self, body: &mut Body, key: &EncodedKey, text: &str) {
        let limit = self.config.limits.value_bytes;
        append_str(&mut body.attributes, SPAN_ATTRIBUTE, key, text, limit);
    }
}
