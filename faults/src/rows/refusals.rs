//! Each code of gRPC, with each form of `RetryInfo`, as the answer to one request.

use std::time::Duration;

use super::trial::{PATIENCE, Trial};
use super::{Outcome, Plan, at_once};
use crate::client::{ClientSpec, Protocol};
use crate::sink::{Answer, retry_info};

/// CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS.
const RETRYABLE: [i32; 6] = [1, 4, 10, 11, 14, 15];
const RESOURCE_EXHAUSTED: i32 = 8;
const AN_HOUR: i64 = 3_600;

/// One outcome for each form of `RetryInfo`, over all codes.
pub(super) fn grpc_codes(plan: &Plan) -> anyhow::Result<Vec<Outcome>> {
    let forms = [None, Some(0), Some(1), Some(-1), Some(AN_HOUR)];
    let mut outcomes = Vec::new();
    for form in forms {
        let codes: Vec<i32> = match form {
            // An hour's wait is only seen by nothing coming for a while.
            Some(AN_HOUR) if plan.is_short => vec![3, RESOURCE_EXHAUSTED, 14],
            _ => (1..=16).collect(),
        };
        let count = codes.len();
        let each = at_once(8, codes, |code| one(plan, code, form))?;
        let what = match form {
            None => "no RetryInfo".to_owned(),
            Some(AN_HOUR) => "RetryInfo of an hour".to_owned(),
            Some(seconds) => format!("RetryInfo of {seconds} s"),
        };
        let mut sum = Outcome::new(format!("{count} codes, {what}"), plan.pipeline());
        for outcome in each {
            sum.produced += outcome.produced;
            sum.received += outcome.received;
            sum.lost += outcome.lost;
            sum.duplicates += outcome.duplicates;
            sum.failures
                .extend(outcome.failures.iter().map(|failure| format!("{}: {failure}", outcome.case)));
            if outcome.lost > 0 {
                sum.more.push(outcome.case);
            }
        }
        if !sum.more.is_empty() {
            sum.more = vec![format!("lost with {}", sum.more.join(", "))];
        }
        outcomes.push(sum);
    }
    Ok(outcomes)
}

fn one(plan: &Plan, code: i32, form: Option<i64>) -> anyhow::Result<Outcome> {
    let trial = Trial::new(plan, Protocol::Grpc)?;
    let details = form.map(|seconds| retry_info(code, seconds)).unwrap_or_default();
    trial.sink.answer(vec![Answer::Grpc(code, "as told", details)], vec![Answer::Take]);
    let flush_ms = if form == Some(AN_HOUR) { 500 } else { 5_000 };
    let spec = ClientSpec { flush_ms: Some(flush_ms), ..trial.spec(2_000, 10) };
    let report = trial.start(&spec)?.report(PATIENCE)?;
    let (refused, gap, before) = trial.sink.tally(|tally| {
        let at = |number: usize| tally.requests.get(number).map(|request| request.at);
        let gap = at(1).zip(at(0)).map(|(second, first)| second - first);
        (tally.requests.first().map_or(0, |request| request.spans as u64), gap, tally.distinct())
    });
    let is_again = RETRYABLE.contains(&code) || (code == RESOURCE_EXHAUSTED && form.is_some());
    trial.settle()?;
    let mut outcome = trial.outcome(format!("code {code}"))?;
    outcome.report(&report);
    let counts = report.shutdown.counts.clone().unwrap_or_default();
    if is_again {
        outcome.must_lose_nothing();
        outcome.must(counts.rejected == 0, || format!("{} rejected", counts.rejected));
        if let (Some(seconds @ 1..), true) = (form, refused == outcome.produced) {
            let wait = Duration::from_secs(seconds.unsigned_abs().min(300));
            outcome.must(gap.is_none_or(|gap| gap >= wait), || format!("sent again after {gap:?}"));
        }
        if form == Some(AN_HOUR) {
            let awaited = outcome.produced - refused;
            outcome.must(before <= awaited, || "sent again at once".to_owned());
        }
    } else {
        let lost = outcome.lost;
        // A size that is refused may be taken in halves.
        let is_told = if code == RESOURCE_EXHAUSTED { lost == counts.rejected } else { lost == refused };
        outcome.must(is_told && lost == counts.rejected, || {
            format!("{refused} refused, {} said, {lost} lost", counts.rejected)
        });
        let is_told = report.notes.iter().any(|note| note.contains("as told"));
        outcome.must(lost == 0 || is_told, || "not told".to_owned());
    }
    Ok(outcome)
}
