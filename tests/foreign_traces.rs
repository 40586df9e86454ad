//! Traces in the forms other programs write them, packed or not, whole or damaged.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use longpole::analysis::critical_path::critical_path;
use longpole::decode::{Limits, decode, stream};
use longpole::ids::{SpanId, TraceId};
use longpole::run::Run;
use longpole::span_record::{SpanKind, SpanRecord, Status};

fn data(name: &str) -> Vec<u8> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/foreign").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read(bytes: &[u8]) -> Vec<SpanRecord> {
    let decoded = decode(bytes).unwrap();
    assert!(decoded.problems.is_empty(), "{:?}", decoded.problems);
    decoded.spans
}

/// Spans and problems, whichever way they came.
fn all(bytes: &[u8], limits: &Limits) -> (Vec<SpanRecord>, Vec<String>) {
    let mut spans = Vec::new();
    match stream(bytes, limits, &mut |span| spans.push(span)) {
        Ok(problems) => (spans, problems.iter().map(told).collect()),
        Err(problem) => (spans, vec![told(&problem)]),
    }
}

fn told(problem: &longpole::decode::DecodeError) -> String {
    let cause = std::error::Error::source(problem).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{problem}{cause}")
}

fn id(number: u8) -> SpanId {
    SpanId::from_bytes([0, 0, 0, 0, 0, 0, 0, number])
}

#[test]
fn every_dialect_holds_the_same_spans() {
    let expected = read(&data("jaeger-v3.json"));
    assert_eq!(expected.len(), 3);
    let names: Vec<_> = expected.iter().map(|span| &*span.name).collect();
    assert_eq!(names, ["run", "fetch", "write"]);
    assert_eq!(expected[0].parent_id, None);
    assert_eq!((expected[1].kind, expected[1].parent_id), (SpanKind::Client, Some(id(1))));
    assert_eq!(expected[2].status, Status::Error);
    assert!(expected[2].links.as_ref().unwrap()[0].is_dependency);
    assert_eq!(expected[0].end.as_unix_nanos() - expected[0].start.as_unix_nanos(), 9_000_000);
    assert_eq!(expected[0].origin.service_name.as_deref(), Some("desk"));
    assert_eq!(expected[0].origin.host.as_deref(), Some("h1"));
    assert_eq!(read(&data("tempo.json")), expected);
    assert_eq!(read(&data("tempo-v2.json")), expected);
    let mut jaeger = read(&data("jaeger-v1.json"));
    let links = jaeger[2].links.as_mut().unwrap();
    assert_eq!((links.len(), links[0].span_id, links[0].is_dependency), (1, id(2), false));
    links[0].is_dependency = true;
    assert_eq!(jaeger, expected);
    for name in COLLECTOR {
        let spans = read(&data(name));
        assert_eq!(spans.len(), 6, "{name}");
        assert_eq!(spans[..3], expected, "{name}");
        let again = TraceId::from_hex("1102030405060708090a0b0c0d0e0f10").unwrap();
        assert!(spans[3..].iter().all(|span| span.trace_id == again), "{name}");
    }
}

#[cfg(feature = "compressed")]
const COLLECTOR: [&str; 4] =
    ["collector.jsonl", "collector.proto.bin", "collector.json.zstd.bin", "collector.proto.zstd.bin"];
#[cfg(not(feature = "compressed"))]
const COLLECTOR: [&str; 2] = ["collector.jsonl", "collector.proto.bin"];

#[test]
fn jaeger_traces_come_in_the_answer_alone_and_in_arrays() {
    let answer = String::from_utf8(data("jaeger-v1.json")).unwrap();
    let expected = read(answer.as_bytes());
    let value: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let (trace, traces) = (value["data"][0].to_string(), value["data"].to_string());
    for form in [trace.clone(), traces, format!("{trace}\n{trace}"), format!("{trace}{trace}")] {
        let spans = read(form.as_bytes());
        assert_eq!(spans[..3], expected, "{form}");
    }
}

