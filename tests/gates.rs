//! Gates: how they are read, when they fail, and what they say.

#![allow(missing_docs, unreachable_pub, reason = "a test")]

#[path = "support/sample_reports.rs"]
#[allow(dead_code, reason = "shared by test files that each use a part")]
mod sample_reports;

use insta::assert_snapshot;
use longpole::analysis::compare_samples::SampleOptions;
use longpole::compare::{CompareOptions, Comparison, compare_runs};
use longpole::gates::{Check, Gate, GateProblem, check_runs};
use longpole::money::Money;
use longpole::render::{HtmlOptions, TextStyle, check_json, gates_text, html};
use longpole::report::{
    Amount, Baseline, CostSection, GateReason, GateResult, GateVerdict, QualityLevel, Report, Tokens,
};
use longpole::time::Duration;
use proptest::prelude::*;
use sample_reports::{path_row, report, research_agent};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn dollars(text: &str) -> Money {
    text.parse().unwrap()
}

/// 10 s: `plan` 4 s, `draft` three times in 6 s.
fn agent() -> Report {
    let mut made = report(
        "agent",
        0,
        vec![path_row("plan", "llm", 0, 0, None), path_row("draft", "llm", 0, 0, None)],
        Vec::new(),
    );
    made.run.wall_ns = ms(10_000);
    made.totals.cost_usd = Some(dollars("0.1"));
    made.totals.tokens = Some(Tokens { input: 900, output: 100 });
    made.run.errors = 2;
    for (node, (total, cost)) in made.nodes.iter_mut().zip([(4_000, "0.04"), (6_000, "0.06")]) {
        node.on_path_ns = ms(total);
        node.duration.sum_ns = ms(total);
        (node.duration.avg_ns, node.duration.p95_ns) = (ms(total / 3), ms(total / 2));
        node.cost_usd = Some(dollars(cost));
        node.calls = 3;
    }
    made
}

fn check(report: &Report, gate: &str) -> GateResult {
    Gate::parse(gate).unwrap().check(report, None)
}

fn verdict(report: &Report, gate: &str) -> GateVerdict {
    check(report, gate).verdict
}

#[test]
fn a_gate_fails_when_it_holds_and_not_at_its_limit() {
    let run = agent();
    for (gate, fails) in [
        ("wall>10s", false),
        ("wall>=10s", true),
        ("wall>9999.999999ms", true),
        ("wall<10s", false),
        ("wall<=10s", true),
        ("wall>0m10s", false),
        ("cost>$0.1", false),
        ("cost>$0.099999999999", true),
        ("cost<0.11", true),
        ("tokens>999", true),
        ("tokens>1_000", false),
        ("errors>1", true),
        ("errors>2", false),
        ("quality<high", false),
        ("quality<=high", true),
        ("node(draft).p95>3s", false),
        ("node(draft).p95>=3s", true),
        ("node(draft).share>=60%", true),
        ("node(draft).share>60%", false),
        ("node(draft).share>59.9999%", true),
        ("node(draft).cost>$0.06", false),
        ("node(draft).cost_share>59.9%", true),
        ("node(draft).cost_share>60%", false),
        ("node(plan).calls>=3", true),
    ] {
        let expected = if fails { GateVerdict::Failed } else { GateVerdict::Passed };
        assert_eq!(verdict(&run, gate), expected, "{gate}");
    }
}

#[test]
fn a_gate_that_cannot_be_judged_does_not_pass() {
    let mut run = agent();
    run.totals.cost_usd = None;
    run.totals.efficiency = None;
    for (gate, reason) in [
        ("cost>$5", GateReason::NotTold),
        ("cost<$5", GateReason::NotTold),
        ("efficiency<50%", GateReason::NotTold),
        ("wall>+10%", GateReason::NoBaseline),
        ("cost>+10%", GateReason::NoBaseline),
        ("node(draft).total>+10%", GateReason::NoBaseline),
        ("node(draft).avg>+10%", GateReason::NotCompared),
        ("node(drafft).p95>6s", GateReason::NoSuchNode { near: vec!["draft".to_owned()] }),
        ("node(drafft).total>+6%", GateReason::NoSuchNode { near: vec!["draft".to_owned()] }),
    ] {
        let result = check(&run, gate);
        assert_eq!((result.verdict, result.reason), (GateVerdict::NoData, Some(reason)), "{gate}");
    }
}

