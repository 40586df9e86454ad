//! LP101: the nodes that would save most.

use super::{Candidate, Case, over_sla};
use crate::analysis::replay::{Changes, Scale};
use crate::report::booking::{CPU_BUSY_RATIO, NodeIx};
use crate::report::path::{PathNode, overlap_with, queued_interval};
use crate::report::{Confidence, Reason, Severity, Suggestion};
use crate::run::SpanIx;
use crate::time::{Duration, Interval};

/// How many nodes are told at most.
const MAX_POLES: usize = 12;

pub(super) fn longest_poles(case: &Case<'_>, found: &mut Vec<Candidate>) {
    let mut saved: Vec<Option<Duration>> = vec![None; case.analysed.booking.nodes.len()];
    case.analysed.savings().iter().for_each(|(node, save_max)| saved[*node] = Some(*save_max));
    let mut poles: Vec<(NodeIx, Duration, Severity, Option<Reason>)> = Vec::new();
    for node in case.steps() {
        let by_share = saved[node].and_then(|save_max| case.severity_of(save_max));
        let (over, reason) = over_sla(case, node).unzip();
        if let Some(severity) = by_share.max(over) {
            poles.push((node, saved[node].unwrap_or_default(), severity, reason));
        }
    }
    poles.sort_by_key(|(_, save_max, severity, _)| std::cmp::Reverse((*save_max, *severity)));
    poles.truncate(MAX_POLES);
    let leaves = leaves(case);
    let mut place_of: Vec<Option<usize>> = vec![None; case.analysed.booking.nodes.len()];
    poles.iter().zip(0..).for_each(|((node, ..), place)| place_of[*node] = Some(place));
    let place = |ix: SpanIx| case.analysed.owner_of_time(ix).and_then(|node| place_of[node]);
    let halved = case.analysed.graph.walls_halved(poles.len(), place);
    let saved_halved = halved.into_iter().map(|wall| case.wall().saturating_sub(wall));
    found.extend(poles.into_iter().zip(saved_halved).map(|((node, save_max, severity, over), halved)| {
        let mut finding = case.finding("LP101", case.node_name(node), save_max, severity);
        finding.why.extend(over);
        let mut change = None;
        if let Some(path_node) = case.analysed.path.of(node) {
            let beside = longest_beside(case, path_node, &leaves);
            finding.confidence = case.confidence(match beside {
                // Nothing runs beside it, so no inferred order can change the answer.
                None => Confidence::Sure,
                Some(_) => Confidence::Likely,
            });
            finding.why.extend(reasons(case, path_node, finding.saves_max_ns, beside));
            let suggestions = suggestions(case, path_node, halved);
            change = suggestions.first().map(|(_, change)| change.clone());
            finding.suggestions = suggestions.into_iter().map(|(suggestion, _)| suggestion).collect();
            finding.spans = case.span_ids(path_node.executions.iter().copied());
        }
        Candidate { finding, change }
    }));
}

/// The spans of nodes that take time and have nothing inside them.
fn leaves(case: &Case<'_>) -> Vec<(NodeIx, Interval)> {
    let (run, booking) = (case.analysed.run, &case.analysed.booking);
    let leaf = |ix: SpanIx| {
        let node = booking.node_of[ix.index()].filter(|_| run.children(ix).is_empty())?;
        let span = run.span(ix);
        (!span.is_detached && !span.clipped.is_empty()).then_some((node, span.clipped))
    };
    run.indices().filter_map(leaf).collect()
}

/// The other node that runs longest while a node is on the path.
fn longest_beside(case: &Case<'_>, path_node: &PathNode, leaves: &[(NodeIx, Interval)]) -> Option<NodeIx> {
    let mut overlap = vec![Duration::ZERO; case.analysed.booking.nodes.len()];
    for (node, leaf) in leaves.iter().filter(|(node, _)| *node != path_node.node) {
        overlap[*node] = overlap[*node].saturating_add(overlap_with(&path_node.pieces, *leaf));
    }
    let longest = (0..overlap.len()).filter(|node| !overlap[*node].is_zero());
    longest.max_by_key(|node| (overlap[*node], std::cmp::Reverse(*node)))
}

fn reasons(case: &Case<'_>, path_node: &PathNode, save_max: Duration, beside: Option<NodeIx>) -> Vec<Reason> {
    let (run, booking) = (case.analysed.run, &case.analysed.booking);
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
    if case.is_material(queued) {
        let behind = behind(case, path_node).map(|node| booking.nodes[node].name.as_ref().to_owned());
        why.push(Reason::Queued { queued_ns: queued, behind });
    }
    if tally.failures > 0 || tally.retries > 0 {
        why.push(Reason::Failed {
            failures: tally.failures,
            retries: tally.retries,
            on_path_ns: path_node.failed_time(run),
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
    if case.is_material(path_node.time.saturating_sub(save_max)) {
        let node = beside.map(|node| booking.nodes[node].name.as_ref().to_owned());
        why.push(Reason::PaceSetBy { on_path_ns: path_node.time, after_ns: save_max, node });
    } else if beside.is_none() {
        why.push(Reason::NothingBeside);
    }
    why
}

/// The node that was on the path longest while executions of `waiting` were queued.
fn behind(case: &Case<'_>, waiting: &PathNode) -> Option<NodeIx> {
    let (run, booking) = (case.analysed.run, &case.analysed.booking);
    let queued: Vec<Interval> = waiting.executions.iter().map(|ix| queued_interval(run, *ix)).collect();
    let while_queued = |other: &PathNode| {
        queued.iter().map(|interval| overlap_with(&other.pieces, *interval)).sum::<Duration>()
    };
    let others = case.analysed.path.nodes.iter();
    others
        .map(|other| (while_queued(other), other.node))
        .filter(|(overlap, _)| !overlap.is_zero())
        .max_by(|a, b| a.0.cmp(&b.0).then_with(|| booking.nodes[b.1].name.cmp(&booking.nodes[a.1].name)))
        .map(|(_, node)| node)
}

/// What could be changed. `halved`: what the run saves if the node takes half the time.
fn suggestions(case: &Case<'_>, path_node: &PathNode, halved: Duration) -> Vec<(Suggestion, Changes)> {
    let analysed = case.analysed;
    let mut suggestions = Vec::new();
    if case.is_material(path_node.queued(analysed.run)) {
        let mut change = Changes::default();
        let executions = &analysed.booking.nodes[path_node.node].executions;
        executions.iter().for_each(|ix: &SpanIx| change.unqueue(*ix));
        let saves_ns = analysed.saved_by(&change);
        if case.is_material(saves_ns) {
            suggestions.push((Suggestion::NoQueueing { saves_ns }, change));
        }
    }
    if !halved.is_zero() {
        let mut change = Changes::default();
        analysed.spans_of(path_node.node).for_each(|ix| change.scale(ix, Scale::faster(2)));
        suggestions.push((Suggestion::Faster { times: 2, saves_ns: halved }, change));
    }
    suggestions
}
