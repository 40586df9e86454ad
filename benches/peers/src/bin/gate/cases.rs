//! What the gate counts.

use std::hint::black_box;

use anyhow::bail;
use longpole::decode::{Limits, stream};
use longpole::harness::{Content, Harness};
use longpole::prices::{Call, PriceTable, Unit, Usage};
use longpole::report_on;
use longpole::span_record::SpanRecord;
use longpole::time::Timestamp;
use longpole_benches::trace_file;
use longpole_benches::workloads::{Workload, one_run};
use serde::{Deserialize, Serialize};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry;

/// The function callgrind counts.
pub(crate) const MEASURED: &str = "gate::cases::measured*";
const WARM_UP_RUNS: usize = 10;
const MEASURED_RUNS: usize = 10;
const SPANS_OF_A_FILE: usize = 10_000;
const PRICED_CALLS: usize = 1_000;

/// A case is a line here.
pub(crate) const CASES: &[(&str, Work)] = &[
    ("A analysis", Work::Spans(Workload::A, Content::Analysis)),
    ("A lean", Work::Spans(Workload::A, Content::Lean)),
    ("A full", Work::Spans(Workload::A, Content::Full)),
    ("A unsampled", Work::Spans(Workload::A, Content::Unsampled)),
    ("A location", Work::Spans(Workload::A, Content::Location)),
    ("A threads", Work::Spans(Workload::A, Content::Threads)),
    ("A target", Work::Spans(Workload::A, Content::Target)),
    ("A OpenTelemetry's context", Work::Spans(Workload::A, Content::OtelContext)),
    ("A OpenTelemetry's ids", Work::Spans(Workload::A, Content::OtelIds)),
    ("B analysis", Work::Spans(Workload::B, Content::Analysis)),
    ("B lean", Work::Spans(Workload::B, Content::Lean)),
    ("C analysis", Work::Spans(Workload::C, Content::Analysis)),
    ("C lean", Work::Spans(Workload::C, Content::Lean)),
    ("C full", Work::Spans(Workload::C, Content::Full)),
    ("C OpenTelemetry's context", Work::Spans(Workload::C, Content::OtelContext)),
    ("text of 1 KiB", Work::Spans(Workload::Text1, Content::Lean)),
    ("text of 1 KiB, not searched", Work::Spans(Workload::Text1, Content::Unmasked)),
    ("text of 16 KiB", Work::Spans(Workload::Text16, Content::Lean)),
    ("events", Work::Spans(Workload::Events, Content::Lean)),
    ("events, full", Work::Spans(Workload::Events, Content::Full)),
    ("links", Work::Spans(Workload::Links, Content::Lean)),
    ("decode protobuf", Work::Each(decode_protobuf)),
    ("decode JSON lines", Work::Each(decode_json)),
    ("report on one run", Work::Each(report_on_one_run)),
    ("report on runs of 20", Work::Each(report_on_runs_of_20)),
    ("price a call", Work::Each(price_calls)),
];

#[derive(Clone, Copy)]
pub(crate) enum Work {
    /// Spans of a workload, on the thread that makes them.
    Spans(Workload, Content),
    /// Something else, done with [`measured`]; it takes planted turns for each span or call and returns their number.
    Each(fn(u64) -> anyhow::Result<usize>),
}

/// How often something was done in a process.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Done {
    /// Spans or calls in the function that is counted.
    pub(crate) measured: u64,
    /// All spans, if what they allocate is of interest.
    pub(crate) made: Option<u64>,
}

/// Does the work of a case.
pub(crate) fn work(name: &str, turns: u64) -> anyhow::Result<Done> {
    match CASES.iter().find(|(known, _)| *known == name) {
        Some((_, Work::Spans(workload, content))) => spans(*workload, *content, turns),
        Some((_, Work::Each(work))) => Ok(Done { measured: work(turns)? as u64, made: None }),
        None => bail!("no case is called {name:?}"),
    }
}

