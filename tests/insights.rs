//! Each rule that says what to fix: one run in which it does, worked out by hand, and one in which it must not. One
//! unit is 1 ms.

#[path = "support/spans.rs"]
mod spans;

use std::sync::Arc;

use longpole::money::Money;
use longpole::report::{Confidence, Finding, History, Reason, Severity, Suggestion};
use longpole::span_record::{NodeFacts, SpanRecord, Status};
use longpole::time::Duration;
use longpole::{Report, ReportOptions, report_on};

const MS: u64 = 1_000_000;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn with(mut record: SpanRecord, set: impl FnOnce(&mut NodeFacts)) -> SpanRecord {
    set(record.facts.get_or_insert_default());
    record
}

/// The root, with id 1.
fn root(end: u64) -> SpanRecord {
    spans::span(1, None, "run", 0, end * MS)
}

/// A node under the root.
fn node(id: u64, name: &str, start: u64, end: u64) -> SpanRecord {
    let record = spans::span(id, Some(1), "step", start * MS, end * MS);
    with(record, |facts| facts.node_id = Some(name.into()))
}

/// A node that was there from 0 on and ran from `start`.
fn queued(id: u64, name: &str, start: u64, end: u64) -> SpanRecord {
    let mut record = node(id, name, 0, end);
    record.timing.queued = ms(start);
    record
}

fn failed(mut record: SpanRecord) -> SpanRecord {
    record.status = Status::Error;
    record
}

fn chat(id: u64, start: u64, end: u64, output: u64) -> SpanRecord {
    with(node(id, "draft", start, end), |facts| {
        facts.operation = Some("chat".into());
        facts.request_model = Some("m".into());
        facts.tokens.output = Some(output);
    })
}

fn report_with(records: Vec<SpanRecord>, options: &ReportOptions) -> Report {
    let mut reports = report_on(records, options);
    assert_eq!(reports.len(), 1);
    let report = reports.remove(0);
    for finding in &report.findings {
        assert!(!finding.title.is_empty() && !finding.rationale.is_empty() && !finding.caveat.is_empty());
    }
    report
}

fn report(records: Vec<SpanRecord>) -> Report {
    report_with(records, &ReportOptions::default())
}

fn finding<'r>(report: &'r Report, code: &str) -> &'r Finding {
    let found: Vec<_> = report.findings.iter().filter(|finding| finding.code == code).collect();
    assert_eq!(found.len(), 1, "{code} in {:#?}", report.findings);
    found[0]
}

fn says(report: &Report, code: &str) -> bool {
    report.findings.iter().any(|finding| finding.code == code)
}

#[test]
fn lp101_tells_a_node_past_its_limit_however_little_it_would_save() {
    // fetch is 1 % of the run: for its share it would not be told.
    let records = || vec![root(1000), node(2, "plan", 0, 990), node(3, "fetch", 990, 1000)];
    assert!(report(records()).findings.iter().all(|finding| finding.subject != "fetch"));
    let with_sla = |millis: u64| {
        let slas = [("fetch".to_owned(), Duration::from_nanos(millis))].into();
        report_with(records(), &ReportOptions { slas, ..ReportOptions::default() })
    };
    // 10 ms against 3 ms: more than three times.
    let over = with_sla(3 * MS);
    let pole = over.findings.iter().find(|finding| finding.subject == "fetch").unwrap();
    assert_eq!((pole.code.as_str(), pole.severity), ("LP101", Severity::Critical));
    assert_eq!(pole.saves_max_ns, ms(10));
    assert_eq!(pole.why[0], Reason::OverSla { sla_ns: ms(3), average_ns: ms(10) });
    let severity = |nanos: u64| {
        let report = with_sla(nanos);
        report.findings.iter().find(|finding| finding.subject == "fetch").map(|finding| finding.severity)
    };
    // 2, 1.25 and 1 times; at the limit is within it.
    assert_eq!(severity(5 * MS), Some(Severity::Medium));
    assert_eq!(severity(8 * MS), Some(Severity::Low));
    assert_eq!(severity(10 * MS), None);
    // A limit for every node, of which the stricter share wins.
    let all = ReportOptions { slow_threshold: Some(ms(900)), ..ReportOptions::default() };
    let plan = &report_with(records(), &all).findings[0];
    assert_eq!((plan.subject.as_str(), plan.severity), ("plan", Severity::Critical), "99 % of the run");
}

