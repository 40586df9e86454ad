//! Every span of a run with where it lies in time and what the analysis says about it: what a waterfall, a flame chart
//! or a trace for another tool is drawn from.

use std::collections::HashMap;
use std::sync::Arc;

use crate::analysis::critical_path::Segment;
use crate::ids::{SpanId, TraceId};
use crate::money::Money;
use crate::report::analysed::Analysed;
use crate::run::{DependencyUse, Run, RunSpan, SpanIx};
use crate::span_record::Outcome;
use crate::time::{Duration, Interval, Timestamp};

/// The spans of one run, in time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline {
    /// The trace.
    pub trace_id: TraceId,
    /// When the run starts: what offsets are counted from.
    pub start_unix_ns: Timestamp,
    /// From the root's start to its end.
    pub wall_ns: Duration,
    /// The nodes, in the order in which they were recorded.
    pub nodes: Vec<TimelineNode>,
    /// All spans in preorder: a parent stands before its children, those in order of their starts. The root is the
    /// first.
    pub spans: Vec<TimelineSpan>,
    /// The critical path: in time order, and all of it.
    pub path: Vec<TimelineSegment>,
    /// Who waited for whom beside parents and children, and who points to whom, in the order of those who wait.
    pub edges: Vec<TimelineEdge>,
}

/// A node of a [`Timeline`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineNode {
    /// Its id.
    pub name: Arc<str>,
    /// What sort of work it is.
    pub kind: String,
}

/// A span of a [`Timeline`].
#[derive(Clone, Debug, PartialEq)]
pub struct TimelineSpan {
    /// Its id. Not always unique: see [`crate::run::Warning::ConflictingSpanId`].
    pub span_id: SpanId,
    /// The span it is a child of, by its place in [`Timeline::spans`]; absent for the root.
    pub parent: Option<u32>,
    /// How many spans it lies in.
    pub depth: u32,
    /// How many spans are below it. They follow it without a break.
    pub below: u32,
    /// Its name.
    pub name: Arc<str>,
    /// The service that sent it, where that is told.
    pub service: Option<Arc<str>>,
    /// The node it belongs to, by its place in [`Timeline::nodes`].
    pub node: Option<u32>,
    /// Whether it is an execution of that node; otherwise it is a part of one.
    pub is_execution: bool,
    /// When it started, as recorded. May lie before the run's start.
    pub start_unix_ns: Timestamp,
    /// When its work ended; its start if it never ended.
    pub end_unix_ns: Timestamp,
    /// How long it waited at its start before it ran.
    pub queued_ns: Duration,
    /// Its time in which no child of it ran.
    pub self_ns: Duration,
    /// How it ended.
    pub state: SpanState,
    /// Nobody in the run waited for it.
    pub is_detached: bool,
    /// How much of the critical path lies in it and below.
    pub path_ns: Duration,
    /// How much of that lies in itself.
    pub own_path_ns: Duration,
    /// Where the path goes through it: from when it goes into it or a span below to when it leaves it.
    pub path_interval: Option<Interval>,
    /// How much longer it could have taken without making the run longer; absent where nothing waited for it.
    pub slack_ns: Option<Duration>,
    /// What it is charged with itself; absent where nothing is.
    pub cost_usd: Option<Money>,
}

/// A stretch of the critical path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimelineSegment {
    /// The span it lies in, by its place in [`Timeline::spans`]; the root where no other span ran.
    pub span: u32,
    /// When.
    pub interval: Interval,
}

/// How a span ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanState {
    /// It did not fail.
    Ok,
    /// It has an error status.
    Error,
    /// A panic unwound through it.
    Panicked,
    /// Its future was dropped before it was ready.
    Cancelled,
    /// It never ended.
    Open,
}

/// What leads from one span to another beside being its child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimelineEdge {
    /// The span that was waited for, or is pointed to, by its place.
    pub from: u32,
    /// The span that waited, or points.
    pub to: u32,
    /// What it rests on.
    pub kind: EdgeKind,
}