/// What is already too much stays so whatever else there is.
#[test]
fn what_is_only_partly_known_is_judged_where_that_settles_it() {
    let mut run = agent();
    run.cost = Some(CostSection { is_lower_bound: true, ..CostSection::default() });
    assert_eq!(verdict(&run, "cost>$0.05"), GateVerdict::Failed);
    assert_eq!(verdict(&run, "cost<$0.05"), GateVerdict::Passed);
    for gate in ["cost>$0.50", "cost<$0.50"] {
        assert_eq!(check(&run, gate).reason, Some(GateReason::LowerBound), "{gate}");
        assert_eq!(verdict(&run, gate), GateVerdict::NoData, "{gate}");
    }
    let mut open = agent();
    open.quality.open_spans = 1;
    assert_eq!(verdict(&open, "wall>9s"), GateVerdict::Failed);
    assert_eq!(check(&open, "wall>11s").reason, Some(GateReason::LowerBound));
    assert_eq!(check(&open, "errors>2").reason, Some(GateReason::LowerBound));
    // An average may come out either way.
    assert_eq!(check(&open, "node(draft).avg>1s").reason, Some(GateReason::Incomplete));
    open.quality.level = QualityLevel::Low;
    assert_eq!(verdict(&open, "quality<medium"), GateVerdict::Failed);
}

#[test]
fn insights_are_gates() {
    let run = research_agent();
    let code = run.findings[0].code.clone();
    assert_eq!(verdict(&run, &format!("insight({code})")), GateVerdict::Failed);
    assert_eq!(verdict(&run, "insight(LP115)"), GateVerdict::Passed);
    let mut full = run.clone();
    full.findings = vec![run.findings[0].clone(); Report::MAX_FINDINGS];
    assert_eq!(check(&full, "insight(LP115)").reason, Some(GateReason::InsightsCut));
}

fn with_baseline(wall: u64, runs: u64, p50: u64, mad: u64) -> Report {
    let mut run = agent();
    run.run.wall_ns = ms(wall);
    run.run.baseline = Some(Baseline { runs, p50_ns: ms(p50), mad_ns: ms(mad) });
    run
}

#[test]
fn a_change_within_noise_never_fails() {
    // Usual is 10 s, give or take 1 s: 13 s is noise, whatever the limit.
    let noisy = check(&with_baseline(13_000, 20, 10_000, 1_000), "wall>+10%");
    assert_eq!((noisy.verdict, noisy.reason), (GateVerdict::Passed, Some(GateReason::WithinNoise)));
    let slower = check(&with_baseline(13_001, 20, 10_000, 1_000), "wall>+10%");
    assert_eq!((slower.verdict, slower.reason), (GateVerdict::Failed, None));
    assert_eq!(slower.actual, Some(Amount::Change(0.3001)));
    let faster = check(&with_baseline(6_900, 20, 10_000, 1_000), "wall<-10%");
    assert_eq!((faster.verdict, faster.reason), (GateVerdict::Failed, None));
    let hardly = check(&with_baseline(7_000, 20, 10_000, 1_000), "wall<-10%");
    assert_eq!((hardly.verdict, hardly.reason), (GateVerdict::Passed, Some(GateReason::WithinNoise)));
    // Beyond the noise but not beyond the limit; a tenth exactly is not more than a tenth.
    let at_limit = check(&with_baseline(11_000, 20, 10_000, 1), "wall>+10%");
    assert_eq!((at_limit.verdict, at_limit.reason), (GateVerdict::Passed, None));
    // Four runs tell no noise.
    let few = check(&with_baseline(13_000, 4, 10_000, 1_000), "wall>+10%");
    assert_eq!((few.verdict, few.reason), (GateVerdict::Failed, Some(GateReason::NoiseUnknown)));
}

#[test]
fn what_a_node_usually_takes_is_held_against_it_without_queueing() {
    let mut run = agent();
    let draft = run.nodes.iter_mut().find(|node| node.name == "draft").unwrap();
    draft.queued_ns = ms(1_000);
    draft.baseline = Some(Baseline { runs: 10, p50_ns: ms(4_000), mad_ns: ms(10) });
    let result = check(&run, "node(draft).total>+24%");
    assert_eq!((result.verdict, result.actual), (GateVerdict::Failed, Some(Amount::Change(0.25))));
    assert_eq!(verdict(&run, "node(draft).total>+25%"), GateVerdict::Passed);
}

