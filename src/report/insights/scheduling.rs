//! LP103, LP104 and LP113: work that could have run at once and did not.

use super::{Candidate, Case};
use crate::analysis::event_graph::queued_since;
use crate::analysis::pool::{Execution, pool_suspected};
use crate::analysis::replay::Changes;
use crate::analysis::time_breakdown::peak_concurrency;
use crate::report::booking::NodeIx;
use crate::report::path::queued_interval;
use crate::report::{Confidence, Reason, Suggestion};
use crate::run::{DependencyUse, SpanIx};
use crate::time::{Duration, Timestamp};

/// From so many alike on, a limit may show.
const MIN_LIMITED: usize = 3;
/// Kinds of work of which two different steps often need nothing from each other.
const INDEPENDENT_KINDS: [&str; 5] = ["tool", "http", "db", "io", "retrieval"];
/// How many nodes a finding about several names.
const MAX_NAMED: usize = 3;
/// So many sets of executions are replayed without their limit: those with most at stake.
const MAX_TRIED: usize = 64;
/// No more workers than this are tried.
const MAX_WORKERS: usize = 1_024;
/// Below this share of the wall time the graph's bound leaves room worth a word.
const ROOMY: f64 = 0.8;

/// Executions of a node under one parent of which more were ready than ran at once.
struct Limited {
    node: NodeIx,
    set: Vec<SpanIx>,
    at_once: usize,
    queued: Duration,
    /// What lifting the limit could save at most.
    at_stake: Duration,
}

pub(super) fn queueing_at_a_limit(case: &Case<'_>, found: &mut Vec<Candidate>) {
    let mut limited: Vec<Limited> = case.steps().flat_map(|node| limited_sets(case, node)).collect();
    limited.sort_by_key(|limited| std::cmp::Reverse(limited.at_stake));
    limited.truncate(MAX_TRIED);
    for Limited { node, set, at_once, queued, at_stake } in limited {
        let with_limit = |at_once: usize| {
            let mut change = Changes::default();
            change.limit(set.iter().copied(), at_once);
            (case.saved(&change, at_stake), change)
        };
        let (saves_max, all_at_once) = with_limit(set.len());
        let Some(severity) = case.severity_of(saves_max) else { continue };
        let mut finding = case.finding("LP103", case.node_name(node), saves_max, severity);
        let is_seen = case.is_material(queued);
        finding.confidence = case.confidence(if is_seen { Confidence::Likely } else { Confidence::Guess });
        let calls = set.len() as u64;
        finding.why.push(Reason::AtLimit { calls, limit: at_once as u64, queued_ns: queued });
        finding.spans = case.span_ids(set.iter().copied());
        finding.suggestions.push(Suggestion::AtOnce { limit: calls, saves_ns: saves_max });
        if at_once * 2 < set.len() {
            let (saves_ns, _) = with_limit(at_once * 2);
            finding.suggestions.push(Suggestion::AtOnce { limit: at_once as u64 * 2, saves_ns });
        }
        found.push(Candidate { finding, change: Some(all_at_once) });
    }
}

fn limited_sets(case: &Case<'_>, node: NodeIx) -> Vec<Limited> {
    let run = case.analysed.run;
    let limited = |set: Vec<SpanIx>| {
        let at_once = peak_concurrency(set.iter().map(|ix| run.span(*ix).clipped)) as usize;
        if at_once == 0 || at_once >= set.len() {
            return None;
        }
        let queued: Duration = set.iter().map(|ix| queued_interval(run, *ix).duration()).sum();
        if !case.is_material(queued) {
            let executions: Vec<Execution> = set.iter().map(|ix| Execution::of(run.span(*ix))).collect();
            pool_suspected(&executions)?;
        }
        // All of it happens inside their parent.
        let parent = set.first().and_then(|ix| run.span(*ix).parent)?;
        let at_stake = case.path_time_in(&set).saturating_add(queued).min(case.path_time_in([&parent]));
        // One that was queued starts when it was created, and by as much earlier as those before it have ended.
        let held_up = |ix: &SpanIx| {
            let since = queued_since(run, *ix)?;
            Some(run.span(*ix).clipped.start.saturating_since(since))
        };
        let at_stake = match set.iter().map(held_up).sum() {
            Some(held_up) => at_stake.min(held_up),
            None => at_stake,
        };
        // Most sets end here.
        case.severity_of(at_stake)?;
        Some(Limited { node, set, at_once, queued, at_stake })
    };
    by_parent(case, node, MIN_LIMITED).into_iter().filter_map(limited).collect()
}