/// What an edge rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EdgeKind {
    /// The span declared to wait for the other.
    Declared,
    /// It did, but the other was not over when it started.
    Contradicted,
    /// On the critical path, the order of time says so.
    Inferred,
    /// It only points to the other.
    Link,
}

impl Timeline {
    pub(crate) fn of(analysed: &Analysed<'_>) -> Timeline {
        let Analysed { run, booking, .. } = analysed;
        let nodes = booking
            .nodes
            .iter()
            .map(|tally| TimelineNode { name: tally.name.clone(), kind: tally.kind.clone() });
        let root = run.span(run.root);
        Timeline {
            trace_id: root.record.trace_id,
            start_unix_ns: root.clipped.start,
            wall_ns: run.wall(),
            nodes: nodes.collect(),
            spans: spans(analysed),
            path: path(analysed),
            edges: edges(analysed),
        }
    }

    /// The node a span belongs to.
    pub fn node_of(&self, span: &TimelineSpan) -> Option<&TimelineNode> {
        self.nodes.get(span.node? as usize)
    }

    /// The node a stretch of the critical path is booked to; the root's own belongs to none.
    pub fn node_on_path(&self, segment: &TimelineSegment) -> Option<&TimelineNode> {
        let span = self.spans.get(segment.span as usize).filter(|span| span.parent.is_some())?;
        self.node_of(span)
    }

    /// From the earliest start of a span to the latest end, the run's included.
    pub fn extent(&self) -> Interval {
        let run = Interval::new(self.start_unix_ns, self.start_unix_ns.saturating_add(self.wall_ns));
        self.spans.iter().fold(run, |extent, span| Interval {
            start: extent.start.min(span.start_unix_ns),
            end: extent.end.max(span.end_unix_ns),
        })
    }
}

impl TimelineSpan {
    /// From its start to the end of its work, queueing included.
    pub fn duration(&self) -> Duration {
        self.end_unix_ns.saturating_since(self.start_unix_ns)
    }

    /// Whether the critical path goes through it or a span below it.
    pub fn is_on_path(&self) -> bool {
        self.path_interval.is_some()
    }

    /// Whether it ended with an error, a panic or a cancellation.
    pub fn failed(&self) -> bool {
        matches!(self.state, SpanState::Error | SpanState::Panicked | SpanState::Cancelled)
    }
}

fn spans(analysed: &Analysed<'_>) -> Vec<TimelineSpan> {
    let Analysed { run, booking, self_times, slack, .. } = analysed;
    let path_ns = analysed.path_time_with_below();
    let (own_path_ns, path_intervals) = path_by_span(analysed);
    let below = spans_below(run);
    let mut costs = booking.charges.costs.iter().peekable();
    let mut spans: Vec<TimelineSpan> = Vec::with_capacity(run.spans.len());
    for ix in run.indices() {
        let (at, span) = (ix.index(), run.span(ix));
        let parent = span.parent.map(SpanIx::index);
        spans.push(TimelineSpan {
            span_id: span.record.span_id,
            parent: parent.map(place),
            depth: parent.and_then(|parent| spans.get(parent)).map_or(0, |it| it.depth.saturating_add(1)),
            below: below[at],
            name: span.record.name.clone(),
            service: span.record.origin.service_name.clone(),
            node: booking.node_of[at].map(place),
            is_execution: booking.execution_of[at] == Some(ix),
            start_unix_ns: span.interval().start,
            end_unix_ns: span.interval().end,
            queued_ns: span.record.timing.queued.min(span.interval().duration()),
            self_ns: self_times[at],
            state: state(span),
            is_detached: span.is_detached,
            path_ns: path_ns[at],
            own_path_ns: own_path_ns[at],
            path_interval: path_intervals[at],
            slack_ns: slack[at],
            cost_usd: costs.next_if(|(charged, _)| *charged == ix).map(|(_, cost)| *cost),
        });
    }
    spans
}

