//! The layouts of earlier profilers, to the letter.

#![allow(missing_docs, unreachable_pub, dead_code, reason = "a test")]

#[path = "support/sample_reports.rs"]
mod sample_reports;
#[path = "support/spans.rs"]
mod spans;
#[path = "support/traces.rs"]
mod traces;

use longpole::render::{conexus, lines};
use longpole::report::*;
use longpole::span_record::{NodeFacts, SpanRecord, Status};
use longpole::time::Timestamp;
use longpole::{ReportOptions, report_with_timeline, runs_in};
use sample_reports::{ms, path_row, report};
use serde_json::Value;
use spans::span;
use traces::told_files;

const MS: u64 = 1_000_000;
/// 2025-10-15T10:30:00Z.
const HALF_PAST_TEN: u64 = 1_760_524_200_000_000_000;

/// Figures as the guide of that profiler prints them.
fn locator_and_analyzer() -> Report {
    let rows = vec![
        path_row("codebase-locator", "agent", 0, 2_100, None),
        path_row("codebase-analyzer", "agent", 2_100, 4_800, None),
    ];
    let mut report = report("search", 6_900, rows, Vec::new());
    let figures = |avg, min, max, [p50, p90, p95, p99]: [u64; 4], calls: u64| DurationSummary {
        sum_ns: ms(avg * calls),
        avg_ns: ms(avg),
        min_ns: ms(min),
        max_ns: ms(max),
        p50_ns: ms(p50),
        p90_ns: ms(p90),
        p95_ns: ms(p95),
        p99_ns: ms(p99),
    };
    for (index, calls, failures, duration) in [
        (0, 50, 1, figures(42, 28, 156, [40, 65, 88, 145], 50)),
        (1, 100, 1, figures(48, 30, 200, [45, 75, 95, 180], 100)),
    ] {
        let node = &mut report.nodes[index];
        (node.calls, node.failures, node.duration) = (calls, failures, duration);
    }
    report.run.start_unix_ns = Timestamp::from_unix_nanos(HALF_PAST_TEN - 6_900 * MS);
    report
}

