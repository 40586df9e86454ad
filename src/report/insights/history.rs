//! LP102: what is not as in earlier runs.

use super::{Candidate, Case};
use crate::analysis::replay::{Changes, Scale};
use crate::report::booking::NodeIx;
use crate::report::{Confidence, History, PastNode, Reason, Suggestion};
use crate::time::Duration;

/// With so many earlier runs an answer is likely; with fewer it is a guess.
const LIKELY_RUNS: u64 = 10;
/// What counts as moved: by one part in so many.
const MOVED: u64 = 20;

pub(super) fn slower_than_usual(case: &Case<'_>, found: &mut Vec<Candidate>) {
    for node in case.steps() {
        let tally = &case.analysed.booking.nodes[node];
        let Some(usual) = case.options.history.node(&tally.name) else { continue };
        if usual.runs < History::MIN_RUNS as u64 || !usual.is_exceeded_by(tally.running) {
            continue;
        }
        let mut change = Changes::default();
        let scale = Scale::between(tally.running, usual.p50_ns);
        case.analysed.spans_of(node).for_each(|ix| change.scale(ix, scale));
        let saves_ns = case.saved(&change, case.path_time_of(node));
        let Some(severity) = case.severity_of(saves_ns) else { continue };
        let mut finding = case.finding("LP102", case.node_name(node), saves_ns, severity);
        finding.confidence = case.confidence(confidence(usual.runs));
        finding.why.push(Reason::SlowerThanUsual {
            took_ns: tally.running,
            usual_ns: usual.p50_ns,
            runs: usual.runs,
        });
        finding.why.extend(moved_along(case, node));
        finding.spans = case.span_ids(tally.executions.iter().copied());
        found.push(Candidate::with_change(finding, Suggestion::BackToUsual { saves_ns }, change));
    }
}

pub(super) fn confidence(runs: u64) -> Confidence {
    if runs >= LIKELY_RUNS { Confidence::Likely } else { Confidence::Guess }
}

/// The measures of a node that are higher than usual by one part in [`MOVED`].
fn moved_along(case: &Case<'_>, node: NodeIx) -> Vec<Reason> {
    let tally = &case.analysed.booking.nodes[node];
    let millis = |time: Duration| time.as_nanos() / 1_000_000;
    type Figure = fn(&PastNode) -> Option<u64>;
    let measures: [(&str, Option<u64>, Figure); 5] = [
        ("calls", Some(tally.executions.len() as u64), |past| Some(past.calls)),
        ("retries", Some(tally.retries), |past| Some(past.retries)),
        ("queued_ms", Some(millis(tally.queued)), |past| Some(past.queued_ns.as_nanos() / 1_000_000)),
        ("input_tokens", tally.tokens.map(|tokens| tokens.input), |past| past.input_tokens),
        ("output_tokens", tally.tokens.map(|tokens| tokens.output), |past| past.output_tokens),
    ];
    let moved = |(measure, now, figure): (&str, Option<u64>, Figure)| {
        let usual = case.options.history.median_of(&tally.name, figure)?;
        let now = now.filter(|now| *now > usual && now.saturating_sub(usual) >= usual / MOVED)?;
        Some(Reason::MovedAlong { measure: measure.to_owned(), now, usual })
    };
    measures.into_iter().filter_map(moved).collect()
}
