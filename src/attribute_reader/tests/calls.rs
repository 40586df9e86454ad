//! What spans of calls tell about tokens and costs, with the attributes that libraries really write.

use super::*;
use crate::attribute_reader::told_call;
use crate::money::CostParts;
use crate::prices::Unit;
use crate::span_record::{CallDetails, CostSource, NodeFacts, TokenCounts};
use AttributeValue::Bool;

type Told<'a> = Vec<(&'a str, AttributeValue<'a>)>;

/// The facts of a span with these attributes, which are the same in whatever order they come.
fn facts(told: &[(&str, AttributeValue<'_>)]) -> NodeFacts {
    facts_of_scope("", told)
}

fn facts_of_scope(scope: &str, told: &[(&str, AttributeValue<'_>)]) -> NodeFacts {
    let forwards = read_in_scope(scope, "call", told);
    assert_eq!(forwards, read_in_scope(scope, "call", told.iter().rev()), "the order of attributes matters");
    for first in 1..told.len() {
        let turned = told[first..].iter().chain(&told[..first]);
        assert_eq!(forwards, read_in_scope(scope, "call", turned), "the order of attributes matters");
    }
    *forwards.facts.unwrap_or_default()
}

fn details(told: &[(&str, AttributeValue<'_>)]) -> CallDetails {
    facts(told).call.map(|call| *call).unwrap_or_default()
}

/// Input, output, read from a cache, written to one, reasoning.
fn counts(tokens: TokenCounts) -> [Option<u64>; 5] {
    [tokens.input, tokens.output, tokens.cache_read, tokens.cache_write, tokens.reasoning]
}

fn usd(text: &str) -> Money {
    text.parse().unwrap()
}

fn chat<'a>(provider: &'a str, rest: &[(&'a str, AttributeValue<'a>)]) -> Told<'a> {
    let mut told = vec![("gen_ai.operation.name", Str("chat")), ("gen_ai.provider.name", Str(provider))];
    told.extend_from_slice(rest);
    told
}

#[test]
fn tokens_are_read_as_each_library_writes_them() {
    let cases: Vec<(&str, Told<'_>, [Option<u64>; 5])> = vec![
        (
            "opentelemetry-instrumentation-genai-openai 1.3b0",
            chat(
                "openai",
                &[
                    ("gen_ai.usage.input_tokens", Int(160)),
                    ("gen_ai.usage.output_tokens", Int(15)),
                    ("gen_ai.usage.cache_read.input_tokens", Int(100)),
                    ("gen_ai.usage.cache_write.input_tokens", Int(20)),
                    ("gen_ai.usage.reasoning.output_tokens", Int(5)),
                ],
            ),
            [Some(160), Some(15), Some(100), Some(20), Some(5)],
        ),
        (
            "rig 0.44, which adds Anthropic's cached tokens to the input itself",
            chat(
                "anthropic",
                &[
                    ("gen_ai.usage.input_tokens", Int(160)),
                    ("gen_ai.usage.output_tokens", Int(15)),
                    ("gen_ai.usage.cache_read.input_tokens", Int(100)),
                    ("gen_ai.usage.cache_creation.input_tokens", Int(20)),
                    ("gen_ai.usage.tool_use_prompt_tokens", Int(3)),
                    ("gen_ai.usage.reasoning_tokens", Int(5)),
                ],
            ),
            [Some(160), Some(15), Some(100), Some(20), Some(5)],
        ),
        (
            "pydantic-ai 2.68, which repeats what OpenTelemetry names under its own names",
            chat(
                "anthropic",
                &[
                    ("gen_ai.usage.input_tokens", Int(160)),
                    ("gen_ai.usage.output_tokens", Int(15)),
                    ("gen_ai.usage.cache_read.input_tokens", Int(100)),
                    ("gen_ai.usage.details.cache_read_tokens", Int(100)),
                    ("gen_ai.usage.cache_creation.input_tokens", Int(20)),
                    ("gen_ai.usage.details.cache_write_tokens", Int(20)),
                    ("gen_ai.usage.details.reasoning_tokens", Int(5)),
                ],
            ),
            [Some(160), Some(15), Some(100), Some(20), Some(5)],
        ),
        (
            "OpenLLMetry's Anthropic 0.62.4: the total is of whole input and output",
            chat(
                "anthropic",
                &[
                    ("gen_ai.usage.input_tokens", Int(160)),
                    ("gen_ai.usage.output_tokens", Int(15)),
                    ("gen_ai.usage.total_tokens", Int(175)),
                    ("gen_ai.usage.cache_read.input_tokens", Int(100)),
                    ("gen_ai.usage.cache_creation.input_tokens", Int(20)),
                ],
            ),
            [Some(160), Some(15), Some(100), Some(20), None],
        ),
        (
            "OpenLLMetry's OpenAI 0.36",
            vec![
                ("llm.request.type", Str("chat")),
                ("gen_ai.system", Str("OpenAI")),
                ("llm.usage.total_tokens", Int(120)),
                ("gen_ai.usage.completion_tokens", Int(20)),
                ("gen_ai.usage.prompt_tokens", Int(100)),
                ("gen_ai.usage.cache_read_input_tokens", Int(0)),
                ("llm.usage.reasoning_tokens", Int(8)),
            ],
            [Some(100), Some(20), Some(0), None, Some(8)],
        ),
        (
            "openinference-instrumentation-anthropic 3.1",
            vec![
                ("openinference.span.kind", Str("LLM")),
                ("llm.provider", Str("anthropic")),
                ("llm.token_count.prompt", Int(160)),
                ("llm.token_count.completion", Int(15)),
                ("llm.token_count.total", Int(175)),
                ("llm.token_count.prompt_details.cache_read", Int(100)),
                ("llm.token_count.prompt_details.cache_write", Int(20)),
                ("llm.token_count.completion_details.reasoning", Int(5)),
            ],
            [Some(160), Some(15), Some(100), Some(20), Some(5)],
        ),
        (
            "Vercel's AI SDK 6",
            vec![
                ("ai.operationId", Str("ai.streamText.doStream")),
                ("ai.model.provider", Str("anthropic.messages")),
                ("gen_ai.system", Str("anthropic.messages")),
                ("gen_ai.usage.input_tokens", Int(160)),
                ("gen_ai.usage.output_tokens", Int(15)),
                ("ai.usage.inputTokens", Int(160)),
                ("ai.usage.outputTokens", Int(15)),
                ("ai.usage.totalTokens", Int(175)),
                ("ai.usage.cachedInputTokens", Int(100)),
                ("ai.usage.inputTokenDetails.noCacheTokens", Int(40)),
                ("ai.usage.inputTokenDetails.cacheReadTokens", Int(100)),
                ("ai.usage.inputTokenDetails.cacheWriteTokens", Int(20)),
                ("ai.usage.outputTokenDetails.reasoningTokens", Int(5)),
            ],
            [Some(160), Some(15), Some(100), Some(20), Some(5)],
        ),
        (
            "MLflow 3.17, which writes texts as JSON",
            vec![
                ("mlflow.spanType", Str("\"CHAT_MODEL\"")),
                ("mlflow.llm.model", Str("\"gpt-4o\"")),
                ("mlflow.llm.provider", Str("\"openai\"")),
                (
                    "mlflow.chat.tokenUsage",
                    Str(
                        r#"{"input_tokens": 160, "output_tokens": 15, "total_tokens": 175, "cache_read_input_tokens": 100}"#,
                    ),
                ),
            ],
            [Some(160), Some(15), Some(100), None, None],
        ),
        (
            "LiteLLM 1.109 for Langfuse: the kinds add up",
            vec![
                ("langfuse.observation.type", Str("generation")),
                ("langfuse.observation.model.name", Str("gpt-4o")),
                (
                    "langfuse.observation.usage_details",
                    Str(
                        r#"{"input": 40, "input_cached_tokens": 100, "input_cache_creation": 20, "output": 10, "output_reasoning_tokens": 5, "total": 175}"#,
                    ),
                ),
            ],
            [Some(160), Some(15), Some(100), Some(20), Some(5)],
        ),
        (
            "Langfuse 5.0 for OpenAI: the answer's own usage",
            vec![
                ("langfuse.observation.type", Str("generation")),
                (
                    "langfuse.observation.usage_details",
                    Str(
                        r#"{"prompt_tokens": 160, "completion_tokens": 15, "total_tokens": 175, "prompt_tokens_details": {"cached_tokens": 100}, "completion_tokens_details": {"reasoning_tokens": 5}}"#,
                    ),
                ),
            ],
            [Some(160), Some(15), Some(100), None, Some(5)],
        ),
        (
            "an embedding of which only the total is told",
            vec![
                ("openinference.span.kind", Str("EMBEDDING")),
                ("embedding.model_name", Str("text-embedding-3-small")),
                ("llm.token_count.total", Int(12)),
            ],
            [Some(12), None, None, None, None],
        ),
    ];
    for (library, told, expected) in cases {
        let facts = facts(&told);
        assert!(facts.is_inference(), "{library}");
        assert_eq!(counts(facts.tokens), expected, "{library}");
        assert_eq!(facts.call.map_or(0, |call| call.unexplained_tokens), 0, "{library}");
    }
}

#[test]
fn cached_tokens_that_are_certainly_left_out_are_added_to_the_input() {
    let claude = |input: i64, read: i64, write: i64| {
        chat(
            "aws.bedrock",
            &[
                ("gen_ai.request.model", Str("anthropic.claude-sonnet-4-20250514-v1:0")),
                ("gen_ai.usage.input_tokens", Int(input)),
                ("gen_ai.usage.output_tokens", Int(10)),
                ("gen_ai.usage.cache_read.input_tokens", Int(read)),
                ("gen_ai.usage.cache_creation.input_tokens", Int(write)),
            ],
        )
    };
    let input = |scope: &str, told: &Told<'_>| facts_of_scope(scope, told).tokens.input;
    // Which is as the conventions want it.
    assert_eq!(input("", &claude(100, 30, 0)), Some(100));
    assert_eq!(input("pydantic-ai", &claude(100, 30, 0)), Some(100));
    // By who wrote it.
    assert_eq!(
        input("opentelemetry.instrumentation.botocore.bedrock-runtime", &claude(100, 30, 5)),
        Some(135)
    );
    assert_eq!(input("opentelemetry.instrumentation.bedrock", &claude(100, 30, 0)), Some(130));
    let mut of_jaeger = claude(100, 30, 0);
    of_jaeger.push(("otel.scope.name", Str("@traceloop/instrumentation-anthropic")));
    assert_eq!(input("", &of_jaeger), Some(130));
    // By the total: 100 + 10 + 30.
    let mut with_total = claude(100, 30, 0);
    with_total.push(("gen_ai.usage.total_tokens", Int(140)));
    assert_eq!(input("", &with_total), Some(130));
    // By more cached tokens than input.
    assert_eq!(input("", &claude(20, 30, 0)), Some(50));
    assert_eq!(input("", &claude(20, 15, 10)), Some(45));
    // Not where the API counts otherwise: that is a contradiction, and stays one.
    let openai = chat(
        "openai",
        &[
            ("gen_ai.request.model", Str("gpt-4o")),
            ("gen_ai.usage.input_tokens", Int(20)),
            ("gen_ai.usage.cache_read.input_tokens", Int(30)),
        ],
    );
    assert_eq!(input("", &openai), Some(20));
    // Vercel's AI SDK 5 hands on what Anthropic says; version 6 splits it, which is no evidence against itself.
    let mut sdk = vec![
        ("ai.operationId", Str("ai.generateText.doGenerate")),
        ("gen_ai.system", Str("anthropic.messages")),
        ("gen_ai.usage.input_tokens", Int(100)),
        ("ai.usage.inputTokens", Int(100)),
        ("ai.usage.cachedInputTokens", Int(30)),
    ];
    assert_eq!(input("ai", &sdk), Some(130));
    sdk.push(("ai.usage.inputTokenDetails.noCacheTokens", Int(70)));
    assert_eq!(input("ai", &sdk), Some(100));
    // What is not told cannot be added to.
    let no_input = chat("anthropic", &[("gen_ai.usage.cache_read.input_tokens", Int(30))]);
    assert_eq!(input("", &no_input), None);
}

#[test]
fn reasoning_beside_the_output_is_added_and_a_total_without_reason_is_told() {
    let gemini = |rest: &[(&'static str, AttributeValue<'static>)]| {
        let mut told = chat(
            "gcp.gemini",
            &[
                ("gen_ai.usage.input_tokens", Int(100)),
                ("gen_ai.usage.output_tokens", Int(20)),
                ("gen_ai.usage.total_tokens", Int(150)),
            ],
        );
        told.extend_from_slice(rest);
        facts(&told)
    };
    let reasoning = gemini(&[("gen_ai.usage.reasoning_tokens", Int(30))]);
    assert_eq!(counts(reasoning.tokens), [Some(100), Some(50), None, None, Some(30)]);
    assert_eq!(reasoning.call, None);
    assert_eq!(gemini(&[]).call.unwrap().unexplained_tokens, 30);
}

#[test]
fn other_kinds_of_tokens_are_units_of_the_price_table() {
    let told = chat(
        "openai",
        &[
            ("gen_ai.usage.input_tokens", Int(100)),
            ("gen_ai.usage.audio.input_tokens", Int(60)),
            ("gen_ai.usage.details.input_audio_tokens", Int(1)),
            ("gen_ai.usage.image.output_tokens", Int(7)),
            ("longpole.usage.cache_write_1h_tokens", Int(9)),
            ("longpole.usage.input_tokens", Int(200)),
            ("longpole.usage.no_such_unit", Int(5)),
        ],
    );
    let facts = facts(&told);
    assert_eq!(facts.tokens.input, Some(200), "longpole's own word counts");
    assert_eq!(facts.tokens.cache_write, Some(9), "all of it for an hour");
    let mut expected = [(Unit::CACHE_WRITE_1H, 9), (Unit::INPUT_AUDIO, 60), (Unit::OUTPUT_IMAGE, 7)];
    expected.sort_unstable();
    assert_eq!(facts.call.unwrap().other_usage, expected);
    let openinference = [
        ("openinference.span.kind", Str("LLM")),
        ("llm.token_count.prompt_details.audio", Int(3)),
        ("llm.token_count.completion_details.audio", Int(4)),
    ];
    let mut expected = [(Unit::INPUT_AUDIO, 3), (Unit::OUTPUT_AUDIO, 4)];
    expected.sort_unstable();
    assert_eq!(details(&openinference).other_usage, expected);
}

#[test]
fn a_count_that_is_none_is_told_whoever_says_it() {
    let bad = [
        Int(-1),
        Double(1.5),
        Double(-1.0),
        Double(f64::NAN),
        Double(f64::INFINITY),
        Double(9_223_372_036_854_775_808.0),
        Str("-3"),
        Str("2.5"),
        Str("9223372036854775808"),
    ];
    let keys = [
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.completion_tokens",
        "llm.token_count.prompt_details.cache_read",
        "llm.usage.reasoning_tokens",
        "ai.usage.totalTokens",
        "gen_ai.usage.audio.input_tokens",
        "longpole.usage.cache_write_5m_tokens",
    ];
    for value in bad {
        for key in keys {
            let told = chat("openai", &[(key, value.clone()), ("gen_ai.usage.output_tokens", Int(5))]);
            let facts = facts(&told);
            assert!(facts.call.unwrap().has_bad_count, "{key} {value:?}");
            assert_eq!(facts.tokens.output, Some(5));
        }
    }
    let good = [Int(i64::MAX), Double(3.0), Str("7"), Str(" 8 "), Str("4.0"), Str("many"), Bool(true)];
    for value in good {
        let told = chat("openai", &[("gen_ai.usage.input_tokens", value.clone())]);
        assert!(!details(&told).has_bad_count, "{value:?}");
    }
}

#[test]
fn the_first_who_tells_a_cost_counts_and_is_named() {
    let mut told: Told<'_> = vec![
        ("longpole.cost.usd", Double(0.01)),
        ("gen_ai.usage.cost", Double(0.02)),
        ("llm.cost.total", Double(0.03)),
        ("mlflow.llm.cost", Str(r#"{"input_cost": 0.01, "output_cost": 0.03, "total_cost": 0.04}"#)),
        ("langfuse.observation.cost_details", Str(r#"{"input": 0.02, "output": 0.03}"#)),
        ("operation.cost", Double(0.06)),
        ("litellm.cost.total", Double(0.07)),
    ];
    let expected = [
        ("0.01", CostSource::Recorded),
        ("0.02", CostSource::GenAi),
        ("0.03", CostSource::OpenInference),
        ("0.04", CostSource::Mlflow),
        ("0.05", CostSource::Langfuse),
        ("0.06", CostSource::PydanticAi),
        ("0.07", CostSource::LiteLlm),
    ];
    for (amount, source) in expected {
        let facts = facts(&told);
        assert_eq!((facts.cost, facts.cost_source), (Some(usd(amount)), Some(source)));
        assert!(source == CostSource::Recorded || source.key() == told[0].0);
        told.remove(0);
    }
}

#[test]
fn what_a_cost_is_made_of_adds_up_to_it() {
    let parts = |told: &[(&str, AttributeValue<'_>)]| facts(told).cost_parts.map(|parts| *parts);
    let made_of = |input, output, cache_read, cache_write, other| {
        let [input, output, cache_read, cache_write, other] =
            [input, output, cache_read, cache_write, other].map(usd);
        Some(CostParts { input, output, cache_read, cache_write, other })
    };
    let openinference = [
        ("llm.cost.prompt", Double(0.003)),
        ("llm.cost.completion", Double(0.002)),
        ("llm.cost.total", Double(0.005)),
        ("llm.cost.prompt_details.cache_read", Double(0.001)),
        ("llm.cost.prompt_details.input", Double(0.002)),
    ];
    assert_eq!(parts(&openinference), made_of("0.002", "0.002", "0.001", "0", "0"));
    // Without a total it is the sum.
    assert_eq!(facts(&openinference[..2]).cost, Some(usd("0.005")));
    let litellm = [
        ("litellm.cost.total", Double(0.014)),
        ("litellm.cost.input", Double(0.001)),
        ("litellm.cost.output", Double(0.002)),
        ("litellm.cost.cache_creation", Double(0.001)),
        ("litellm.cost.tool_usage", Double(0.01)),
    ];
    assert_eq!(parts(&litellm), made_of("0.001", "0.002", "0", "0.001", "0.01"));
    let langfuse = r#"{"input": 1e-05, "input_cached_tokens": 2e-06, "output": 3e-05, "output_reasoning_tokens": 1e-05, "total": 5.2e-05}"#;
    let langfuse = [("langfuse.observation.cost_details", Str(langfuse))];
    assert_eq!(parts(&langfuse), made_of("0.00001", "0.00004", "0.000002", "0", "0"));
    // Doubles with noise: each is rounded to 10⁻¹², and the parts still add up.
    let noisy = [
        ("llm.cost.prompt", Double(0.1 + 0.2)),
        ("llm.cost.completion", Double(0.000_000_000_000_4)),
        ("llm.cost.total", Double(0.300_000_000_001)),
    ];
    assert_eq!(parts(&noisy), made_of("0.300000000001", "0", "0", "0", "0"));
    // What a bill has beside whole input and output is something else; parts larger than the whole are no parts of it.
    let with_more = [
        ("litellm.cost.total", Double(0.01)),
        ("litellm.cost.input", Double(0.001)),
        ("litellm.cost.output", Double(0.002)),
    ];
    assert_eq!(parts(&with_more), made_of("0.001", "0.002", "0", "0", "0.007"));
    let discounted = [
        ("litellm.cost.total", Double(0.002)),
        ("litellm.cost.input", Double(0.001)),
        ("litellm.cost.output", Double(0.002)),
    ];
    assert_eq!(parts(&discounted), None);
    // One dialect's parts are not another's.
    let mixed = [("gen_ai.usage.cost", Double(0.005)), ("llm.cost.prompt", Double(0.003))];
    assert_eq!(parts(&mixed), None);
}

#[test]
fn what_longpole_wrote_is_read_back_as_it_was() {
    let told = [
        ("longpole.cost.usd", Double(0.001_234_567_891)),
        ("longpole.cost.source", Str("estimated")),
        ("longpole.cost.table", Str("genai-prices 0.2.3")),
        ("longpole.cost.input_usd", Double(0.001)),
        ("longpole.cost.output_usd", Double(0.000_234_567_890)),
        ("longpole.cost.cache_read_usd", Double(0.000_000_000_001)),
        ("longpole.cost.cache_write_usd", Double(0.0)),
        ("longpole.cost.other_usd", Double(0.0)),
    ];
    let facts = facts(&told);
    assert_eq!(facts.cost, Some(usd("0.001234567891")));
    assert_eq!(facts.cost_source, Some(CostSource::Estimated));
    assert_eq!(facts.cost_table.as_deref(), Some("genai-prices 0.2.3"));
    let parts = facts.cost_parts.unwrap();
    assert_eq!((parts.output, parts.cache_read), (usd("0.00023456789"), usd("0.000000000001")));
    assert_eq!(parts.total(), facts.cost.unwrap());
    // The provider's figure is still there and says whose it is.
    let provider = [
        ("longpole.cost.usd", Double(0.5)),
        ("longpole.cost.source", Str("provider")),
        ("llm.cost.total", Double(0.5)),
    ];
    assert_eq!(facts_of_scope("", &provider).cost_source, Some(CostSource::OpenInference));
    let unpriced = [("longpole.cost.source", Str("unpriced")), ("gen_ai.operation.name", Str("chat"))];
    assert_eq!(facts_of_scope("", &unpriced).cost, None);
}

#[test]
fn an_amount_that_is_none_is_not_taken_and_told() {
    for value in [
        Double(f64::NAN),
        Double(-0.1),
        Double(1e300),
        Double(2e9),
        Int(-1),
        Str("$0.01"),
        Str("-1"),
        Str("NaN"),
    ] {
        let told = [("gen_ai.usage.cost", value.clone()), ("llm.cost.total", Double(0.03))];
        let facts = facts(&told);
        assert!(facts.call.unwrap().has_bad_cost, "{value:?}");
        assert_eq!(facts.cost, Some(usd("0.03")), "{value:?}: the next best counts");
    }
    let json = [("mlflow.llm.cost", Str(r#"{"input_cost": -1, "total_cost": 2}"#))];
    assert!(details(&json).has_bad_cost);
    for text in ["1e-05", "0.00001"] {
        assert_eq!(facts(&[("gen_ai.usage.cost", Str(text))]).cost, Some(usd("0.00001")));
    }
    // What is no JSON of amounts tells nothing.
    for json in ["", "[1]", "{\"total\": {}}", "null", "{\"total\": null}"] {
        assert_eq!(facts(&[("langfuse.observation.cost_details", Str(json))]).cost, None, "{json}");
    }
}

#[test]
fn a_librarys_zero_gives_way_to_an_amount() {
    let told = [("gen_ai.usage.cost", Double(0.0)), ("llm.cost.total", Double(0.03))];
    let facts = facts(&told);
    assert_eq!((facts.cost, facts.cost_source), (Some(usd("0.03")), Some(CostSource::OpenInference)));
    assert!(facts.call.unwrap().told_free);
    let only = facts_of_scope("", &told[..1]);
    assert_eq!((only.cost, only.cost_source), (Some(Money::ZERO), Some(CostSource::GenAi)));
    // What longpole estimated in place of a zero says so again when it is read back.
    let estimated = [
        ("gen_ai.usage.cost", Double(0.0)),
        ("longpole.cost.usd", Double(0.02)),
        ("longpole.cost.source", Str("estimated")),
    ];
    assert!(details(&estimated).told_free);
}

#[test]
fn how_a_call_was_made_is_kept_of_calls_only() {
    let told = chat(
        "openai",
        &[
            ("server.address", Str("api.openai.com")),
            ("openai.request.service_tier", Str("flex")),
            ("gen_ai.request.stream", Bool(true)),
            ("longpole.call.processing", Str("batch")),
        ],
    );
    let call = facts(&told);
    assert_eq!(call.server_address.as_deref(), Some("api.openai.com"));
    let told_of = call.call.unwrap();
    assert_eq!((told_of.service_tier.as_deref(), told_of.is_streamed), (Some("flex"), true));
    assert_eq!(told_of.processing.as_deref(), Some("batch"));
    let mut answered = told.clone();
    answered.push(("gen_ai.openai.response.service_tier", Str("default")));
    assert_eq!(details(&answered).service_tier.as_deref(), Some("default"));
    for streamed in [
        ("llm.is_streaming", Str("True")),
        ("gen_ai.is_streaming", Bool(true)),
        ("litellm.request.streaming", Bool(true)),
        ("gen_ai.response.time_to_first_chunk", Double(0.2)),
        ("langfuse.observation.completion_start_time", Str("\"2026-01-01T00:00:00Z\"")),
    ] {
        assert!(details(&chat("openai", std::slice::from_ref(&streamed))).is_streamed, "{streamed:?}");
    }
    let http = [("server.address", Str("example.org")), ("http.request.method", Str("GET"))];
    assert_eq!(facts(&http).server_address, None);
    assert_eq!(read("call", &http[..1]).facts, None, "a host alone is nothing that is kept");
}

#[test]
fn two_spellings_of_a_fact_in_one_dialect_have_ranks_of_their_own() {
    let rank = |key: &str| told_call::Rank::of(crate::conventions::KeyMeaning::of(key).expect("it is read"));
    let read = crate::conventions::READ;
    for (index, (key, fact, dialect)) in read.iter().enumerate() {
        for (other, ..) in read[..index].iter().filter(|(_, f, d)| (f, d) == (fact, dialect)) {
            assert_ne!(rank(key), rank(other), "{key} {other}");
        }
    }
}
