//! LP111: models that wrote slower than they usually do.

use std::collections::BTreeMap;

use super::history::confidence;
use super::{Candidate, Case};
use crate::analysis::replay::{Changes, Scale};
use crate::report::booking::NodeIx;
use crate::report::charges::Call;
use crate::report::{Confidence, History, Reason, Severity, Suggestion};
use crate::run::SpanIx;
use crate::time::Duration;

/// With so many calls of one model in a run, one can be out of line.
const MIN_CALLS: usize = 5;
/// A call that writes less than this says more about the wait for its first token than about its speed.
const MIN_TOKENS: u64 = 32;
/// A call is slow below this share of the median speed.
const SLOW: f64 = 2.0 / 3.0;

/// A call that wrote tokens.
#[derive(Clone, Copy)]
struct Timed {
    span: SpanIx,
    output: u64,
    took: Duration,
}

impl Timed {
    fn speed(&self) -> f64 {
        self.output as f64 / self.took.as_secs_f64()
    }
}

/// Calls of one model.
#[derive(Default)]
struct OfModel {
    calls: Vec<Timed>,
}

impl OfModel {
    fn output(&self) -> u64 {
        self.calls.iter().fold(0u64, |sum, call| sum.saturating_add(call.output))
    }

    fn took(&self) -> Duration {
        self.calls.iter().map(|call| call.took).sum()
    }
}

fn by_model<'a>(case: &Case<'a>) -> BTreeMap<&'a str, OfModel> {
    let (run, booking) = (case.analysed.run, &case.analysed.booking);
    let mut models: BTreeMap<&str, OfModel> = BTreeMap::new();
    let timed = |call: &Call| Some((call.span, case.analysed.output_speed(call)?));
    for (span, (output, took)) in booking.charges.calls.iter().filter_map(timed) {
        let facts = run.span(span).record.facts.as_deref();
        let model = facts.and_then(|facts| facts.response_model.as_ref().or(facts.request_model.as_ref()));
        if let Some(model) = model {
            models.entry(model).or_default().calls.push(Timed { span, output, took });
        }
    }
    models
}

/// Models that wrote slower than in earlier runs, and calls that did than others of the same model.
pub(super) fn slow_models(case: &Case<'_>, found: &mut Vec<Candidate>) {
    let models = by_model(case);
    slower_than_in_earlier_runs(case, &models, found);
    slower_than_its_other_calls(case, models, found);
}

/// Compares the output tokens per second of all calls of a model with those of earlier runs.
fn slower_than_in_earlier_runs(
    case: &Case<'_>,
    models: &BTreeMap<&str, OfModel>,
    found: &mut Vec<Candidate>,
) {
    let history = &case.options.history;
    for (model, of_model) in models {
        let usual = history.speeds_of(model);
        if usual.len() < History::MIN_RUNS {
            continue;
        }
        let (median, mad) = median_and_distance(&usual);
        let (tokens, time) = (of_model.output(), of_model.took());
        let speed = tokens as f64 / time.as_secs_f64();
        if speed >= median - 3.0 * mad || speed > median * 0.95 {
            continue;
        }
        let calls = of_model.calls.len() as u64;
        let usual_output = history.output_per_call(model).map(|output| output.saturating_mul(calls));
        let mut change = Changes::default();
        let scale = Scale::between(time, at_speed(tokens, median));
        of_model.calls.iter().for_each(|call| scale_call(case, call.span, scale, &mut change));
        let saves_ns = case.saved(&change, case.path_time_in(of_model.calls.iter().map(|call| &call.span)));
        let longest = of_model.calls.iter().max_by_key(|call| call.took);
        let Some(node) = longest.and_then(|call| case.analysed.booking.node_of[call.span.index()]) else {
            continue;
        };
        let severity = case.severity_of(saves_ns).unwrap_or(Severity::Low);
        let mut finding = case.finding("LP111", case.node_name(node), saves_ns, severity);
        finding.confidence = case.confidence(confidence(usual.len() as u64));
        finding.why.push(Reason::SlowerOutput {
            model: (*model).to_owned(),
            per_second: speed,
            usual: median,
            among_calls: None,
        });
        finding.why.extend(usual_output.map(|usual| slower_or_more(tokens, time, median, usual)));
        finding.spans = case.span_ids(of_model.calls.iter().map(|call| call.span));
        found.push(Candidate::with_change(finding, Suggestion::BackToUsual { saves_ns }, change));
    }
}