/// A run of 100 ms and a draft.
fn drafted(draft: u64, tokens: u64) -> Vec<SpanRecord> {
    vec![root(100 + draft), node(2, "fetch", 0, 100), chat(3, 100, 100 + draft, tokens)]
}

fn history(runs: impl IntoIterator<Item = (u64, u64)>) -> ReportOptions {
    let reports: Vec<Report> =
        runs.into_iter().map(|(draft, tokens)| report(drafted(draft, tokens))).collect();
    ReportOptions { history: Arc::new(History::of(&reports)), ..ReportOptions::default() }
}

#[test]
fn lp102_compares_with_earlier_runs_and_says_what_moved_along() {
    // 298 to 302: the median is 300, the median distance 1. 400 is 33 % more.
    let usual = history([(298, 100), (299, 100), (300, 100), (301, 100), (302, 100)]);
    let slower = report_with(drafted(400, 140), &usual);
    let found = finding(&slower, "LP102");
    assert_eq!((found.subject.as_str(), found.saves_max_ns), ("draft", ms(100)));
    assert_eq!(found.severity, Severity::High, "100 of 500 ms");
    assert_eq!(found.confidence, Confidence::Guess, "five runs");
    assert_eq!(
        found.why,
        [
            Reason::SlowerThanUsual { took_ns: ms(400), usual_ns: ms(300), runs: 5 },
            Reason::MovedAlong { measure: "output_tokens".to_owned(), now: 140, usual: 100 },
        ]
    );
    assert_eq!(found.suggestions, [Suggestion::BackToUsual { saves_ns: ms(100) }]);
    let baseline = slower.run.baseline.unwrap();
    assert_eq!((baseline.runs, baseline.p50_ns, baseline.mad_ns), (5, ms(400), ms(1)));

    let ten = history((0..10).map(|run| (298 + run % 5, 100)));
    assert_eq!(finding(&report_with(drafted(400, 100), &ten), "LP102").confidence, Confidence::Likely);
    // Past the noise and not by 5 %; too few runs; faster.
    assert!(!says(&report_with(drafted(314, 100), &usual), "LP102"));
    assert!(!says(&report_with(drafted(400, 100), &history([(300, 100); 4])), "LP102"));
    assert!(!says(&report_with(drafted(200, 100), &usual), "LP102"));
    // By 5 % and not past the noise: the median distance is 50.
    let noisy = history([(200, 100), (250, 100), (300, 100), (350, 100), (400, 100)]);
    assert!(!says(&report_with(drafted(450, 100), &noisy), "LP102"));
}

#[test]
fn lp103_finds_a_limit_and_what_lifting_it_would_save() {
    let pairs = [(0, 100), (0, 100), (100, 200), (100, 200), (200, 300), (200, 300)];
    let run = |make: fn(u64, &str, u64, u64) -> SpanRecord| {
        let tasks = (2..).zip(pairs).map(|(id, (start, end))| make(id, "fetch", start, end));
        report([root(300)].into_iter().chain(tasks).collect())
    };
    // All six were there at 0: all at once take 100, four at once 200.
    let seen = run(queued);
    let found = finding(&seen, "LP103");
    assert_eq!((found.subject.as_str(), found.saves_max_ns), ("fetch", ms(200)));
    assert_eq!(found.confidence, Confidence::Likely);
    assert_eq!(found.why, [Reason::AtLimit { calls: 6, limit: 2, queued_ns: ms(600) }]);
    assert_eq!(
        found.suggestions,
        [
            Suggestion::AtOnce { limit: 6, saves_ns: ms(200) },
            Suggestion::AtOnce { limit: 4, saves_ns: ms(100) },
        ]
    );
    // Nobody saw them wait, but each starts as another ends.
    let guessed = run(node);
    let found = finding(&guessed, "LP103");
    assert_eq!((found.saves_max_ns, found.confidence), (ms(200), Confidence::Guess));
    assert_eq!(found.why, [Reason::AtLimit { calls: 6, limit: 2, queued_ns: Duration::ZERO }]);
    // All at once; and one after the other without a sign of waiting.
    let at_once = (2..8).map(|id| node(id, "fetch", 0, 100));
    assert!(!says(&report([root(100)].into_iter().chain(at_once).collect()), "LP103"));
    let serial = (0..6).map(|at| node(at + 2, "fetch", at * 100, at * 100 + 100));
    assert!(!says(&report([root(600)].into_iter().chain(serial).collect()), "LP103"));
}

