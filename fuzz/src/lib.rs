//! What each fuzz target does with its input, and what must hold of it. `tests/fuzz_corpora.rs` of longpole runs the
//! same functions over the stored corpora.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use longpole::decode::{Limits, decode, stream};
use longpole::ids::{SpanId, TraceId};
use longpole::prices::{Call, PriceTable, Unit, Usage};
use longpole::span_record::{Link, NodeFacts, Origin, SpanKind, SpanRecord, Status, Timing};
use longpole::time::{Duration, Timestamp};
use longpole::{ReportOptions, report_on};

/// OTLP in protobuf, as it comes from a file or a backend.
pub fn otlp_trace_pb(bytes: &[u8]) {
    traces(bytes);
}

/// OTLP in JSON, one document or lines.
pub fn otlp_json(bytes: &[u8]) {
    traces(bytes);
}

/// Any bytes, read as a file: whole or byte by byte, the same comes out, and a report can be made of it.
fn traces(bytes: &[u8]) {
    let whole = decode(bytes);
    let mut spans = Vec::new();
    let dripped = stream(Drip(bytes), &Limits::default(), &mut |span| spans.push(span));
    match (whole, dripped) {
        (Ok(whole), Ok(problems)) => {
            assert_eq!(whole.spans, spans);
            assert_eq!(format!("{:?}", whole.problems), format!("{problems:?}"));
            reports(whole.spans);
        }
        (Err(whole), Err(dripped)) => assert_eq!(whole.to_string(), dripped.to_string()),
        (whole, dripped) => panic!("{whole:?}, but in pieces {dripped:?}"),
    }
}

/// Gives one byte at a time.
struct Drip<'b>(&'b [u8]);

impl Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match (self.0.split_first(), buffer.first_mut()) {
            (Some((byte, rest)), Some(slot)) => {
                *slot = *byte;
                self.0 = rest;
                Ok(1)
            }
            _ => Ok(0),
        }
    }
}

/// Reports on whatever `spans` are, and what holds of every report.
fn reports(spans: Vec<SpanRecord>) {
    let reports = report_on(spans.clone(), &ReportOptions::default());
    for report in &reports {
        let wall = report.run.wall_ns;
        let path = &report.critical_path;
        if path.segments_total == path.segments.len() as u64 {
            let covered = sum(path.segments.iter().map(|segment| segment.duration_ns));
            assert_eq!(covered, wall, "the path covers the run");
        }
        assert_eq!(path.length_ns.saturating_add(report.totals.unattributed_ns), wall);
        assert_eq!(sum(report.bounds.iter().map(|bound| bound.duration_ns)), wall, "what bounds it adds up");
        let text = report.to_text();
        let is_printable = |character: char| !character.is_control() || character == '\n';
        assert!(text.chars().all(is_printable), "{text:?}");
        assert!(!report.to_json().is_empty());
    }
    let again = report_on(spans, &ReportOptions::default());
    assert_eq!(reports, again, "the same spans, the same report");
}

fn sum(durations: impl Iterator<Item = Duration>) -> Duration {
    durations.fold(Duration::ZERO, Duration::saturating_add)
}

/// A forest of spans, twelve bytes each: any parents, any times, a few ids, names and facts.
pub fn analyzer(bytes: &[u8]) {
    let origin = Arc::new(Origin::default());
    let records = bytes.as_chunks::<12>().0.iter().take(2_000).map(|chunk| record(chunk, &origin));
    reports(records.collect());
}

fn record(chunk: &[u8; 12], origin: &Arc<Origin>) -> SpanRecord {
    let [trace, id, parent, name, start_unit, start, length_unit, length, queued, kind, marks, other] =
        *chunk;
    // Mostly small times, so that spans meet; sometimes those at the edges.
    let time = |unit: u8, value: u8| match unit {
        0..=199 => u64::from(value),
        200..=229 => u64::from(value) * 1_000_000,
        230..=249 => u64::MAX - u64::from(value),
        _ => u64::from(value) << 56,
    };
    let start = time(start_unit, start);
    let end = match length_unit {
        255 => 0,
        254 => start.saturating_sub(u64::from(length)),
        unit => start.saturating_add(time(unit, length)),
    };
    let id_of = |id: u8| SpanId::from_bytes(u64::from(id).to_be_bytes());
    let text = |byte: u8| -> Arc<str> { format!("n{}", byte % 8).into() };
    let is = |bit: u8| marks & bit != 0;
    let facts = NodeFacts {
        node_id: is(1).then(|| text(name)),
        workflow_name: is(2).then(|| text(other)),
        detached: is(4),
        tells_depends_on: is(8),
        depends_on: if is(8) { vec![text(other)] } else { Vec::new() },
        attempt: is(16).then_some(u64::from(other)),
        operation: is(32).then(|| Arc::from("chat")),
        tool_name: is(64).then(|| text(other)),
        error_type: is(128).then(|| text(other)),
        ..NodeFacts::default()
    };
    let link =
        Link { trace_id: TraceId::from_bytes([trace % 4; 16]), span_id: id_of(other), is_dependency: true };
    SpanRecord {
        trace_id: TraceId::from_bytes([trace % 4; 16]),
        span_id: id_of(id),
        parent_id: (parent != 0).then(|| id_of(parent)),
        name: text(name),
        kind: SpanKind::from_otlp(u64::from(kind % 8)),
        start: Timestamp::from_unix_nanos(start),
        end: Timestamp::from_unix_nanos(end),
        status: if kind & 0x80 == 0 { Status::Unset } else { Status::Error },
        timing: Timing {
            queued: Duration::from_nanos(time(length_unit, queued)),
            busy: (kind & 0x40 != 0).then(|| Duration::from_nanos(u64::from(queued))),
            ..Timing::default()
        },
        facts: (marks != 0).then(|| Box::new(facts)),
        links: (kind & 0x20 != 0).then(|| Box::from([link])),
        origin: origin.clone(),
        local: None,
    }
}