#[test]
fn the_text_is_that_of_the_guide() {
    // Memory apart, which is not measured, every line is the guide's; its average of 45 ms is rounded from 46 ms.
    insta::assert_snapshot!(conexus::text(&locator_and_analyzer()), @r"
Performance Report
=================

Generated: 2025-10-15T10:30:00Z
Total Executions: 150
Overall Avg Duration: 46ms
Overall Avg Memory: n/a
Overall Success Rate: 98.67%

Agent Metrics
-------------

Agent: codebase-locator
  Total Executions: 50
  Success: 49 (98.0%)
  Failures: 1
  Avg Duration: 42ms
  Min Duration: 28ms
  Max Duration: 156ms
  Avg Memory: n/a
  Percentiles:
    P50: 40ms
    P90: 65ms
    P95: 88ms
    P99: 145ms

Agent: codebase-analyzer
  Total Executions: 100
  Success: 99 (99.0%)
  Failures: 1
  Avg Duration: 48ms
  Min Duration: 30ms
  Max Duration: 200ms
  Avg Memory: n/a
  Percentiles:
    P50: 45ms
    P90: 75ms
    P95: 95ms
    P99: 180ms
");
}

#[test]
fn the_sheet_is_that_of_the_guide() {
    assert_eq!(
        conexus::csv_header() + &conexus::csv(&locator_and_analyzer()),
        "Agent,Total,Success,Failures,AvgDuration,MinDuration,MaxDuration,AvgMemory,P50,P90,P95,P99\n\
         codebase-locator,50,49,1,42ms,28ms,156ms,,40ms,65ms,88ms,145ms\n\
         codebase-analyzer,100,99,1,48ms,30ms,200ms,,45ms,75ms,95ms,180ms\n"
    );
}

#[test]
fn the_json_has_the_fields_of_the_guide() {
    let json: Value = serde_json::from_str(&conexus::json(&locator_and_analyzer())).unwrap();
    assert_eq!(json["generated_at"], "2025-10-15T10:30:00Z");
    assert_eq!(json["total_executions"], 150);
    assert_eq!(json["overall_avg_duration"], 46_000_000);
    assert_eq!(json["overall_success_rate"], 98.67);
    let locator = &json["agent_metrics"]["codebase-locator"];
    assert_eq!(locator["total_executions"], 50);
    assert_eq!(locator["success_count"], 49);
    assert_eq!(locator["avg_duration"], 42_000_000);
    assert_eq!(locator["percentiles"]["p50"], 40_000_000);
    assert_eq!(locator["percentiles"]["p99"], 145_000_000);
    assert!(json["system_metrics"]["average"].as_object().unwrap().contains_key("avg_memory_alloc"));
    assert_eq!(
        json["system_metrics"]["average"]["avg_goroutines"],
        Value::Null,
        "not measured, and not zero"
    );
}

#[test]
fn the_summary_is_that_of_the_guide() {
    // Both have a P99 above twice their average.
    assert_eq!(
        conexus::summary(&locator_and_analyzer(), conexus::SLOW_EXECUTION),
        "=== Performance Summary ===\n\
         Executions: 150 | Avg Duration: 46ms | Success Rate: 98.7%\n\
         ⚠️  2 bottleneck(s) detected\n"
    );
}

#[test]
fn a_summary_without_bottlenecks_has_no_line_for_them() {
    let mut report = locator_and_analyzer();
    for node in &mut report.nodes {
        node.duration.p99_ns = node.duration.avg_ns;
    }
    assert_eq!(conexus::summary(&report, conexus::SLOW_EXECUTION).lines().count(), 2);
    // An average of 48 ms is above 45 ms, one of 42 ms is not.
    assert!(conexus::summary(&report, ms(45)).ends_with("1 bottleneck(s) detected\n"));
}

fn node(id: u64, start: u64, end: u64, failed: bool) -> SpanRecord {
    let facts = NodeFacts { node_id: Some("codebase-locator".into()), ..NodeFacts::default() };
    SpanRecord {
        facts: Some(Box::new(facts)),
        status: if failed { Status::Error } else { Status::Unset },
        ..span(id, Some(1), "find main.rs", HALF_PAST_TEN + start * MS, HALF_PAST_TEN + end * MS)
    }
}

fn phase(id: u64, parent: u64, name: &str, start: u64, end: u64) -> SpanRecord {
    span(id, Some(parent), name, HALF_PAST_TEN + start * MS, HALF_PAST_TEN + end * MS)
}

#[test]
fn the_execution_details_are_those_of_the_guide() {
    let records = vec![
        span(1, None, "search", HALF_PAST_TEN, HALF_PAST_TEN + 1_100 * MS),
        node(2, 0, 42, false),
        phase(3, 2, "file_discovery", 0, 15),
        phase(4, 2, "parsing", 15, 27),
        phase(5, 2, "analysis", 27, 37),
        node(6, 1_000, 1_030, true),
    ];
    let run = runs_in(records).into_iter().next().unwrap();
    let (_, timeline) = report_with_timeline(run, &ReportOptions::default()).unwrap();
    insta::assert_snapshot!(conexus::execution_details(&timeline, "codebase-locator"), @r"
Execution Details: codebase-locator
===================================

Execution ID: codebase-locator-1760524200
  Request: find main.rs
  Start: 2025-10-15T10:30:00Z
  Duration: 42ms
  Memory: n/a
  Goroutines: n/a
  Success: true
  Phases:
    - file_discovery: 15ms
    - parsing: 12ms
    - analysis: 10ms

Execution ID: codebase-locator-1760524201
  Request: find main.rs
  Start: 2025-10-15T10:30:01Z
  Duration: 30ms
  Memory: n/a
  Goroutines: n/a
  Success: false
");
    assert_eq!(conexus::execution_details(&timeline, "nobody"), "");
}

/// Go's way of writing a length of time, read back.
fn go_nanos(text: &str) -> u64 {
    let mut rest = text;
    let mut sum = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap();
        let (number, after) = rest.split_at(digits);
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let size = match unit {
            "h" => 3_600e9,
            "m" => 60e9,
            "s" => 1e9,
            "ms" => 1e6,
            "µs" => 1e3,
            "ns" => 1.0,
            other => panic!("{other:?} in {text}"),
        };
        sum += number.parse::<f64>().unwrap() * size;
        rest = after;
    }
    sum.round() as u64
}

#[test]
fn every_layout_reads_back_to_the_figures_of_the_report() {
    for (report, _) in told_files() {
        let inner: Vec<_> = report.nodes.iter().filter(|node| !node.is_root).collect();
        let nodes: Vec<_> = if inner.is_empty() { report.nodes.iter().collect() } else { inner };
        let text = conexus::text(&report);
        let agents: Vec<&str> = text.split("\nAgent: ").skip(1).collect();
        let json: Value = serde_json::from_str(&conexus::json(&report)).unwrap();
        let sheet = conexus::csv_header() + &conexus::csv(&report);
        let records: Vec<_> =
            ::csv::Reader::from_reader(sheet.as_bytes()).into_records().map(Result::unwrap).collect();
        assert_eq!(
            [agents.len(), records.len(), json["agent_metrics"].as_object().unwrap().len()],
            [nodes.len(); 3]
        );
        for ((node, agent), record) in nodes.into_iter().zip(agents).zip(records) {
            let field = |label: &str| {
                let line = agent.lines().find_map(|line| line.trim_start().strip_prefix(label)).unwrap();
                line.trim_start_matches(": ").to_owned()
            };
            let figures = &node.duration;
            assert_eq!(agent.lines().next(), Some(&*node.name));
            assert_eq!(field("Total Executions"), node.calls.to_string());
            assert_eq!(field("Failures"), node.failures.to_string());
            let of_json = &json["agent_metrics"][&node.name];
            assert_eq!(of_json["total_executions"], node.calls);
            for (label, key, column, length) in [
                ("Avg Duration", "avg_duration", 4, figures.avg_ns),
                ("Min Duration", "min_duration", 5, figures.min_ns),
                ("Max Duration", "max_duration", 6, figures.max_ns),
            ] {
                let nanos = length.as_nanos();
                assert_eq!(go_nanos(&field(label)), nanos);
                assert_eq!(go_nanos(&record[column]), nanos);
                assert_eq!(of_json[key], nanos);
            }
            for (label, key, column, length) in
                [("P50", "p50", 8, figures.p50_ns), ("P99", "p99", 11, figures.p99_ns)]
            {
                assert_eq!(go_nanos(&field(label)), length.as_nanos());
                assert_eq!(go_nanos(&record[column]), length.as_nanos());
                assert_eq!(of_json["percentiles"][key], length.as_nanos());
            }
        }
    }
}

#[test]
fn the_console_lines_name_the_slowest_node_and_the_bottlenecks() {
    let row = |node: &str, total: f64, calls: u64, percent: f64| Bottleneck {
        node_id: node.to_owned(),
        total_duration_ms: total,
        avg_duration_ms: total / calls as f64,
        call_count: calls,
        percent_of_total: percent,
    };
    let mut report = locator_and_analyzer();
    // 100 ms, 200 ms and 50 ms: 350 ms in all, of which node2 has 57.1 %.
    report.bottleneck_info = Summary {
        total_time_ms: 350.0,
        node_count: 3,
        slowest_node: Some(row("node2", 200.0, 1, 57.142_857)),
        bottlenecks: vec![row("node2", 200.0, 1, 57.142_857)],
    };
    assert_eq!(
        lines(&report, 50.0),
        "Slowest node: node2 (200.00ms avg)\nBottlenecks (>50% of total time):\n  - node2: 57.1% (200ms total)\n"
    );
    report.bottleneck_info.bottlenecks.clear();
    assert_eq!(lines(&report, 50.0), "Slowest node: node2 (200.00ms avg)\n");
    report.bottleneck_info.slowest_node = None;
    assert_eq!(lines(&report, 50.0), "");
}

#[test]
fn the_console_lines_read_back_to_the_summary() {
    for (report, _) in told_files() {
        let text = lines(&report, 50.0);
        let summary = &report.bottleneck_info;
        let slowest = summary.slowest_node.as_ref().unwrap();
        let first = text.lines().next().unwrap();
        let (name, average) = first.strip_prefix("Slowest node: ").unwrap().rsplit_once(" (").unwrap();
        assert_eq!(name, slowest.node_id);
        let average: f64 = average.strip_suffix("ms avg)").unwrap().parse().unwrap();
        assert!((average - slowest.avg_duration_ms).abs() <= 0.005);
        let rows: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("  - ")).collect();
        assert_eq!(rows.len(), summary.bottlenecks.len());
        for (row, bottleneck) in rows.iter().zip(&summary.bottlenecks) {
            let (name, figures) = row.rsplit_once(": ").unwrap();
            assert_eq!(name, bottleneck.node_id);
            let (percent, total) = figures.split_once("% (").unwrap();
            assert!((percent.parse::<f64>().unwrap() - bottleneck.percent_of_total).abs() <= 0.05);
            let total: f64 = total.strip_suffix("ms total)").unwrap().parse().unwrap();
            assert!((total - bottleneck.total_duration_ms).abs() <= 0.5);
        }
    }
}
