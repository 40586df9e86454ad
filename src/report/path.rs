//! The critical path of a run, booked to its nodes.

use crate::analysis::critical_path::{CriticalPath, Segment};
use crate::money::Money;
use crate::report::booking::{Booking, NodeIx, add_money};
use crate::report::{BesideRow, PathEdge, PathRow, PathSegment, Piece, Report};
use crate::run::{Run, SpanIx};
use crate::time::{Duration, Interval};

/// How many pieces a row holds at most: more than any bar has cells.
const MAX_PIECES: usize = 200;
/// How many nodes beside the path are named.
const MAX_BESIDE: usize = 3;

/// The path's time by node.
#[derive(Debug)]
pub(crate) struct BookedPath {
    /// In order of first appearance on the path.
    pub(crate) nodes: Vec<PathNode>,
    /// Path time that belongs to no node.
    pub(crate) unattributed: Duration,
    /// What makes each segment follow the one before.
    edges: Vec<PathEdge>,
    /// The position of each node in `nodes`, if it is on the path.
    at: Vec<Option<usize>>,
}

/// One node's part of the path.
#[derive(Debug)]
pub(crate) struct PathNode {
    pub(crate) node: NodeIx,
    pub(crate) time: Duration,
    /// Where it lies, neighbours joined, in time order.
    pub(crate) pieces: Vec<Interval>,
    /// Its executions on the path.
    pub(crate) executions: Vec<SpanIx>,
    /// The order of time alone says what one of them waited for.
    pub(crate) is_inferred: bool,
}

/// The node a segment is booked to. The root's own time belongs to none.
pub(crate) fn node_of_segment(run: &Run, booking: &Booking, segment: &Segment) -> Option<NodeIx> {
    if segment.span == run.root { None } else { booking.node_of[segment.span.index()] }
}

impl BookedPath {
    pub(crate) fn new(run: &Run, booking: &Booking, critical: &CriticalPath) -> Self {
        let edges = edges(run, critical);
        let mut nodes: Vec<PathNode> = Vec::new();
        let mut at: Vec<Option<usize>> = vec![None; booking.nodes.len()];
        let mut is_seen = vec![false; run.spans.len()];
        let mut unattributed = Duration::ZERO;
        for (segment, edge) in critical.segments.iter().zip(&edges) {
            let Some(node) = node_of_segment(run, booking, segment) else {
                unattributed = unattributed.saturating_add(segment.interval.duration());
                continue;
            };
            let position = *at[node].get_or_insert_with(|| {
                nodes.push(PathNode {
                    node,
                    time: Duration::ZERO,
                    pieces: Vec::new(),
                    executions: Vec::new(),
                    is_inferred: false,
                });
                nodes.len() - 1
            });
            let path_node = &mut nodes[position];
            path_node.is_inferred |= *edge == PathEdge::Inferred;
            path_node.time = path_node.time.saturating_add(segment.interval.duration());
            match path_node.pieces.last_mut() {
                Some(last) if last.end == segment.interval.start => last.end = segment.interval.end,
                _ => path_node.pieces.push(segment.interval),
            }
            if let Some(execution) = booking.execution_of[segment.span.index()]
                && !std::mem::replace(&mut is_seen[execution.index()], true)
            {
                path_node.executions.push(execution);
            }
        }
        BookedPath { nodes, unattributed, edges, at }
    }

    pub(crate) fn of(&self, node: NodeIx) -> Option<&PathNode> {
        self.nodes.get((*self.at.get(node)?)?)
    }

    pub(crate) fn rows(&self, run: &Run, booking: &Booking) -> Vec<PathRow> {
        let longest = self.nodes.iter().map(|path_node| path_node.time).max();
        // By span; of none if nothing is charged.
        let mut cost_of: Vec<Option<Money>> = Vec::new();
        for (ix, cost) in &booking.charges.costs {
            if let Some(execution) = booking.execution_of[ix.index()] {
                cost_of.resize(run.spans.len(), None);
                let sum = &mut cost_of[execution.index()];
                *sum = add_money(*sum, Some(*cost));
            }
        }
        let mut is_longest_named = false;
        let mut rows = Vec::with_capacity(self.nodes.len());
        for path_node in &self.nodes {
            let tally = &booking.nodes[path_node.node];
            let is_longest = !is_longest_named && Some(path_node.time) == longest;
            is_longest_named |= is_longest;
            let records = || path_node.executions.iter().map(|ix| &run.span(*ix).record);
            let charged = path_node.executions.iter().map(|ix| cost_of.get(ix.index()).copied().flatten());
            let cost: Option<Money> = charged.fold(None, add_money);
            rows.push(PathRow {
                node: tally.name.as_ref().to_owned(),
                kind: tally.kind.clone(),
                executions: path_node.executions.len() as u64,
                failed: records().filter(|record| record.failed()).count() as u64,
                duration_ns: path_node.time,
                wall_ratio: path_node.time.ratio_of(run.wall()).unwrap_or(0.0),
                queued_ns: path_node.queued(run),
                is_inferred: path_node.is_inferred,
                cost_usd: cost,
                pieces: bar_pieces(run, &path_node.pieces),
                is_longest,
            });
        }
        rows
    }

