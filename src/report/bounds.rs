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
use crate::hashing::QuickMap;
use crate::run::SpanIx;
use crate::time::{Duration, Interval, Timestamp};

/// The parts of the wall time, longest first, equals by name. O(n).
pub(super) fn bounds(analysed: &Analysed<'_>) -> Vec<Bound> {
    let run = analysed.run;
    let in_retry = in_retries(analysed);
    let waits = Waits::of(analysed);
    let mut own_cpu = own_cpu(analysed);
    let mut parts = Parts::default();
    let mut waited_for = vec![Duration::ZERO; analysed.booking.nodes.len()];
    for segment in &analysed.critical.segments {
        let whole = segment.interval.duration();
        if in_retry[segment.span.index()] {
            add(&mut parts.retry, whole);
            continue;
        }
        let (retry, queue) = waits.within(segment);
        add(&mut parts.retry, retry);
        add(&mut parts.queue, queue);
        let rest = whole.saturating_sub(retry).saturating_sub(queue);
        let Some(node) = node_of_segment(run, &analysed.booking, segment) else {
            add(&mut parts.no_span, rest);
            continue;
        };
        match analysed.booking.nodes[node].kind.as_str() {
            "llm" => add(&mut parts.model_wait, rest),
            "tool" => add(&mut parts.tool, rest),
            _ => {
                let cpu = &mut own_cpu[segment.span.index()];
                let running = rest.min(*cpu);
                *cpu = cpu.saturating_sub(running);
                add(&mut parts.own_cpu, running);
                add(&mut waited_for[node], rest.saturating_sub(running));
            }
        }
    }
    let mut by_node_kind: BTreeMap<&str, Duration> = BTreeMap::new();
    for (tally, time) in analysed.booking.nodes.iter().zip(waited_for) {
        add(by_node_kind.entry(&tally.kind).or_default(), time);
    }
    let waited = by_node_kind.into_iter().map(|(kind, time)| (format!("wait_{kind}"), time));
    let parts = parts.by_kind().map(|(kind, time)| (kind.to_owned(), time)).into_iter().chain(waited);
    let mut bounds: Vec<Bound> = parts
        .filter(|(_, time)| !time.is_zero())
        .map(|(kind, duration_ns)| Bound {
            kind,
            duration_ns,
            wall_ratio: duration_ns.ratio_of(run.wall()).unwrap_or(0.0),
        })
        .collect();
    bounds.sort_by(|a, b| b.duration_ns.cmp(&a.duration_ns).then_with(|| a.kind.cmp(&b.kind)));
    bounds
}

/// The parts but for waits, which are by the kind of the node.
#[derive(Default)]
struct Parts {
    retry: Duration,
    queue: Duration,
    no_span: Duration,
    model_wait: Duration,
    tool: Duration,
    own_cpu: Duration,
}

impl Parts {
    fn by_kind(&self) -> [(&'static str, Duration); 6] {
        [
            ("retry", self.retry),
            ("queue", self.queue),
            ("no_span", self.no_span),
            ("model_wait", self.model_wait),
            ("tool", self.tool),
            ("own_cpu", self.own_cpu),
        ]
    }
}

fn add(sum: &mut Duration, time: Duration) {
    *sum = sum.saturating_add(time);
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
    retries: Stretches,
    queues: Stretches,
}

/// Starts of stretches by parent and end.
type Stretches = QuickMap<(SpanIx, Timestamp), Timestamp>;

impl Waits {
    fn of(analysed: &Analysed<'_>) -> Self {
        let run = analysed.run;
        let mut waits = Waits { retries: Stretches::default(), queues: Stretches::default() };
        for entry in &analysed.critical.entries {
            let span = run.span(entry.span);
            let Some(parent) = span.parent else { continue };
            let at = (parent, span.clipped.start);
            let earliest = |waits: &mut Stretches, since: Timestamp| {
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
        let since = |waits: &Stretches| {
            let start = waits.get(&at)?;
            Interval::new(*start, segment.interval.end).intersection(segment.interval)
        };
        let retry = since(&self.retries).map(Interval::duration).unwrap_or_default();
        let queue = since(&self.queues).map(Interval::duration).unwrap_or_default();
        (retry, queue.saturating_sub(retry))
    }
}
