//! How long it takes, and how much memory, to get from a file of spans to reports.
//!
//! `cargo bench --bench analysis --no-default-features --features compressed` writes OTLP files of 10⁴, 10⁵ and 10⁶
//! spans and prints three Markdown tables: decoding and analysis, how both grow with the number of spans, and what-if
//! questions. Every case is a process of its own, so that its peak memory is its own (Linux only; elsewhere the
//! column is empty). Files are removed at the end. A short form: `LONGPOLE_BENCH_MAX_SPANS=10000`.

#![allow(clippy::print_stdout, reason = "its output is a table")]

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use flate2::Compression;
use flate2::write::GzEncoder;
use longpole::decode::{Limits, stream};
use longpole::report::what_if::{Change, what_if};
use longpole::run_assembler::{AssemblerConfig, RunAssembler};
use longpole::time::Timestamp;
use longpole::{ReportOptions, report_on};

const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];
const SPANS_PER_RUN: usize = 20;
/// Spans of one request, as batch processors send them.
const SPANS_PER_REQUEST: usize = 1_000;
const MODELS: [&str; 3] = ["claude-sonnet-4-5", "gpt-5-mini", "gemini-3-flash"];
/// Node names in the runs whose every node is asked about.
const NODE_NAMES: usize = 100;
/// Spans of the run whose every node is asked about.
const ASKED_SPANS: usize = 10_000;
/// The largest number of spans in a case; all sizes if it is not set.
const MAX_SPANS: &str = "LONGPOLE_BENCH_MAX_SPANS";

#[derive(Clone, Copy, PartialEq)]
enum Format {
    Protobuf,
    JsonLines,
    /// All requests in one document.
    JsonDocument,
    /// JSON lines, packed.
    Gzip,
}

impl Format {
    const fn name(self) -> &'static str {
        match self {
            Format::Protobuf => "protobuf",
            Format::JsonLines => "JSON lines",
            Format::JsonDocument => "one JSON document",
            Format::Gzip => "JSON lines in gzip",
        }
    }
}

