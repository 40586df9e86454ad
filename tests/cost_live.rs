//! What calls of models cost, on the spans a program exports and in the reports it hears.

use std::sync::Arc;

use longpole::prices::{PriceTable, Unit, Usage};
use longpole::{CostMirror, Longpole, Report, ReportOptions, SpanExt, report_on, track_call};
use serde_json::Value;
use tracing::field::Empty;
use tracing::info_span;
use tracing_subscriber::prelude::*;

/// Two dollars a million input tokens, 50 cents from the cache, ten dollars a million output tokens.
const PRICES: &str = r#"[{
    "id": "acme",
    "name": "Acme",
    "models": [{
        "id": "m1",
        "match": {"starts_with": "m1"},
        "prices": {"input_mtok": 2, "cache_read_mtok": 0.5, "output_mtok": 10}
    }]
}]"#;

struct Ran {
    /// Attributes of each exported span, by the name of the span.
    spans: Vec<(String, Vec<(String, Value)>)>,
    live: Vec<Arc<Report>>,
    offline: Vec<Report>,
}

impl Ran {
    fn attributes(&self, span: &str) -> &[(String, Value)] {
        &self.spans.iter().find(|(name, _)| name == span).unwrap().1
    }

    fn attribute(&self, span: &str, key: &str) -> Option<&Value> {
        self.attributes(span).iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    fn number(&self, span: &str, key: &str) -> Option<f64> {
        self.attribute(span, key)?["doubleValue"].as_f64()
    }

    fn text(&self, span: &str, key: &str) -> Option<&str> {
        self.attribute(span, key)?["stringValue"].as_str()
    }
}

/// Measures `program`, and reads what it exported.
fn run(mirrors: &[CostMirror], program: impl FnOnce(&Longpole)) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spans.jsonl");
    let prices = PriceTable::from_json(PRICES).unwrap();
    let builder = longpole::builder().spans_file(&file).prices(prices.clone());
    let (layer, longpole) = builder.mirror_cost(mirrors.iter().copied()).build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || program(&longpole));
    longpole.shutdown();
    let text = std::fs::read_to_string(&file).unwrap();
    let mut spans = Vec::new();
    for document in text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let groups = document["resourceSpans"].as_array().unwrap().iter();
        let groups = groups.flat_map(|resource| resource["scopeSpans"].as_array().unwrap());
        for span in groups.flat_map(|scope| scope["spans"].as_array().unwrap()) {
            let pair = |pair: &Value| (pair["key"].as_str().unwrap().to_owned(), pair["value"].clone());
            let attributes = span["attributes"].as_array().into_iter().flatten().map(pair).collect();
            spans.push((span["name"].as_str().unwrap().to_owned(), attributes));
        }
    }
    let records = longpole::decode::decode(text.as_bytes()).unwrap().spans;
    let options = ReportOptions { prices: Some(prices), ..ReportOptions::default() };
    Ran { spans, live: longpole.runs(), offline: report_on(records, &options) }
}

fn money(text: &str) -> Option<longpole::money::Money> {
    Some(text.parse().unwrap())
}

/// 1,000 input tokens, 400 of them cached, and 100 output tokens: 600 × $2 + 400 × $0.50 + 100 × $10 a million.
fn call(model: &'static str) -> tracing::Span {
    let span = info_span!(
        "chat",
        gen_ai.operation.name = "chat",
        gen_ai.provider.name = "acme",
        gen_ai.request.model = model,
        gen_ai.usage.input_tokens = Empty,
        gen_ai.usage.output_tokens = Empty,
    );
    // As libraries do: when the answer is there.
    span.record("gen_ai.usage.input_tokens", 1_000);
    span.record("gen_ai.usage.output_tokens", 100);
    span.set_attribute("gen_ai.usage.cache_read.input_tokens", 400u64);
    span
}