#[test]
fn lp104_guesses_that_like_steps_in_a_row_need_nothing_from_each_other() {
    let steps = || vec![node(2, "load", 0, 100), node(3, "load", 100, 200), node(4, "load", 200, 350)];
    let run = |steps: Vec<SpanRecord>| report([root(350)].into_iter().chain(steps).collect());
    let serial = run(steps());
    let found = finding(&serial, "LP104");
    assert_eq!((found.subject.as_str(), found.saves_max_ns), ("load", ms(200)), "150 are left");
    assert_eq!(found.confidence, Confidence::Guess);
    assert_eq!(
        found.why,
        [Reason::OneAfterAnother {
            steps: 3,
            nodes: vec!["load".to_owned()],
            together_ns: ms(350),
            longest_ns: ms(150),
        }]
    );
    // Different tools may be independent, different steps of a pipeline hardly.
    let kind = |name: &str, kind: &str, start, end| {
        with(node(start + 2, name, start, end), |facts| facts.operation = Some(kind.into()))
    };
    let tools = run(vec![kind("search", "execute_tool", 0, 200), kind("weather", "execute_tool", 200, 350)]);
    assert_eq!(finding(&tools, "LP104").subject, "search + weather");
    assert!(!says(&run(vec![node(2, "extract", 0, 200), node(3, "load", 200, 350)]), "LP104"));
    // What declares to wait does; turns of a model need each other; what was queued is held by a limit.
    let declared = steps().into_iter().map(|step| with(step, |facts| facts.depends_on = vec!["load".into()]));
    assert!(!says(&run(declared.collect()), "LP104"));
    assert!(!says(&run(vec![chat(2, 0, 200, 1), chat(3, 200, 350, 1)]), "LP104"));
    assert!(!says(&run(vec![queued(2, "load", 0, 200), queued(3, "load", 200, 350)]), "LP104"));
}

#[test]
fn lp105_finds_a_call_made_again_and_again() {
    let calls = |number: u64| {
        let calls = (0..number).map(|at| node(at + 2, "lookup", at * 100, at * 100 + 100));
        report([root(number * 100)].into_iter().chain(calls).collect())
    };
    let many = calls(5);
    let found = finding(&many, "LP105");
    assert_eq!((found.subject.as_str(), found.saves_max_ns), ("lookup", ms(400)), "one has to stay");
    assert_eq!(found.confidence, Confidence::Guess);
    assert_eq!(found.why, [Reason::Repeated { calls: 5, caller: None }]);
    assert_eq!(found.spans.len(), 5);
    assert!(!says(&calls(4), "LP105"));
    let turns = (0..5).map(|at| chat(at + 2, at * 100, at * 100 + 100, 1));
    assert!(!says(&report([root(500)].into_iter().chain(turns).collect()), "LP105"));
    // Five calls of two callers are no five calls of one.
    let mut shared = vec![root(500), node(2, "a", 0, 300), node(3, "b", 300, 500)];
    for at in 0..5u64 {
        let mut call = node(at + 4, "lookup", at * 100, at * 100 + 100);
        call.parent_id = shared[if at < 3 { 1 } else { 2 }].span_id.into();
        shared.push(call);
    }
    assert!(!says(&report(shared), "LP105"));
}

