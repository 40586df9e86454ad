//! Cases for counting instructions, which repeat where times do not: 10,000 spans each.
//!
//! What [`prepare`] does is not counted; what it gives back is run once, inside a function that callgrind toggles at.

use std::hint::black_box;

use longpole::decode::{Limits, stream};
use longpole::prices::PriceTable;
use longpole::run_assembler::FinishedRun;
use longpole::span_record::SpanRecord;
use longpole::{Report, ReportOptions, report_on, report_on_run, runs_in};

use super::spans::{Format, write_spans};

/// Spans of each case.
pub(crate) const SPANS: usize = 10_000;

/// What is counted.
pub(crate) const CASES: [&str; 9] = [
    "decode protobuf",
    "decode JSON lines",
    "decode one JSON document",
    "assemble",
    "price",
    "report, one run",
    "report, runs of 20",
    "report, one run without calls",
    "render text and JSON",
];

/// Everything that comes before a case, and the case itself; `None` if there is none of this name.
pub(crate) fn prepare(case: &str) -> Option<Box<dyn FnOnce()>> {
    Some(match case {
        "decode protobuf" => decoding(Format::Protobuf),
        "decode JSON lines" => decoding(Format::JsonLines),
        "decode one JSON document" => decoding(Format::JsonDocument),
        "assemble" => {
            let spans = spans_in_runs_of(SPANS);
            Box::new(move || keep(runs_in(spans)))
        }
        "price" => {
            let mut spans = spans_in_runs_of(SPANS);
            // The table is read, and names are looked up, before.
            longpole::cost::price_spans(&mut spans.clone(), None);
            Box::new(move || {
                longpole::cost::price_spans(&mut spans, Some(PriceTable::embedded()));
                keep(spans);
            })
        }
        "report, one run" => {
            let run = one_run(spans_in_runs_of(SPANS));
            Box::new(move || keep(report_on_run(run, &ReportOptions::default())))
        }
        "report, one run without calls" => {
            let mut spans = spans_in_runs_of(SPANS);
            spans.iter_mut().filter(|span| span.is_inference()).for_each(|span| span.facts = None);
            let run = one_run(spans);
            Box::new(move || keep(report_on_run(run, &ReportOptions::default())))
        }
        "report, runs of 20" => {
            let mut spans = spans_in_runs_of(20);
            longpole::cost::price_spans(&mut spans, None);
            Box::new(move || keep(report_on(spans, &ReportOptions::default())))
        }
        "render text and JSON" => {
            let reports: Vec<Report> = report_on(spans_in_runs_of(20), &ReportOptions::default());
            Box::new(move || {
                for report in &reports {
                    black_box((report.to_text(), report.to_json()));
                }
                keep(reports);
            })
        }
        _ => return None,
    })
}

/// Keeps a result from being left out, and from being dropped.
fn keep<T>(result: T) {
    std::mem::forget(black_box(result));
}

fn decoding(format: Format) -> Box<dyn FnOnce()> {
    let bytes = written(format, SPANS);
    Box::new(move || {
        let mut spans: Vec<SpanRecord> = Vec::with_capacity(SPANS);
        let problems = stream(&bytes[..], &Limits::default(), &mut |span| spans.push(span));
        assert!(spans.len() == SPANS && problems.is_ok_and(|problems| problems.is_empty()), "all was read");
        keep((spans, bytes));
    })
}

fn written(format: Format, per_run: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_spans(&mut bytes, format, SPANS, per_run).expect("memory takes everything");
    bytes
}

/// Decoded spans; their calls have no prices yet.
fn spans_in_runs_of(per_run: usize) -> Vec<SpanRecord> {
    let mut spans = Vec::with_capacity(SPANS);
    let bytes = written(Format::Protobuf, per_run);
    stream(&bytes[..], &Limits::default(), &mut |span| spans.push(span))
        .expect("what was just written is read");
    spans
}

/// The only run in `spans`, with prices: those are a case of their own.
fn one_run(mut spans: Vec<SpanRecord>) -> FinishedRun {
    longpole::cost::price_spans(&mut spans, None);
    runs_in(spans).pop().expect("there is a run")
}