#[test]
fn a_call_carries_what_it_cost_and_the_agent_around_it_is_not_charged_again() {
    let ran = run(&[], |_| {
        let agent = info_span!(
            "invoke_agent",
            gen_ai.operation.name = "invoke_agent",
            gen_ai.agent.name = "desk",
            gen_ai.provider.name = "acme",
            gen_ai.request.model = "m1",
            gen_ai.usage.input_tokens = 1_000,
            gen_ai.usage.output_tokens = 100,
        );
        let _agent = agent.entered();
        call("m1-large").in_scope(|| {});
    });
    assert_eq!(ran.number("chat", "longpole.cost.usd"), Some(0.0024));
    assert_eq!(ran.number("chat", "longpole.cost.input_usd"), Some(0.0012));
    assert_eq!(ran.number("chat", "longpole.cost.cache_read_usd"), Some(0.0002));
    assert_eq!(ran.number("chat", "longpole.cost.output_usd"), Some(0.001));
    assert_eq!(ran.attribute("chat", "longpole.cost.cache_write_usd"), None, "nothing of nothing");
    assert_eq!(ran.text("chat", "longpole.cost.source"), Some("estimated"));
    let label = PriceTable::from_json(PRICES).unwrap().label().to_string();
    assert_eq!(ran.text("chat", "longpole.cost.table"), Some(&*label));
    assert_eq!(ran.attribute("invoke_agent", "longpole.cost.usd"), None);
    assert_eq!(ran.number("invoke_agent", "longpole.run.cost_usd"), Some(0.0024));
    for report in ran.live.iter().map(|report| &**report).chain(&ran.offline) {
        assert_eq!(report.totals.cost_usd, money("0.0024"));
        let tokens = report.totals.tokens.unwrap();
        assert_eq!((tokens.input, tokens.output), (1_000, 100));
    }
}

#[test]
fn what_the_program_says_it_cost_stands() {
    let ran = run(&CostMirror::ALL, |_| {
        let _run = info_span!("run").entered();
        let told = call("m1");
        told.record_cost(0.5);
        told.set_attribute("gen_ai.usage.cost", 0.4);
    });
    assert_eq!(ran.number("chat", "longpole.cost.usd"), Some(0.5));
    assert_eq!(ran.attribute("chat", "longpole.cost.source"), None);
    assert_eq!(ran.number("chat", "gen_ai.usage.cost"), Some(0.4), "and so does what it says elsewhere");
    assert_eq!(ran.number("chat", "llm.cost.total"), Some(0.5));
    let mut keys: Vec<&String> = ran.attributes("chat").iter().map(|(key, _)| key).collect();
    let all = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), all, "no key twice: {keys:?}");
    assert_eq!(ran.live[0].totals.cost_usd, money("0.5"));
}

#[test]
fn a_model_without_a_price_says_so() {
    let ran = run(&CostMirror::ALL, |_| {
        let _run = info_span!("run").entered();
        drop(call("m2"));
    });
    assert_eq!(ran.text("chat", "longpole.cost.source"), Some("unpriced"));
    let others = ["longpole.cost.usd", "gen_ai.usage.cost", "llm.cost.total", "mlflow.llm.cost"];
    others.iter().for_each(|key| assert_eq!(ran.attribute("chat", key), None, "{key}"));
    for report in ran.live.iter().map(|report| &**report).chain(&ran.offline) {
        assert_eq!(report.totals.cost_usd, None, "not zero");
        assert_eq!(report.totals.tokens.map(|tokens| tokens.input), Some(1_000));
    }
}