#[test]
fn lp106_finds_input_that_was_answered_before() {
    let call = |id: u64, start: u64, end: u64, hash: u64| {
        with(node(id, "search", start, end), |facts| {
            facts.input_hash = Some(hash);
            facts.cost = Money::from_usd(0.01);
        })
    };
    let repeated = report(vec![
        root(400),
        call(2, 0, 100, 7),
        call(3, 100, 200, 7),
        call(4, 200, 300, 8),
        call(5, 300, 400, 7),
    ]);
    let found = finding(&repeated, "LP106");
    assert_eq!((found.subject.as_str(), found.saves_max_ns), ("search", ms(200)));
    assert_eq!(found.why, [Reason::SameInput { repeats: 2, calls: 4 }]);
    assert_eq!(found.saves_max_usd, Money::from_usd(0.02));
    // No answer yet, or none at all.
    assert!(!says(&report(vec![root(150), call(2, 0, 100, 7), call(3, 50, 150, 7)]), "LP106"));
    assert!(!says(&report(vec![root(200), failed(call(2, 0, 100, 7)), call(3, 100, 200, 7)]), "LP106"));
}

#[test]
fn lp107_finds_the_one_that_holds_up_its_like() {
    let run = |last: u64| {
        let shards = (2..5).map(|id| node(id, "shard", 0, 100));
        report([root(last), node(5, "shard", 0, last)].into_iter().chain(shards).collect())
    };
    let held_up = run(300);
    let found = finding(&held_up, "LP107");
    assert_eq!((found.subject.as_str(), found.saves_max_ns), ("shard", ms(200)));
    assert_eq!(found.why, [Reason::Straggler { siblings: 4, median_ns: ms(100), longest_ns: ms(300) }]);
    assert_eq!(found.spans, ["0000000000000005"]);
    assert!(!says(&run(200), "LP107"), "twice the median is not more than twice");
    let three = vec![root(300), node(2, "shard", 0, 100), node(3, "shard", 0, 100), node(4, "shard", 0, 300)];
    assert!(!says(&report(three), "LP107"));
}

#[test]
fn lp108_counts_failed_tries_and_the_wait_for_the_next() {
    let tries = |attempt: Option<u64>| {
        let second = with(node(3, "fetch", 150, 250), |facts| facts.attempt = attempt);
        report(vec![root(250), failed(node(2, "fetch", 0, 100)), second])
    };
    // Whether the program says so, or the same node simply starts again.
    for retried in [tries(Some(2)), tries(None)] {
        let found = finding(&retried, "LP108");
        assert_eq!((found.subject.as_str(), found.saves_max_ns), ("fetch", ms(150)));
        assert_eq!(
            found.why,
            [Reason::LostToRetries {
                failures: 1,
                retries: 1,
                lost_ns: ms(100),
                on_path_ns: ms(150),
                cost_usd: None
            }]
        );
        assert!(!says(&retried, "LP114"));
        assert_eq!(retried.run.retries, 1);
    }
    // Beside something longer the retry costs nothing, and is told all the same.
    let beside = report(vec![
        root(400),
        node(4, "plan", 0, 400),
        failed(node(2, "fetch", 0, 100)),
        with(node(3, "fetch", 150, 250), |facts| facts.attempt = Some(2)),
    ]);
    let found = finding(&beside, "LP108");
    assert_eq!((found.saves_max_ns, found.severity), (Duration::ZERO, Severity::Low));
    assert_eq!(
        found.why,
        [Reason::LostToRetries {
            failures: 1,
            retries: 1,
            lost_ns: ms(100),
            on_path_ns: Duration::ZERO,
            cost_usd: None
        }]
    );
    assert!(!says(&report(vec![root(200), node(2, "fetch", 0, 100), node(3, "fetch", 100, 200)]), "LP108"));
}

