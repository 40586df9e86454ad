//! LP107, LP109 and LP110: time and cost that are unevenly spread.

use super::scheduling::by_parent;
use super::{Candidate, Case, lower_median};
use crate::analysis::replay::{Changes, Scale};
use crate::analysis::time_breakdown::peak_concurrency;
use crate::analysis::variability::{VarianceOptions, VarianceRule, high_variance, variability};
use crate::money::Money;
use crate::report::booking::NodeIx;
use crate::report::{Confidence, Reason, Severity, Suggestion};
use crate::run::SpanIx;

/// From so many alike on, one can be out of line.
const MIN_ALIKE: usize = 4;
/// The share of the cost from which a node is a hot spot.
const HOT: f64 = 0.4;
/// Or how many times its share of the time, if its cost is worth a word.
const HOT_FOR_ITS_TIME: f64 = 3.0;
const WORTH_A_WORD: f64 = 0.1;

/// One of several like it under one parent that ran beside each other, on the path, and more than twice the median.
pub(super) fn stragglers(case: &Case<'_>, found: &mut Vec<Candidate>) {
    let run = case.analysed.run;
    for node in case.steps() {
        for set in by_parent(case, node, MIN_ALIKE) {
            let is_parallel = peak_concurrency(set.iter().map(|ix| run.span(*ix).clipped)) > 1;
            let Some(longest) =
                set.iter().copied().max_by_key(|ix| (case.running(*ix), std::cmp::Reverse(*ix)))
            else {
                continue;
            };
            let median_ns = lower_median(set.iter().map(|ix| case.running(*ix)).collect());
            let longest_ns = case.running(longest);
            let is_out_of_line = longest_ns > median_ns.saturating_add(median_ns);
            let is_on_path = !case.path_below[longest.index()].is_zero();
            if !is_parallel || !is_out_of_line || !is_on_path {
                continue;
            }
            let mut change = Changes::default();
            change.scale_with_below(run, longest, Scale::between(longest_ns, median_ns));
            let saves_ns = case.saved(&change, case.path_time_in([&longest]));
            let Some(severity) = case.severity_of(saves_ns) else { continue };
            let mut finding = case.finding("LP107", case.node_name(node), saves_ns, severity);
            finding.confidence = case.confidence(Confidence::Likely);
            finding.why.push(Reason::Straggler { siblings: set.len() as u64, median_ns, longest_ns });
            finding.spans = case.span_ids([longest]);
            found.push(Candidate::with_change(finding, Suggestion::AsTheMedian { saves_ns }, change));
        }
    }
}

/// Nodes whose executions differ much.
pub(super) fn varying_nodes(case: &Case<'_>, found: &mut Vec<Candidate>) {
    for node in case.steps() {
        let tally = &case.analysed.booking.nodes[node];
        let mut why = high_variance_reasons(case, node);
        if why.is_empty() {
            continue;
        }
        let median = lower_median(tally.executions.iter().map(|ix| case.running(*ix)).collect());
        let mut change = Changes::default();
        for ix in &tally.executions {
            if case.running(*ix) > median {
                change.scale_with_below(case.analysed.run, *ix, Scale::between(case.running(*ix), median));
            }
        }
        let saves_ns = case.saved(&change, case.path_time_in(&tally.executions));
        let severity = case.severity_of(saves_ns).unwrap_or(Severity::Low);
        let mut finding = case.finding("LP109", case.node_name(node), saves_ns, severity);
        finding.confidence = case.confidence(Confidence::Likely);
        finding.why.append(&mut why);
        let mut slowest: Vec<SpanIx> = tally.executions.clone();
        slowest.sort_by_key(|ix| (std::cmp::Reverse(case.running(*ix)), *ix));
        finding.spans = case.span_ids(slowest);
        found.push(Candidate::with_change(finding, Suggestion::AsTheMedian { saves_ns }, change));
    }
}

/// Why the executions of a node count as different.
fn high_variance_reasons(case: &Case<'_>, node: NodeIx) -> Vec<Reason> {
    let durations = &case.analysed.booking.nodes[node].durations;
    let simple = case.options.simple_variance_rules;
    let rules = high_variance(durations, &VarianceOptions { p99_over_twice_mean: simple, spread: simple });
    if rules.is_empty() {
        return Vec::new();
    }
    let told = variability(durations);
    let p99 = durations.quantile(0.99).map(|p99| p99.as_nanos() as f64);
    let p99_over_mean = p99.zip(durations.mean_nanos()).map(|(p99, mean)| p99 / mean);
    let reason = |rule: VarianceRule| {
        let (rule, value, limit) = match rule {
            VarianceRule::Tail => ("tail", told.tail, 3.0),
            VarianceRule::CoefficientOfVariation => ("cv", told.cv, 1.0),
            VarianceRule::Spread => ("spread", told.spread, 5.0),
            VarianceRule::P99OverTwiceMean => ("p99_over_mean", p99_over_mean, 2.0),
        };
        Some(Reason::Varies { rule: rule.to_owned(), value: value?, limit, calls: told.count })
    };
    rules.into_iter().filter_map(reason).collect()
}

/// Nodes that cost much, or much for the time they take.
pub(super) fn cost_hot_spots(case: &Case<'_>, found: &mut Vec<Candidate>) {
    let booking = &case.analysed.booking;
    let Some(total) = booking.cost.filter(|total| *total > Money::ZERO) else { return };
    let costs_something = |node: &NodeIx| booking.nodes[*node].cost.is_some_and(|cost| cost > Money::ZERO);
    let priced = case.steps().filter(costs_something).count();
    // What has no price may cost more than all that has one.
    let is_lower_bound = case.cost.is_some_and(|cost| cost.is_lower_bound);
    let sure = if is_lower_bound { Confidence::Likely } else { Confidence::Sure };
    for node in case.steps() {
        let tally = &booking.nodes[node];
        let Some(cost_usd) = tally.cost.filter(|cost| *cost > Money::ZERO) else { continue };
        let cost_ratio = cost_usd.as_usd() / total.as_usd();
        let time_ratio = case.path_time_of(node).ratio_of(case.wall()).unwrap_or(0.0);
        let is_hot = cost_ratio >= HOT;
        let is_hot_for_its_time = cost_ratio > HOT_FOR_ITS_TIME * time_ratio && cost_ratio >= WORTH_A_WORD;
        if priced < 2 || (!is_hot && !is_hot_for_its_time) {
            continue;
        }
        let severity = if cost_ratio >= HOT { Severity::Medium } else { Severity::Low };
        let mut finding = case.finding("LP110", case.node_name(node), Default::default(), severity);
        finding.confidence = case.confidence(sure);
        finding.saves_max_usd = Some(cost_usd);
        finding.why.push(Reason::CostShare { cost_usd, cost_ratio, time_ratio });
        found.push(Candidate::new(finding));
    }
}