/// Places fit, as those of spans in a run do.
fn place(index: usize) -> u32 {
    index as u32
}

fn state(span: &RunSpan) -> SpanState {
    match span.record.facts.as_ref().and_then(|facts| facts.outcome) {
        _ if span.is_unfinished => SpanState::Open,
        Some(Outcome::Panicked) => SpanState::Panicked,
        Some(Outcome::Cancelled) => SpanState::Cancelled,
        Some(Outcome::Partial) => SpanState::Open,
        None if span.record.failed() => SpanState::Error,
        None => SpanState::Ok,
    }
}

/// How many spans are below each span.
fn spans_below(run: &Run) -> Vec<u32> {
    let mut below = vec![0u32; run.spans.len()];
    for ix in run.indices().rev() {
        if let Some(parent) = run.span(ix).parent {
            below[parent.index()] = below[parent.index()].saturating_add(below[ix.index()]).saturating_add(1);
        }
    }
    below
}

/// The path's time in each span itself, and the stretch from where it goes into the span to where it leaves it.
fn path_by_span(analysed: &Analysed<'_>) -> (Vec<Duration>, Vec<Option<Interval>>) {
    let run = analysed.run;
    let mut own = vec![Duration::ZERO; run.spans.len()];
    let mut intervals: Vec<Option<Interval>> = vec![None; run.spans.len()];
    let joined = |known: Option<Interval>, more: Interval| {
        Some(known.map_or(more, |it| Interval { start: it.start.min(more.start), end: it.end.max(more.end) }))
    };
    for segment in &analysed.critical.segments {
        let at = segment.span.index();
        own[at] = own[at].saturating_add(segment.interval.duration());
        intervals[at] = joined(intervals[at], segment.interval);
    }
    for ix in run.indices().rev() {
        if let (Some(parent), Some(interval)) = (run.span(ix).parent, intervals[ix.index()]) {
            intervals[parent.index()] = joined(intervals[parent.index()], interval);
        }
    }
    (own, intervals)
}

fn path(analysed: &Analysed<'_>) -> Vec<TimelineSegment> {
    let segment =
        |segment: &Segment| TimelineSegment { span: place(segment.span.index()), interval: segment.interval };
    analysed.critical.segments.iter().map(segment).collect()
}

fn edges(analysed: &Analysed<'_>) -> Vec<TimelineEdge> {
    let run = analysed.run;
    let mut edges = Vec::new();
    let edge = |from: SpanIx, to: SpanIx, kind| TimelineEdge {
        from: place(from.index()),
        to: place(to.index()),
        kind,
    };
    for dependency in &run.dependencies {
        let kind = match dependency.used {
            DependencyUse::Contradicted => EdgeKind::Contradicted,
            DependencyUse::Kept | DependencyUse::Elsewhere => EdgeKind::Declared,
        };
        edges.push(edge(dependency.on, dependency.span, kind));
    }
    for entry in analysed.critical.entries.iter().filter(|entry| !entry.is_declared) {
        edges.extend(entry.after.map(|after| edge(after, entry.span, EdgeKind::Inferred)));
    }
    let has_links = run.spans.iter().any(|span| span.record.links.is_some());
    let owners: HashMap<SpanId, SpanIx> = match has_links {
        // Of several spans with one id the first has it.
        true => run.indices().rev().map(|ix| (run.span(ix).record.span_id, ix)).collect(),
        false => HashMap::new(),
    };
    for ix in run.indices() {
        let record = &run.span(ix).record;
        for link in record.links.iter().flatten().filter(|link| link.trace_id == record.trace_id) {
            let other = owners.get(&link.span_id).filter(|other| **other != ix);
            edges.extend(other.map(|other| edge(*other, ix, EdgeKind::Link)));
        }
    }
    // Of what is said twice the stronger stays.
    edges.sort_by_key(|edge| (edge.to, edge.from, edge.kind));
    edges.dedup_by_key(|edge| (edge.to, edge.from));
    edges
}
