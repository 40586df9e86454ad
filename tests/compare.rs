//! What changed between runs.

#![allow(missing_docs, unreachable_pub, reason = "a test")]

#[path = "support/sample_reports.rs"]
#[allow(dead_code, reason = "shared by test files that each use a part")]
mod sample_reports;

use insta::assert_snapshot;
use longpole::analysis::compare_samples::{SampleOptions, Verdict};
use longpole::compare::{
    CompareOptions, CompareWarning, Comparison, CostContribution, Presence, SCHEMA, compare_runs,
};
use longpole::gates::{Gate, check_runs};
use longpole::money::Money;
use longpole::render::{TextStyle, comparison_json, comparison_markdown, comparison_text};
use longpole::report::{CostSection, ModelCost, NodeCost, Report, RunStatus, TokenSums, Tokens};
use longpole::time::Duration;
use proptest::prelude::*;
use sample_reports::{path_row, report};

/// A run of these nodes one after the other, in nanoseconds, with some time at the end that has no span.
fn run_of(nodes: &[(&str, u64)], without_node: u64) -> Report {
    let rows = nodes.iter().map(|(name, _)| path_row(name, "llm", 0, 0, None)).collect();
    let mut made = report("agent", 0, rows, Vec::new());
    let mut wall = without_node;
    for (node, (_, nanos)) in made.nodes.iter_mut().zip(nodes) {
        let length = Duration::from_nanos(*nanos);
        (node.on_path_ns, node.duration.sum_ns, node.duration.avg_ns) = (length, length, length);
        wall += nanos;
    }
    made.run.wall_ns = Duration::from_nanos(wall);
    made
}

fn ms(millis: u64) -> u64 {
    millis * 1_000_000
}

fn tokens(report: &mut Report, node: &str, output: u64) {
    let node = report.nodes.iter_mut().find(|found| found.name == node).unwrap();
    node.tokens = Some(Tokens { input: 0, output });
}

fn quick() -> CompareOptions {
    CompareOptions {
        samples: SampleOptions { resamples: 200, ..SampleOptions::default() },
        ..CompareOptions::default()
    }
}

fn change_of(told: &Comparison, node: Option<&str>) -> i64 {
    told.contributions.iter().find(|row| row.node.as_deref() == node).unwrap().change_ns
}

#[test]
fn two_runs_are_told_apart_without_a_verdict() {
    let base = run_of(&[("plan", ms(100)), ("draft", ms(300)), ("old", ms(20))], ms(10));
    let new = run_of(&[("plan", ms(90)), ("draft", ms(450)), ("check", ms(40))], ms(5));
    let told = compare_runs(&[base], &[new], &CompareOptions::default());
    assert_eq!(told.schema, SCHEMA);
    assert_eq!(told.wall.comparison.verdict, Verdict::Insufficient);
    assert_eq!(told.wall.change_ns, 155_000_000);
    let changes = [Some("draft"), Some("check"), Some("old"), Some("plan"), None];
    assert_eq!(
        changes.map(|node| change_of(&told, node)),
        [150_000_000, 40_000_000, -20_000_000, -10_000_000, -5_000_000]
    );
    let presence = |name: &str| told.nodes.iter().find(|node| node.name == name).unwrap().presence;
    assert_eq!(
        [presence("check"), presence("old"), presence("plan")],
        [Presence::Added, Presence::Removed, Presence::Both]
    );
    assert!(told.warnings.is_empty());
}

/// 20 runs on either side: `draft` writes 40 % more tokens and takes 40 % longer, `search` became slower.
fn versions() -> Comparison {
    let side = |version: &str, draft: u64, output: u64, search: u64| -> Vec<Report> {
        let one = |run: u64| {
            let mut made = run_of(
                &[
                    ("draft", ms(draft + 7 * run % 90)),
                    ("search", ms(search + run)),
                    ("plan", ms(2000 + 3 * run)),
                ],
                ms(10),
            );
            tokens(&mut made, "draft", output + run % 3);
            made.run.version = Some(version.to_owned());
            made
        };
        (0..20).map(one).collect()
    };
    compare_runs(
        &side("1.8.1", 5000, 1310, 800),
        &side("1.8.2", 7000, 1840, 1100),
        &CompareOptions::default(),
    )
}

