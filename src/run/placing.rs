//! Where each span lies within its parent: what the parent can have waited for.

use super::options::AsyncChildren;
use super::{RunSpan, Warning, Warnings};
use crate::span_record::{SpanKind, SpanRecord};
use crate::time::{Interval, Timestamp};

/// A span on its own, before its parent is known.
pub(super) fn alone(
    record: SpanRecord,
    ordinal: u32,
    is_synthetic: bool,
    warnings: &mut Warnings,
) -> RunSpan {
    let is_unfinished = record.end == Timestamp::EPOCH && record.start != Timestamp::EPOCH;
    let is_negative = !is_unfinished && record.end < record.start;
    if is_unfinished {
        warnings.add(Warning::UnfinishedSpan);
    }
    if is_negative {
        warnings.add(Warning::NegativeDuration);
    }
    let mut span = RunSpan {
        record,
        ordinal,
        parent: None,
        clipped: Interval::default(),
        is_detached: false,
        outlives_parent: false,
        starts_before_parent: false,
        in_statistics: !is_unfinished && !is_negative && !is_synthetic,
        is_unfinished,
        is_synthetic,
    };
    span.clipped = span.interval();
    span
}

/// Clips every span to its parent, from the top down. The spans stand in preorder.
pub(super) fn place(spans: &mut [RunSpan], async_children: AsyncChildren) {
    let ends = (async_children == AsyncChildren::Inherit).then(|| ends_with_descendants(spans));
    if let (Some(ends), Some(root)) = (&ends, spans.first_mut()) {
        root.clipped.end = ends.first().copied().unwrap_or(root.clipped.end);
    }
    for at in 1..spans.len() {
        let (before, rest) = spans.split_at_mut(at);
        let Some(span) = rest.first_mut() else { break };
        let Some(parent) = span.parent.and_then(|parent| before.get(parent.index())) else { continue };
        let end = ends.as_ref().and_then(|ends| ends.get(at).copied());
        settle(span, parent, end, async_children);
    }
}

fn settle(
    span: &mut RunSpan,
    parent: &RunSpan,
    inherited_end: Option<Timestamp>,
    asynchronous: AsyncChildren,
) {
    let (own, around) = (span.interval(), parent.interval());
    span.starts_before_parent = !parent.is_detached && own.start < around.start;
    span.outlives_parent = !parent.is_detached && own.end > around.end;

    let mut running = span.run_interval();
    running.end = inherited_end.unwrap_or(running.end).max(running.end);
    let inside = parent.clipped;
    // A span without length may stand on either edge of its parent; one with length must share time with it.
    let shared = if running.is_empty() {
        (inside.start <= running.start && running.start <= inside.end).then_some(running)
    } else {
        running.intersection(inside)
    };
    let is_dropped = asynchronous == AsyncChildren::Drop && running.end > inside.end;
    span.is_detached = parent.is_detached || is_set_free(parent, span) || is_dropped || shared.is_none();
    let nowhere = running.start.clamp(inside.start, inside.end);
    span.clipped = shared.filter(|_| !span.is_detached).unwrap_or(Interval::new(nowhere, nowhere));
}

/// Nobody waits for the span, whenever it ended.
fn is_set_free(parent: &RunSpan, span: &RunSpan) -> bool {
    let is_handed_over = parent.record.kind == SpanKind::Producer && span.record.kind == SpanKind::Consumer;
    is_handed_over || span.record.is_detached()
}

/// The last end of each span and of what is below it and may be waited for, at most the end of the root.
fn ends_with_descendants(spans: &[RunSpan]) -> Vec<Timestamp> {
    let mut ends: Vec<Timestamp> = spans.iter().map(|span| span.interval().end).collect();
    let last = ends.first().copied().unwrap_or_default();
    for (at, span) in spans.iter().enumerate().rev() {
        let Some(parent) = span.parent.map(|parent| parent.index()) else { continue };
        if let Some(above) = spans.get(parent)
            && !is_set_free(above, span)
        {
            ends[parent] = ends[parent].max(ends[at]).min(last);
        }
    }
    ends
}
