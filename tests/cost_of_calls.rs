//! From whole spans, as libraries write them, to what their calls cost.
//!
//! The prices are those of a small table, so that every amount here can be worked out by hand. In USD for a million
//! tokens:
//!
//! | | input | read from a cache | written to a cache | for an hour | output | batch: input, output |
//! |---|--:|--:|--:|--:|--:|--:|
//! | openai gpt-4o | 2.5 | 1.25 | – | – | 10 | 1.25, 5 |
//! | anthropic claude-sonnet-4 | 3 | 0.3 | 3.75 | 6 | 15 | |
//! | aws claude-sonnet-4 | 3.3 | 0.33 | 4.125 | – | 16.5 | |
//! | groq llama | 0.05 | – | – | – | 0.08 | |

use std::path::Path;
use std::sync::LazyLock;

use longpole::cost::{price, price_spans};
use longpole::money::Money;
use longpole::prices::{PriceTable, Unpriced};
use longpole::span_record::{CostSource, NodeFacts, SpanRecord};

static TABLE: LazyLock<PriceTable> = LazyLock::new(|| {
    let text = r#"[
        {"id": "openai", "name": "OpenAI", "api_pattern": "https://api\\.openai\\.com",
         "model_match": {"starts_with": "gpt-"}, "provider_match": {"contains": "openai"},
         "models": [
            {"id": "gpt-4o", "match": {"starts_with": "gpt-4o"},
             "prices": {"input_mtok": 2.5, "cache_read_mtok": 1.25, "output_mtok": 10},
             "price_variants": [{"when": {"processing": "batch"}, "prices": {"input_mtok": 1.25, "output_mtok": 5}}]},
            {"id": "text-embedding-3-small", "match": {"equals": "text-embedding-3-small"},
             "prices": {"input_mtok": 0.02}}]},
        {"id": "anthropic", "name": "Anthropic", "api_pattern": "https://api\\.anthropic\\.com",
         "model_match": {"contains": "claude"}, "provider_match": {"contains": "anthropic"},
         "models": [{"id": "claude-sonnet-4", "match": {"contains": "claude-sonnet-4"},
             "prices": {"input_mtok": 3, "cache_read_mtok": 0.3, "cache_write_mtok": 3.75, "cache_write_1h_mtok": 6,
                        "output_mtok": 15}}]},
        {"id": "aws", "name": "Bedrock", "api_pattern": "https://bedrock-runtime\\.", "provider_match": {"contains": "bedrock"},
         "models": [{"id": "claude-sonnet-4", "match": {"contains": "claude-sonnet-4"},
             "prices": {"input_mtok": 3.3, "cache_read_mtok": 0.33, "cache_write_mtok": 4.125, "output_mtok": 16.5}}]},
        {"id": "groq", "name": "Groq", "api_pattern": "https://api\\.groq\\.com",
         "models": [{"id": "llama", "match": {"starts_with": "llama"}, "prices": {"input_mtok": 0.05, "output_mtok": 0.08}}]}
    ]"#;
    PriceTable::from_json_named(text, "a table for tests").unwrap()
});

/// One span of OTLP JSON with these attributes, an instrumentation's name and a status.
struct Span {
    scope: &'static str,
    failed: bool,
    attributes: String,
}

fn span(attributes: &str) -> Span {
    Span { scope: "", failed: false, attributes: attributes.to_owned() }
}

impl Span {
    fn of_scope(self, scope: &'static str) -> Self {
        Span { scope, ..self }
    }

    fn failed(self) -> Self {
        Span { failed: true, ..self }
    }