    /// The nodes that took longest without being on the path.
    pub(crate) fn beside(&self, run: &Run, booking: &Booking, slack: &[Option<Duration>]) -> Vec<BesideRow> {
        let mut beside: Vec<BesideRow> = (0..booking.nodes.len())
            .filter(|node| self.of(*node).is_none() && !booking.is_root_alone(run, *node))
            .map(|node| &booking.nodes[node])
            .filter(|tally| !tally.running.is_zero())
            .map(|tally| BesideRow {
                node: tally.name.as_ref().to_owned(),
                duration_ns: tally.running,
                slack_ns: tally.executions.iter().filter_map(|ix| slack[ix.index()]).min(),
            })
            .collect();
        beside.sort_by(|a, b| b.duration_ns.cmp(&a.duration_ns).then_with(|| a.node.cmp(&b.node)));
        beside.truncate(MAX_BESIDE);
        beside
    }
}

impl PathNode {
    /// Path time inside executions that failed.
    pub(crate) fn failed_time(&self, run: &Run) -> Duration {
        let failed = self.executions.iter().map(|ix| run.span(*ix)).filter(|span| span.record.failed());
        failed.map(|span| overlap_with(&self.pieces, span.clipped)).sum()
    }

    /// How long its executions on the path waited before they ran.
    pub(crate) fn queued(&self, run: &Run) -> Duration {
        self.executions.iter().map(|ix| queued_interval(run, *ix).duration()).sum()
    }
}

/// How much of `interval` lies in `pieces`, which are in time order and do not overlap.
pub(crate) fn overlap_with(pieces: &[Interval], interval: Interval) -> Duration {
    let first = pieces.partition_point(|piece| piece.end <= interval.start);
    let within = pieces[first..].iter().take_while(|piece| piece.start < interval.end);
    within.filter_map(|piece| piece.intersection(interval)).map(Interval::duration).sum()
}

/// From creation to first running.
pub(crate) fn queued_interval(run: &Run, ix: SpanIx) -> Interval {
    let record = &run.span(ix).record;
    let whole = Interval::new(record.start, record.end);
    Interval::new(whole.start, whole.start.saturating_add(record.timing.queued).min(whole.end))
}

/// At most [`MAX_PIECES`] pieces.
fn bar_pieces(run: &Run, pieces: &[Interval]) -> Vec<Piece> {
    let start = run.span(run.root).clipped.start;
    let piece = |piece: &Interval| Piece {
        start_ns: piece.start.saturating_since(start),
        duration_ns: piece.duration(),
    };
    joined_up_to(pieces.to_vec(), MAX_PIECES).iter().map(piece).collect()
}

/// At most `most` pieces of these, which are in time order and do not overlap; what lies closest together is joined
/// first.
pub(crate) fn joined_up_to(pieces: Vec<Interval>, most: usize) -> Vec<Interval> {
    if pieces.len() <= most {
        return pieces;
    }
    let mut gaps: Vec<Duration> =
        pieces.windows(2).map(|pair| pair[1].start.saturating_since(pair[0].end)).collect();
    gaps.sort_unstable();
    let joined_up_to = gaps[pieces.len() - most - 1];
    let mut joined: Vec<Interval> = Vec::with_capacity(most);
    for piece in pieces {
        match joined.last_mut() {
            Some(last) if piece.start.saturating_since(last.end) <= joined_up_to => last.end = piece.end,
            _ => joined.push(piece),
        }
    }
    joined
}

/// What makes each segment follow the one before: how the path came into the spans that start with it.
fn edges(run: &Run, critical: &CriticalPath) -> Vec<PathEdge> {
    let mut entries = critical.entries.iter().peekable();
    let edge = |segment: &Segment| {
        let starts = |ix: SpanIx| run.span(ix).clipped.start;
        while entries.next_if(|entry| starts(entry.span) < segment.interval.start).is_some() {}
        let mut edge = PathEdge::Parent;
        while let Some(entry) = entries.next_if(|entry| starts(entry.span) == segment.interval.start) {
            match entry.after {
                Some(_) if entry.is_declared && edge == PathEdge::Parent => edge = PathEdge::Declared,
                Some(_) if !entry.is_declared => edge = PathEdge::Inferred,
                _ => {}
            }
        }
        edge
    };
    critical.segments.iter().map(edge).collect()
}

/// The path in time order, cut at [`Report::MAX_SEGMENTS`].
pub(crate) fn path_segments(
    run: &Run,
    booking: &Booking,
    path: &BookedPath,
    segments: &[Segment],
) -> Vec<PathSegment> {
    let start = run.span(run.root).clipped.start;
    let told = segments.iter().zip(&path.edges).take(Report::MAX_SEGMENTS);
    told.map(|(segment, edge)| {
        let record = &run.span(segment.span).record;
        let node = node_of_segment(run, booking, segment);
        PathSegment {
            node: node.map(|node| booking.nodes[node].name.clone()),
            span_id: record.span_id,
            span: record.name.clone(),
            start_ns: segment.interval.start.saturating_since(start),
            duration_ns: segment.interval.duration(),
            edge: *edge,
        }
    })
    .collect()
}
