//! A run says how many spans it has, so that whoever reads it with fewer knows.

#[path = "support/spans.rs"]
mod spans;

use std::fs;
use std::num::NonZeroU64;
use std::path::Path;

use longpole::report::{QualityLevel, Reason, RunStatus, Source};
use longpole::span_record::{Outcome, SpanRecord};
use longpole::time::Timestamp;
use longpole::{Report, ReportOptions, report_on};
use tracing::info_span;
use tracing_subscriber::prelude::*;

/// A span of the trace with its id as its time.
fn span(id: u64, parent: u64) -> SpanRecord {
    spans::span(id, Some(parent).filter(|id| *id != 0), &format!("s{id}"), id * 10, 1_000 - id * 10)
}

/// The same, saying that its run has so many spans.
fn told(id: u64, parent: u64, spans: u64) -> SpanRecord {
    let mut record = span(id, parent);
    record.facts.get_or_insert_default().run_spans = NonZeroU64::new(spans);
    record
}

/// The same, marked.
fn marked(id: u64, parent: u64, spans: u64) -> SpanRecord {
    let mut record = told(id, parent, spans);
    record.facts.get_or_insert_default().workflow_name = Some("w".into());
    record
}

fn report(records: impl Into<Vec<SpanRecord>>) -> Report {
    let mut reports = report_on(records.into(), &ReportOptions::default());
    assert_eq!(reports.len(), 1);
    reports.remove(0)
}

/// Root 1 with 2 (with 4 and 5) and 3.
fn tree() -> Vec<SpanRecord> {
    vec![told(1, 0, 5), span(2, 1), span(3, 1), span(4, 2), span(5, 2)]
}

fn missing(records: impl Into<Vec<SpanRecord>>) -> u64 {
    let report = report(records);
    assert_eq!(
        report.run.status == RunStatus::Incomplete,
        report.quality.open_spans + report.quality.orphans > 0
    );
    report.quality.missing_spans
}