    /// Attributes are `key=value`, a line each; a value that is no number is a string.
    fn json(&self) -> String {
        let attribute = |line: &str| {
            let (key, value) = line.trim().split_once('=').unwrap_or_else(|| panic!("{line}"));
            let value = match (value.parse::<i64>(), value.parse::<f64>()) {
                (Ok(_), _) => format!(r#"{{"intValue": "{value}"}}"#),
                (_, Ok(_)) => format!(r#"{{"doubleValue": {value}}}"#),
                _ => format!(r#"{{"stringValue": {}}}"#, serde_json::to_string(value).unwrap()),
            };
            format!(r#"{{"key": "{key}", "value": {value}}}"#)
        };
        let attributes: Vec<String> =
            self.attributes.lines().filter(|line| !line.trim().is_empty()).map(attribute).collect();
        format!(
            r#"{{"resourceSpans": [{{"scopeSpans": [{{"scope": {{"name": "{}"}}, "spans": [{{
                "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "name": "call",
                "startTimeUnixNano": "1767225600000000000", "endTimeUnixNano": "1767225601000000000",
                "status": {{"code": {}}}, "attributes": [{}]}}]}}]}}]}}"#,
            self.scope,
            if self.failed { 2 } else { 0 },
            attributes.join(","),
        )
    }

    /// The span as it is read, without a price yet.
    fn record(&self) -> SpanRecord {
        longpole::decode::decode(self.json().as_bytes()).unwrap().spans.remove(0)
    }

    fn facts(&self) -> NodeFacts {
        let mut records = [self.record()];
        price_spans(&mut records, Some(&TABLE));
        let [record] = records;
        *record.facts.unwrap_or_default()
    }

    /// The amount, or the reason why there is none.
    fn cost(&self) -> Result<String, Unpriced> {
        let facts = self.facts();
        match (facts.cost, facts.unpriced) {
            (Some(cost), None) => Ok(cost.to_string()),
            (None, Some(reason)) => Err(reason),
            odd => panic!("{odd:?}"),
        }
    }
}

fn usd(text: &str) -> Result<String, Unpriced> {
    Ok(text.to_owned())
}

#[test]
fn cached_tokens_are_charged_once_whoever_wrote_the_span() {
    let gpt = "gen_ai.operation.name=chat
        gen_ai.provider.name=openai
        gen_ai.request.model=gpt-4o
        gen_ai.response.model=gpt-4o-2024-08-06
        gen_ai.usage.input_tokens=1000
        gen_ai.usage.output_tokens=100
        gen_ai.usage.cache_read.input_tokens=400";
    // 600 × 2.5 + 400 × 1.25 + 100 × 10 = 1,500 + 500 + 1,000 millionths.
    let priced = span(gpt).facts();
    assert_eq!(priced.cost.unwrap().to_string(), "0.003");
    assert_eq!(priced.cost_source, Some(CostSource::Estimated));
    assert_eq!(priced.cost_table.as_ref(), Some(TABLE.label()));
    let parts = priced.cost_parts.unwrap();
    let [input, read, output] = [parts.input, parts.cache_read, parts.output].map(|part| part.to_string());
    assert_eq!([&*input, &*read, &*output], ["0.0015", "0.0005", "0.001"]);

    let claude = |provider: &str, input: u64, rest: &str| {
        span(&format!(
            "gen_ai.operation.name=chat
            gen_ai.provider.name={provider}
            gen_ai.request.model=claude-sonnet-4-20250514
            gen_ai.usage.input_tokens={input}
            gen_ai.usage.output_tokens=50
            gen_ai.usage.cache_read.input_tokens=2000
            gen_ai.usage.cache_creation.input_tokens=500
            {rest}"
        ))
    };
    // 100 × 3 + 2,000 × 0.3 + 500 × 3.75 + 50 × 15 = 300 + 600 + 1,875 + 750, whether the input is told with them
    // or as Anthropic's API tells it.
    assert_eq!(claude("anthropic", 2600, "").cost(), usd("0.003525"));
    assert_eq!(claude("anthropic", 100, "").cost(), usd("0.003525"));
    assert_eq!(claude("anthropic", 2600, "gen_ai.usage.total_tokens=2650").cost(), usd("0.003525"));
    // The same with more input than cached tokens needs a word from elsewhere: 2,600 × 3 + 600 + 1,875 + 750.
    let by_scope = claude("anthropic", 2600, "").of_scope("@traceloop/instrumentation-anthropic");
    assert_eq!(by_scope.cost(), usd("0.011025"));
    assert_eq!(claude("anthropic", 2600, "gen_ai.usage.total_tokens=5150").cost(), usd("0.011025"));
    // Amazon's prices: 100 × 3.3 + 2,000 × 0.33 + 500 × 4.125 + 50 × 16.5 = 330 + 660 + 2,062.5 + 825.
    assert_eq!(claude("aws.bedrock", 100, "").cost(), usd("0.0038775"));
    let botocore =
        claude("aws.bedrock", 100, "").of_scope("opentelemetry.instrumentation.botocore.bedrock-runtime");
    assert_eq!(botocore.cost(), usd("0.0038775"));
    // Where they are kept for an hour: 200 of the 500 at 6 instead of 3.75 add 450.
    assert_eq!(claude("anthropic", 2600, "longpole.usage.cache_write_1h_tokens=200").cost(), usd("0.003975"));

    let openinference = "openinference.span.kind=LLM
        llm.system=openai
        llm.model_name=gpt-4o
        llm.token_count.prompt=1000
        llm.token_count.completion=100
        llm.token_count.total=1100
        llm.token_count.prompt_details.cache_read=400";
    assert_eq!(span(openinference).cost(), usd("0.003"));
    let vercel = "ai.operationId=ai.generateText.doGenerate
        ai.model.provider=anthropic.messages
        ai.model.id=claude-sonnet-4-20250514
        ai.usage.inputTokens=100
        ai.usage.outputTokens=50
        ai.usage.cachedInputTokens=80";
    // Version 5 of the SDK: 100 × 3 + 80 × 0.3 + 50 × 15 = 300 + 24 + 750.
    assert_eq!(span(vercel).cost(), usd("0.001074"));
}

