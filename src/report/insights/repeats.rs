//! LP105 and LP106: calls that were made before.

use std::collections::BTreeMap;

use super::{Candidate, Case};
use crate::analysis::replay::{Changes, Scale};
use crate::hashing::QuickMap;
use crate::report::booking::{NodeIx, add_money};
use crate::report::{Confidence, Reason, Severity, Suggestion};
use crate::run::SpanIx;
use crate::time::Duration;

/// From so many calls for one caller on, they look like a loop that could be one call.
const MIN_REPEATS: usize = 5;

pub(super) fn repeated_calls(case: &Case<'_>, found: &mut Vec<Candidate>) {
    for node in case.steps() {
        // Turns of a conversation are no repeats.
        if matches!(case.analysed.booking.nodes[node].kind.as_str(), "llm" | "agent") {
            continue;
        }
        let mut by_caller: BTreeMap<Option<SpanIx>, Vec<SpanIx>> = BTreeMap::new();
        for ix in case.analysed.blocking_executions(node) {
            by_caller.entry(case.analysed.caller[ix.index()]).or_default().push(ix);
        }
        let most = by_caller.into_iter().filter(|(_, calls)| calls.len() >= MIN_REPEATS);
        // One finding for a node: for the caller that makes most calls.
        let Some((caller, calls)) = most.max_by_key(|(ix, calls)| (calls.len(), std::cmp::Reverse(*ix)))
        else {
            continue;
        };
        // One call takes as long as the longest of them, at least.
        let longest = calls.iter().copied().max_by_key(|ix| (case.running(*ix), std::cmp::Reverse(*ix)));
        let others: Vec<SpanIx> = calls.iter().copied().filter(|ix| Some(*ix) != longest).collect();
        let (saves_ns, change) = saved_without(case, &others);
        let Some(severity) = case.severity_of(saves_ns) else { continue };
        let mut finding = case.finding("LP105", case.node_name(node), saves_ns, severity);
        finding.confidence = case.confidence(Confidence::Guess);
        let caller = caller.and_then(|caller| case.analysed.node_name(caller));
        finding.why.push(Reason::Repeated { calls: calls.len() as u64, caller });
        finding.spans = case.span_ids(calls);
        found.push(Candidate::with_change(finding, Suggestion::Batch { saves_ns }, change));
    }
}

/// Executions of a node with input that an earlier one, which did not fail, had got.
pub(super) fn identical_input(case: &Case<'_>, found: &mut Vec<Candidate>) {
    let run = case.analysed.run;
    for node in case.steps() {
        let repeats = repeats_of(case, node);
        if repeats.is_empty() {
            continue;
        }
        let (saves_ns, change) = saved_without(case, &repeats);
        let saves_usd = repeats.iter().map(|ix| case.cost_of(*ix)).fold(None, add_money);
        let is_worth_it = saves_usd.is_some() || case.severity_of(saves_ns).is_some();
        if !is_worth_it {
            continue;
        }
        let severity = case.severity_of(saves_ns).unwrap_or(Severity::Low);
        let mut finding = case.finding("LP106", case.node_name(node), saves_ns, severity);
        finding.confidence = case.confidence(Confidence::Likely);
        finding.saves_max_usd = saves_usd;
        finding.why.push(Reason::SameInput {
            repeats: repeats.len() as u64,
            calls: case.analysed.booking.nodes[node].executions.len() as u64,
        });
        finding.spans = case.span_ids(repeats.iter().copied().filter(|ix| !run.span(*ix).is_synthetic));
        let suggestion = Suggestion::Cache { saves_ns, saves_usd };
        found.push(Candidate::with_change(finding, suggestion, change));
    }
}

fn repeats_of(case: &Case<'_>, node: NodeIx) -> Vec<SpanIx> {
    let run = case.analysed.run;
    let mut answered: QuickMap<u64, crate::time::Timestamp> = QuickMap::default();
    let mut repeats = Vec::new();
    let mut executions = case.analysed.booking.nodes[node].executions.clone();
    executions.sort_by_key(|ix| (run.span(*ix).run_interval().start, *ix));
    for ix in executions {
        let record = &run.span(ix).record;
        let Some(hash) = record.facts.as_ref().and_then(|facts| facts.input_hash) else { continue };
        // A cache can only hold what had been answered by then.
        let had_answer = answered.get(&hash).is_some_and(|end| *end <= run.span(ix).run_interval().start);
        if had_answer {
            repeats.push(ix);
        } else if !record.failed() {
            let end = answered.entry(hash).or_insert(record.end);
            *end = record.end.min(*end);
        }
    }
    repeats
}

/// What the run would save if these executions, with all below them, took no time; nothing, and no change, where that
/// is not worth a line.
fn saved_without(case: &Case<'_>, executions: &[SpanIx]) -> (Duration, Changes) {
    let mut change = Changes::default();
    let path_time = case.path_time_in(executions);
    if case.severity_of(path_time).is_some() {
        executions.iter().for_each(|ix| change.scale_with_below(case.analysed.run, *ix, Scale::FREE));
    }
    (case.saved(&change, path_time), change)
}