#[test]
fn a_run_with_fewer_spans_than_its_root_tells_is_incomplete_and_one_with_all_is_not() {
    let whole = report(tree());
    assert_eq!((whole.run.status, whole.quality.level), (RunStatus::Ok, QualityLevel::High));
    assert!(whole.to_text().contains("spans 5"), "{}", whole.to_text());

    let torn = report(&tree()[..4]);
    assert_eq!((torn.run.status, torn.quality.level), (RunStatus::Incomplete, QualityLevel::Low));
    let quality = &torn.quality;
    assert_eq!((quality.closed_spans, quality.open_spans, quality.missing_spans), (4, 1, 1));
    assert_eq!(quality.not_claimed, ["wall", "critical_path", "savings", "cost"]);
    let finding = torn.findings.iter().find(|finding| finding.code == "LP115").unwrap();
    let [Reason::TraceQuality { counts }] = &finding.why[..] else { panic!("{:?}", finding.why) };
    assert_eq!(counts.iter().collect::<Vec<_>>(), [(&"missing".to_owned(), &1)]);
    let text = torn.to_text();
    assert!(text.contains("4 of 5 spans\n") && text.contains("incomplete"), "{text}");
    assert!(text.contains("low: 4 of 5 spans closed") && text.contains("wall ≥"), "{text}");
    assert!(!text.contains("never ended"), "nothing is known of it: {text}");
    assert!(torn.to_json().contains(r#""missing_spans": 1"#), "{}", torn.to_json());
}

#[test]
fn every_single_span_that_is_taken_away_is_missed() {
    for gone in 1..5 {
        let mut records = tree();
        records.remove(gone);
        assert_eq!(missing(records), 1, "s{}", gone + 1);
    }
    // Without its root nobody tells; the others are orphans then.
    assert_eq!(missing(&tree()[1..]), 0);
    // Of 2 only the two below it are left.
    assert_eq!(missing([told(1, 0, 5), span(4, 2), span(5, 2)]), 2);
    assert_eq!(missing([told(1, 0, 5)]), 4);
}

#[test]
fn a_single_span_of_a_larger_run_is_told_as_such() {
    let text = report([told(1, 0, 5)]).to_text();
    assert!(text.contains("1 of 5 spans") && !text.contains("a single span"), "{text}");
    assert!(report([told(1, 0, 1)]).to_text().contains("a single span"));
}

#[test]
fn of_many_spans_a_few_missing_take_no_claims_away() {
    let spans = |count: u64| -> Vec<SpanRecord> {
        (2..=count)
            .map(|id| spans::span(id, Some(1), "step", id, id + 1))
            .chain([told(1, 0, 1_000)])
            .collect()
    };
    let report = report(spans(995));
    assert_eq!((report.quality.missing_spans, report.quality.level), (5, QualityLevel::Medium));
    assert_eq!(report.quality.not_claimed, ["wall", "cost"]);
    assert_eq!(report.run.status, RunStatus::Incomplete);
}

#[test]
fn copies_count_once_and_more_than_told_is_no_matter() {
    let mut twice = tree();
    twice.extend(tree());
    assert_eq!(missing(twice), 0);
    let mut records = tree();
    records.truncate(4);
    records.extend(records.clone());
    assert_eq!(missing(records), 1, "a copy does not stand for the one that is missing");
    // The root came again without what it tells, after a crash.
    let mut records = tree();
    records.truncate(4);
    records.push(span(1, 0));
    records.reverse();
    assert_eq!(missing(records), 1);
    let mut more = tree();
    more.push(span(6, 5));
    assert_eq!(missing(more), 0);
}

/// The span as it was written when it was still open.
fn partial(id: u64, parent: u64, end: u64) -> SpanRecord {
    let mut record = span(id, parent);
    record.end = Timestamp::from_unix_nanos(end);
    record.facts.get_or_insert_default().outcome = Some(Outcome::Partial);
    record
}

#[test]
fn what_was_written_of_a_span_while_it_was_open_makes_way_for_what_came_later() {
    // Also where the work of the span ended before it was written for the first time.
    for end in [35, 970, 5_000] {
        let mut records = tree();
        records.insert(0, partial(3, 1, end));
        records.push(partial(1, 0, end));
        let report = report(records);
        assert_eq!((report.run.status, report.run.spans), (RunStatus::Ok, 5), "{end}");
        assert_eq!((report.quality.level, report.quality.open_spans), (QualityLevel::High, 0));
        assert_eq!(report.quality.warnings.get("duplicate_span"), Some(&2));
    }
    // It never ended: the last time it was written counts.
    let mut records = tree();
    records[2] = partial(3, 1, 50);
    records.extend([partial(3, 1, 60), partial(3, 1, 40), partial(3, 1, 60)]);
    let report = report(records);
    assert_eq!((report.run.spans, report.quality.missing_spans, report.quality.open_spans), (5, 0, 1));
    assert_eq!(report.nodes.iter().find(|node| node.name == "s3").unwrap().duration.sum_ns.as_nanos(), 30);
    assert_eq!(report.quality.warnings.get("duplicate_span"), Some(&3));
}

#[test]
fn a_run_whose_process_died_says_which_of_its_spans_were_open() {
    let mut records = tree();
    records[0] = partial(1, 0, 200);
    records[2] = partial(3, 1, 200);
    let report = report(records);
    assert_eq!((report.run.status, report.quality.level), (RunStatus::Incomplete, QualityLevel::Low));
    let quality = &report.quality;
    assert_eq!((quality.closed_spans, quality.open_spans, quality.missing_spans), (3, 2, 0));
    let open: Vec<&str> = quality.open.iter().map(|row| row.span.as_str()).collect();
    assert_eq!(open, ["s1", "s3"]);
    let text = report.to_text();
    assert!(
        text.contains("spans 5\n  2 spans never ended") && text.contains("3 of 5 spans closed"),
        "{text}"
    );
    assert_eq!(quality.not_claimed, ["wall", "critical_path", "savings", "cost"]);
}

#[test]
fn each_root_that_tells_counts_what_is_nearest_to_it() {
    // A process calls another: each tells of its own.
    let called = || vec![told(1, 0, 2), span(2, 1), told(10, 2, 3), span(11, 10), span(12, 11)];
    assert_eq!(missing(called()), 0);
    for gone in [1, 3, 4] {
        let mut records = called();
        records.remove(gone);
        assert_eq!(missing(records), 1, "without {gone}");
    }
    // One with more than it tells makes up for nothing: these are of a process that tells nothing.
    let mut records = called();
    records.extend((20..29).map(|id| span(id, 2)));
    records.remove(4);
    assert_eq!(missing(records), 1);
    // The caller's part has not come at all.
    assert_eq!(missing(&called()[2..]), 0);
}

#[test]
fn runs_inside_a_run_are_counted_by_their_own_roots() {
    let outer = || vec![marked(1, 0, 2), span(2, 1), marked(3, 2, 2), span(4, 3)];
    assert_eq!(missing(outer()), 0);
    assert_eq!(missing(&outer()[..3]), 1);
    // Several runs under a root that is none: each says its own.
    let reports = |records: Vec<SpanRecord>| -> Vec<u64> {
        report_on(records, &ReportOptions::default()).iter().map(|it| it.quality.missing_spans).collect()
    };
    let mut records = vec![span(1, 0), marked(2, 1, 2), marked(3, 1, 3), span(4, 2), span(5, 3), span(6, 5)];
    assert_eq!(reports(records.clone()), [0, 0]);
    records.pop();
    assert_eq!(reports(records), [0, 1]);
}

/// What a program writes whose root has two nodes, one with two spans below it.
fn written(folder: &Path) -> (Report, String) {
    let file = folder.join("spans.jsonl");
    let (layer, longpole) = longpole::builder().spans_file(&file).build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let _run = info_span!("run", workflow.name = "w").entered();
        info_span!("first", node.id = "first").in_scope(|| {
            info_span!("inner").in_scope(|| ());
            info_span!("other").in_scope(|| ());
        });
        info_span!("second", node.id = "second").in_scope(|| ());
    });
    assert!(longpole.flush().is_complete);
    let live = longpole.last_run().unwrap();
    (Report::clone(&live), fs::read_to_string(&file).unwrap())
}