#[test]
fn counts_that_contradict_each_other_have_no_price() {
    let gpt = |rest: &str| {
        span(&format!(
            "gen_ai.operation.name=chat\ngen_ai.provider.name=openai\ngen_ai.request.model=gpt-4o\n{rest}"
        ))
    };
    let tokens = |input: &str, output: &str, rest: &str| {
        gpt(&format!("gen_ai.usage.input_tokens={input}\ngen_ai.usage.output_tokens={output}\n{rest}")).cost()
    };
    assert_eq!(
        tokens("100", "10", "gen_ai.usage.cache_read.input_tokens=101"),
        Err(Unpriced::CountsContradict)
    );
    assert_eq!(tokens("100", "10", "gen_ai.usage.total_tokens=500"), Err(Unpriced::CountsContradict));
    for bad in ["-1", "1.5", "9223372036854775808", "18446744073709551616", "1e30"] {
        assert_eq!(tokens(bad, "10", ""), Err(Unpriced::BadCount), "{bad}");
        assert_eq!(tokens("10", bad, ""), Err(Unpriced::BadCount), "{bad}");
    }
    // A told cost is no worse for it.
    assert_eq!(tokens("-1", "10", "gen_ai.usage.cost=0.5"), usd("0.5"));
    assert_eq!(tokens("0", "0", ""), usd("0"), "no tokens of a model with a price cost nothing");
}

#[test]
fn a_call_that_does_not_say_enough_says_what_is_missing() {
    let call = |rest: &str| {
        span(&format!(
            "gen_ai.operation.name=chat\ngen_ai.provider.name=openai\ngen_ai.request.model=gpt-4o\n{rest}"
        ))
    };
    // OpenAI tells the usage of a stream only if asked to.
    assert_eq!(call("gen_ai.request.stream=true").cost(), Err(Unpriced::UsageMissing));
    assert_eq!(call("").cost(), Err(Unpriced::UsageMissing));
    // Half of it is none; what failed may have no output.
    assert_eq!(call("gen_ai.usage.input_tokens=1000").cost(), Err(Unpriced::UsageMissing));
    assert_eq!(call("gen_ai.usage.output_tokens=1000").cost(), Err(Unpriced::UsageMissing));
    assert_eq!(call("gen_ai.usage.input_tokens=1000").failed().cost(), usd("0.0025"));
    // Failed before a model answered; failed after.
    assert_eq!(call("error.type=RateLimitError").failed().cost(), Err(Unpriced::FailedWithoutUsage));
    assert_eq!(call("gen_ai.response.model=gpt-4o").failed().cost(), Err(Unpriced::UsageMissing));
    assert_eq!(call("longpole.outcome=cancelled").cost(), Err(Unpriced::UsageMissing), "the model went on");
    let tokens = "gen_ai.usage.input_tokens=1000\ngen_ai.usage.output_tokens=0";
    let of = |provider: &str, model: &str| {
        span(&format!("gen_ai.operation.name=chat\n{provider}\n{model}\n{tokens}")).cost()
    };
    assert_eq!(of("gen_ai.system=openai", ""), Err(Unpriced::ModelMissing));
    assert_eq!(of("gen_ai.system=openai", "gen_ai.request.model=gpt-9"), Err(Unpriced::UnknownModel));
    assert_eq!(of("gen_ai.system=nobody", "gen_ai.request.model=gpt-4o"), Err(Unpriced::UnknownProvider));
    let embedding = "gen_ai.operation.name=embeddings\ngen_ai.provider.name=openai
        gen_ai.request.model=text-embedding-3-small\ngen_ai.usage.input_tokens=1000";
    assert_eq!(span(embedding).cost(), usd("0.00002"));
}