#[test]
fn lp109_needs_twenty_executions_that_differ() {
    // All but one take 10: the mean of 20 is 14.5, they deviate by 20.1, and P95 is still 10.
    let run = |number: u64, last: u64| {
        let others = (0..number - 1).map(|at| node(at + 2, "call", at * 10, at * 10 + 10));
        let last_start = (number - 1) * 10;
        let records = [root(last_start + last), node(900, "call", last_start, last_start + last)];
        records.into_iter().chain(others).collect::<Vec<_>>()
    };
    let varied = report(run(20, 100));
    let found = finding(&varied, "LP109");
    let [Reason::Varies { rule, value, limit, calls }] = &found.why[..] else { panic!("{:?}", found.why) };
    assert_eq!((rule.as_str(), *limit, *calls), ("cv", 1.0, 20));
    assert!((value - 20.124_611_797_498_1 / 14.5).abs() < 1e-9, "{value}");
    assert_eq!(found.saves_max_ns, ms(90));
    assert!(!says(&report(run(19, 100)), "LP109"), "too few");
    assert!(!says(&report(run(20, 30)), "LP109"), "even enough");
    // The simple rules, by option, from five executions on: the longest is 5.1 times the shortest.
    let simple = ReportOptions { simple_variance_rules: true, ..ReportOptions::default() };
    let told = report_with(run(5, 51), &simple);
    let rules: Vec<_> = finding(&told, "LP109").why.iter().map(|why| format!("{why:?}")).collect();
    assert!(rules.iter().any(|rule| rule.contains("\"spread\"")), "{rules:?}");
    assert!(!says(&report(run(5, 51)), "LP109"));
    assert!(!says(&report_with(run(5, 19), &simple), "LP109"), "P99 is 19, not twice 11.8");
}

#[test]
fn lp110_tells_where_the_money_goes() {
    let priced = |id: u64, name: &str, start: u64, end: u64, usd: f64| {
        with(node(id, name, start, end), |facts| facts.cost = Money::from_usd(usd))
    };
    let run = |draft: f64, rank: f64| {
        report(vec![root(200), priced(2, "draft", 0, 100, draft), priced(3, "rank", 100, 200, rank)])
    };
    let hot = run(0.07, 0.03);
    let found = finding(&hot, "LP110");
    assert_eq!((found.subject.as_str(), found.saves_max_usd), ("draft", Money::from_usd(0.07)));
    let [Reason::CostShare { cost_ratio, time_ratio, .. }] = &found.why[..] else {
        panic!("{:?}", found.why)
    };
    assert!((cost_ratio - 0.7).abs() < 1e-12 && *time_ratio == 0.5);
    assert_eq!(found.saves_max_ns, Duration::ZERO);
    // 30 % of the cost for 5 % of the time is much for its time; for 50 % it is not.
    let dear = report(vec![root(200), priced(2, "draft", 0, 190, 0.07), priced(3, "rank", 190, 200, 0.03)]);
    assert!(dear.findings.iter().any(|finding| finding.code == "LP110" && finding.subject == "rank"));
    assert!(hot.findings.iter().all(|finding| finding.code != "LP110" || finding.subject == "draft"));
    // All of the cost of a run with one priced node says nothing.
    assert!(!says(
        &report(vec![root(200), priced(2, "draft", 0, 100, 1.0), node(3, "rank", 100, 200)]),
        "LP110"
    ));
}

#[test]
fn lp111_tells_a_slow_model_from_a_long_answer() {
    // 100 tokens in 1,000 ms, five times; now as many in 2,000 ms.
    let usual = history([(1000, 100); 5]);
    let slow = report_with(drafted(2000, 100), &usual);
    let found = finding(&slow, "LP111");
    assert_eq!((found.subject.as_str(), found.saves_max_ns), ("draft", ms(1000)));
    let (slower, split) = (
        Reason::SlowerOutput { model: "m".to_owned(), per_second: 50.0, usual: 100.0, among_calls: None },
        Reason::SlowerOrMore { slower_ns: ms(1000), wrote_more_ns: Duration::ZERO },
    );
    assert_eq!(found.why, [slower, split]);
    // Twice as slow and half as much again: 150 tokens would have taken 1,500 ms at the usual speed.
    let both = report_with(drafted(3000, 150), &usual);
    assert_eq!(
        finding(&both, "LP111").why[1],
        Reason::SlowerOrMore { slower_ns: ms(1500), wrote_more_ns: ms(500) }
    );
    assert!(!says(&report_with(drafted(2000, 200), &usual), "LP111"), "it wrote more");
    assert!(!says(&report_with(drafted(2000, 100), &history([(1000, 100); 4])), "LP111"));
}

