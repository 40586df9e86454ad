//! Made-up spans in the formats they come in: runs of an agent whose steps call models.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

/// Spans of one request, as batch processors send them.
const SPANS_PER_REQUEST: usize = 1_000;
/// Who is called, and for which model.
const MODELS: [(&str, &str); 3] =
    [("anthropic", "claude-sonnet-4-5"), ("openai", "gpt-5-mini"), ("gcp.gemini", "gemini-2.5-pro")];
/// Node names in a run.
const NODE_NAMES: usize = 100;

/// How spans are written.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Format {
    Protobuf,
    JsonLines,
    /// All requests in one document.
    JsonDocument,
    /// JSON lines, packed.
    Gzip,
}

impl Format {
    pub(crate) const ALL: [Format; 4] =
        [Format::Protobuf, Format::JsonLines, Format::JsonDocument, Format::Gzip];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Format::Protobuf => "protobuf",
            Format::JsonLines => "JSON lines",
            Format::JsonDocument => "one JSON document",
            Format::Gzip => "JSON lines in gzip",
        }
    }
}

/// Writes so many spans, in runs of so many.
pub(crate) fn write_spans(
    mut out: impl Write,
    format: Format,
    spans: usize,
    per_run: usize,
) -> io::Result<()> {
    if format == Format::Gzip {
        let mut packed = GzEncoder::new(out, Compression::fast());
        write_requests(&mut packed, Format::JsonLines, spans, per_run)?;
        return packed.finish()?.flush();
    }
    write_requests(&mut out, format, spans, per_run)
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
            let (provider, model) = MODELS[number % MODELS.len()];
            attributes.push(("gen_ai.operation.name", text("chat")));
            attributes.push(("gen_ai.request.model", text(model)));
            attributes.push(("gen_ai.provider.name", text(provider)));
            attributes.push(("gen_ai.usage.input_tokens", Value::Int(number as u64 % 9_000)));
            attributes.push(("gen_ai.usage.output_tokens", Value::Int(number as u64 % 700)));
            format!("chat {model}")
        }
    };
    Span { trace: run + 1, id: at as u64 + 1, parent, name, start, end, attributes }
}

fn write_requests(out: &mut impl Write, format: Format, spans: usize, per_run: usize) -> io::Result<()> {
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
