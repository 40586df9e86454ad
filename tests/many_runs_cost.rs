//! What many runs of a workflow cost, worked out by hand.

use longpole::many_runs::report::GroupCost;
use longpole::many_runs::{ManyRuns, RunCost, RunProfile};
use longpole::money::Money;

#[path = "support/spans.rs"]
mod spans;

use std::sync::Arc;

use longpole::ids::TraceId;
use longpole::run_assembler::FinishedRun;
use longpole::span_record::{CostSource, NodeFacts, SpanRecord};
use longpole::{ReportOptions, report_with_profile, runs_in};

fn usd(text: &str) -> Money {
    text.parse().unwrap()
}

/// A run with one call, which cost so much, or nobody knows how much.
fn profile(number: u64, cost: Option<&str>) -> RunProfile {
    let mut call = spans::span(2, Some(1), "chat", 0, 100);
    call.facts = Some(Box::new(NodeFacts {
        operation: Some("chat".into()),
        request_model: Some("no-such-model".into()),
        cost: cost.map(usd),
        cost_source: cost.map(|_| CostSource::Recorded),
        tokens: longpole::span_record::TokenCounts { input: Some(10), output: Some(1), ..Default::default() },
        ..NodeFacts::default()
    }));
    let mut records = vec![spans::span(1, None, "run", 0, 100), call];
    let of_run = |record: &mut SpanRecord| {
        record.trace_id = TraceId::from_bytes(u128::from(number).to_be_bytes());
        record.origin = Arc::default();
    };
    records.iter_mut().for_each(of_run);
    let run: FinishedRun = runs_in(records).remove(0);
    report_with_profile(run, &ReportOptions::default()).unwrap().1
}

fn report_of(profiles: &[RunProfile]) -> (Option<GroupCost>, String) {
    let mut runs = ManyRuns::default();
    profiles.iter().for_each(|profile| runs.add(profile));
    let report = runs.report(ManyRuns::TAIL_PERCENTILE);
    (report.groups[0].cost, report.to_text())
}

#[test]
fn sums_means_and_quantiles_are_of_the_runs_that_tell() {
    // 0.01, 0.02 … 0.20, one a run.
    let cents: Vec<String> = (1..=20).map(|cent| format!("0.{cent:02}")).collect();
    let profiles: Vec<RunProfile> =
        (1..).zip(&cents).map(|(number, cost)| profile(number, Some(cost))).collect();
    let (cost, text) = report_of(&profiles);
    let cost = cost.unwrap();
    assert_eq!((cost.total_usd, cost.mean_usd), (Some(usd("2.1")), Some(usd("0.105"))));
    assert_eq!((cost.p50_usd, cost.p95_usd), (Some(usd("0.1")), Some(usd("0.19"))));
    assert_eq!((cost.runs, cost.calls, cost.unpriced_calls, cost.lower_bound_runs), (20, 20, 0, 0));
    assert_eq!((cost.input_tokens, cost.output_tokens), (Some(200), Some(20)));
    assert!(text.contains("cost $2.10 in all, $0.1050 a run on average, P95 $0.1900"), "{text}");
}

#[test]
fn a_call_without_a_price_makes_the_sum_a_lower_bound_and_is_no_run_that_costs_nothing() {
    let (cost, text) = report_of(&[profile(1, Some("0.01")), profile(2, None), profile(3, Some("0.03"))]);
    let cost = cost.unwrap();
    assert_eq!((cost.total_usd, cost.mean_usd, cost.runs), (Some(usd("0.04")), Some(usd("0.02")), 2));
    assert_eq!((cost.unpriced_calls, cost.lower_bound_runs), (1, 1));
    assert!(text.contains("≥ $0.0400 in all") && text.contains("1 call has no price"), "{text}");
    let (cost, text) = report_of(&[profile(1, None)]);
    assert_eq!((cost.unwrap().total_usd, cost.unwrap().mean_usd), (None, None));
    assert!(text.contains("cost ? in all") && !text.contains('$'), "{text}");
}

#[test]
fn merging_changes_no_answer_and_runs_without_calls_have_none() {
    let profiles = [profile(1, Some("0.01")), profile(2, None), profile(3, Some("0.03"))];
    let (mut one, mut other) = (ManyRuns::default(), ManyRuns::default());
    one.add(&profiles[0]);
    other.add(&profiles[2]);
    other.add(&profiles[1]);
    one.merge(&other);
    let merged = one.report(ManyRuns::TAIL_PERCENTILE).groups.remove(0).cost;
    assert_eq!(merged, report_of(&profiles).0);
    let mut plain = profile(4, None);
    plain.cost = None;
    assert_eq!(report_of(&[plain.clone()]).0, None);
    plain.cost = Some(RunCost { input_tokens: Some(7), ..RunCost::default() });
    assert_eq!(report_of(&[plain]).0.unwrap().input_tokens, Some(7));
}