#[test]
fn the_model_that_answered_and_who_was_called_decide() {
    let of = |rest: &str| {
        span(&format!(
            "gen_ai.operation.name=chat\ngen_ai.usage.input_tokens=1000\ngen_ai.usage.output_tokens=100\n{rest}"
        ))
        .cost()
    };
    let gpt = usd("0.0035");
    // A deployment's name is no model's; what answered is.
    assert_eq!(
        of("gen_ai.system=openai\ngen_ai.request.model=ours\ngen_ai.response.model=gpt-4o-2024-08-06"),
        gpt
    );
    // A name that only the one who answered knows leaves the one that was asked for.
    assert_eq!(of("gen_ai.system=openai\ngen_ai.request.model=gpt-4o\ngen_ai.response.model=chatty-1"), gpt);
    assert_eq!(of("llm.vendor=OpenAI\nllm.request.model=gpt-4o"), gpt);
    assert_eq!(of("gen_ai.system=openai.responses\ngen_ai.request.model=gpt-4o"), gpt);
    assert_eq!(of("gen_ai.request.model=gpt-4o"), gpt, "by the model's name");
    assert_eq!(of("server.address=api.openai.com\ngen_ai.request.model=gpt-4o"), gpt);
    assert_eq!(
        of("gen_ai.system=strands-agents\ngen_ai.request.model=gpt-4o"),
        gpt,
        "a framework is no provider"
    );
    // OpenAI's client and another's address: 1,000 × 0.05 + 100 × 0.08.
    let groq = "gen_ai.system=openai\ngen_ai.request.model=llama-3.3-70b\nserver.address=api.groq.com";
    assert_eq!(of(groq), usd("0.000058"));
    let mine = "gen_ai.system=openai\ngen_ai.request.model=gpt-4o\nserver.address=127.0.0.1";
    assert_eq!(of(mine), gpt, "an address nobody knows says nothing");
    let batch = "gen_ai.system=openai\ngen_ai.request.model=gpt-4o\n";
    // 1,000 × 1.25 + 100 × 5.
    assert_eq!(of(&format!("{batch}longpole.call.processing=batch")), usd("0.00175"));
    assert_eq!(of(&format!("{batch}openai.response.service_tier=batch")), usd("0.00175"));
    for tier in ["default", "auto", "standard"] {
        assert_eq!(of(&format!("{batch}openai.response.service_tier={tier}")), gpt);
    }
}

