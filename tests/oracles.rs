//! Traces with answers worked out by hand or by independent programs. Compared exactly, span by span.

#[path = "support/spans.rs"]
mod spans;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use longpole::analysis::critical_path::critical_path;
use longpole::analysis::event_graph::EventGraph;
use longpole::analysis::replay::Scale;
use longpole::analysis::shares::{bottlenecks, shares};
use longpole::analysis::time_breakdown::self_times;
use longpole::histogram::{DurationStats, index_at_scale};
use longpole::ids::SpanId;
use longpole::run::{AsyncChildren, Links, Orphans, Run, RunOptions, Skew, SpanIx, Tolerance, Warning};
use longpole::span_record::Origin;
use longpole::time::Duration;
use serde_json::Value;

fn data(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/oracles").join(folder)
}

fn read(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if path.extension().is_none_or(|extension| extension != "gz") {
        return bytes;
    }
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut unpacked).unwrap();
    unpacked
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&read(path)).unwrap()
}

/// The options a case is to be read with.
fn options(case: &Value) -> RunOptions {
    let options = &case["options"];
    let is = |key: &str, value: &str| options.get(key).is_some_and(|given| given == value);
    let max = options.get("max_skew_ns").and_then(Value::as_u64).unwrap_or(u64::MAX);
    let tolerance = options.get("overlap_tolerance_ns").and_then(Value::as_u64).unwrap_or(0);
    RunOptions {
        async_children: match () {
            () if is("async_children", "inherit") => AsyncChildren::Inherit,
            () if is("async_children", "drop") => AsyncChildren::Drop,
            () => AsyncChildren::Clip,
        },
        orphans: match () {
            () if is("orphans", "root") => Orphans::Root,
            () if is("orphans", "drop") => Orphans::Drop,
            () => Orphans::Adopt,
        },
        skew: if is("skew", "center") { Skew::Center { max: Duration::from_nanos(max) } } else { Skew::Clip },
        links: if is("links", "as-deps") { Links::AsDeps } else { Links::Ignore },
        overlap_tolerance: Tolerance::Absolute(Duration::from_nanos(tolerance)),
    }
}

/// The runs in a file of spans, each a whole trace, by trace id.
fn runs(path: &Path, options: &RunOptions) -> BTreeMap<String, Run> {
    let mut traces: BTreeMap<String, Vec<_>> = BTreeMap::new();
    let decoded = longpole::decode::decode(&read(path)).unwrap();
    assert!(decoded.problems.is_empty());
    for record in decoded.spans {
        traces.entry(record.trace_id.to_string()).or_default().push(record);
    }
    traces.into_iter().map(|(id, records)| (id, Run::with_options(records, options).unwrap())).collect()
}

/// How the answers name a span.
fn key(run: &Run, ix: SpanIx) -> String {
    let span = run.span(ix);
    match span.ordinal {
        _ if span.is_synthetic => span.record.name.to_string(),
        1 => span.record.span_id.to_string(),
        ordinal => format!("{}#{ordinal}", span.record.span_id),
    }
}

fn numbers(value: &Value) -> BTreeMap<String, u64> {
    let object = value.as_object().unwrap();
    object.iter().map(|(name, number)| (name.clone(), number.as_u64().unwrap())).collect()
}

