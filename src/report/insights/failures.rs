//! LP108 and LP114: work that failed.

use super::{Candidate, Case};
use crate::analysis::critical_path::Entry;
use crate::analysis::replay::{Changes, Scale};
use crate::report::booking::add_money;
use crate::report::{Confidence, Reason, RunStatus, Severity, Suggestion};
use crate::run::SpanIx;
use crate::time::{Duration, Interval};

/// Nodes with executions that were tried again.
pub(super) fn retries(case: &Case<'_>, found: &mut Vec<Candidate>) {
    let (run, booking) = (case.analysed.run, &case.analysed.booking);
    for node in case.steps() {
        let executions = &booking.nodes[node].executions;
        let again: Vec<SpanIx> =
            executions.iter().copied().filter(|ix| booking.is_retry[ix.index()]).collect();
        if again.is_empty() {
            continue;
        }
        let failed = booking.lost_tries(run, node);
        let mut change = Changes::default();
        for ix in &failed {
            change.scale_with_below(run, *ix, Scale::FREE);
        }
        again.iter().for_each(|ix| change.close_gap_before(*ix));
        let on_path_ns = case.path_time_in(&failed).saturating_add(waits_before(case, &again));
        let saves_ns = case.saved(&change, on_path_ns);
        let severity = case.severity_of(saves_ns).unwrap_or(Severity::Low);
        let mut finding = case.finding("LP108", case.node_name(node), saves_ns, severity);
        finding.confidence = case.confidence(Confidence::Likely);
        let cost = failed.iter().map(|ix| booking.charges.within(*ix)).fold(None, add_money);
        finding.why.push(Reason::LostToRetries {
            failures: failed.len() as u64,
            retries: again.len() as u64,
            lost_ns: failed.iter().map(|ix| case.running(*ix)).sum(),
            on_path_ns,
            cost_usd: cost,
        });
        finding.saves_max_usd = cost;
        finding.spans = case.span_ids(failed);
        found.push(if saves_ns.is_zero() {
            Candidate::new(finding)
        } else {
            Candidate::with_change(finding, Suggestion::FirstTry { saves_ns }, change)
        });
    }
}

/// How long the path waited right before these spans, after the try before.
fn waits_before(case: &Case<'_>, again: &[SpanIx]) -> Duration {
    let run = case.analysed.run;
    let booking = &case.analysed.booking;
    let wait = |entry: &Entry| {
        let before = entry.after?;
        let is_same_node = booking.node_of[before.index()] == booking.node_of[entry.span.index()];
        let wait = Interval::new(run.span(before).clipped.end, run.span(entry.span).clipped.start);
        is_same_node.then(|| wait.duration())
    };
    again.iter().filter_map(|ix| case.entries().get(ix)).filter_map(wait).sum()
}

/// Failed work on the path of a run that failed, or that nobody tried again.
pub(super) fn errors_on_the_path(case: &Case<'_>, found: &mut Vec<Candidate>) {
    let (run, booking) = (case.analysed.run, &case.analysed.booking);
    let has_run_failed = matches!(case.status, RunStatus::Error | RunStatus::Panicked | RunStatus::Cancelled);
    for node in case.steps() {
        let tally = &booking.nodes[node];
        let failed: Vec<SpanIx> = tally
            .executions
            .iter()
            .copied()
            .filter(|ix| run.span(*ix).record.failed() && !case.path_below[ix.index()].is_zero())
            .collect();
        if failed.is_empty() || (tally.retries > 0 && !has_run_failed) {
            continue;
        }
        let on_path_ns = case.path_time_in(&failed);
        let by_share = case.severity_of(on_path_ns).unwrap_or(Severity::Low);
        let severity = if has_run_failed { by_share.max(Severity::Medium) } else { by_share };
        let mut finding = case.finding("LP114", case.node_name(node), Duration::ZERO, severity);
        finding.confidence = case.confidence(Confidence::Sure);
        finding.why.push(Reason::FailedOnPath { on_path_ns, failures: failed.len() as u64 });
        finding.spans = case.span_ids(failed);
        found.push(Candidate::new(finding));
    }
}
