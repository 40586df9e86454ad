//! What bounds a run: the critical path by what it was doing.
//!
//! Every stretch of the path gets the first of these that applies, so that they add up to the wall time:
//!
//! | kind | time |
//! |---|---|
//! | `retry` | in second and later tries, and their parent's between a failed try and the next |
//! | `queue` | a parent's while the child that follows on the path was there and not running |
//! | `no_span` | the root's own, and that of spans outside every node |
//! | `model_wait` | in model calls |
//! | `tool` | in tools |
//! | `own_cpu` | in which a thread ran in the span itself, as far as the process told |
//! | `wait_db`, `wait_http`, … | the rest, by the kind of the node |

use std::collections::BTreeMap;

use super::Bound;
use super::analysed::Analysed;
use super::path::{node_of_segment, queued_interval};
use crate::analysis::critical_path::Segment;
use crate::run::SpanIx;
use crate::time::{Duration, Interval, Timestamp};

/// The parts of the wall time, longest first, equals by name. O(n).
pub(super) fn bounds<'a>(analysed: &'a Analysed<'_>) -> Vec<Bound> {
    let run = analysed.run;
    let in_retry = in_retries(analysed);
    let waits = Waits::of(analysed);
    let mut own_cpu = own_cpu(analysed);
    // By kind, and by the kind of the node that was waited for.
    let mut parts: BTreeMap<(&str, &str), Duration> = BTreeMap::new();
    let mut add = |kind: &'static str, of: &'a str, time: Duration| {
        if !time.is_zero() {
            let part = parts.entry((kind, of)).or_default();
            *part = part.saturating_add(time);
        }
    };
    for segment in &analysed.critical.segments {
        let whole = segment.interval.duration();
        if in_retry[segment.span.index()] {
            add("retry", "", whole);
            continue;
        }
        let (retry, queue) = waits.within(segment);
        add("retry", "", retry);
        add("queue", "", queue);
        let rest = whole.saturating_sub(retry).saturating_sub(queue);
        let Some(node) = node_of_segment(run, &analysed.booking, segment) else {
            add("no_span", "", rest);
            continue;
        };
        match analysed.booking.nodes[node].kind.as_str() {
            "llm" => add("model_wait", "", rest),
            "tool" => add("tool", "", rest),
            kind => {
                let cpu = &mut own_cpu[segment.span.index()];
                let running = rest.min(*cpu);
                *cpu = cpu.saturating_sub(running);
                add("own_cpu", "", running);
                add("wait_", kind, rest.saturating_sub(running));
            }
        }
    }
    let mut bounds: Vec<Bound> = parts
        .into_iter()
        .map(|((kind, of), duration_ns)| Bound {
            kind: format!("{kind}{of}"),
            duration_ns,
            wall_ratio: duration_ns.ratio_of(run.wall()).unwrap_or(0.0),
        })
        .collect();
    bounds.sort_by(|a, b| b.duration_ns.cmp(&a.duration_ns).then_with(|| a.kind.cmp(&b.kind)));
    bounds
}

/// Which spans are a second or later try, or below one.
fn in_retries(analysed: &Analysed<'_>) -> Vec<bool> {
    let run = analysed.run;
    let mut inside = analysed.booking.is_retry.clone();
    for ix in run.indices() {
        if let Some(parent) = run.span(ix).parent {
            inside[ix.index()] |= inside[parent.index()];
        }
    }
    inside
}

/// What a thread did in each span itself: busy time less that of its children.
fn own_cpu(analysed: &Analysed<'_>) -> Vec<Duration> {
    let run = analysed.run;
    let busy = |ix: SpanIx| run.span(ix).record.timing.busy.unwrap_or_default();
    let own = |ix: SpanIx| busy(ix).saturating_sub(run.children(ix).iter().map(|child| busy(*child)).sum());
    run.indices().map(own).collect()
}

/// Stretches in which a parent waited for a child on the path to begin: by the end of the stretch, since what
/// follows it on the path starts there.
struct Waits {
    retries: BTreeMap<(SpanIx, Timestamp), Timestamp>,
    queues: BTreeMap<(SpanIx, Timestamp), Timestamp>,
}

impl Waits {
    fn of(analysed: &Analysed<'_>) -> Self {
        let run = analysed.run;
        let mut waits = Waits { retries: BTreeMap::new(), queues: BTreeMap::new() };
        for entry in &analysed.critical.entries {
            let span = run.span(entry.span);
            let Some(parent) = span.parent else { continue };
            let at = (parent, span.clipped.start);
            let earliest = |waits: &mut BTreeMap<_, Timestamp>, since: Timestamp| {
                let known = waits.entry(at).or_insert(since);
                *known = since.min(*known);
            };
            let queued = queued_interval(run, entry.span);
            if !queued.is_empty() {
                earliest(&mut waits.queues, queued.start);
            }
            // The gap after a failed try: nothing else was on the path in between.
            if let Some(before) = entry.after.filter(|_| analysed.booking.is_retry[entry.span.index()])
                && analysed.booking.node_of[before.index()] == analysed.booking.node_of[entry.span.index()]
            {
                earliest(&mut waits.retries, run.span(before).clipped.end);
            }
        }
        waits
    }

    /// How much of a segment is waiting to try again, and how much is queueing.
    fn within(&self, segment: &Segment) -> (Duration, Duration) {
        let at = (segment.span, segment.interval.end);
        let since = |waits: &BTreeMap<_, Timestamp>| {
            let start = waits.get(&at)?;
            Interval::new(*start, segment.interval.end).intersection(segment.interval)
        };
        let retry = since(&self.retries).map(Interval::duration).unwrap_or_default();
        let queue = since(&self.queues).map(Interval::duration).unwrap_or_default();
        (retry, queue.saturating_sub(retry))
    }
}