fn spans(workload: Workload, content: Content, turns: u64) -> anyhow::Result<Done> {
    let mut harness = Harness::new(content);
    tracing::subscriber::set_global_default(registry().with(harness.layer()))?;
    let text = workload.text();
    let spans = workload.spans_per_run();
    for run in 0..WARM_UP_RUNS + MEASURED_RUNS {
        if run < WARM_UP_RUNS {
            one_run(workload, &text);
        } else {
            measured(turns, spans, || one_run(black_box(workload), &text));
        }
        let arrived = harness.discard();
        if arrived != spans {
            bail!("{arrived} of {spans} spans arrived");
        }
    }
    let all = |runs: usize| (runs * spans) as u64;
    Ok(Done { measured: all(MEASURED_RUNS), made: Some(all(WARM_UP_RUNS + MEASURED_RUNS)) })
}

fn decode_protobuf(turns: u64) -> anyhow::Result<usize> {
    decode(turns, &trace_file::protobuf(SPANS_OF_A_FILE, 20))
}

fn decode_json(turns: u64) -> anyhow::Result<usize> {
    decode(turns, &trace_file::json_lines(SPANS_OF_A_FILE, 20)?)
}

fn decode(turns: u64, file: &[u8]) -> anyhow::Result<usize> {
    let mut spans = 0;
    let problems = measured(turns, SPANS_OF_A_FILE, || {
        stream(black_box(file), &Limits::default(), &mut |span| {
            black_box(&span);
            spans += 1;
        })
    })?;
    match problems.first() {
        None if spans == SPANS_OF_A_FILE => Ok(spans),
        problem => bail!("{spans} of {SPANS_OF_A_FILE} spans were decoded: {problem:?}"),
    }
}

fn report_on_one_run(turns: u64) -> anyhow::Result<usize> {
    report(turns, SPANS_OF_A_FILE)
}

fn report_on_runs_of_20(turns: u64) -> anyhow::Result<usize> {
    report(turns, 20)
}

fn report(turns: u64, spans_per_run: usize) -> anyhow::Result<usize> {
    let mut spans: Vec<SpanRecord> = Vec::new();
    let file = trace_file::protobuf(SPANS_OF_A_FILE, spans_per_run);
    stream(&file[..], &Limits::default(), &mut |span| spans.push(span))?;
    let reports = measured(turns, SPANS_OF_A_FILE, || report_on(black_box(spans), &Default::default()));
    let (runs, expected) = (reports.len(), SPANS_OF_A_FILE / spans_per_run);
    if runs != expected {
        bail!("{runs} of {expected} runs were reported on");
    }
    Ok(SPANS_OF_A_FILE)
}

fn price_calls(turns: u64) -> anyhow::Result<usize> {
    let usage = Usage::tokens(10_000, 500).with(Unit::CACHE_READ, 6_000).with(Unit::CACHE_WRITE, 2_000);
    let price = || {
        let at = Timestamp::from_unix_nanos(1_793_534_400_000_000_000);
        let (provider, model, context) =
            (Some("anthropic"), "claude-sonnet-4-5", [("service_tier", "default")]);
        PriceTable::embedded().price(&Call {
            provider,
            api_url: None,
            model,
            at,
            context: &context,
            usage: &usage,
        })
    };
    if let Err(reason) = price() {
        bail!("the call has no price: {reason:?}");
    }
    measured(turns, PRICED_CALLS, || {
        for _ in 0..PRICED_CALLS {
            let _ = black_box(price());
        }
    });
    Ok(PRICED_CALLS)
}

/// What callgrind counts: the work, and what is planted beside it.
#[inline(never)]
fn measured<T>(turns: u64, spans: usize, work: impl FnOnce() -> T) -> T {
    let done = work();
    for turn in 0..turns * spans as u64 {
        black_box(turn);
    }
    done
}