#[test]
fn a_cost_that_was_told_stands_and_a_librarys_zero_does_not() {
    let gpt = "gen_ai.operation.name=chat\ngen_ai.provider.name=openai\ngen_ai.request.model=gpt-4o
        gen_ai.usage.input_tokens=1000\ngen_ai.usage.output_tokens=100\n";
    for (told, cost, source) in [
        ("longpole.cost.usd=0.5", "0.5", CostSource::Recorded),
        ("node.cost_usd=0", "0", CostSource::Recorded),
        ("gen_ai.usage.cost=0.25", "0.25", CostSource::GenAi),
        ("llm.cost.total=0.0021", "0.0021", CostSource::OpenInference),
        (
            r#"mlflow.llm.cost={"input_cost": 0.002, "output_cost": 0.001, "total_cost": 0.003}"#,
            "0.003",
            CostSource::Mlflow,
        ),
        (r#"langfuse.observation.cost_details={"total": 1e-05}"#, "0.00001", CostSource::Langfuse),
        ("operation.cost=0.0022", "0.0022", CostSource::PydanticAi),
        // Libraries write zero for models they do not know: 1,000 × 2.5 + 100 × 10.
        ("gen_ai.usage.cost=0", "0.0035", CostSource::Estimated),
        (
            r#"langfuse.observation.cost_details={"input": 0, "output": 0, "total": 0}"#,
            "0.0035",
            CostSource::Estimated,
        ),
        // LiteLLM answered from its own cache.
        ("litellm.cost.total=0\nlitellm.cache_hit=true", "0", CostSource::LiteLlm),
    ] {
        let facts = span(&format!("{gpt}{told}")).facts();
        assert_eq!(facts.cost.map(|cost| cost.to_string()).as_deref(), Some(cost), "{told}");
        assert_eq!((facts.cost_source, facts.unpriced), (Some(source), None), "{told}");
        let told_free = facts.call.is_some_and(|call| call.told_free);
        assert_eq!(told_free, source == CostSource::Estimated, "{told}");
    }
    // Of a model that the table does not have either it is all there is.
    let local = gpt.replace("gpt-4o", "my-own");
    let facts = span(&format!("{local}gen_ai.usage.cost=0")).facts();
    assert_eq!((facts.cost, facts.cost_source), (Some(Money::ZERO), Some(CostSource::GenAi)));
}

#[test]
fn spans_around_calls_have_no_price_of_their_own() {
    for around in [
        "gen_ai.operation.name=invoke_agent",
        "gen_ai.operation.name=execute_tool",
        "openinference.span.kind=AGENT",
        "traceloop.span.kind=workflow",
        "ai.operationId=ai.generateText",
        "node.id=draft",
    ] {
        let span = span(&format!(
            "{around}\ngen_ai.provider.name=openai\ngen_ai.request.model=gpt-4o
            gen_ai.usage.input_tokens=1000\ngen_ai.usage.output_tokens=100"
        ));
        let facts = span.facts();
        assert_eq!((facts.cost, facts.unpriced), (None, None), "{around}");
        let record = span.record();
        assert_eq!(price(record.facts.as_ref().unwrap(), record.start, false, &TABLE), None);
    }
}

/// The scripted model of the recordings is none that anybody sells, so they are read once as they are and once with its
/// name replaced.
fn recorded(file: &str, model: &str) -> Vec<SpanRecord> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/agents").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut spans = longpole::decode::decode(text.replace("scripted-1", model).as_bytes()).unwrap().spans;
    price_spans(&mut spans, Some(&TABLE));
    spans
}

#[test]
fn calls_of_recorded_agents_are_priced_once_each() {
    // Four answers: 700 input tokens, 460 of them cached, and 80 output tokens, which are
    // 240 × 2.5 + 460 × 1.25 + 80 × 10 = 600 + 575 + 800; two of the libraries do not tell what was cached:
    // 700 × 2.5 + 800 = 2,550.
    for (file, cost) in [
        ("pydantic_ai.jsonl", "0.001975"),
        ("openllmetry.jsonl", "0.001975"),
        ("openinference.jsonl", "0.00255"),
        ("openllmetry_0_36.jsonl", "0.00255"),
    ] {
        let facts =
            |model: &str| recorded(file, model).into_iter().filter_map(|span| span.facts).collect::<Vec<_>>();
        let priced = facts("gpt-4o");
        let costs: Vec<Money> = priced.iter().filter_map(|facts| facts.cost).collect();
        assert_eq!((costs.len(), costs.into_iter().sum::<Money>().to_string().as_str()), (4, cost), "{file}");
        assert!(priced.iter().all(|facts| facts.cost.is_none() || facts.is_inference()), "{file}");
        let unpriced = facts("scripted-1");
        assert!(unpriced.iter().all(|facts| facts.cost.is_none()), "{file}");
        let reasons = unpriced.iter().filter_map(|facts| facts.unpriced).collect::<Vec<_>>();
        assert_eq!(reasons, [Unpriced::UnknownModel; 4], "{file}");
    }
}

#[test]
fn whole_numbers_beyond_64_bits_are_bad_counts_in_json_too() {
    let model = "gen_ai.operation.name=chat\ngen_ai.provider.name=openai\ngen_ai.request.model=gpt-4o";
    for count in [r#""9223372036854775808""#, "9223372036854775808", r#""-5""#, "1.5", "1e300"] {
        let plain = span(&format!("{model}\ngen_ai.usage.output_tokens=1\ngen_ai.usage.input_tokens=77"));
        let json = plain.json().replace(r#"{"intValue": "77"}"#, &format!(r#"{{"intValue": {count}}}"#));
        let mut spans = longpole::decode::decode(json.as_bytes()).unwrap().spans;
        price_spans(&mut spans, Some(&TABLE));
        assert_eq!(spans[0].facts.as_ref().unwrap().unpriced, Some(Unpriced::BadCount), "{count}");
    }
}
