//! LP115: what the trace itself lacks.

use super::{Candidate, Case};
use crate::report::lost_context::look_for;
use crate::report::{Confidence, QualityLevel, Reason, Severity};

pub(super) fn trace_quality(case: &Case<'_>, found: &mut Vec<Candidate>) {
    let quality = case.quality;
    let lost = look_for(case.analysed, &case.options.other_roots);
    if quality.level == QualityLevel::High && lost.is_none() {
        return;
    }
    let severity = match quality.level {
        QualityLevel::Low => Severity::High,
        QualityLevel::Medium | QualityLevel::High => Severity::Low,
    };
    let mut finding = case.finding("LP115", case.run_name(), Default::default(), severity);
    let mut counts = quality.warnings.clone();
    let never_ended = quality.open_spans.saturating_sub(quality.missing_spans);
    let numbers = [("open", never_ended), ("missing", quality.missing_spans), ("orphans", quality.orphans)];
    for (what, number) in numbers {
        if number > 0 {
            counts.insert(what.to_owned(), number);
        }
    }
    if quality.level != QualityLevel::High {
        finding.confidence = Confidence::Sure;
        finding.why.push(Reason::TraceQuality { counts });
        finding.spans = quality.open.iter().take(super::MAX_SPANS).map(|open| open.span_id.clone()).collect();
    } else {
        finding.confidence = Confidence::Guess;
    }
    finding.why.extend(lost.map(|lost| Reason::LostContext {
        roots: lost.roots,
        span: lost.span.to_string(),
        duration_ns: lost.duration,
    }));
    found.push(Candidate::new(finding));
}