#[test]
fn a_parent_is_the_first_child_of_reference_else_the_first_follows_from_else_the_old_field() {
    let span = |rest: &str| {
        let json = format!(
            r#"{{"spans":[{{"traceID":"ab","spanID":"9","startTime":1,"duration":1,{rest}}}],"processes":{{}}}}"#
        );
        read(json.as_bytes()).remove(0)
    };
    let follows = r#"{"refType":"FOLLOWS_FROM","traceID":"ab","spanID":"2"}"#;
    let child = r#"{"refType":"CHILD_OF","traceID":"ab","spanID":"3"}"#;
    let elsewhere = r#"{"refType":"CHILD_OF","traceID":"cd","spanID":"4"}"#;
    let links = |span: &SpanRecord| span.links.iter().flatten().map(|link| link.span_id).collect::<Vec<_>>();
    let only = span(&format!(r#""references":[{follows}]"#));
    assert_eq!((only.parent_id, links(&only)), (Some(id(2)), vec![]));
    let both = span(&format!(r#""references":[{elsewhere},{follows},{child}]"#));
    assert_eq!((both.parent_id, links(&both)), (Some(id(3)), vec![id(4), id(2)]));
    let foreign = span(&format!(r#""references":[{elsewhere}]"#));
    assert_eq!((foreign.parent_id, links(&foreign)), (None, vec![id(4)]));
    assert_eq!(span(r#""parentSpanID":"5""#).parent_id, Some(id(5)));
}

#[test]
fn jaegers_fixtures_read_the_same_in_both_forms() {
    let fixtures = std::env::var_os("LONGPOLE_JAEGER_FIXTURES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/oracles"), PathBuf::from);
    let folder = fixtures.join("jaeger-ui-criticalpath");
    if !folder.exists() {
        eprintln!("SKIPPED: no {}; LONGPOLE_JAEGER_FIXTURES may name the folder it is in", folder.display());
        return;
    }
    for n in 1..=9 {
        let form = |form: &str| {
            let spans = read(&std::fs::read(folder.join(format!("test{n}.{form}.json"))).unwrap());
            // Their trace ids are no hex, so each form has its own.
            let same = |span| SpanRecord { trace_id: TraceId::default(), ..span };
            let spans: Vec<_> = spans.into_iter().map(same).collect();
            let run = Run::from_records(spans.clone()).unwrap();
            let path: Vec<_> = critical_path(&run)
                .segments
                .into_iter()
                .map(|part| (run.span(part.span).record.span_id, part.interval))
                .collect();
            (spans, path)
        };
        assert_eq!(form("jaeger"), form("otlp"), "test{n}");
    }
}

#[test]
fn one_bad_span_loses_no_other_and_is_named() {
    let otlp = String::from_utf8(data("collector.jsonl")).unwrap();
    let jaeger = String::from_utf8(data("jaeger-v1.json")).unwrap();
    let first = otlp.lines().next().unwrap();
    for (whole, from, to, problem) in [
        (
            first,
            r#""name":"fetch""#,
            r#""name":"fetch","attributes":7,"attributes":7"#,
            "resourceSpans[0].scopeSpans[0].spans[1]: ",
        ),
        (
            first,
            r#""spanId":"0000000000000001","#,
            r#""spanId":"zz","#,
            "resourceSpans[0].scopeSpans[0].spans[0].spanId: \"zz\" is not 8 bytes",
        ),
        (
            &jaeger,
            "1700000000001000",
            "\"noon\"",
            "data[0].spans[1].startTime: \"noon\" is not a time in microseconds",
        ),
        (&jaeger, "\"duration\":3000", "\"duration\":18446744073709551615", "data[0].spans[1].duration: "),
    ] {
        let damaged = whole.replacen(from, to, 1);
        assert_ne!(damaged, whole);
        let (spans, problems) = all(damaged.as_bytes(), &Limits::default());
        assert_eq!((spans.len(), problems.len()), (2, 1), "{problems:?}");
        assert!(problems[0].contains(problem), "{problems:?}");
    }
}

#[test]
fn what_is_past_a_limit_is_refused_and_the_rest_is_read() {
    let line = String::from_utf8(data("collector.jsonl")).unwrap().lines().next().unwrap().to_owned();
    let around = |middle: &str| format!("{line}\n{middle}\n{line}\n");
    let limits = Limits { document_bytes: 1 << 20, string_bytes: 4096, ..Limits::default() };
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(64), "]".repeat(64));
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(5_000));
    let large = format!("[{}1]", "1,".repeat(1 << 20));
    for (middle, problem) in [
        (deep, "line 2, column 1: nested more than 64 deep"),
        (long, "line 2, column 1: a string is longer than 4096 bytes"),
        (large, "is longer than 1048576 bytes"),
    ] {
        let (spans, problems) = all(around(&middle).as_bytes(), &limits);
        assert_eq!((spans.len(), problems.len()), (6, 1), "{problems:?}");
        assert!(problems[0].contains(problem), "{problems:?}");
    }
}

#[test]
fn many_problems_are_counted_not_kept() {
    let line = String::from_utf8(data("collector.jsonl")).unwrap().lines().next().unwrap().to_owned();
    let file = format!("{}{line}", "nonsense\n".repeat(5_000));
    let (spans, problems) = all(file.as_bytes(), &Limits::default());
    assert_eq!((spans.len(), problems.len()), (3, 101));
    assert_eq!(problems[100], "4900 more problems like these");
}

#[test]
fn a_cut_at_any_byte_leaves_the_spans_before_it() {
    for name in COLLECTOR.into_iter().chain(["jaeger-v1.json", "tempo.json"]) {
        let bytes = data(name);
        let whole = all(&bytes, &Limits::default()).0;
        let mut most = 0;
        for cut in 0..bytes.len() {
            let (spans, _) = all(&bytes[..cut], &Limits::default());
            let same = |(read, whole): (&SpanRecord, &SpanRecord)| read.span_id == whole.span_id;
            assert!(spans.len() <= whole.len() && spans.iter().zip(&whole).all(same), "{name} cut at {cut}");
            assert!(spans.len() + 3 > most, "{name} cut at {cut}: fewer spans than in less of it");
            most = most.max(spans.len());
        }
        assert!(most >= 2, "{name}");
    }
}

/// Gives a few bytes at a time, as a pipe does.
struct Trickle<'b>(&'b [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = into.len().min(3).min(self.0.len());
        let (now, later) = self.0.split_at(count);
        into[..count].copy_from_slice(now);
        self.0 = later;
        Ok(count)
    }
}

#[test]
fn how_the_bytes_arrive_makes_no_difference() {
    for name in COLLECTOR.into_iter().chain(["jaeger-v1.json", "jaeger-v3.json", "tempo.json"]) {
        let bytes = data(name);
        let mut spans = Vec::new();
        let problems = stream(Trickle(&bytes), &Limits::default(), &mut |span| spans.push(span)).unwrap();
        assert!(problems.is_empty(), "{name}: {problems:?}");
        assert_eq!(spans, read(&bytes), "{name}");
    }
}

#[test]
fn flipped_bytes_never_panic() {
    for name in COLLECTOR.into_iter().chain(["jaeger-v1.json", "tempo-v2.json"]) {
        let bytes = data(name);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= [0x01, 0x80, 0xff][at % 3];
            let (spans, problems) = all(&changed, &Limits::default());
            assert!(spans.len() <= 6 && problems.len() <= 101, "{name} at {at}");
        }
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

#[cfg(feature = "compressed")]
mod packed {
    use super::*;

    #[test]
    fn members_one_after_the_other_are_one_file() {
        let file = data("collector.jsonl");
        let expected = read(&file);
        let (front, back) = file.split_at(1_000);
        assert_eq!(read(&[gzip(front), gzip(back)].concat()), expected);
        // The frames of the Collector's messages, without the lengths.
        let messages = data("collector.json.zstd.bin");
        let length = u32::from_be_bytes(messages[..4].try_into().unwrap()) as usize;
        let skipped = b"\x50\x2a\x4d\x18\x03\0\0\0abc";
        let frames = [&messages[4..4 + length], skipped, &messages[8 + length..]].concat();
        assert_eq!(read(&frames), expected);
    }

    #[test]
    fn a_file_that_unpacks_to_too_much_is_refused() {
        let limits = Limits { unpacked_bytes: 1 << 20, ..Limits::default() };
        let (spans, problems) = all(&gzip(&vec![b' '; 2 << 20]), &limits);
        assert_eq!((spans.len(), problems.len()), (0, 1));
        assert!(problems[0].contains("unpacks to more than 1048576 bytes"), "{problems:?}");
    }

    #[test]
    fn damaged_packing_leaves_the_spans_before_it() {
        let packed = gzip(&data("collector.jsonl"));
        let (spans, problems) = all(&packed[..packed.len() - 6], &Limits::default());
        assert_eq!((spans.len(), problems.len()), (6, 1));
        assert!(problems[0].contains("the gzip data is damaged"), "{problems:?}");
    }
}

#[cfg(not(feature = "compressed"))]
#[test]
fn without_the_feature_packed_data_is_named() {
    assert!(decode(&gzip(b"{}")).unwrap_err().to_string().contains("decompress it first"));
    let zstd = decode(&data("collector.json.zstd.bin")).unwrap_err().to_string();
    assert!(zstd.contains("zstd data: decompress it first"), "{zstd}");
}