/// The blocking executions of a node, those under one parent together and in order of their starts, where there are
/// at least so many; in order of the parents.
pub(super) fn by_parent(case: &Case<'_>, node: NodeIx, at_least: usize) -> Vec<Vec<SpanIx>> {
    let executions = &case.analysed.booking.nodes[node].executions;
    if executions.len() < at_least {
        return Vec::new();
    }
    let mut sorted: Vec<(Option<SpanIx>, Timestamp, SpanIx)> = Vec::with_capacity(executions.len());
    for ix in executions {
        let span = case.analysed.run.span(*ix);
        if span.is_blocking() {
            sorted.push((span.parent, span.clipped.start, *ix));
        }
    }
    sorted.sort_unstable();
    let sets = sorted.chunk_by(|a, b| a.0 == b.0).filter(|set| set.len() >= at_least);
    sets.map(|set| set.iter().map(|(_, _, ix)| *ix).collect()).collect()
}

/// Steps on the path one after the other that declared nothing: the same node again, or calls of one kind.
pub(super) fn serial_but_maybe_independent(case: &Case<'_>, found: &mut Vec<Candidate>) {
    for chain in chains(case) {
        let [first, rest @ ..] = &chain[..] else { continue };
        let mut change = Changes::default();
        rest.iter().for_each(|ix| change.start_with(*ix, *first));
        let saves_ns = case.saved(&change, case.path_time_in(&chain));
        let Some(severity) = case.severity_of(saves_ns) else { continue };
        let mut nodes: Vec<String> = Vec::new();
        for name in chain.iter().filter_map(|ix| case.analysed.node_name(*ix)) {
            if !nodes.contains(&name) {
                nodes.push(name);
            }
        }
        let mut subject = nodes.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(" + ");
        if nodes.len() > MAX_NAMED {
            subject += " + …";
        }
        let mut finding = case.finding("LP104", subject, saves_ns, severity);
        finding.confidence = Confidence::Guess;
        let lengths = || chain.iter().map(|ix| case.analysed.run.span(*ix).clipped.duration());
        finding.why.push(Reason::OneAfterAnother {
            steps: chain.len() as u64,
            nodes,
            together_ns: lengths().sum(),
            longest_ns: lengths().max().unwrap_or_default(),
        });
        finding.spans = case.span_ids(chain.iter().copied());
        found.push(Candidate::with_change(finding, Suggestion::Together { saves_ns }, change));
    }
}