/// What a case took.
struct Figures {
    decode: f64,
    analyse: f64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let outcome = match arguments.get(1..).unwrap_or_default() {
        [flag, file] if flag == "--case" => measure(Path::new(file)),
        [flag, file] if flag == "--what-if" => ask_about_every_node(Path::new(file)),
        _ => table(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Every case, in a process of its own.
fn table() -> io::Result<()> {
    let folder = std::env::temp_dir().join(format!("longpole-analysis-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let outcome = cases(&folder);
    fs::remove_dir_all(&folder)?;
    outcome
}

fn cases(folder: &Path) -> io::Result<()> {
    let most = std::env::var(MAX_SPANS).ok().and_then(|most| most.parse().ok()).unwrap_or(usize::MAX);
    let sizes: Vec<usize> = SIZES.into_iter().filter(|spans| *spans <= most).collect();
    println!("| case | spans | MB | decode s | spans/s | analyse s | runs | peak MiB |");
    println!("|---|---|---|---|---|---|---|---|");
    let mut growth: Vec<(String, Vec<Figures>)> = Vec::new();
    for format in [Format::Protobuf, Format::JsonLines, Format::JsonDocument, Format::Gzip] {
        for is_one_run in [false, true] {
            let name = format!("{}, {}", format.name(), if is_one_run { "one run" } else { "runs of 20" });
            let mut figures = Vec::new();
            for spans in &sizes {
                let per_run = if is_one_run { *spans } else { SPANS_PER_RUN };
                figures.push(case(folder, &name, format, *spans, per_run)?);
            }
            growth.push((name, figures));
        }
    }
    println!("\n| case | spans | decode µs for each | analyse µs for each |\n|---|---|---|---|");
    for (name, figures) in &growth {
        for (spans, figures) in sizes.iter().zip(figures) {
            let each = |seconds: f64| seconds * 1e6 / *spans as f64;
            println!("| {name} | {spans} | {:.2} | {:.2} |", each(figures.decode), each(figures.analyse));
        }
    }
    println!("\n| case | spans | nodes | s |\n|---|---|---|---|");
    let file: PathBuf = folder.join("spans");
    write_file(&file, Format::Protobuf, ASKED_SPANS, ASKED_SPANS)?;
    println!("| what-if for every node of one run | {ASKED_SPANS} | {} |", told_by("--what-if", &file)?);
    Ok(())
}

fn case(folder: &Path, name: &str, format: Format, spans: usize, per_run: usize) -> io::Result<Figures> {
    let file: PathBuf = folder.join("spans");
    write_file(&file, format, spans, per_run)?;
    let megabytes = fs::metadata(&file)?.len() as f64 / 1e6;
    let told = told_by("--case", &file).map_err(|error| io::Error::other(format!("{name}: {error}")))?;
    println!("| {name} | {spans} | {megabytes:.1} | {told} |");
    let number = |column: usize| told.split('|').nth(column).and_then(|cell| cell.trim().parse().ok());
    match (number(0), number(2)) {
        (Some(decode), Some(analyse)) => Ok(Figures { decode, analyse }),
        _ => Err(io::Error::other(format!("{name}: no figures in {told:?}"))),
    }
}

/// What this program prints in a process of its own.
fn told_by(flag: &str, file: &Path) -> io::Result<String> {
    let output = Command::new(std::env::current_exe()?).arg(flag).arg(file).output()?;
    let told = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() { Ok(told) } else { Err(io::Error::other(told)) }
}

/// Asks of each node of the only run in a file what the run would have been without it, each time from the start.
fn ask_about_every_node(file: &Path) -> io::Result<()> {
    let mut assembler = RunAssembler::new(AssemblerConfig::default());
    let mut left_out = 0u64;
    let outcome = stream(File::open(file)?, &Limits::default(), &mut |span| {
        left_out += u64::from(assembler.push(span, Timestamp::EPOCH).is_err());
    });
    outcome.map_err(io::Error::other)?;
    let runs = assembler.finish();
    let [run] = &runs[..] else { return Err(io::Error::other(format!("{} runs", runs.len()))) };
    let options = ReportOptions::default();
    let report = longpole::report_on_run(run.clone(), &options).filter(|_| left_out == 0);
    let report = report.ok_or_else(|| io::Error::other("spans were left out"))?;
    let nodes: Vec<String> =
        report.nodes.into_iter().filter(|node| !node.is_root).map(|node| node.name).collect();
    let begin = Instant::now();
    for node in &nodes {
        let change = Change::Remove { node: node.clone() };
        what_if(run.clone(), &[change], &options.run).map_err(io::Error::other)?;
    }
    println!("{} | {:.3}", nodes.len(), begin.elapsed().as_secs_f64());
    Ok(())
}

/// Decodes and analyses a file, and prints the figures.
fn measure(file: &Path) -> io::Result<()> {
    let begin = Instant::now();
    let mut spans = Vec::new();
    let problems = stream(File::open(file)?, &Limits::default(), &mut |span| spans.push(span));
    let problems = problems.map_err(io::Error::other)?;
    if let Some(problem) = problems.first() {
        return Err(io::Error::other(problem.to_string()));
    }
    let decoded = begin.elapsed().as_secs_f64();
    let count = spans.len() as f64;
    let begin = Instant::now();
    let reports = report_on(spans, &ReportOptions::default());
    let analysed = begin.elapsed().as_secs_f64();
    let peak = peak_memory().map_or_else(|| "-".to_owned(), |bytes| (bytes >> 20).to_string());
    let rate = count / decoded;
    println!("{decoded:.3} | {rate:.0} | {analysed:.3} | {} | {peak}", reports.len());
    Ok(())
}

/// The most memory this process ever had, in bytes.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// One span of the file, by its number.
struct Span {
    trace: u64,
    id: u64,
    parent: Option<u64>,
    name: String,
    start: u64,
    end: u64,
    attributes: Vec<(&'static str, Value)>,
}

enum Value {
    Text(String),
    Int(u64),
}

/// The `number`-th span: in each run a root, under it steps one after the other, under each step model calls.
fn span(number: usize, per_run: usize) -> Span {
    let (run, at) = ((number / per_run) as u64, number % per_run);
    let step = at.saturating_sub(1) / 4;
    let begin = 1_700_000_000_000_000_000 + run * 1_000_000_000;
    let step_start = begin + step as u64 * 4_000_000;
    let (parent, start, end) = match at {
        0 => (None, begin, begin + (per_run as u64).div_ceil(4) * 4_000_000 + 1_000_000),
        _ if (at - 1).is_multiple_of(4) => (Some(1), step_start, step_start + 3_900_000),
        _ => {
            let call = ((at - 1) % 4) as u64;
            let start = step_start + call * 900_000 + (number as u64 * 7_919) % 200_000;
            (Some(2 + step as u64 * 4), start, start + 700_000 + (number as u64 * 104_729) % 400_000)
        }
    };
    let text = |text: &str| Value::Text(text.to_owned());
    let mut attributes =
        vec![("thread.id", Value::Int(number as u64 % 16)), ("code.namespace", text("agent::steps"))];
    let name = match at {
        0 => {
            attributes.push(("longpole.workflow.name", text("research")));
            "run".to_owned()
        }
        _ if (at - 1).is_multiple_of(4) => {
            let name = format!("step {}", step % NODE_NAMES);
            attributes.push(("longpole.node.id", Value::Text(name.clone())));
            name
        }
        _ => {
            let model = MODELS[number % MODELS.len()];
            attributes.push(("gen_ai.operation.name", text("chat")));
            attributes.push(("gen_ai.request.model", text(model)));
            attributes.push(("gen_ai.provider.name", text("anthropic")));
            attributes.push(("gen_ai.usage.input_tokens", Value::Int(number as u64 % 9_000)));
            attributes.push(("gen_ai.usage.output_tokens", Value::Int(number as u64 % 700)));
            format!("chat {model}")
        }
    };
    Span { trace: run + 1, id: at as u64 + 1, parent, name, start, end, attributes }
}

fn write_file(file: &Path, format: Format, spans: usize, per_run: usize) -> io::Result<()> {
    let out = BufWriter::new(File::create(file)?);
    if format == Format::Gzip {
        let mut packed = GzEncoder::new(out, Compression::fast());
        write_requests(&mut packed, Format::JsonLines, spans, per_run)?;
        return packed.finish()?.flush();
    }
    write_requests(out, format, spans, per_run)
}

fn write_requests(mut out: impl Write, format: Format, spans: usize, per_run: usize) -> io::Result<()> {
    if format == Format::JsonDocument {
        out.write_all(br#"{"resourceSpans":["#)?;
    }
    for first in (0..spans).step_by(SPANS_PER_REQUEST) {
        let batch = (first..spans.min(first + SPANS_PER_REQUEST)).map(|number| span(number, per_run));
        match format {
            Format::Protobuf => out.write_all(&protobuf_request(batch))?,
            Format::JsonLines | Format::Gzip => {
                writeln!(out, r#"{{"resourceSpans":[{}]}}"#, json_resource(batch))?;
            }
            Format::JsonDocument => {
                let comma = if first == 0 { "" } else { "," };
                write!(out, "{comma}{}", json_resource(batch))?;
            }
        }
    }
    if format == Format::JsonDocument {
        out.write_all(b"]}")?;
    }
    out.flush()
}

fn json_resource(spans: impl Iterator<Item = Span>) -> String {
    let spans: Vec<String> = spans.map(|span| json_span(&span)).collect();
    format!(
        r#"{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"research"}}}}]}},"scopeSpans":[{{"scope":{{"name":"agent"}},"spans":[{}]}}]}}"#,
        spans.join(",")
    )
}

fn json_span(span: &Span) -> String {
    let attributes = span.attributes.iter().map(|(key, value)| match value {
        Value::Text(text) => format!(r#"{{"key":"{key}","value":{{"stringValue":"{text}"}}}}"#),
        Value::Int(number) => format!(r#"{{"key":"{key}","value":{{"intValue":"{number}"}}}}"#),
    });
    let attributes: Vec<String> = attributes.collect();
    format!(
        r#"{{"traceId":"{:032x}","spanId":"{:016x}","parentSpanId":"{}","flags":257,"name":"{}","kind":1,"startTimeUnixNano":"{}","endTimeUnixNano":"{}","attributes":[{}],"status":{{}}}}"#,
        span.trace,
        span.id,
        span.parent.map(|id| format!("{id:016x}")).unwrap_or_default(),
        span.name,
        span.start,
        span.end,
        attributes.join(",")
    )
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A field with a length: a string, bytes or a message.
fn field(number: u64, value: &[u8], out: &mut Vec<u8>) {
    varint(number << 3 | 2, out);
    varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

fn attribute(key: &str, value: &Value) -> Vec<u8> {
    let (mut pair, mut any) = (Vec::new(), Vec::new());
    match value {
        Value::Text(text) => field(1, text.as_bytes(), &mut any),
        Value::Int(number) => {
            varint(3 << 3, &mut any);
            varint(*number, &mut any);
        }
    }
    field(1, key.as_bytes(), &mut pair);
    field(2, &any, &mut pair);
    pair
}

fn protobuf_request(spans: impl Iterator<Item = Span>) -> Vec<u8> {
    let mut scope = Vec::new();
    for span in spans {
        let mut message = Vec::new();
        field(1, &u128::from(span.trace).to_be_bytes(), &mut message);
        field(2, &span.id.to_be_bytes(), &mut message);
        if let Some(parent) = span.parent {
            field(4, &parent.to_be_bytes(), &mut message);
        }
        field(5, span.name.as_bytes(), &mut message);
        varint(6 << 3, &mut message);
        varint(1, &mut message);
        for (number, time) in [(7, span.start), (8, span.end)] {
            varint(number << 3 | 1, &mut message);
            message.extend_from_slice(&time.to_le_bytes());
        }
        for (key, value) in &span.attributes {
            field(9, &attribute(key, value), &mut message);
        }
        field(2, &message, &mut scope);
    }
    let (mut resource, mut resource_spans, mut request) = (Vec::new(), Vec::new(), Vec::new());
    field(1, &attribute("service.name", &Value::Text("research".to_owned())), &mut resource);
    field(1, &resource, &mut resource_spans);
    field(2, &scope, &mut resource_spans);
    field(1, &resource_spans, &mut request);
    request
}