#[test]
fn lp111_tells_a_call_that_is_slower_than_the_others_of_its_model() {
    // Six calls one after the other; five write 100 tokens in 100 ms, the last as many in `last` ms.
    let run = |last: u64, tokens: u64| {
        let mut records = vec![root(500 + last)];
        records.extend((0..5).map(|n| chat(n + 2, n * 100, n * 100 + 100, 100)));
        records.push(with(chat(9, 500, 500 + last, tokens), |facts| facts.node_id = Some("revise".into())));
        report(records)
    };
    let slow = run(400, 100);
    let found = finding(&slow, "LP111");
    assert_eq!((found.subject.as_str(), found.saves_max_ns), ("revise", ms(300)));
    assert_eq!(
        found.why,
        [
            Reason::SlowerOutput {
                model: "m".to_owned(),
                per_second: 250.0,
                usual: 1000.0,
                among_calls: Some(6)
            },
            Reason::SlowerOrMore { slower_ns: ms(300), wrote_more_ns: Duration::ZERO },
        ]
    );
    assert!(slow.to_text().contains("the median of its 6 calls"), "{}", slow.to_text());
    assert!(!says(&run(400, 400), "LP111"), "it wrote more");
    assert!(!says(&run(400, 31), "LP111"), "so few tokens say nothing about speed");
    assert!(!says(&run(140, 100), "LP111"), "not slow enough");
}

#[test]
fn lp108_tells_what_the_tries_that_failed_cost() {
    let priced = |record: SpanRecord, usd: f64| with(record, |facts| facts.cost = Money::from_usd(usd));
    let told = report(vec![
        root(1000),
        priced(failed(node(2, "draft", 0, 400)), 0.02),
        priced(with(node(3, "draft", 400, 1000), |facts| facts.attempt = Some(2)), 0.03),
    ]);
    let found = finding(&told, "LP108");
    assert_eq!(found.saves_max_usd, Money::from_usd(0.02));
    assert_eq!(told.cost.unwrap().lost_to_retries_usd, Money::from_usd(0.02));
}

#[test]
fn lp110_is_less_sure_where_calls_have_no_price() {
    let priced = |record: SpanRecord, usd: f64| with(record, |facts| facts.cost = Money::from_usd(usd));
    let mut records =
        vec![root(300), priced(node(2, "draft", 0, 100), 0.07), priced(node(3, "rank", 100, 200), 0.03)];
    assert_eq!(finding(&report(records.clone()), "LP110").confidence, Confidence::Sure);
    records.push(with(chat(4, 200, 300, 5), |facts| facts.node_id = Some("audit".into())));
    assert_eq!(finding(&report(records), "LP110").confidence, Confidence::Likely);
}