/// Lines of `NAME=value`, and lines that are values for whatever else is asked for, in turn.
pub fn environment(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut named = BTreeMap::new();
    let mut others = Vec::new();
    for line in text.split('\n') {
        match line.split_once('=') {
            Some((name, value)) if name.starts_with("OTEL_") || name.starts_with("LONGPOLE_") => {
                named.insert(name, value);
            }
            _ => others.push(line),
        }
    }
    let asked = std::cell::Cell::new(0usize);
    longpole::harness::read_environment(|name| {
        if let Some(value) = named.get(name) {
            return Some((*value).to_owned());
        }
        asked.set(asked.get() + 1);
        others.get(asked.get() % (others.len() + 1)).map(|value| (*value).to_owned())
    });
}

/// A file of unsent spans: any bytes; or, if the first byte is odd, a whole one whose payloads the input gives, cut off
/// or with one byte changed.
pub fn spool_segment(bytes: &[u8]) {
    let Some((mode, bytes)) = bytes.split_first() else { return };
    if mode % 2 == 0 {
        let (records, _, skipped) = longpole::harness::recover_segment(bytes);
        assert!(skipped as usize <= bytes.len() && records <= bytes.len());
        // Whatever was written behind it by mistake does not make it unreadable.
        longpole::harness::recover_segment(&[bytes, bytes].concat());
        return;
    }
    let Some((&[high, low, change], bytes)) = bytes.split_first_chunk::<3>() else { return };
    // Inputs that hold records must not be found as records in the payloads.
    let payload = |part: &[u8]| part.iter().map(|byte| byte ^ 0x5a).collect::<Vec<_>>();
    let payloads: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'|').map(payload).collect();
    let (segment, ends) = longpole::harness::write_segment(&payloads);
    let (whole, spans, skipped) = longpole::harness::recover_segment(&segment);
    assert_eq!((whole, spans as usize, skipped), (payloads.len(), payloads.len(), 0));

    let at = usize::from(u16::from_be_bytes([high, low])) % segment.len();
    let (before_cut, ..) = longpole::harness::recover_segment(&segment[..at]);
    assert_eq!(
        before_cut,
        ends.iter().filter(|end| **end <= at).count(),
        "a beginning holds what ended in it"
    );

    let mut changed = segment;
    changed[at] ^= change.max(1);
    let (kept, ..) = longpole::harness::recover_segment(&changed);
    assert!(kept + 1 >= whole && kept <= whole, "one byte costs one record: {kept} of {whole}");
}

/// A table of prices. If it is one, whatever is asked of it is answered, twice the same, and parts add up.
pub fn price_table(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let table = match PriceTable::from_json(&text) {
        Ok(table) => table,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let mut models: Vec<(String, String)> =
        table.models().take(20).map(|(provider, model)| (provider.to_string(), model.to_string())).collect();
    models.push((String::new(), "gpt-4o".to_owned()));
    // What a call used and when is taken from the text too.
    let seed = bytes.iter().fold(bytes.len() as u64, |seed, byte| seed.rotate_left(9) ^ u64::from(*byte));
    let usage: Usage =
        Unit::all().step_by(1 + (seed % 7) as usize).map(|unit| (unit, seed >> (seed % 64))).collect();
    let context = [("processing", "batch"), ("service_tier", "flex")];
    let at = Timestamp::from_unix_nanos(seed);
    for usage in [&Usage::tokens(1_000, 100), &Usage::tokens(seed, 100), &usage] {
        for (provider, model) in &models {
            let call = Call {
                provider: Some(provider),
                api_url: Some("https://api.openai.com"),
                model,
                at,
                context: &context,
                usage,
            };
            let priced = table.price(&call);
            if let Ok(priced) = &priced {
                assert!(priced.cost.total().as_usd() >= 0.0);
            }
            assert_eq!(table.price(&call), priced);
        }
    }
}
