//! LP112: stretches of the path in which no span ran.

use super::{Candidate, Case};
use crate::analysis::critical_path::Segment;
use crate::analysis::replay::Changes;
use crate::report::path::{node_of_segment, queued_interval};
use crate::report::{Confidence, Reason, Suggestion};
use crate::run::SpanIx;
use crate::time::Duration;

/// Shorter stretches are not told.
const MIN_GAP: Duration = Duration::from_millis(100);
/// How many are told at most.
const MAX_GAPS: usize = 3;

pub(super) fn gaps(case: &Case<'_>, found: &mut Vec<Candidate>) {
    let run = case.analysed.run;
    let segments = &case.analysed.critical.segments;
    let first = found.len();
    for (at, segment) in segments.iter().enumerate() {
        let is_gap = node_of_segment(run, &case.analysed.booking, segment).is_none();
        let duration_ns = segment.interval.duration();
        if !is_gap || duration_ns < MIN_GAP || run.children(segment.span).is_empty() {
            continue;
        }
        let next = entered_at_end(case, segment);
        // What was there and waiting is queueing, not a gap.
        if next.is_some_and(|next| !queued_interval(run, next).is_empty()) {
            continue;
        }
        let mut change = Changes::default();
        let saves_ns = match next {
            Some(next) => {
                change.close_gap_before(next);
                case.analysed.saved_by(&change).min(duration_ns)
            }
            // The end of a span is behind everything inside it, so this is waited for in full.
            None => duration_ns,
        };
        let Some(severity) = case.severity_of(saves_ns) else { continue };
        let mut finding = case.finding("LP112", case.run_name(), saves_ns, severity);
        finding.confidence = case.confidence(Confidence::Likely);
        let name = |ix: SpanIx| {
            case.analysed.node_name(ix).unwrap_or_else(|| run.span(ix).record.name.as_ref().to_owned())
        };
        let before = at.checked_sub(1).and_then(|before| segments.get(before));
        let after = before.filter(|before| before.span != run.root).map(|before| name(before.span));
        finding.why.push(Reason::Gap {
            start_ns: segment.interval.start.saturating_since(run.span(run.root).clipped.start),
            duration_ns,
            after,
            before: next.map(name),
        });
        finding.spans = case.span_ids([segment.span].into_iter().filter(|ix| !run.span(*ix).is_synthetic));
        finding.suggestions.push(Suggestion::NoGap { saves_ns });
        found.push(Candidate { finding, change: next.is_some().then_some(change) });
    }
    let mut gaps = found.split_off(first);
    gaps.sort_by_key(|gap| std::cmp::Reverse(gap.finding.saves_max_ns));
    gaps.truncate(MAX_GAPS);
    found.append(&mut gaps);
}

/// The child of the segment's span that the path goes into at the end of it.
fn entered_at_end(case: &Case<'_>, segment: &Segment) -> Option<SpanIx> {
    let run = case.analysed.run;
    let entries = &case.analysed.critical.entries;
    let first = entries.partition_point(|entry| run.span(entry.span).clipped.start < segment.interval.end);
    let here = entries.get(first..).unwrap_or_default().iter();
    let mut here = here.take_while(|entry| run.span(entry.span).clipped.start == segment.interval.end);
    here.find(|entry| run.span(entry.span).parent == Some(segment.span)).map(|entry| entry.span)
}