#[test]
fn lp112_finds_time_no_span_covers() {
    let run = |second: SpanRecord| report(vec![root(1000), node(2, "fetch", 0, 300), second]);
    let gap = run(node(3, "draft", 600, 1000));
    let found = finding(&gap, "LP112");
    assert_eq!((found.subject.as_str(), found.saves_max_ns), ("run", ms(300)));
    assert_eq!(
        found.why,
        [Reason::Gap {
            start_ns: ms(300),
            duration_ns: ms(300),
            after: Some("fetch".to_owned()),
            before: Some("draft".to_owned()),
        }]
    );
    assert!(!says(&run(node(3, "draft", 399, 1000)), "LP112"), "99 ms are too little");
    let mut waiting = node(3, "draft", 300, 1000);
    waiting.timing.queued = ms(300);
    assert!(!says(&run(waiting), "LP112"), "draft was there and queued");
    // At the end nothing comes after it.
    let tail = report(vec![root(1000), node(2, "fetch", 0, 700)]);
    let found = finding(&tail, "LP112");
    assert_eq!(found.saves_max_ns, ms(300));
    assert!(matches!(&found.why[0], Reason::Gap { before: None, .. }), "{:?}", found.why);
    // Something else sets the pace after 100 ms of it.
    let paced = report(vec![
        root(1000),
        node(2, "fetch", 0, 300),
        node(3, "draft", 600, 1000),
        node(4, "plan", 0, 900),
    ]);
    assert_eq!(finding(&paced, "LP112").saves_max_ns, ms(100));
}

#[test]
fn lp113_says_how_many_workers_would_help() {
    // Four tasks that need nothing were there at 0 and ran one after the other: four at once take 100, three 200.
    let run = |declare: bool| {
        let tasks = (0..4u64).map(|at| {
            let task = queued(at + 2, &format!("t{at}"), at * 100, at * 100 + 100);
            with(task, |facts| facts.tells_depends_on = declare)
        });
        let mut records: Vec<_> = [root(500)].into_iter().chain(tasks).collect();
        let last = node(9, "join", 400, 500);
        records.push(with(last, |facts| {
            facts.tells_depends_on = declare;
            facts.depends_on = if declare { vec!["t3".into()] } else { Vec::new() };
        }));
        report(records)
    };
    let narrow = run(true);
    assert_eq!(narrow.totals.graph_bound_ns, Some(ms(200)));
    assert_eq!(narrow.totals.efficiency, Some(0.4));
    assert_eq!(narrow.totals.parallelism_average, Some(2.5), "500 of work in 200");
    let found = finding(&narrow, "LP113");
    assert_eq!((found.subject.as_str(), found.saves_max_ns), ("run", ms(300)));
    assert_eq!(found.why, [Reason::RoomToSpread { graph_bound_ns: ms(200), useful_workers: 4, peak: 1 }]);
    let undeclared = run(false);
    assert!(!says(&undeclared, "LP113"));
    assert_eq!(undeclared.totals.efficiency, None, "nothing says what the graph allows");
}

#[test]
fn lp114_tells_what_failed_on_the_path() {
    let run = |status: Status| {
        let mut root = root(200);
        root.status = status;
        report(vec![root, node(2, "plan", 0, 100), failed(node(3, "fetch", 100, 200))])
    };
    let broken = run(Status::Error);
    let found = finding(&broken, "LP114");
    assert_eq!((found.subject.as_str(), found.saves_max_ns), ("fetch", Duration::ZERO));
    assert_eq!(found.severity, Severity::Critical, "half of the run went into it");
    assert_eq!(found.why, [Reason::FailedOnPath { on_path_ns: ms(100), failures: 1 }]);
    assert!(says(&run(Status::Unset), "LP114"), "nobody tried again");
    assert!(!says(&report(vec![root(200), node(2, "plan", 0, 100)]), "LP114"));
    let beside = report(vec![root(200), node(2, "plan", 0, 200), failed(node(3, "fetch", 0, 50))]);
    assert!(!says(&beside, "LP114"), "off the path");
}

#[test]
fn lp115_tells_what_the_trace_lacks() {
    let mut open = node(3, "fetch", 50, 0);
    open.end = longpole::time::Timestamp::EPOCH;
    let torn = report(vec![root(100), node(2, "plan", 0, 50), open]);
    let found = finding(&torn, "LP115");
    assert_eq!((found.severity, found.confidence), (Severity::High, Confidence::Sure));
    let [Reason::TraceQuality { counts }] = &found.why[..] else { panic!("{:?}", found.why) };
    assert_eq!(counts.get("open"), Some(&1));
    assert_eq!(found.spans, ["0000000000000003"]);
    assert_eq!(torn.quality.not_claimed, ["wall", "critical_path", "savings", "cost"]);
    assert!(!says(&report(vec![root(100), node(2, "plan", 0, 50)]), "LP115"));
}

