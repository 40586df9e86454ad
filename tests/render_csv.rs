//! Reports as CSV: what is read back is what the report says.

#![allow(missing_docs, unreachable_pub, dead_code, reason = "a test")]

#[path = "support/sample_reports.rs"]
mod sample_reports;
#[path = "support/traces.rs"]
mod traces;

use std::collections::HashMap;

use longpole::money::Money;
use longpole::render::{
    csv, csv_header, csv_run, csv_runs_header, csv_schema, csv_spans, csv_spans_header, json_line,
};
use longpole::report::*;
use longpole::time::Duration;
use sample_reports::{agent_with_queued_tools, research_agent};
use traces::told_files;

type Record = HashMap<String, String>;

/// The records of a sheet; each must have as many cells as the header.
fn read(sheet: &str) -> Vec<Record> {
    let mut reader = ::csv::ReaderBuilder::new().flexible(false).from_reader(sheet.as_bytes());
    reader.deserialize().map(|record| record.unwrap()).collect()
}

/// Milliseconds with decimals as whole nanoseconds, without a float between.
fn nanos(cell: &str) -> i128 {
    let (sign, digits) = cell.strip_prefix('-').map_or((1, cell), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap();
    assert!(fraction.len() == 3 || fraction.len() == 6, "{cell}");
    sign * format!("{whole}{fraction:0<6}").parse::<i128>().unwrap()
}

fn time(record: &Record, column: &str) -> Option<Duration> {
    let cell = &record[column];
    (!cell.is_empty()).then(|| Duration::from_nanos(nanos(cell).try_into().unwrap()))
}

fn count(record: &Record, column: &str) -> Option<u64> {
    let cell = &record[column];
    (!cell.is_empty()).then(|| cell.parse().unwrap())
}

fn ratio(record: &Record, column: &str) -> Option<f64> {
    let cell = &record[column];
    (!cell.is_empty()).then(|| cell.parse().unwrap())
}

fn money(record: &Record, column: &str) -> Option<Money> {
    let cell = &record[column];
    (!cell.is_empty()).then(|| cell.parse().unwrap())
}

fn reports() -> Vec<Report> {
    let mut reports = vec![research_agent(), agent_with_queued_tools()];
    reports.extend(told_files().into_iter().map(|(report, _)| report));
    reports
}

#[test]
fn the_columns_only_ever_grow_at_their_end() {
    let first_ever = "agent,total,success,failures,avg_ms,min_ms,max_ms,avg_memory_bytes,p50_ms,p90_ms,p95_ms,p99_ms,\
        run_id,workflow,version,kind,total_ms,self_ms,on_path_ms,on_path_share,slack_ms,save_max_ms,save_half_ms,\
        queue_ms,wait_ms,retries,peak_concurrency,input_tokens,output_tokens,cost_usd,cost_share,severity,\
        insight_codes,baseline_p50_ms,delta_ms,delta_share,ttft_p50_ms,model,confidence,cost_is_lower_bound,\
        cost_with_nested_usd,cost_on_path_usd,cost_of_retries_usd,model_calls,unpriced_calls,cache_read_tokens,\
        cache_write_tokens,reasoning_tokens,quality";
    assert!(csv_header().trim_end().starts_with(first_ever), "{}", csv_header());
    assert!(
        csv_runs_header()
            .starts_with("run_id,trace_id,workflow,version,started_at,start_unix_ns,status,wall_ms,")
    );
    assert!(csv_spans_header().starts_with("run_id,span_id,parent_span_id,depth,name,service,node,kind,"));
}

#[test]
fn every_figure_of_a_node_reads_back() {
    for report in reports() {
        let records = read(&(csv_header() + &csv(&report)));
        assert_eq!(records.len(), report.nodes.len());
        for (record, node) in records.iter().zip(&report.nodes) {
            assert_eq!(record["agent"], node.name);
            assert_eq!(record["run_id"], report.run.id);
            assert_eq!(record["kind"], node.kind);
            assert_eq!(count(record, "total"), Some(node.calls));
            assert_eq!(count(record, "failures"), Some(node.failures));
            assert_eq!(count(record, "success"), Some(node.calls - node.failures));
            assert_eq!(count(record, "retries"), Some(node.retries));
            assert_eq!(count(record, "peak_concurrency"), Some(node.peak_concurrency));
            assert_eq!(count(record, "input_tokens"), node.tokens.map(|tokens| tokens.input));
            assert_eq!(count(record, "output_tokens"), node.tokens.map(|tokens| tokens.output));
            let figures = &node.duration;
            for (column, length) in [
                ("avg_ms", Some(figures.avg_ns)),
                ("min_ms", Some(figures.min_ns)),
                ("max_ms", Some(figures.max_ns)),
                ("p50_ms", Some(figures.p50_ns)),
                ("p90_ms", Some(figures.p90_ns)),
                ("p95_ms", Some(figures.p95_ns)),
                ("p99_ms", Some(figures.p99_ns)),
                ("total_ms", Some(figures.sum_ns)),
                ("self_ms", Some(node.self_ns)),
                ("on_path_ms", Some(node.on_path_ns)),
                ("queue_ms", Some(node.queued_ns)),
                ("slack_ms", node.slack_ns),
                ("save_max_ms", node.save_max_ns),
                ("baseline_p50_ms", node.baseline.map(|baseline| baseline.p50_ns)),
            ] {
                assert_eq!(time(record, column), length, "{column} of {}", node.name);
            }
            assert_eq!(ratio(record, "on_path_share"), Some(node.critical_path_ratio));
            assert_eq!(money(record, "cost_usd"), node.cost_usd);
            assert_eq!(money(record, "cost_with_nested_usd"), node.cost_with_nested_usd);
            let codes: Vec<&str> = report
                .findings
                .iter()
                .filter(|finding| finding.subject == node.name)
                .map(|finding| finding.code.as_str())
                .collect();
            assert_eq!(record["insight_codes"], codes.join(" "));
            for unknown in ["avg_memory_bytes", "ttft_p50_ms"] {
                assert_eq!(record[unknown], "", "not measured, and not zero");
            }
        }
    }
}

#[test]
fn what_is_said_about_a_node_stands_in_its_row() {
    let mut report = research_agent();
    report.nodes[4].baseline =
        Some(Baseline { runs: 20, p50_ns: Duration::from_millis(5_020), mad_ns: Duration::ZERO });
    report.nodes[4].duration.sum_ns = Duration::from_millis(6_920);
    let records = read(&(csv_header() + &csv(&report)));
    let draft = &records[4];
    assert_eq!(draft["agent"], "draft");
    assert_eq!(draft["severity"], "critical");
    assert_eq!(draft["insight_codes"], "LP101 LP102");
    assert_eq!(draft["confidence"], "sure");
    assert_eq!(draft["save_half_ms"], "3460.000");
    assert_eq!(draft["delta_ms"], "1900.000");
    let share: f64 = draft["delta_share"].parse().unwrap();
    assert!((share - 1_900.0 / 5_020.0).abs() < 1e-12, "{share}");
    assert_eq!(records[7]["severity"], "");
}

#[test]
fn every_figure_of_a_run_reads_back() {
    let reports = reports();
    let rows: String = reports.iter().map(csv_run).collect();
    let records = read(&(csv_runs_header() + &rows));
    assert_eq!(records.len(), reports.len());
    for (record, report) in records.iter().zip(&reports) {
        assert_eq!(record["trace_id"], report.run.trace_id);
        assert_eq!(record["started_at"], report.run.started_at);
        assert_eq!(time(record, "wall_ms"), Some(report.run.wall_ns));
        assert_eq!(time(record, "work_ms"), Some(report.run.work_ns));
        assert_eq!(time(record, "path_ms"), Some(report.critical_path.length_ns));
        assert_eq!(time(record, "unattributed_ms"), Some(report.totals.unattributed_ns));
        assert_eq!(time(record, "baseline_p50_ms"), report.run.baseline.map(|it| it.p50_ns));
        assert_eq!(count(record, "spans"), Some(report.run.spans));
        assert_eq!(count(record, "errors"), Some(report.run.errors));
        assert_eq!(count(record, "input_tokens"), report.totals.tokens.map(|it| it.input));
        assert_eq!(ratio(record, "parallelism"), report.totals.parallelism_achieved);
        assert_eq!(money(record, "cost_usd"), report.totals.cost_usd);
        let longest = report.critical_path.rows.iter().find(|row| row.is_longest);
        assert_eq!(record["longest_node"], longest.map_or("", |row| &row.node));
    }
}

#[test]
fn every_span_reads_back_and_self_times_on_the_path_make_the_wall_time() {
    for (report, timeline) in told_files() {
        let records = read(&(csv_spans_header() + &csv_spans(&report, &timeline)));
        assert_eq!(records.len(), timeline.spans.len());
        for (record, span) in records.iter().zip(&timeline.spans) {
            assert_eq!(record["span_id"], span.span_id.to_string());
            assert_eq!(record["name"], *span.name);
            assert_eq!(count(record, "start_unix_ns"), Some(span.start_unix_ns.as_unix_nanos()));
            let offset = i128::from(span.start_unix_ns.as_unix_nanos())
                - i128::from(timeline.start_unix_ns.as_unix_nanos());
            assert_eq!(nanos(&record["start_ms"]), offset);
            assert_eq!(
                time(record, "duration_ms"),
                Some(span.end_unix_ns.saturating_since(span.start_unix_ns))
            );
            assert_eq!(money(record, "cost_usd"), span.cost_usd);
            let parent = span.parent.map(|parent| timeline.spans[parent as usize].span_id.to_string());
            assert_eq!(record["parent_span_id"], parent.unwrap_or_default());
        }
        let on_path: i128 = records.iter().map(|record| nanos(&record["self_on_path_ms"])).sum();
        assert_eq!(on_path, i128::from(report.run.wall_ns.as_nanos()));
    }
}

#[test]
fn hostile_names_are_one_cell_each_and_no_formula() {
    for hostile in
        ["=cmd|' /C calc'!A0", "+1", "-1+1", "@SUM(A1)", "a,b\"c\r\nd\0", "\u{202e}evil", "<script>"]
    {
        let mut report = research_agent();
        report.nodes[0].name = hostile.to_owned();
        report.run.workflow = Some(hostile.to_owned());
        let sheet = csv_header() + &csv(&report);
        assert_eq!(sheet.lines().count(), 1 + report.nodes.len());
        assert!(!sheet.contains(['\0', '\r', '\u{202e}']));
        let records = read(&sheet);
        assert!(!records[0]["agent"].starts_with(['=', '+', '-', '@']), "{}", records[0]["agent"]);
        assert_eq!(records[0]["agent"], records[0]["workflow"]);
    }
}

#[test]
fn the_description_of_the_columns_has_all_of_them_in_order() {
    let schema: serde_json::Value = serde_json::from_str(&csv_schema()).unwrap();
    for (sheet, header) in
        [("csv", csv_header()), ("csv:runs", csv_runs_header()), ("csv:spans", csv_spans_header())]
    {
        let fields = schema[sheet]["fields"].as_array().unwrap();
        let names: Vec<&str> = fields.iter().map(|field| field["name"].as_str().unwrap()).collect();
        assert_eq!(names.join(",") + "\n", header);
        assert!(fields.iter().all(|field| !field["description"].as_str().unwrap().is_empty()));
    }
}

#[test]
fn a_json_line_is_the_whole_report_on_one_line() {
    for report in reports() {
        let line = json_line(&report);
        assert!(line.ends_with('\n') && line.lines().count() == 1);
        assert_eq!(serde_json::from_str::<Report>(&line).unwrap(), report);
    }
}