#[test]
fn more_output_is_no_regression_of_the_model() {
    let told = versions();
    assert_eq!(told.wall.comparison.verdict, Verdict::Regressed);
    let node = |name: &str| told.nodes.iter().find(|node| node.name == name).unwrap();
    let (draft, search) = (node("draft"), node("search"));
    assert_eq!(draft.duration.as_ref().unwrap().verdict, Verdict::Regressed);
    assert!(draft.is_explained_by_output);
    assert_eq!(search.duration.as_ref().unwrap().verdict, Verdict::Regressed);
    assert!(!search.is_explained_by_output, "nothing is known about its output");
    assert_eq!(node("plan").duration.as_ref().unwrap().verdict, Verdict::Unchanged);
}

#[test]
fn a_comparison_says_what_changed_and_where_it_comes_from() {
    assert_snapshot!(versions().to_text(), @r"
agent is 2.30 s slower (+29%) on average: regressed.

  compared      20 runs of 1.8.1, now 20 runs of 1.8.2
  wall, median  7.89 s, now 10.2 s, +29% (95% sure: +29% to +30%)

Where the +2.30 s comes from, by time on the critical path

            base     new   change
  draft   5.04 s  7.04 s  +2.00 s  1,841 output tokens, was 1,311; no slower per
                                   token
  search  810 ms  1.11 s  +300 ms  regressed
  and 2 others, together 0 s
");
}

#[test]
fn in_60_columns_of_ascii_nothing_is_lost() {
    let base = run_of(
        &[("plan", ms(100)), ("a name that is far too long for its column", ms(300)), ("old", 900)],
        ms(10),
    );
    let mut new = run_of(&[("plan", ms(90)), ("a name that is far too long for its column", ms(450))], ms(5));
    new.nodes[1].failures = 1;
    let told = compare_runs(&[base], &[new, cut_off()], &CompareOptions::default());
    let text = comparison_text(&told, &TextStyle { width: 60, color: false, ascii: true });
    assert!(text.is_ascii());
    assert!(text.lines().all(|line| line.len() <= 60));
    assert_snapshot!(text, @r"
agent is 135 ms slower (+33%) on average: too few runs to
tell from chance.

  compared      1 run, now 1 run
  wall, median  410 ms, now 545 ms, +33%

Where the +135 ms comes from, by time on the critical path

                               base      new    change
  a name that...its column   300 ms   450 ms   +150 ms
    1 failed, was 0
  plan                       100 ms  90.0 ms  -10.0 ms
  (no span)                 10.0 ms  5.00 ms  -5.00 ms
  old                        900 ns      0 s   -900 ns
    removed

  Only in the base: old.
  1 run with spans missing left out.
");
}

fn cut_off() -> Report {
    let mut made = run_of(&[("plan", ms(1))], 0);
    made.run.status = RunStatus::Incomplete;
    made
}

#[test]
fn runs_with_spans_missing_are_left_out_and_counted() {
    let base = [run_of(&[("plan", ms(100))], 0), cut_off(), cut_off()];
    let told = compare_runs(&base, &[run_of(&[("plan", ms(100))], 0)], &quick());
    assert_eq!((told.base.runs, told.base.incomplete_runs, told.wall.change_ns), (1, 2, 0));
    assert_eq!(told.warnings, [CompareWarning::IncompleteRunsLeftOut]);
    let told = compare_runs(&[cut_off()], &base, &quick());
    assert_eq!(told.warnings, [CompareWarning::NothingToCompare, CompareWarning::IncompleteRunsLeftOut]);
    assert!(told.contributions.is_empty());
    assert!(told.to_text().starts_with("Nothing to compare"));
}

#[test]
fn runs_of_another_workflow_are_warned_about() {
    let mut other = run_of(&[("plan", ms(100))], 0);
    other.run.workflow = Some("another".to_owned());
    other.run.status = RunStatus::Error;
    let told = compare_runs(&[run_of(&[("plan", ms(100))], 0)], &[other], &quick());
    assert_eq!(told.warnings, [CompareWarning::DifferentWorkflows, CompareWarning::FailedRuns]);
}

#[test]
fn a_comparison_reads_back_equal() {
    let told = versions();
    let json = serde_json::to_string(&told).unwrap();
    assert_eq!(serde_json::from_str::<Comparison>(&json).unwrap(), told);
    assert!(json.contains("\"change_ns\"") && json.contains("\"longpole.compare/1\""));
}

fn sets() -> impl Strategy<Value = Vec<Report>> {
    let node = (0..4usize, prop_oneof![0..20u64, 1_000_000..9_000_000u64]);
    let run = (prop::collection::btree_map(0..4usize, node, 0..4), 0..1000u64);
    prop::collection::vec(run, 1..14).prop_map(|runs| {
        let one = |(nodes, rest): (std::collections::BTreeMap<usize, (usize, u64)>, u64)| {
            let names = ["a", "b", "c", "d"];
            let nodes: Vec<_> = nodes.iter().map(|(name, (_, nanos))| (names[*name], *nanos)).collect();
            run_of(&nodes, rest)
        };
        runs.into_iter().map(one).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn contributions_add_up_exactly(base in sets(), new in sets()) {
        let told = compare_runs(&base, &new, &quick());
        prop_assert_eq!(told.contributions.iter().map(|row| row.change_ns).sum::<i64>(), told.wall.change_ns);
        let mean = |runs: &[Report]| {
            runs.iter().map(|report| report.run.wall_ns.as_nanos() as f64).sum::<f64>() / runs.len() as f64
        };
        prop_assert!((told.wall.change_ns as f64 - (mean(&new) - mean(&base))).abs() <= 0.51);
        for row in &told.contributions {
            let apart = row.new_ns.as_nanos() as f64 - row.base_ns.as_nanos() as f64;
            prop_assert!((row.change_ns as f64 - apart).abs() <= 2.0);
        }
    }

    #[test]
    fn exchanging_the_sides_negates_everything(base in sets(), new in sets()) {
        let (there, back) = (compare_runs(&base, &new, &quick()), compare_runs(&new, &base, &quick()));
        prop_assert_eq!(there.wall.change_ns, -back.wall.change_ns);
        prop_assert_eq!(there.wall.comparison.verdict.swapped(), back.wall.comparison.verdict);
        for (one, other) in there.contributions.iter().zip(&back.contributions) {
            prop_assert_eq!((&one.node, one.change_ns), (&other.node, -other.change_ns));
        }
        for (one, other) in there.nodes.iter().zip(&back.nodes) {
            let verdict = |duration: &Option<longpole::analysis::compare_samples::SampleComparison>| {
                duration.as_ref().map(|told| told.verdict)
            };
            prop_assert_eq!(verdict(&one.duration).map(Verdict::swapped), verdict(&other.duration));
        }
    }

    #[test]
    fn a_set_against_itself_has_not_changed(runs in sets()) {
        let told = compare_runs(&runs, &runs, &quick());
        prop_assert!(told.contributions.iter().all(|row| row.change_ns == 0));
        let verdicts = told.nodes.iter().filter_map(|node| node.duration.as_ref()).chain([&told.wall.comparison]);
        for told in verdicts {
            prop_assert!(!matches!(told.verdict, Verdict::Regressed | Verdict::Improved));
        }
    }
}

/// A run that cost so much on a node of a model, and so much outside of nodes.
fn costing(node: &str, model: &str, cost: &str, outside: Option<&str>) -> Report {
    let usd = |text: &str| text.parse::<Money>().unwrap();
    let mut made = run_of(&[(node, ms(100))], ms(10));
    let total = usd(cost).saturating_add(outside.map_or(Money::ZERO, usd));
    let node_row = NodeCost {
        node: node.to_owned(),
        calls: 1,
        unpriced_calls: 0,
        cost_usd: Some(usd(cost)),
        with_nested_usd: Some(usd(cost)),
        is_lower_bound: false,
        cost_ratio: None,
        path_ratio: 1.0,
        on_path_usd: Some(usd(cost)),
        off_path_usd: Some(Money::ZERO),
        retries_usd: Some(Money::ZERO),
        tokens: TokenSums::default(),
    };
    let model_row = |model: Option<&str>, cost: &str| ModelCost {
        provider: None,
        model: model.map(str::to_owned),
        calls: 1,
        unpriced_calls: 0,
        failed_calls: 0,
        cost_usd: Some(usd(cost)),
        is_lower_bound: false,
        cost_ratio: None,
        tokens: TokenSums::default(),
        timed_calls: 0,
        output_time_ns: Duration::ZERO,
        timed_output_tokens: 0,
    };
    let mut models = vec![model_row(Some(model), cost)];
    models.extend(outside.map(|cost| model_row(None, cost)));
    made.totals.cost_usd = Some(total);
    made.cost = Some(CostSection {
        total_usd: Some(total),
        calls: 1,
        priced_calls: 1,
        tokens: TokenSums { input: Some(1_000), output: Some(100), ..TokenSums::default() },
        nodes: vec![node_row],
        models,
        outside_nodes_usd: outside.map(usd),
        ..CostSection::default()
    });
    made
}

#[test]
fn a_change_of_the_cost_is_told_by_node_and_by_model_to_the_last_digit() {
    let base = [
        costing("draft", "small", "0.01", None),
        costing("draft", "small", "0.02", None),
        costing("draft", "small", "0.02", None),
    ];
    let mut new = [costing("draft", "large", "0.05", Some("0.001")), costing("check", "small", "0.03", None)];
    let told = compare_runs(&base, &new, &CompareOptions::default());
    let change = told.cost.clone().unwrap();
    assert_eq!((change.base_runs, change.new_runs, change.is_lower_bound), (3, 2, false));
    // 0.05/3 and 0.081/2; the change is 0.143/6.
    assert_eq!(change.base_mean_usd.to_string(), "0.016666666667");
    assert_eq!(change.new_mean_usd.to_string(), "0.0405");
    assert_eq!(change.change_usd.to_string(), "0.023833333333");
    let rows = |rows: &[CostContribution]| -> Vec<(Option<String>, String)> {
        rows.iter().map(|row| (row.name.clone(), row.change_usd.to_string())).collect()
    };
    let row = |name: Option<&str>, change: &str| (name.map(str::to_owned), change.to_owned());
    // 0.015 of check, 0.05/2 − 0.05/3 of draft, 0.0005 of none.
    assert_eq!(
        rows(&change.nodes),
        [row(Some("check"), "0.015"), row(Some("draft"), "0.008333333333"), row(None, "0.0005")]
    );
    assert_eq!(
        rows(&change.models),
        [row(Some("large"), "0.025"), row(Some("small"), "-0.001666666667"), row(None, "0.0005")]
    );
    let text = told.to_text();
    for line in [
        "  cost per run  $0.0167, now $0.0405, +$0.0238 (+143%)",
        "  tokens        1,000 in, now 1,000; 100 out, now 100",
        "    by nodes    check +$0.0150, draft +$0.0083, others +$0.0005",
        "    by models   large +$0.0250, small -$0.0017, others +$0.0005",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    // A call without a price makes every figure a lower bound.
    let section = new[0].cost.as_mut().unwrap();
    (section.is_lower_bound, section.unpriced_calls) = (true, 1);
    let text = compare_runs(&base, &new, &CompareOptions::default()).to_text();
    assert!(
        text.contains("≥ $0.0167, now ≥ $0.0405") && text.contains("calls without a price: 0, now 1"),
        "{text}"
    );
}

#[test]
fn costs_as_large_as_can_be_are_compared_without_overflow() {
    let most = Money::from_picodollars(i128::MAX).to_string();
    let runs = [costing("draft", "small", &most, Some(&most)), costing("check", "large", &most, Some(&most))];
    let told = compare_runs(&runs, &runs, &CompareOptions::default());
    assert_eq!(told.cost.unwrap().change_usd, Money::ZERO);
    let less = [costing("draft", "small", &format!("-{most}"), None)];
    assert!(compare_runs(&runs, &less, &CompareOptions::default()).cost.is_some());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn parts_of_a_change_of_the_cost_add_up_to_it(
        base in prop::collection::vec((0usize..3, 0i64..1_000_000), 1..6),
        new in prop::collection::vec((0usize..3, 0i64..1_000_000), 1..6),
    ) {
        const NAMES: [&str; 3] = ["plan", "draft", "check"];
        let runs = |made: &[(usize, i64)]| -> Vec<Report> {
            let cost = |cost: &i64| Money::from_picodollars((*cost).into()).to_string();
            made.iter().map(|(name, amount)| costing(NAMES[*name], NAMES[*name], &cost(amount), Some("0.1"))).collect()
        };
        let told = compare_runs(&runs(&base), &runs(&new), &quick()).cost.unwrap();
        let there: Money = told.nodes.iter().map(|row| row.change_usd).sum();
        prop_assert_eq!(there, told.change_usd);
        prop_assert_eq!(told.models.iter().map(|row| row.change_usd).sum::<Money>(), told.change_usd);
        let back = compare_runs(&runs(&new), &runs(&base), &quick()).cost.unwrap();
        prop_assert_eq!(back.change_usd.as_picodollars(), -told.change_usd.as_picodollars());
    }
}

#[test]
fn a_comparison_is_a_comment_on_a_pull_request() {
    let mut told = versions();
    assert_snapshot!(comparison_markdown(&told));
    let gates = ["wall>+10%", "wall>+50%", "cost>+1%"].map(|gate| Gate::parse(gate).unwrap());
    told.gates = check_runs(&gates, &[run_of(&[("draft", ms(7000))], 0)], Some(&told));
    let text = comparison_markdown(&told);
    let is_about_gates = |line: &&str| ["###", "`wall>", "`cost>"].iter().any(|part| line.contains(part));
    assert_snapshot!(text.lines().filter(is_about_gates).collect::<Vec<_>>().join("\n"));
    assert!(
        told.to_text().ends_with("  no data  cost>+1%   nothing to compare with\n"),
        "{}",
        told.to_text()
    );
}

#[test]
fn the_comment_says_what_the_json_says() {
    let told = versions();
    let read: Comparison = serde_json::from_str(&comparison_json(&told)).unwrap();
    assert_eq!(read, told);
    let text = comparison_markdown(&told);
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let moved: Vec<_> = told.contributions.iter().filter(|row| row.change_ns != 0).collect();
    assert_eq!(rows.len(), moved.len());
    for (row, contribution) in rows.iter().zip(moved) {
        assert_eq!(row[0], format!("`{}`", contribution.node.as_deref().unwrap()));
        let seconds = |text: &str| {
            let (number, unit) = text.trim_start_matches('+').split_once(' ').unwrap();
            number.parse::<f64>().unwrap() * if unit == "ms" { 1e-3 } else { 1.0 }
        };
        for (cell, nanos) in [
            (row[1], contribution.base_ns.as_nanos() as f64),
            (row[2], contribution.new_ns.as_nanos() as f64),
            (row[3], contribution.change_ns as f64),
        ] {
            assert!((seconds(cell) - nanos / 1e9).abs() <= nanos.abs() / 1e9 * 0.005, "{cell} {nanos}");
        }
    }
}

#[test]
fn names_are_inert_in_a_comment_and_a_long_one_is_cut() {
    let evil = "a|b`c`<script>@all [x](http://y)\n# h --> ";
    let mut new = run_of(&[(evil, ms(500)), ("plan", ms(100))], 0);
    new.run.workflow = Some(evil.to_owned());
    new.run.version = Some(evil.to_owned());
    let told = compare_runs(&[run_of(&[("plan", ms(100))], 0)], &[new], &quick());
    let text = comparison_markdown(&told);
    assert_eq!(text.lines().next().unwrap().matches("-->").count(), 1);
    for line in text.lines().skip(1) {
        // Inside code nothing acts but its end and that of a cell.
        let outside: String = line.split('`').step_by(2).collect();
        assert!(
            !outside.contains("<script") && !outside.contains('@') && !outside.contains("](http"),
            "{line}"
        );
        assert!(line.matches('`').count() % 2 == line.matches("\\`").count() % 2, "{line}");
        if line.starts_with("| `a") {
            assert_eq!(line.replace("\\|", "").matches('|').count(), 6, "{line}");
        }
    }
    let mut long = versions();
    let gate = longpole::report::GateResult {
        expr: "node(\u{1f600}).p95>6s".repeat(5),
        verdict: longpole::report::GateVerdict::Failed,
        actual: None,
        limit: None,
        reason: None,
    };
    long.gates = vec![gate; 2_000];
    let text = comparison_markdown(&long);
    assert!(text.chars().count() <= 60_000);
    assert!(text.ends_with("**Cut here**: the rest is beyond 60,000 characters.\n"));
}