fn compared(base: [u64; 2], new: [u64; 2], runs: u64) -> (Comparison, Vec<Report>) {
    let side = |[wall, spread]: [u64; 2]| -> Vec<Report> {
        let one = |run| {
            let mut made = agent();
            made.run.wall_ns = ms(wall + run * spread);
            made
        };
        (0..runs).map(one).collect()
    };
    let options = CompareOptions {
        samples: SampleOptions { resamples: 200, ..SampleOptions::default() },
        ..CompareOptions::default()
    };
    let new = side(new);
    (compare_runs(&side(base), &new, &options), new)
}

#[test]
fn a_gate_on_a_change_is_judged_by_the_comparison_where_there_is_one() {
    let judge = |(comparison, new): (Comparison, Vec<Report>), gate: &str| {
        check_runs(&[Gate::parse(gate).unwrap()], &new, Some(&comparison)).remove(0)
    };
    let slower = || compared([10_000, 1], [12_000, 1], 20);
    assert_eq!(judge(slower(), "wall>+10%").verdict, GateVerdict::Failed);
    assert_eq!(judge(slower(), "wall>+20%").verdict, GateVerdict::Passed);
    assert_eq!(
        judge(slower(), "wall>11s").verdict,
        GateVerdict::Failed,
        "what is no change is judged on the new runs"
    );
    // 15 % more in the middle, but runs differ by more than that.
    let noisy = judge(compared([10_000, 1_000], [13_000, 1_000], 10), "wall>+10%");
    assert_eq!((noisy.verdict, noisy.reason), (GateVerdict::Passed, Some(GateReason::WithinNoise)));
    let two = judge(compared([10_000, 0], [12_000, 0], 1), "wall>+10%");
    assert_eq!((two.verdict, two.reason), (GateVerdict::Failed, Some(GateReason::NoiseUnknown)));
    assert_eq!(judge(compared([10_000, 0], [12_000, 0], 1), "wall>+20%").verdict, GateVerdict::Passed);
    assert_eq!(judge(slower(), "node(draft).avg>+10%").verdict, GateVerdict::Passed);
    assert_eq!(judge(slower(), "node(draft).total>+10%").reason, Some(GateReason::NotCompared));
    assert_eq!(
        judge(slower(), "cost>+10%").reason,
        Some(GateReason::NoBaseline),
        "no run tells a cost in full"
    );
}

#[test]
fn of_several_runs_one_slow_one_is_chance_and_one_failed_one_is_not() {
    let runs = |walls: &[u64]| -> Vec<Report> {
        let one = |wall: &u64| {
            let mut made = agent();
            made.run.wall_ns = ms(*wall);
            made.run.errors = u64::from(*wall > 50_000);
            made
        };
        walls.iter().map(one).collect()
    };
    let judge =
        |walls: &[u64], gate: &str| check_runs(&[Gate::parse(gate).unwrap()], &runs(walls), None).remove(0);
    let slow_once = [10_000, 60_000, 10_500, 11_000, 10_200];
    assert_eq!(judge(&slow_once, "wall>20s").verdict, GateVerdict::Passed);
    assert_eq!(judge(&slow_once, "errors>0").verdict, GateVerdict::Failed);
    assert_eq!(judge(&slow_once, "errors>0").actual, Some(Amount::Count(1)));
    assert_eq!(judge(&[10_000, 60_000], "wall>20s").verdict, GateVerdict::Failed);
    assert_eq!(judge(&[60_000, 70_000, 80_000], "wall>20s").actual, Some(Amount::Time(ms(70_000))));
    assert_eq!(judge(&[], "wall>20s").verdict, GateVerdict::NoData);
}

#[test]
fn what_is_no_gate_is_told_with_its_place() {
    let told = |text: &str| Gate::parse(text).unwrap_err().to_string();
    let said = [
        "",
        "wal>6s",
        "wall",
        "wall=6s",
        "wall>6 parsecs",
        "wall>10%",
        "wall>",
        "errors>+10%",
        "errors>-1",
        "cost>$1e3",
        "cost>-$5",
        "node(draft)>5s",
        "node().p95>5s",
        "node(draft).p96>5s",
        "quality<fine",
        "insight(LP999)",
        "insight(LP101",
        "node(ä).share>5s",
        "wall>99999999999999999999s",
        "wall>1.5.5s",
        "efficiency<1.00001%",
    ]
    .map(told)
    .join("\n");
    assert_snapshot!(said);
    assert!(matches!(Gate::parse("wall>x").unwrap_err().problem, GateProblem::NoLimit { .. }));
}

