//! Runs for other tools, read back: the numbers are those of the run.

#![allow(missing_docs, unreachable_pub, dead_code, reason = "a test")]

#[path = "support/spans.rs"]
mod spans;

use std::collections::BTreeMap;

use longpole::decode::{Limits, decode, stream};
use longpole::otlp_json::traces_json;
use longpole::render::{json, speedscope, trace_events};
use longpole::report::timeline::Timeline;
use longpole::span_record::SpanRecord;
use longpole::{Report, ReportOptions, report_on, report_with_timeline, runs_in};
use serde_json::Value;
use spans::span;

fn told(records: Vec<SpanRecord>) -> (Report, Timeline) {
    let run = runs_in(records).into_iter().next().unwrap();
    report_with_timeline(run, &ReportOptions::default()).unwrap()
}

fn bytes_of(file: &str) -> Vec<u8> {
    std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

fn from_file(file: &str) -> (Report, Timeline) {
    told(decode(&bytes_of(file)).unwrap().spans)
}

const AGENT: &str = "cli/tests/data/support_agent.otlp.json";

/// From a time in µs with decimals to ns.
fn nanos(value: &Value) -> u64 {
    (value.as_f64().unwrap() * 1_000.0).round() as u64
}

fn overlapping() -> (Report, Timeline) {
    // Three calls at once under one parent, the second failing late, and one that waits for two of them.
    told(vec![
        span(1, None, "root", 1_000_000_000_123, 1_000_000_900_456),
        span(2, Some(1), "fetch", 1_000_000_000_123, 1_000_000_500_001),
        span(3, Some(1), "fetch", 1_000_000_100_000, 1_000_000_600_007),
        span(4, Some(1), "fetch", 1_000_000_200_000, 1_000_000_300_000),
        span(5, Some(3), "read", 1_000_000_150_000, 1_000_000_250_000),
        span(6, Some(1), "join", 1_000_000_600_007, 1_000_000_900_000),
        span(7, Some(1), "<\"\\\u{202e}\n\0>", 1_000_000_600_007, 1_000_000_700_000),
    ])
}

#[test]
fn trace_events_have_every_span_once_at_its_time_and_the_path_adds_up_to_the_wall_time() {
    for (report, timeline) in [from_file(AGENT), overlapping()] {
        let text = trace_events(&[(&report, &timeline)]);
        assert_eq!(text, trace_events(&[(&report, &timeline)]));
        let trace: Value = serde_json::from_str(&text).unwrap();
        let start: u64 = trace["otherData"]["start_unix_ns"].as_str().unwrap().parse().unwrap();
        let slices: Vec<&Value> =
            trace["traceEvents"].as_array().unwrap().iter().filter(|event| event["ph"] == "X").collect();
        let is_path = |event: &&&Value| event["cat"] == "critical_path";
        let path: u64 = slices.iter().filter(is_path).map(|event| nanos(&event["dur"])).sum();
        assert_eq!(path, report.run.wall_ns.as_nanos());
        let spans: BTreeMap<&str, (String, u64, u64)> = slices
            .iter()
            .filter(|event| !is_path(event))
            .map(|event| {
                let times = (nanos(&event["ts"]) + start, nanos(&event["dur"]));
                let name = event["name"].as_str().unwrap().to_owned();
                (event["args"]["span_id"].as_str().unwrap(), (name, times.0, times.1))
            })
            .collect();
        assert_eq!(spans.len(), timeline.spans.len());
        for span in &timeline.spans {
            let told =
                (span.name.to_string(), span.start_unix_ns.as_unix_nanos(), span.duration().as_nanos());
            assert_eq!(spans[&*span.span_id.to_string()], told);
        }
    }
}

#[test]
fn in_trace_events_nothing_overlaps_what_it_does_not_lie_in() {
    let (report, timeline) = overlapping();
    let trace: Value = serde_json::from_str(&trace_events(&[(&report, &timeline)])).unwrap();
    let mut tracks: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
    for event in trace["traceEvents"].as_array().unwrap().iter().filter(|event| event["ph"] == "X") {
        let start = nanos(&event["ts"]);
        tracks.entry(event["tid"].as_u64().unwrap()).or_default().push((start, start + nanos(&event["dur"])));
    }
    assert_eq!(tracks.len(), 4, "the path, and three lanes for three calls at once");
    for slices in tracks.values() {
        for (at, a) in slices.iter().enumerate() {
            for b in &slices[at + 1..] {
                let lies_in =
                    |inner: &(u64, u64), outer: &(u64, u64)| outer.0 <= inner.0 && inner.1 <= outer.1;
                assert!(a.1 <= b.0 || b.1 <= a.0 || lies_in(a, b) || lies_in(b, a), "{a:?} {b:?}");
            }
        }
    }
}

#[test]
fn trace_events_have_arrows_in_pairs_and_count_what_is_open() {
    let (report, timeline) = overlapping();
    let trace: Value = serde_json::from_str(&trace_events(&[(&report, &timeline)])).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let ids = |ph: &str| {
        events
            .iter()
            .filter(|event| event["ph"] == ph)
            .map(|event| event["id"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert!(!timeline.edges.is_empty());
    assert_eq!((ids("s"), ids("f").len()), (ids("f"), timeline.edges.len()));
    let open: Vec<i64> = events
        .iter()
        .filter(|event| event["ph"] == "C")
        .map(|event| event["args"]["nodes"].as_i64().unwrap())
        .collect();
    assert_eq!(open, [1, 2, 3, 4, 3, 2, 1, 2, 1, 0]);
}

#[test]
fn several_runs_are_processes_of_their_own() {
    let (one, other) = (from_file(AGENT), overlapping());
    let runs = [(&one.0, &one.1), (&other.0, &other.1)];
    let trace: Value = serde_json::from_str(&trace_events(&runs)).unwrap();
    let of = |process: u64| {
        let events = trace["traceEvents"].as_array().unwrap().iter();
        events
            .filter(|event| event["ph"] == "X" && event["pid"] == process && event["cat"] != "critical_path")
            .count()
    };
    assert_eq!((of(1), of(2)), (one.1.spans.len(), other.1.spans.len()));
}

/// The time of each frame in a profile, those inside it left out, after checking that it is well-formed.
fn self_times(file: &Value, profile: &Value) -> BTreeMap<String, u64> {
    let frames = file["shared"]["frames"].as_array().unwrap();
    let mut times: BTreeMap<String, u64> = BTreeMap::new();
    let (mut open, mut now): (Vec<usize>, u64) = (Vec::new(), profile["startValue"].as_u64().unwrap());
    for event in profile["events"].as_array().unwrap() {
        let (at, frame) = (event["at"].as_u64().unwrap(), event["frame"].as_u64().unwrap() as usize);
        assert!(now <= at && at <= profile["endValue"].as_u64().unwrap());
        if let Some(top) = open.last() {
            *times.entry(frames[*top]["name"].as_str().unwrap().to_owned()).or_default() += at - now;
        }
        now = at;
        match event["type"].as_str().unwrap() {
            "O" => open.push(frame),
            "C" => assert_eq!(open.pop(), Some(frame)),
            other => panic!("{other}"),
        }
    }
    assert!(open.is_empty());
    times
}

#[test]
fn speedscope_gets_the_path_first_and_lanes_that_nest() {
    for (report, timeline) in [from_file(AGENT), overlapping()] {
        let text = speedscope(&[(&report, &timeline)]);
        let file: Value = serde_json::from_str(&text).unwrap();
        let profiles = file["profiles"].as_array().unwrap();
        let path = self_times(&file, &profiles[0]);
        assert_eq!(path.values().sum::<u64>(), report.run.wall_ns.as_nanos());
        for row in &report.critical_path.rows {
            assert_eq!(path[&row.node], row.duration_ns.as_nanos(), "{}", row.node);
        }
        let opened = |profile: &Value| {
            profile["events"].as_array().unwrap().iter().filter(|event| event["type"] == "O").count()
        };
        assert_eq!(profiles[1..].iter().map(opened).sum::<usize>(), timeline.spans.len());
        profiles.iter().for_each(|profile| drop(self_times(&file, profile)));
    }
}

#[test]
fn otlp_json_reads_back_as_the_same_spans_and_gives_the_same_report() {
    let files = ["openinference.jsonl", "openllmetry.jsonl", "openllmetry_0_36.jsonl", "pydantic_ai.jsonl"];
    let files = files.map(|file| format!("tests/data/agents/{file}"));
    for file in files.iter().map(String::as_str).chain([AGENT]) {
        let limits = Limits { keeps_attributes: true, ..Limits::default() };
        let read = |bytes: &[u8]| {
            let mut spans = Vec::new();
            let problems = stream(bytes, &limits, &mut |span| spans.push(span)).unwrap();
            assert!(problems.is_empty(), "{file}");
            spans
        };
        let spans = read(&bytes_of(file));
        let line = traces_json(&spans).unwrap();
        assert_eq!(read(&line), spans, "{file}");
        let reports =
            |spans| report_on(spans, &ReportOptions::default()).iter().map(json).collect::<Vec<_>>();
        assert_eq!(reports(read(&line)), reports(decode(&bytes_of(file)).unwrap().spans), "{file}");
    }
}