fn names(value: &Value) -> BTreeSet<String> {
    value.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

fn assert_close(actual: f64, expected: &Value, what: &str) {
    let expected = expected.as_f64().unwrap();
    assert!((actual - expected).abs() <= 1e-6, "{what}: {actual}, expected {expected}");
}

fn check_case(spans: &Path, expected: &Path) {
    let case = json(expected);
    let title = case["case"].as_str().unwrap();
    let runs = runs(spans, &options(&case));
    let traces = case["traces"].as_array().unwrap();
    assert_eq!(runs.len(), traces.len(), "{title}: traces");
    for trace in traces {
        check_trace(title, &runs[trace["trace_id"].as_str().unwrap()], trace);
    }
}

fn check_trace(title: &str, run: &Run, expected: &Value) {
    assert_eq!(key(run, run.root), expected["root"], "{title}: root");
    assert_eq!(run.span(run.root).is_synthetic, expected["root_is_synthetic"], "{title}");
    assert_eq!(run.wall().as_nanos(), expected["wall_ns"], "{title}: wall");
    check_path(title, run, &expected["critical_path"]);
    let spans = || run.indices().filter(|ix| !run.span(*ix).is_synthetic);
    let flagged = |flag: fn(&longpole::run::RunSpan) -> bool| -> BTreeSet<String> {
        spans().filter(|ix| flag(run.span(*ix))).map(|ix| key(run, ix)).collect()
    };
    assert_eq!(flagged(|span| span.is_detached), names(&expected["detached_spans"]), "{title}: detached");
    assert_eq!(
        flagged(|span| span.outlives_parent),
        names(&expected["outlives_parent"]),
        "{title}: outlives"
    );
    assert_eq!(
        flagged(|span| span.starts_before_parent),
        names(&expected["starts_before_parent"]),
        "{title}: starts before"
    );
    // The answers do not count edges that are declared and contradicted.
    let counted = run.warnings.iter().filter(|(warning, _)| **warning != Warning::EdgeContradicted);
    let warnings = counted.map(|(warning, count)| (warning.as_str().to_owned(), *count));
    assert_eq!(warnings.collect::<BTreeMap<_, _>>(), numbers(&expected["warnings"]), "{title}: warnings");
    if expected["self_time_ns"].is_object() {
        let own = self_times(run);
        let own = spans().map(|ix| (key(run, ix), own[ix.index()].as_nanos())).collect::<BTreeMap<_, _>>();
        assert_eq!(own, numbers(&expected["self_time_ns"]), "{title}: self time");
    }
    check_shares(title, run, expected);
    let graph = EventGraph::new(run);
    assert_eq!(graph.replay(|_| Scale::SAME), run.wall(), "{title}: nothing changed");
    if let Some(slack) = expected.get("slack_ns").filter(|slack| slack.is_object()) {
        let told = graph.slack();
        let told: BTreeMap<String, u64> =
            run.indices().filter_map(|ix| Some((key(run, ix), told[ix.index()]?.as_nanos()))).collect();
        assert_eq!(told, numbers(slack), "{title}: slack");
    }
    for what_if in expected.get("what_if_own_time_scaled").and_then(Value::as_array).into_iter().flatten() {
        let scale = match what_if["times_faster"].as_u64() {
            Some(times) => Scale::faster(times as u32),
            None => Scale::FREE,
        };
        let of_name = |ix: SpanIx| *run.span(ix).record.name == *what_if["name"].as_str().unwrap();
        let wall = graph.replay(|ix| if of_name(ix) { scale } else { Scale::SAME }).as_nanos() as f64;
        let scaled = run.indices().filter(|ix| of_name(*ix)).count() as f64;
        let expected = what_if["new_wall_ns"].as_f64().unwrap();
        assert!((wall - expected).abs() <= scaled, "{title}: {what_if} gave {wall}");
    }
}

fn check_path(title: &str, run: &Run, expected: &Value) {
    let segments = critical_path(run).segments;
    let total: Duration = segments.iter().map(|segment| segment.interval.duration()).sum();
    assert_eq!(total.as_nanos(), expected["total_ns"], "{title}: path");
    let mut by_span: BTreeMap<String, u64> = BTreeMap::new();
    let mut by_name: BTreeMap<String, u64> = BTreeMap::new();
    for segment in &segments {
        let nanos = segment.interval.duration().as_nanos();
        *by_span.entry(key(run, segment.span)).or_default() += nanos;
        *by_name.entry(run.span(segment.span).record.name.to_string()).or_default() += nanos;
    }
    if let Some(count) = expected.get("segment_count") {
        assert_eq!(segments.len() as u64, *count, "{title}: number of segments");
    }
    if let Some(each) = expected.get("each_span_ns") {
        assert!(by_span.values().all(|nanos| nanos == each), "{title}: each span");
    }
    if let Some(listed) = expected["segments"].as_array() {
        assert_eq!(segments.len(), listed.len(), "{title}: number of segments");
        for (segment, listed) in segments.iter().zip(listed) {
            assert_eq!(key(run, segment.span), listed["span"], "{title}");
            assert_eq!(segment.interval.start.as_unix_nanos(), listed["start_ns"], "{title}");
            assert_eq!(segment.interval.end.as_unix_nanos(), listed["end_ns"], "{title}");
        }
    }
    if expected["by_span_ns"].is_object() {
        assert_eq!(by_span, numbers(&expected["by_span_ns"]), "{title}: by span");
    }
    assert_eq!(by_name, numbers(&expected["by_name_ns"]), "{title}: by name");
    for (name, share) in expected["share_by_name_pct"].as_object().into_iter().flatten() {
        let nanos = by_name[name];
        assert_close(
            100.0 * nanos as f64 / total.as_nanos() as f64,
            share,
            &format!("{title}: share of {name}"),
        );
    }
}

/// Totals by span name, in order of name, of all spans or of all but the root.
fn totals(run: &Run, with_root: bool) -> Vec<(Arc<str>, Duration, u64)> {
    let mut by_name: BTreeMap<Arc<str>, (Duration, u64)> = BTreeMap::new();
    for ix in run.indices() {
        let span = run.span(ix);
        if span.is_synthetic || (!with_root && ix == run.root) {
            continue;
        }
        let (total, calls) = by_name.entry(span.record.name.clone()).or_default();
        *total = total.saturating_add(span.interval().duration());
        *calls += 1;
    }
    by_name.into_iter().map(|(name, (total, calls))| (name, total, calls)).collect()
}

fn check_shares(title: &str, run: &Run, expected: &Value) {
    let all = totals(run, true);
    let told = shares(&all);
    let nodes = expected["nodes"].as_object().unwrap();
    assert_eq!(told.len(), nodes.len(), "{title}: nodes");
    for share in &told {
        let node = &nodes[&*share.node];
        assert_eq!(share.calls, node["count"], "{title}: {}", share.node);
        assert_eq!(share.total.as_nanos(), node["total_ns"], "{title}: {}", share.node);
        assert_close(share.percent_of_total, &node["share_of_sum_pct"], title);
        assert_close(
            share.total.ratio_of(run.wall()).unwrap_or(0.0) * 100.0,
            &node["share_of_wall_pct"],
            title,
        );
    }
    let above = |totals: &[(Arc<str>, Duration, u64)]| -> BTreeSet<String> {
        bottlenecks(totals, 50.0).iter().map(|share| share.node.to_string()).collect()
    };
    assert_eq!(above(&all), names(&expected["bottlenecks_share_of_sum_gt_50"]), "{title}: bottlenecks");
    let without_root = &expected["nodes_without_root"];
    let steps = totals(run, false);
    let sum: Duration = steps.iter().map(|(_, total, _)| *total).sum();
    assert_eq!(sum.as_nanos(), without_root["sum_ns"], "{title}: sum without root");
    let told = shares(&steps);
    for share in &told {
        assert_close(share.percent_of_total, &without_root["share_of_sum_pct"][&*share.node], title);
    }
    assert_eq!(above(&steps), names(&without_root["bottlenecks_gt_50"]), "{title}: bottlenecks without root");
}

fn check_folder(folder: &Path, at_least: usize) {
    let mut checked = 0;
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for expected in files.iter().filter(|path| path.to_string_lossy().ends_with(".expected.json")) {
        let base = expected.to_string_lossy().replace(".expected.json", ".otlp.json");
        let spans = if Path::new(&base).exists() { base } else { format!("{base}.gz") };
        check_case(Path::new(&spans), expected);
        checked += 1;
    }
    assert!(checked >= at_least, "only {checked} cases in {}", folder.display());
}

/// With a stack so small that recursing on depth or width would overflow it.
fn on_a_small_stack(check: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(256 * 1024).spawn(check).unwrap().join().unwrap();
}

#[test]
fn traces_worked_out_by_hand_come_out_right() {
    on_a_small_stack(|| check_folder(&data("traces"), 42));
}

#[test]
fn random_trees_come_out_right() {
    on_a_small_stack(|| check_folder(&data("random"), 30));
}

#[test]
fn a_deep_and_a_wide_trace_are_reported_on_with_a_small_stack() {
    for name in ["17_deep_chain_100k", "17b_wide_50k"] {
        on_a_small_stack(move || {
            let path = data("traces").join(format!("{name}.otlp.json.gz"));
            let decoded = longpole::decode::decode(&read(&path)).unwrap();
            let spans = decoded.spans.len();
            let reports = longpole::report_on(decoded.spans, &longpole::ReportOptions::default());
            assert_eq!(reports.len(), 1);
            assert_eq!(reports[0].run.spans as usize, spans);
        });
    }
}

#[test]
fn shares_of_the_sum_are_as_defined() {
    let cases = json(&data("stats").join("bottleneck_definitions.json"));
    for case in cases["bottlenecks"].as_array().unwrap() {
        let title = case["name"].as_str().unwrap();
        let mut totals: Vec<(Arc<str>, Duration, u64)> = Vec::new();
        for record in case["records"].as_array().unwrap() {
            let (name, time) =
                (record[0].as_str().unwrap(), Duration::from_millis(record[1].as_u64().unwrap()));
            match totals.iter_mut().find(|(known, ..)| **known == *name) {
                Some((_, total, calls)) => (*total, *calls) = (total.saturating_add(time), *calls + 1),
                None => totals.push((name.into(), time, 1)),
            }
        }
        let told = shares(&totals);
        let sum: Duration = totals.iter().map(|(_, total, _)| *total).sum();
        assert_eq!(sum.as_millis_f64(), case["expect"]["total_ms"].as_f64().unwrap(), "{title}");
        assert_eq!(told.first().map(|share| &*share.node), case["expect"]["slowest"].as_str(), "{title}");
        let above = bottlenecks(&totals, case["threshold"].as_f64().unwrap());
        let listed = case["expect"]["bottlenecks"].as_array().unwrap();
        assert_eq!(above.len(), listed.len(), "{title}");
        for (share, row) in above.iter().zip(listed) {
            assert_eq!(*share.node, *row[0].as_str().unwrap(), "{title}");
            assert_eq!(share.total.as_millis_f64(), row[1].as_f64().unwrap(), "{title}");
            assert_close(share.total.as_millis_f64() / share.calls as f64, &row[2], title);
            assert_eq!(share.calls, row[3], "{title}");
            assert_close(share.percent_of_total, &row[4], title);
        }
    }
}

#[test]
fn histogram_buckets_are_exact_at_every_scale() {
    let cases = json(&data("stats").join("exp_histogram.json"));
    let rows = cases["index_table"].as_array().unwrap();
    assert!(rows.len() > 100);
    for row in rows {
        let (value, scale) = (row["value"].as_u64().unwrap(), row["scale"].as_i64().unwrap() as i32);
        assert_eq!(
            Some(i64::from(index_at_scale(value.try_into().unwrap(), scale))),
            row["index"].as_i64(),
            "{row}"
        );
    }
}

#[test]
fn quantiles_stay_within_their_error_on_every_sample() {
    let cases = json(&data("stats").join("exp_histogram.json"));
    let mut blurred = 0;
    for case in cases["histograms"].as_array().unwrap() {
        let mut stats = DurationStats::default();
        let values = support::whole_numbers(&case["data"]);
        values.iter().for_each(|value| stats.record(Duration::from_nanos(*value)));
        assert_eq!(stats.count(), case["count"]);
        blurred += u32::from(values.len() > DurationStats::EXACT);
        let mut sorted = values.clone();
        sorted.sort_unstable();
        for (q, exact) in case["quantiles_nearest_rank"].as_object().unwrap() {
            let exact = exact.as_f64().unwrap();
            let told = stats.quantile(q.parse().unwrap()).unwrap().as_nanos() as f64;
            // Half a nanosecond for rounding to whole ones.
            let error = if values.len() <= DurationStats::EXACT { 0.0 } else { exact * 0.010_83 + 0.5 };
            assert!((told - exact).abs() <= error, "{}: q {q} gave {told}, exactly {exact}", case["name"]);
        }
    }
    assert!(blurred > 0, "no sample was large enough to test the histogram");
}

/// A folder of Jaeger's own fixtures, which are no part of this repository: below the folder that
/// `LONGPOLE_JAEGER_FIXTURES` names. Says so where it is not there.
#[allow(clippy::print_stderr, reason = "a test that is left out says so")]
fn jaegers(folder: &str) -> Option<PathBuf> {
    let fixtures = std::env::var_os("LONGPOLE_JAEGER_FIXTURES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/oracles"), PathBuf::from);
    let folder = fixtures.join(folder);
    if !folder.exists() {
        eprintln!("SKIPPED: no {}; LONGPOLE_JAEGER_FIXTURES may name the folder it is in", folder.display());
    }
    folder.exists().then_some(folder)
}