#[test]
fn costs_are_told_in_the_words_of_others_if_asked() {
    let ran = run(&CostMirror::ALL, |_| {
        let _run = info_span!("run").entered();
        drop(call("m1"));
    });
    assert_eq!(ran.number("chat", "gen_ai.usage.cost"), Some(0.0024));
    assert_eq!(ran.number("chat", "llm.cost.total"), Some(0.0024));
    assert_eq!(ran.number("chat", "llm.cost.prompt"), Some(0.0014));
    assert_eq!(ran.number("chat", "llm.cost.completion"), Some(0.001));
    let json = |key: &str| serde_json::from_str::<Value>(ran.text("chat", key).unwrap()).unwrap();
    let mlflow = json("mlflow.llm.cost");
    assert_eq!(mlflow, serde_json::json!({"input_cost": 0.0014, "output_cost": 0.001, "total_cost": 0.0024}));
    let langfuse = json("langfuse.observation.cost_details");
    assert_eq!(langfuse, serde_json::json!({"input": 0.0014, "output": 0.001, "total": 0.0024}));
    assert_eq!(ran.offline[0].totals.cost_usd, money("0.0024"), "the same cost told five times is one cost");
}

#[test]
fn a_tracked_call_belongs_to_the_node_around_it() {
    let usage = Usage::tokens(1_000, 100).with(Unit::CACHE_READ, 400);
    let ran = run(&[], |_| {
        let _run = info_span!("run").entered();
        let _draft = info_span!("draft", node.id = "draft").entered();
        assert_eq!(track_call("acme", "m1", &usage).unwrap().cost.total(), money("0.0024").unwrap());
        assert_eq!(track_call("acme", "m1", &usage).unwrap().cost.total(), money("0.0024").unwrap());
        assert_eq!(track_call("acme", "m2", &usage).unwrap_err().as_str(), "unknown_model");
    });
    assert_eq!(ran.number("chat m1", "longpole.cost.usd"), Some(0.0024));
    assert_eq!(ran.text("chat m2", "longpole.cost.source"), Some("unpriced"));
    for report in ran.live.iter().map(|report| &**report).chain(&ran.offline) {
        let nodes: Vec<&str> = report.nodes.iter().map(|node| &*node.name).collect();
        assert_eq!(nodes, ["draft"], "calls without a span are no nodes");
        assert_eq!(report.nodes[0].cost_usd, money("0.0048"));
        assert_eq!(report.nodes[0].tokens.map(|tokens| tokens.input), Some(3_000));
        assert_eq!(report.totals.cost_usd, money("0.0048"));
        assert_eq!(report.run.spans, 5);
        assert_eq!((report.quality.orphans, report.quality.missing_spans), (0, 0));
    }
}

#[test]
fn a_call_tracked_outside_every_span_is_a_run_of_its_own() {
    let ran = run(&[], |_| {
        track_call("acme", "m1", &Usage::tokens(1_000, 0)).unwrap();
    });
    assert_eq!(ran.number("chat m1", "longpole.cost.usd"), Some(0.002));
    assert_eq!(ran.live[0].totals.cost_usd, money("0.002"));
}

#[test]
fn without_a_layer_a_tracked_call_still_has_a_price() {
    let usage = Usage::tokens(1_000, 100);
    assert_eq!(track_call("openai", "gpt-4o", &usage).unwrap().cost.total(), money("0.0035").unwrap());
    assert!(track_call("openai", "no such model", &usage).is_err());
}

#[test]
fn a_call_whose_usage_is_recorded_at_its_end_is_priced() {
    let ran = run(&[], |_| {
        let _run = info_span!("run").entered();
        let span = info_span!(
            "chat",
            gen_ai.operation.name = "chat",
            gen_ai.provider.name = "acme",
            gen_ai.request.model = "m1",
        );
        span.record_usage(&Usage::tokens(1_000, 100).with(Unit::CACHE_READ, 400));
    });
    assert_eq!(ran.number("chat", "longpole.cost.usd"), Some(0.0024));
}

#[test]
fn a_cost_that_is_no_amount_is_not_written_a_second_time() {
    let ran = run(&[], |_| {
        let _run = info_span!("run").entered();
        call("m1").record_cost(-1.0);
    });
    let written = ran.attributes("chat").iter().filter(|(key, _)| key == "longpole.cost.usd").count();
    assert_eq!(written, 1);
    for report in ran.live.iter().map(|report| &**report).chain(&ran.offline) {
        assert_eq!(report.totals.cost_usd, money("0.0024"), "the tokens say what it cost");
    }
}