#[test]
fn gates_are_told_in_lines_that_fit() {
    let mut run = agent();
    run.totals.cost_usd = None;
    let gates = [
        "wall>25s",
        "wall>9s",
        "cost>$0.10",
        "node(drafft).p95>6s",
        "node(draft).share>59.95%",
        "quality<medium",
        "insight(LP105)",
        "wall>+10%",
    ]
    .map(|gate| Gate::parse(gate).unwrap());
    run.run.baseline = Some(Baseline { runs: 20, p50_ns: ms(8_770), mad_ns: ms(500) });
    let results = check_runs(&gates, std::slice::from_ref(&run), None);
    assert_snapshot!(gates_text(&results, &TextStyle::default()));
    run.gates = results;
    let text = run.to_text();
    assert_snapshot!(text.split("Gates").nth(1).unwrap());
    let page = html(&run, None, &HtmlOptions::default());
    let (_, gates) = page.split_once("<h2>Gates</h2>").unwrap();
    assert_eq!(gates.matches("<dt>FAILED</dt>").count(), 2);
    assert!(gates.contains("<dt>passed</dt><dd>wall&gt;+10%: +14%, within noise</dd>"), "{gates}");
    let check = Check::of(&gates[1..3], &[run.clone()], None);
    assert!(!check.passed);
    assert_snapshot!(check_json(&check));
    let back: Report = serde_json::from_str(&run.to_json()).unwrap();
    assert_eq!(back, run, "nothing is lost on the way through JSON");
}

#[test]
fn hostile_names_are_inert_and_lines_stay_narrow() {
    let name = format!("{}\u{1b}[31m\u{202e}| `x` {}", "a".repeat(80), "b".repeat(80));
    let gate = Gate::parse(&format!("node({name}).p95>6s")).unwrap();
    let mut run = agent();
    run.nodes[0].name = format!("{name}x");
    let results = check_runs(&[gate], &[run], None);
    assert!(matches!(&results[0].reason, Some(GateReason::NoSuchNode { near }) if near.len() == 1));
    for width in [60, 80, 200] {
        for ascii in [false, true] {
            let text = gates_text(&results, &TextStyle { width, ascii, color: false });
            assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
            assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
        }
    }
}

fn gate_text() -> impl Strategy<Value = String> {
    let order = prop_oneof![Just(">"), Just(">="), Just("<"), Just("<=")];
    let measure = prop_oneof![
        Just(("wall".to_owned(), "s")),
        Just(("cost".to_owned(), "")),
        Just(("errors".to_owned(), "")),
        "[a-z().%> ]{0,8}[a-z)]".prop_map(|node| (format!("node({node}).p95"), "ms")),
        "[a-z]{1,8}".prop_map(|node| (format!("node({node}).share"), "%")),
    ];
    (measure, order, 0u32..100_000)
        .prop_map(|((measure, unit), order, limit)| format!("{measure}{order}{limit}{unit}"))
}

proptest! {
    #[test]
    fn a_gate_is_written_as_it_is_read(text in gate_text()) {
        let gate = Gate::parse(&text).unwrap();
        prop_assert_eq!(Gate::parse(&gate.to_string()).unwrap(), gate);
    }

    #[test]
    fn no_text_makes_reading_fail_otherwise_than_with_an_error_in_it(text in "\\PC{0,40}") {
        if let Err(error) = Gate::parse(&text) {
            prop_assert!(error.at <= text.chars().count());
        }
    }

    /// Of a limit and its opposite exactly one fails, and a higher limit never fails a run that a lower one lets through.
    #[test]
    fn limits_are_in_order(wall in 0u64..100_000_000, one in 0u64..100_000_000, more in 0u64..100_000_000) {
        let mut run = agent();
        run.run.wall_ns = Duration::from_nanos(wall);
        let fails = |gate: String| check(&run, &gate).verdict == GateVerdict::Failed;
        let (low, high) = (fails(format!("wall>{one}ns")), fails(format!("wall>{}ns", one + more)));
        prop_assert_ne!(low, fails(format!("wall<={one}ns")));
        prop_assert!(!high || low);
    }

    /// A run that took what is usual, or within the noise of it, passes every gate on its change.
    #[test]
    fn noise_never_fails(p50 in 1u64..1_000_000, mad in 0u64..100_000, off in -3.0..3.0f64, limit in 0u32..200) {
        let wall = (p50 as f64 + off * mad as f64).max(0.0) as u64;
        let run = with_baseline(wall, 20, p50, mad);
        for gate in [format!("wall>+{limit}%"), format!("wall<-{limit}%")] {
            prop_assert_ne!(check(&run, &gate).verdict, GateVerdict::Failed, "{}", gate);
        }
    }
}
