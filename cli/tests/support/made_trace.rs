//! Runs as OTLP JSON, made of spans with times in milliseconds.

use serde_json::{Value, json};

/// The spans of a run, the first its root.
pub(crate) struct Spans {
    service: String,
    number: u64,
    origin_ms: u64,
    spans: Vec<SpanInJson>,
}

/// One span.
pub(crate) struct SpanInJson {
    name: String,
    start_ms: u64,
    end_ms: u64,
    attributes: Vec<Value>,
    status: Value,
}

/// When the first run of a series starts: 2026-01-05, 08:00 UTC. The others follow a day apart.
const FIRST_RUN_MS: u64 = 1_767_600_000_000;
const DAY_MS: u64 = 86_400_000;

impl Spans {
    /// A run with its root.
    pub(crate) fn of_run(workflow: &str, version: &str, service: &str, number: u64) -> Spans {
        let origin_ms = FIRST_RUN_MS + number * DAY_MS;
        let mut run = Spans { service: service.to_owned(), number, origin_ms, spans: Vec::new() };
        let root = run.add("run", 0, 0);
        root.attributes.clear();
        root.text("longpole.workflow.name", workflow).text("longpole.workflow.version", version);
        run
    }

    /// A node below the root.
    pub(crate) fn add(&mut self, name: &str, start_ms: u64, end_ms: u64) -> &mut SpanInJson {
        let (name, status) = (name.to_owned(), json!({}));
        self.spans.push(SpanInJson { name: name.clone(), start_ms, end_ms, attributes: Vec::new(), status });
        self.spans.last_mut().unwrap().text("longpole.node.id", &name)
    }

    /// A call of a model: after which nodes, when, for how long, [model, tokens in, tokens out] and dollars. Says when
    /// it ended.
    pub(crate) fn model(
        &mut self,
        name: &str,
        after: &[&str],
        start_ms: u64,
        ms: u64,
        [model, input, output]: [&str; 3],
        usd: &str,
    ) -> u64 {
        let operation = if output == "0" { "embeddings" } else { "chat" };
        let call = self.add(name, start_ms, start_ms + ms).depends_on(after);
        call.text("gen_ai.operation.name", operation).text("gen_ai.provider.name", "openai");
        call.text("gen_ai.request.model", model).number("gen_ai.usage.input_tokens", input.parse().unwrap());
        call.number("gen_ai.usage.output_tokens", output.parse().unwrap());
        call.attributes
            .push(json!({"key": "longpole.cost.usd", "value": {"doubleValue": usd.parse::<f64>().unwrap()}}));
        start_ms + ms
    }

    /// Ends the root.
    pub(crate) fn end(mut self, end_ms: u64) -> Spans {
        self.spans[0].end_ms = end_ms;
        self
    }

    /// The run as one line of OTLP JSON.
    pub(crate) fn into_line(self) -> String {
        let seed = self.service.bytes().fold(self.number, |seed, byte| mixed(seed ^ u64::from(byte)));
        let trace_id = format!("{:016x}{:016x}", mixed(seed), mixed(seed ^ 1));
        let span_id = |index: usize| format!("{:016x}", mixed(seed ^ (index as u64 + 2)));
        let at = |ms: u64| format!("{}000000", self.origin_ms + ms);
        let spans: Vec<Value> = self
            .spans
            .iter()
            .enumerate()
            .map(|(index, span)| {
                let mut object = json!({
                    "traceId": trace_id, "spanId": span_id(index), "name": span.name, "kind": 1,
                    "startTimeUnixNano": at(span.start_ms), "endTimeUnixNano": at(span.end_ms),
                    "attributes": span.attributes, "status": span.status,
                });
                if index > 0 {
                    object["parentSpanId"] = span_id(0).into();
                }
                object
            })
            .collect();
        let service = json!({"key": "service.name", "value": {"stringValue": self.service}});
        let document = json!({"resourceSpans": [{
            "resource": {"attributes": [service]},
            "scopeSpans": [{"scope": {"name": "demo"}, "spans": spans}],
        }]});
        format!("{document}\n")
    }
}

impl SpanInJson {
    pub(crate) fn text(&mut self, key: &str, value: &str) -> &mut Self {
        self.attributes.push(json!({"key": key, "value": {"stringValue": value}}));
        self
    }

    pub(crate) fn number(&mut self, key: &str, value: u64) -> &mut Self {
        self.attributes.push(json!({"key": key, "value": {"intValue": value.to_string()}}));
        self
    }

    /// What sort of work it does.
    pub(crate) fn kind(&mut self, kind: &str) -> &mut Self {
        self.text("longpole.node.kind", kind)
    }

    /// The nodes it waited for: nothing is said of them if there are none; `-` alone says that it waited for none.
    pub(crate) fn depends_on(&mut self, nodes: &[&str]) -> &mut Self {
        if nodes.is_empty() {
            return self;
        }
        let nodes = nodes.iter().filter(|node| **node != "-");
        let values: Vec<Value> = nodes.map(|node| json!({"stringValue": node})).collect();
        let value = json!({"arrayValue": {"values": values}});
        self.attributes.push(json!({"key": "longpole.node.depends_on", "value": value}));
        self
    }

    /// How long after its start it began to run.
    pub(crate) fn queued(&mut self, ms: u64) -> &mut Self {
        if ms > 0 { self.number("longpole.queued_ns", ms * 1_000_000) } else { self }
    }

    pub(crate) fn fails(&mut self, kind: &str, message: &str) -> &mut Self {
        self.status = json!({"code": 2, "message": message});
        self.text("error.type", kind)
    }
}

/// When steps of these lengths start, if so many may run at once.
pub(crate) fn at_most(limit: usize, start_ms: u64, lengths: &[u64]) -> Vec<u64> {
    let mut free = vec![start_ms; limit];
    let mut start = |ms: &u64| {
        let first = free.iter_mut().min().unwrap();
        *first += ms;
        *first - ms
    };
    lengths.iter().map(&mut start).collect()
}

/// Times as they differ from run to run, the same for the same run.
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(run: u64) -> Noise {
        Noise(run)
    }

    /// A time that is up to 3 % more or less.
    pub(crate) fn around(&mut self, ms: u64) -> u64 {
        self.0 = mixed(self.0);
        ms * (970 + self.0 % 61) / 1_000
    }
}

/// Splitmix64: spreads numbers over all bits.
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