#[test]
fn findings_come_by_saving_then_severity_then_code_then_subject_each_once() {
    // Two sets of stragglers of one node: the one that saves more is told.
    let mut records = vec![root(900), node(2, "left", 0, 400), node(3, "right", 400, 900)];
    let ends = [(2u64, 0u64, 300u64), (3, 400, 500)];
    for (at, (parent, start, longest)) in ends.into_iter().enumerate() {
        for shard in 0..4u64 {
            let length = if shard == 3 { longest } else { 100 };
            let mut record = node(10 + 4 * at as u64 + shard, "shard", start, start + length);
            record.parent_id = Some(records[parent as usize - 1].span_id);
            records.push(record);
        }
    }
    let report = report(records);
    assert_eq!(finding(&report, "LP107").saves_max_ns, ms(400));
    let order: Vec<_> = report
        .findings
        .iter()
        .map(|it| {
            (
                std::cmp::Reverse(it.saves_max_ns),
                std::cmp::Reverse(it.severity),
                it.code.clone(),
                it.subject.clone(),
            )
        })
        .collect();
    assert!(order.is_sorted(), "{order:?}");
}

#[test]
fn changes_are_replayed_together_and_what_saves_nothing_is_named() {
    // a then c; b beside a, 20 shorter. 2× faster: a saves 20 before b sets the pace, c saves 50.
    let run = report(vec![root(200), node(2, "a", 0, 100), node(3, "b", 0, 80), node(4, "c", 100, 200)]);
    let combined = run.combined.as_ref().unwrap();
    let told: Vec<_> =
        combined.changes.iter().map(|it| (it.subject.as_str(), it.suggestion.saves())).collect();
    assert_eq!(told, [("c", ms(50)), ("a", ms(20))]);
    assert_eq!((combined.wall_ns, combined.saves_ns), (ms(130), ms(70)));
    assert_eq!(run.saves_nothing, ["b"]);
    // One node alone has nothing to be combined with.
    assert!(report(vec![root(100), node(2, "a", 0, 100)]).combined.is_none());
}

#[test]
fn a_root_that_fills_a_gap_looks_like_lost_context() {
    // The run waits from 20 to 80 with no span; another trace has a root in that time.
    let told = |name: &str, start: u64, end: u64, service: Option<&str>| {
        let mut other = spans::span(50, None, name, start * MS, end * MS);
        other.trace_id = longpole::ids::TraceId::from_bytes([9; 16]);
        if let Some(service) = service {
            let service_name = Some(service.into());
            other.origin = Arc::new(longpole::span_record::Origin { service_name, ..Default::default() });
        }
        let records = vec![root(100), node(2, "plan", 0, 20), node(3, "draft", 80, 100), other];
        let reports = report_on(records, &ReportOptions::default());
        let run = reports.iter().find(|report| report.run.name == "run").unwrap();
        let reasons = run.findings.iter().flat_map(|finding| finding.why.clone());
        reasons.filter(|reason| matches!(reason, Reason::LostContext { .. })).collect::<Vec<_>>()
    };
    let lost = Reason::LostContext { roots: 1, span: "lost".to_owned(), duration_ns: ms(40) };
    assert_eq!(told("lost", 30, 70, None), [lost]);
    assert!(told("run", 30, 70, None).is_empty(), "another request of the same kind");
    assert!(told("lost", 10, 70, Some("elsewhere")).is_empty(), "another program");
    assert!(told("lost", 0, 60, None).is_empty(), "a third of it beside plan");
    assert!(told("lost", 30, 130, None).is_empty(), "longer than the run");
    assert!(told("lost", 30, 31, None).is_empty(), "1 % is not worth a word");
    assert!(!told("lost", 15, 55, None).is_empty(), "seven eighths of it in the gap");
}