#[test]
fn jaegers_own_fixtures_come_out_as_jaeger_says() {
    if let Some(folder) = jaegers("jaeger-ui-criticalpath") {
        support::check_jaeger(&folder);
    }
}

#[test]
fn clocks_are_corrected_as_jaegers_adjuster_does() {
    let Some(folder) = jaegers("jaeger-clockskew") else { return };
    let cases = json(&folder.join("cases.json"));
    let cases = cases.as_array().unwrap();
    assert!(cases.len() >= 13);
    for case in cases {
        let title = case["case"].as_str().unwrap();
        let number = |span: &Value, key: &str| span[key].as_u64().unwrap();
        let records = case["spans"].as_array().unwrap().iter().map(|span| {
            // Far enough from zero to be moved either way.
            let start = 1_000_000 + number(span, "start_ms");
            let parent = Some(number(span, "parent")).filter(|id| *id != 0);
            let end = start + number(span, "duration_ms");
            let mut record =
                spans::span(number(span, "id"), parent, title, start * 1_000_000, end * 1_000_000);
            let host = span["host"].as_str().filter(|host| !host.is_empty()).map(Into::into);
            record.origin = Arc::new(Origin { host, ..Origin::default() });
            record
        });
        let max = Duration::from_millis(number(case, "max_adjust_ms"));
        let options = RunOptions { skew: Skew::Center { max }, ..RunOptions::default() };
        let run = Run::with_options(records.collect(), &options).unwrap();
        for span in case["spans"].as_array().unwrap() {
            let id = SpanId::from_bytes(number(span, "id").to_be_bytes());
            let moved = run.spans.iter().find(|moved| moved.record.span_id == id).unwrap();
            let start = moved.record.start.as_unix_nanos() / 1_000_000 - 1_000_000;
            assert_eq!(start, number(span, "expected_start_ms"), "{title}: span {}", span["id"]);
            let length = moved.record.end.saturating_since(moved.record.start);
            assert_eq!(length, Duration::from_millis(number(span, "duration_ms")), "{title}: length");
        }
    }
}
