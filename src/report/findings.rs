//! What to fix, first thing first: for each node on the critical path what the run would save if that node took
//! no time, why it takes what it takes, and what a realistic change would save.
//!
//! A saving comes from replaying the run's event graph with the node's own time scaled, so it stops where another
//! branch begins to set the pace. That is why it may be less than the node's time on the path.

use crate::analysis::event_graph::{EventGraph, Scale};
use crate::report::booking::{Booking, CPU_BUSY_RATIO, NodeIx};
use crate::report::path::{BookedPath, PathNode, queued_interval};
use crate::report::{Confidence, Finding, QualityLevel, Reason, Report, Severity, Suggestion};
use crate::run::{Run, SpanIx};
use crate::time::{Duration, Interval};

/// How many nodes are replayed at most: those with the most time on the path.
const MAX_REPLAYED: usize = 64;

/// What the run would save if each node took no time, for the nodes with the most time on the path.
pub(crate) fn savings(
    run: &Run,
    booking: &Booking,
    path: &BookedPath,
    graph: &EventGraph<'_>,
) -> Vec<(NodeIx, Duration)> {
    let mut by_time: Vec<&PathNode> = path.nodes.iter().collect();
    by_time.sort_by_key(|path_node| std::cmp::Reverse(path_node.time));
    by_time.truncate(MAX_REPLAYED);
    let save =
        |path_node: &&PathNode| (path_node.node, saved(run, booking, graph, path_node.node, Scale::FREE));
    by_time.iter().map(save).collect()
}

fn saved(run: &Run, booking: &Booking, graph: &EventGraph<'_>, node: NodeIx, scale: Scale) -> Duration {
    let of_node = |ix: SpanIx| ix != run.root && booking.node_of[ix.index()] == Some(node);
    run.wall().saturating_sub(graph.replay(|ix| if of_node(ix) { scale } else { Scale::SAME }))
}

/// The findings, most saving first.
pub(crate) fn findings(
    run: &Run,
    booking: &Booking,
    path: &BookedPath,
    graph: &EventGraph<'_>,
    savings: &[(NodeIx, Duration)],
    quality: QualityLevel,
) -> Vec<Finding> {
    let mut worth: Vec<(NodeIx, Duration, Severity)> = savings
        .iter()
        .filter_map(|(node, save_max)| Some((*node, *save_max, severity(save_max.ratio_of(run.wall())?)?)))
        .collect();
    let name = |node: NodeIx| &booking.nodes[node].name;
    worth.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| b.2.cmp(&a.2)).then_with(|| name(a.0).cmp(name(b.0))));
    worth.truncate(Report::MAX_FINDINGS);
    let look = |(node, save_max, severity)| {
        let path_node = path.of(node)?;
        let beside = Neighbours::of(run, booking, path_node);
        Some(Finding {
            code: "LP101".to_owned(),
            severity,
            subject: name(node).to_string(),
            saves_max_ns: save_max,
            wall_ratio: save_max.ratio_of(run.wall()).unwrap_or(0.0),
            confidence: confidence(quality, &beside),
            why: reasons(run, booking, path, path_node, save_max, &beside),
            suggestions: suggestions(run, booking, graph, path_node),
        })
    };
    worth.into_iter().filter_map(look).collect()
}

/// Severity by the share of the wall time that could be saved at most; `None` below 2 %.
pub(crate) fn severity(wall_ratio: f64) -> Option<Severity> {
    match wall_ratio {
        ratio if ratio >= 0.25 => Some(Severity::Critical),
        ratio if ratio >= 0.10 => Some(Severity::High),
        ratio if ratio >= 0.05 => Some(Severity::Medium),
        ratio if ratio >= 0.02 => Some(Severity::Low),
        _ => None,
    }
}

/// Sure where nothing runs beside the node, so no inferred order can change the answer.
fn confidence(quality: QualityLevel, beside: &Neighbours) -> Confidence {
    match quality {
        QualityLevel::Low => Confidence::Guess,
        QualityLevel::High if beside.longest.is_none() => Confidence::Sure,
        _ => Confidence::Likely,
    }
}

/// Which other nodes run while a node is on the path.
struct Neighbours {
    /// The one that overlaps it longest.
    longest: Option<NodeIx>,
}

impl Neighbours {
    fn of(run: &Run, booking: &Booking, path_node: &PathNode) -> Self {
        let mut overlap = vec![Duration::ZERO; booking.nodes.len()];
        for ix in run.indices() {
            let Some(node) = booking.node_of[ix.index()] else { continue };
            let span = run.span(ix);
            let is_leaf = run.children(ix).is_empty();
            if node == path_node.node || !is_leaf || span.is_detached {
                continue;
            }
            overlap[node] = overlap[node].saturating_add(overlap_with(&path_node.pieces, span.clipped));
        }
        let longest = (0..overlap.len()).filter(|node| !overlap[*node].is_zero());
        Neighbours { longest: longest.max_by_key(|node| (overlap[*node], std::cmp::Reverse(*node))) }
    }
}