/// Executions on the path of which each is taken to have waited for the one before, by time alone.
fn chains(case: &Case<'_>) -> Vec<Vec<SpanIx>> {
    let booking = &case.analysed.booking;
    let node =
        |ix: SpanIx| booking.node_of[ix.index()].filter(|_| booking.execution_of[ix.index()] == Some(ix));
    let may_be_independent = |a: SpanIx, b: SpanIx| {
        let (Some(a), Some(b)) = (node(a), node(b)) else { return false };
        let (left, right) = (&booking.nodes[a].kind, &booking.nodes[b].kind);
        let is_model = left == "llm" || left == "agent";
        !is_model && left == right && (a == b || INDEPENDENT_KINDS.contains(&left.as_str()))
    };
    let entries = &case.analysed.critical.entries;
    let mut lengths: Vec<usize> = Vec::with_capacity(entries.len());
    let mut chain_of: Vec<Option<usize>> = vec![None; case.analysed.run.spans.len()];
    for entry in entries {
        // One that was queued was ready before: a limit holds it, not the order of the program.
        let is_ready_before = !queued_interval(case.analysed.run, entry.span).is_empty();
        let before = entry.after.filter(|_| !entry.is_declared && !is_ready_before);
        let joined = before.filter(|before| may_be_independent(*before, entry.span));
        let at = joined.and_then(|before| chain_of[before.index()]).unwrap_or_else(|| {
            lengths.push(0);
            lengths.len() - 1
        });
        lengths[at] += 1;
        chain_of[entry.span.index()] = Some(at);
    }
    // Most are a chain of their own.
    let mut chains: Vec<Vec<SpanIx>> = vec![Vec::new(); lengths.len()];
    for entry in entries {
        if let Some(at) = chain_of[entry.span.index()].filter(|at| lengths[*at] > 1) {
            chains[at].push(entry.span);
        }
    }
    chains.retain(|chain| chain.len() > 1 && !chain.iter().any(|ix| booking.is_retry[ix.index()]));
    chains
}

/// A declared graph that allows much more at once than ran at once, while work was waiting.
pub(super) fn low_parallelism(case: &Case<'_>, found: &mut Vec<Candidate>) {
    let analysed = case.analysed;
    let run = analysed.run;
    if run.dependencies.iter().all(|dependency| dependency.used == DependencyUse::Contradicted) {
        return;
    }
    let allowed = analysed.graph.replayed_path(&Changes::as_the_graph_allows());
    if allowed.inferred_edges > 0 {
        return;
    }
    let bound: Duration = allowed.segments.iter().map(|segment| segment.length).sum();
    let waiting: Vec<SpanIx> = run
        .indices()
        .filter(|ix| run.span(*ix).is_blocking() && analysed.booking.execution_of[ix.index()] == Some(*ix))
        .filter(|ix| !queued_interval(run, *ix).is_empty())
        .collect();
    let is_roomy = bound.ratio_of(run.wall()).is_some_and(|efficiency| efficiency < ROOMY);
    if waiting.is_empty() || !is_roomy {
        return;
    }
    let parents: std::collections::BTreeSet<_> = waiting.iter().map(|ix| run.span(*ix).parent).collect();
    let workers_for: Vec<SpanIx> = run
        .indices()
        .filter(|ix| {
            run.span(*ix).is_blocking() && parents.contains(&run.span(*ix).parent) && *ix != run.root
        })
        .collect();
    let with_workers = |workers: usize| {
        let mut change = Changes::default();
        change.limit(workers_for.iter().copied(), workers);
        (analysed.saved_by(&change), change)
    };
    let peak = peak_concurrency(workers_for.iter().map(|ix| run.span(*ix).clipped)).max(1);
    let (saves_max, change) = with_workers(workers_for.len().min(MAX_WORKERS));
    let Some(severity) = case.severity_of(saves_max) else { return };
    // The least number of workers that saves all but a hundredth of that.
    let enough = saves_max.saturating_sub(Duration::from_nanos(saves_max.as_nanos() / 100));
    let (mut too_few, mut useful) = (peak as usize, workers_for.len().min(MAX_WORKERS));
    while too_few + 1 < useful {
        let middle = too_few + (useful - too_few) / 2;
        if with_workers(middle).0 >= enough { useful = middle } else { too_few = middle }
    }
    let mut finding = case.finding("LP113", case.run_name(), saves_max, severity);
    finding.confidence = case.confidence(Confidence::Likely);
    finding.why.push(Reason::RoomToSpread { graph_bound_ns: bound, useful_workers: useful as u64, peak });
    let suggestion = Suggestion::AtOnce { limit: useful as u64, saves_ns: with_workers(useful).0 };
    found.push(Candidate::with_change(finding, suggestion, change));
}