fn read(file: &str) -> Report {
    let decoded = longpole::decode::decode(file.as_bytes()).unwrap();
    assert!(decoded.problems.is_empty());
    report(decoded.spans)
}

fn what_it_says(report: &Report) -> Report {
    Report { source: Source::Live, pipeline: None, ..report.clone() }
}

/// The file without the span of this name.
fn without(file: &str, name: &str) -> String {
    let mut taken = 0;
    let lines = file.lines().map(|line| {
        let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
        for resource in line["resourceSpans"].as_array_mut().unwrap() {
            for scope in resource["scopeSpans"].as_array_mut().unwrap() {
                let spans = scope["spans"].as_array_mut().unwrap();
                let before = spans.len();
                spans.retain(|span| span["name"] != name);
                taken += before - spans.len();
            }
        }
        line.to_string() + "\n"
    });
    let file = lines.collect();
    assert_eq!(taken, 1, "{name}");
    file
}

#[test]
fn a_file_with_a_span_removed_says_so_and_the_whole_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let (live, file) = written(folder.path());
    assert_eq!((live.run.status, live.run.spans, live.quality.missing_spans), (RunStatus::Ok, 5, 0));
    assert_eq!(what_it_says(&live), what_it_says(&read(&file)));
    assert!(file.contains("longpole.run.spans") && !file.contains("longpole.run.lost_spans"));
    for name in ["inner", "other", "second"] {
        let torn = read(&without(&file, name));
        assert_eq!(
            (torn.run.status, torn.quality.level),
            (RunStatus::Incomplete, QualityLevel::Low),
            "{name}"
        );
        assert!(torn.to_text().contains("4 of 5 spans"), "{}", torn.to_text());
    }
    // What is below it belongs to no marked run any more.
    let torn = read(&without(&file, "first"));
    assert!(torn.to_text().contains("2 of 5 spans"), "{}", torn.to_text());
}