/// How much of `interval` lies in `pieces`, which are in time order and do not overlap.
fn overlap_with(pieces: &[Interval], interval: Interval) -> Duration {
    let first = pieces.partition_point(|piece| piece.end <= interval.start);
    let within = pieces[first..].iter().take_while(|piece| piece.start < interval.end);
    within.filter_map(|piece| piece.intersection(interval)).map(Interval::duration).sum()
}

fn reasons(
    run: &Run,
    booking: &Booking,
    path: &BookedPath,
    path_node: &PathNode,
    save_max: Duration,
    beside: &Neighbours,
) -> Vec<Reason> {
    let tally = &booking.nodes[path_node.node];
    let calls = tally.executions.len() as u64;
    let mut why = Vec::new();
    if calls > 1 {
        why.push(Reason::Calls {
            calls,
            average_ns: Duration::from_nanos(tally.running.as_nanos() / calls),
            peak_concurrency: tally.peak_concurrency,
        });
    }
    let queued = path_node.queued(run);
    if is_material(queued, run.wall()) {
        let behind = behind(run, booking, path, path_node).map(|node| booking.nodes[node].name.to_string());
        why.push(Reason::Queued { queued_ns: queued, behind });
    }
    if tally.failures > 0 || tally.retries > 0 {
        why.push(Reason::Failed {
            failures: tally.failures,
            retries: tally.retries,
            on_path_ns: failed_path_time(run, path_node),
        });
    }
    if let Some(tokens) = tally.tokens.filter(|tokens| tokens.output > 0) {
        let seconds = tally.running.as_secs_f64();
        let per_second = (seconds > 0.0).then(|| tokens.output as f64 / seconds);
        why.push(Reason::Tokens { output: tokens.output, per_second });
    }
    if let Some(busy_ratio) = tally.busy.and_then(|busy| busy.ratio_of(tally.running))
        && busy_ratio >= CPU_BUSY_RATIO
    {
        why.push(Reason::OwnCpu { busy_ratio: busy_ratio.min(1.0) });
    }
    if is_material(path_node.time.saturating_sub(save_max), run.wall()) {
        let node = beside.longest.map(|node| booking.nodes[node].name.to_string());
        why.push(Reason::PaceSetBy { on_path_ns: path_node.time, after_ns: save_max, node });
    } else if beside.longest.is_none() {
        why.push(Reason::NothingBeside);
    }
    why
}

/// Worth a word: at least 1 ms or 1 % of the run, whichever is less.
fn is_material(time: Duration, wall: Duration) -> bool {
    !time.is_zero()
        && (time >= Duration::from_millis(1) || time.ratio_of(wall).is_some_and(|ratio| ratio >= 0.01))
}

/// The node that was on the path longest while executions of `waiting` were queued.
fn behind(run: &Run, booking: &Booking, path: &BookedPath, waiting: &PathNode) -> Option<NodeIx> {
    let queued: Vec<Interval> = waiting.executions.iter().map(|ix| queued_interval(run, *ix)).collect();
    let while_queued = |other: &PathNode| {
        queued.iter().map(|interval| overlap_with(&other.pieces, *interval)).sum::<Duration>()
    };
    path.nodes
        .iter()
        .map(|other| (while_queued(other), other.node))
        .filter(|(overlap, _)| !overlap.is_zero())
        .max_by(|a, b| a.0.cmp(&b.0).then_with(|| booking.nodes[b.1].name.cmp(&booking.nodes[a.1].name)))
        .map(|(_, node)| node)
}

/// Path time inside executions that failed.
fn failed_path_time(run: &Run, path_node: &PathNode) -> Duration {
    let failed = path_node.executions.iter().map(|ix| run.span(*ix)).filter(|span| span.record.failed());
    failed.map(|span| overlap_with(&path_node.pieces, span.clipped)).sum()
}

fn suggestions(
    run: &Run,
    booking: &Booking,
    graph: &EventGraph<'_>,
    path_node: &PathNode,
) -> Vec<Suggestion> {
    let mut suggestions = Vec::new();
    let of_node = |ix: SpanIx| {
        booking.execution_of[ix.index()] == Some(ix) && booking.node_of[ix.index()] == Some(path_node.node)
    };
    if is_material(path_node.queued(run), run.wall()) {
        let saves_ns = run.wall().saturating_sub(graph.replay_without_queueing(of_node));
        if is_material(saves_ns, run.wall()) {
            suggestions.push(Suggestion::NoQueueing { saves_ns });
        }
    }
    let saves_ns = saved(run, booking, graph, path_node.node, Scale::faster(2));
    if !saves_ns.is_zero() {
        suggestions.push(Suggestion::Faster { times: 2, saves_ns });
    }
    suggestions
}