/// Compares the calls of a model with each other, by the nodes that made the slow ones.
fn slower_than_its_other_calls(case: &Case<'_>, models: BTreeMap<&str, OfModel>, found: &mut Vec<Candidate>) {
    for (model, mut of_model) in models {
        of_model.calls.retain(|call| call.output >= MIN_TOKENS);
        if of_model.calls.len() < MIN_CALLS {
            continue;
        }
        let speeds: Vec<f64> = of_model.calls.iter().map(Timed::speed).collect();
        let (median, mad) = median_and_distance(&speeds);
        let mut outputs: Vec<u64> = of_model.calls.iter().map(|call| call.output).collect();
        outputs.sort_unstable();
        let usual_output = outputs.get((outputs.len() - 1) / 2).copied().unwrap_or_default();
        let is_slow = |call: &&Timed| call.speed() < median * SLOW && call.speed() < median - 3.0 * mad;
        let mut by_node: BTreeMap<NodeIx, OfModel> = BTreeMap::new();
        for call in of_model.calls.iter().filter(is_slow) {
            if let Some(node) = case.analysed.booking.node_of[call.span.index()] {
                by_node.entry(node).or_default().calls.push(*call);
            }
        }
        for (node, slow) in by_node {
            let mut change = Changes::default();
            for call in &slow.calls {
                let scale = Scale::between(call.took, at_speed(call.output, median));
                scale_call(case, call.span, scale, &mut change);
            }
            let saves_ns = case.saved(&change, case.path_time_in(slow.calls.iter().map(|call| &call.span)));
            let Some(severity) = case.severity_of(saves_ns) else { continue };
            let (tokens, time) = (slow.output(), slow.took());
            let usual_output = usual_output.saturating_mul(slow.calls.len() as u64);
            let mut finding = case.finding("LP111", case.node_name(node), saves_ns, severity);
            finding.confidence = case.confidence(Confidence::Likely);
            finding.why.push(Reason::SlowerOutput {
                model: model.to_owned(),
                per_second: tokens as f64 / time.as_secs_f64(),
                usual: median,
                among_calls: Some(of_model.calls.len() as u64),
            });
            finding.why.push(slower_or_more(tokens, time, median, usual_output));
            finding.spans = case.span_ids(slow.calls.iter().map(|call| call.span));
            found.push(Candidate::with_change(finding, Suggestion::BackToUsual { saves_ns }, change));
        }
    }
}

/// Scales a call and what is inside it, but not the tools and agents that it runs.
fn scale_call(case: &Case<'_>, call: SpanIx, scale: Scale, change: &mut Changes) {
    let (run, execution_of) = (case.analysed.run, &case.analysed.booking.execution_of);
    let mut open = vec![call];
    while let Some(ix) = open.pop() {
        change.scale(ix, scale);
        let is_of_call = |child: &&SpanIx| execution_of[child.index()] == execution_of[call.index()];
        open.extend(run.children(ix).iter().filter(is_of_call));
    }
}

fn at_speed(tokens: u64, per_second: f64) -> Duration {
    Duration::from_nanos((tokens as f64 / per_second * 1e9).round() as u64)
}

/// What of the time over the usual is the speed, and what is that more was written.
fn slower_or_more(tokens: u64, took: Duration, usual_speed: f64, usual_tokens: u64) -> Reason {
    Reason::SlowerOrMore {
        slower_ns: took.saturating_sub(at_speed(tokens, usual_speed)),
        wrote_more_ns: at_speed(tokens.saturating_sub(usual_tokens), usual_speed),
    }
}

/// The upper median, and the upper median of the distances from it; zeros for none.
fn median_and_distance(values: &[f64]) -> (f64, f64) {
    let middle = |mut values: Vec<f64>| {
        if values.is_empty() {
            return 0.0;
        }
        let at = values.len() / 2;
        *values.select_nth_unstable_by(at, f64::total_cmp).1
    };
    let median = middle(values.to_vec());
    (median, middle(values.iter().map(|value| (value - median).abs()).collect()))
}
