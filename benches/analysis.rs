//! How long it takes, and how much memory, to get from a file of spans to reports.
//!
//! `cargo bench --bench analysis` writes OTLP files of 10⁴, 10⁵ and 10⁶ spans, as protobuf and as JSON lines, in runs
//! of 20 spans and as one run, and prints a Markdown table. Every case is a process of its own, so that its peak
//! memory is its own (Linux only; elsewhere the column is empty). Files are removed at the end.

#![allow(clippy::print_stdout, reason = "its output is a table")]

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use longpole::decode::{Limits, stream};
use longpole::{ReportOptions, report_on};

const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];
const SPANS_PER_RUN: usize = 20;
/// Spans of one request, as batch processors send them.
const SPANS_PER_REQUEST: usize = 1_000;
const MODELS: [&str; 3] = ["claude-sonnet-4-5", "gpt-5-mini", "gemini-3-flash"];
/// Node names in the runs whose every node is asked about.
const NODE_NAMES: usize = 100;

#[derive(Clone, Copy, PartialEq)]
enum Format {
    Protobuf,
    JsonLines,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let outcome = match arguments.get(1..).unwrap_or_default() {
        [flag, file] if flag == "--case" => measure(Path::new(file)),
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
    println!("| case | spans | MB | decode s | spans/s | analyse s | runs | peak MiB |");
    println!("|---|---|---|---|---|---|---|---|");
    let outcome = cases(&folder);
    fs::remove_dir_all(&folder)?;
    outcome
}

fn cases(folder: &Path) -> io::Result<()> {
    for spans in SIZES {
        for (format, name) in [(Format::Protobuf, "protobuf"), (Format::JsonLines, "JSON lines")] {
            for (per_run, shape) in [(SPANS_PER_RUN, "runs of 20"), (spans, "one run")] {
                case(folder, &format!("{name}, {shape}"), format, spans, per_run)?;
            }
        }
    }
    Ok(())
}

fn case(folder: &Path, name: &str, format: Format, spans: usize, per_run: usize) -> io::Result<()> {
    let file: PathBuf = folder.join("spans");
    write_file(&file, format, spans, per_run)?;
    let megabytes = fs::metadata(&file)?.len() as f64 / 1e6;
    let output = Command::new(std::env::current_exe()?).arg("--case").arg(&file).output()?;
    let told = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(io::Error::other(format!("{name}: {told}")));
    }
    println!("| {name} | {spans} | {megabytes:.1} | {} |", told.trim());
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
    let mut out = BufWriter::new(File::create(file)?);
    for first in (0..spans).step_by(SPANS_PER_REQUEST) {
        let batch = (first..spans.min(first + SPANS_PER_REQUEST)).map(|number| span(number, per_run));
        match format {
            Format::Protobuf => out.write_all(&protobuf_request(batch))?,
            Format::JsonLines => writeln!(out, "{}", json_request(batch))?,
        }
    }
    out.flush()
}

fn json_request(spans: impl Iterator<Item = Span>) -> String {
    let spans: Vec<String> = spans.map(|span| json_span(&span)).collect();
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"research"}}}}]}},"scopeSpans":[{{"scope":{{"name":"agent"}},"spans":[{}]}}]}}]}}"#,
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
