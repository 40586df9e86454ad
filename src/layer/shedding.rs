//! Writing less of a span while too much is on its way: in the span's shard, or in the delivery behind all of them.
//!
//! What goes first is what a report misses least: long texts, events and links of every span; then whole spans that
//! are no nodes; nodes only where there is no room at all, and roots of runs last. A span that is no node but has
//! children stays as long as nodes do: without it what is below it would belong to no run.

use crate::decode::otlp::node_of_attributes;
use crate::encode::shedding::cut_long_texts;
use crate::pipeline::pressure::Level;
use crate::pipeline::shard::{Left, Refused, UpTo, flags as frame_flags};
use crate::span_record::Interner;

use super::LayerCore;
use super::callsite::Callsite;
use super::closing::Course;
use super::open_span::{Body, Slot, flags};

impl LayerCore {
    /// Leaves a span that did not get away as it was, smaller, or counts it as lost.
    #[cold]
    pub(super) fn leave_under_pressure(
        &self,
        slot: &Slot,
        body: &mut Body,
        callsite: &'static Callsite,
        course: &Course,
        mut frame: Left,
    ) {
        let leave = |up_to, body: &mut Body, frame| self.leave(up_to, slot, body, callsite, course, frame);
        let is_exported = frame.flags & frame_flags::ANALYSIS_ONLY == 0;
        // What is not exported does not press on the delivery.
        if !is_exported && leave(UpTo::Half, body, frame).is_ok() {
            return;
        }
        self.counters.payload_shed.add(cut_long_texts(&mut body.attributes));
        self.counters.events_shed.add(body.drop_events().into());
        self.counters.links_shed.add(body.drop_links().into());

        let is_root = frame.flags & (frame_flags::LOCAL_ROOT | frame_flags::OUTERMOST_MARKED) != 0;
        let is_internal = !is_root && !slot.has(flags::MARKED) && !is_node(body, callsite.name);
        let has_children = frame.children > 0;
        let sheds_from = if has_children { Level::Full } else { Level::ThreeQuarters };
        let is_shed = is_exported && is_internal && self.shards.pressure().delivery() >= sheds_from;
        if is_shed {
            frame.flags |= frame_flags::ANALYSIS_ONLY | frame_flags::SHED;
        }
        let is_internal_leaf = is_internal && !has_children;
        let up_to = match (is_root, is_internal_leaf) {
            (true, _) => UpTo::Reserve,
            (false, true) => UpTo::ThreeQuarters,
            (false, false) => UpTo::Full,
        };
        match leave(up_to, body, frame) {
            Ok(()) if is_shed => self.counters.spans_internal_shed.add(1),
            Ok(()) => {}
            Err(Refused::Full) if is_internal_leaf => self.counters.spans_internal_shed_in_shard.add(1),
            Err(refused) => self.count_refused(refused),
        }
    }
}

fn is_node(body: &Body, callsite_name: &str) -> bool {
    let given_name = body.rare().map(|rare| rare.name.as_str()).filter(|name| !name.is_empty());
    let name = given_name.unwrap_or(callsite_name);
    node_of_attributes(&body.attributes, name, &mut Interner::default()).is_some()
}
