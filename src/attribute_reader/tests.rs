//! What becomes of attributes, of each dialect as its libraries write them.

mod calls;

use super::*;
use crate::ids::{SpanId, TraceId};
use crate::money::Money;
use crate::span_record::{SpanKind, Status, Timing};
use crate::time::Timestamp;
use AttributeValue::{Double, Int, Str};

fn read<'a>(
    name: &str,
    attributes: impl IntoIterator<Item = &'a (&'a str, AttributeValue<'a>)>,
) -> SpanRecord {
    read_in_scope("", name, attributes)
}

fn read_in_scope<'a>(
    scope: &str,
    name: &str,
    attributes: impl IntoIterator<Item = &'a (&'a str, AttributeValue<'a>)>,
) -> SpanRecord {
    let mut interner = Interner::default();
    let mut record = SpanRecord {
        trace_id: TraceId::default(),
        span_id: SpanId::default(),
        parent_id: None,
        name: name.into(),
        kind: SpanKind::Internal,
        start: Timestamp::EPOCH,
        end: Timestamp::EPOCH,
        status: Status::Unset,
        timing: Timing::default(),
        facts: None,
        links: None,
        origin: Arc::default(),
        local: None,
    };
    let mut reader = AttributeReader::of_scope(scope);
    for (key, value) in attributes {
        reader.read(&mut record, key, value, &mut interner);
    }
    reader.finish(&mut record, &mut interner);
    record
}

fn node_of(name: &str, attributes: &[(&str, AttributeValue<'_>)]) -> Option<String> {
    let forwards = read(name, attributes);
    assert_eq!(forwards, read(name, attributes.iter().rev()), "the order of attributes matters");
    forwards.node_id().map(|id| id.to_string())
}

#[test]
fn our_own_keys_beat_gen_ai_and_that_beats_the_others_in_any_order() {
    let told = [
        ("llm.usage.prompt_tokens", Int(4)),
        ("llm.token_count.prompt", Int(3)),
        ("gen_ai.usage.prompt_tokens", Int(2)),
        ("gen_ai.usage.input_tokens", Int(1)),
        ("llm.cost.total", Double(0.03)),
        ("gen_ai.usage.cost", Double(0.02)),
        ("longpole.cost.usd", Double(0.01)),
        ("traceloop.workflow.name", Str("theirs")),
        ("workflow.name", Str("ours")),
        ("error.type", Str("TimeoutError")),
        ("node.error_type", Str("timeout")),
    ];
    let facts = |record: SpanRecord| *record.facts.unwrap();
    let forwards = facts(read("call", &told));
    assert_eq!(forwards, facts(read("call", told.iter().rev())));
    assert_eq!(forwards.tokens.input, Some(1));
    assert_eq!(forwards.cost, Money::from_usd(0.01));
    assert_eq!(forwards.workflow_name.as_deref(), Some("ours"));
    assert_eq!(forwards.error_type.as_deref(), Some("timeout"));
    for without in 1..=3 {
        let kept: Vec<_> = told.iter().filter(|(key, _)| key.contains("token")).rev().skip(without).collect();
        let expected = Some(1 + without as u64);
        assert_eq!(facts(read("call", kept)).tokens.input, expected, "the next best counts");
    }
}

#[test]
fn a_value_of_the_wrong_type_leaves_the_word_to_a_lesser_dialect() {
    let told = [("gen_ai.usage.input_tokens", Str("many")), ("llm.token_count.prompt", Int(3))];
    assert_eq!(read("call", &told).facts.unwrap().tokens.input, Some(3));
    assert_eq!(read("call", &[("openinference.span.kind", Int(1))]).facts, None);
}

#[test]
fn spans_of_other_dialects_are_the_nodes_a_gen_ai_span_would_be() {
    let kind = |kind| ("openinference.span.kind", Str(kind));
    let model = ("llm.model_name", Str("m"));
    assert_eq!(node_of("generation", &[kind("LLM"), model.clone()]).as_deref(), Some("chat m"));
    let embedding = [kind("EMBEDDING"), ("embedding.model_name", Str("e"))];
    assert_eq!(node_of("embed", &embedding).as_deref(), Some("embeddings e"));
    let ranking = [kind("RERANKER"), ("reranker.model_name", Str("r"))];
    assert_eq!(node_of("rank", &ranking).as_deref(), Some("rerank r"));
    assert_eq!(node_of("search", &[kind("RETRIEVER")]).as_deref(), Some("retrieval"));
    let tool = [kind("TOOL"), ("tool.name", Str("news"))];
    assert_eq!(node_of("run", &tool).as_deref(), Some("execute_tool news"));
    assert_eq!(node_of("news", &[kind("TOOL")]).as_deref(), Some("execute_tool news"));
    assert_eq!(node_of("", &[kind("AGENT")]).as_deref(), Some("invoke_agent"));
    assert_eq!(node_of("turn", &[kind("CHAIN")]), None);
    let graph = [kind("CHAIN"), ("graph.node.id", Str("router"))];
    assert_eq!(node_of("chain", &graph).as_deref(), Some("router"));
    assert_eq!(node_of("no_pii", &[kind("GUARDRAIL")]).as_deref(), Some("no_pii"));

    let entity = |kind, name| [("traceloop.span.kind", Str(kind)), ("traceloop.entity.name", Str(name))];
    assert_eq!(node_of("plan.task", &entity("task", "plan")).as_deref(), Some("plan"));
    assert_eq!(node_of("desk.agent", &entity("agent", "desk")).as_deref(), Some("invoke_agent desk"));
    assert_eq!(node_of("news.tool", &entity("tool", "news")).as_deref(), Some("execute_tool news"));
    assert_eq!(node_of("day.workflow", &entity("workflow", "day")), None);
    let old = [("llm.request.type", Str("completion")), ("gen_ai.request.model", Str("m"))];
    assert_eq!(node_of("openai.completion", &old).as_deref(), Some("text_completion m"));
}

#[test]
fn a_given_node_id_or_operation_beats_the_sort_of_span() {
    let kind = ("openinference.span.kind", Str("LLM"));
    let model = ("llm.model_name", Str("m"));
    let given = [kind.clone(), model.clone(), ("node.id", Str("draft"))];
    assert_eq!(node_of("call", &given).as_deref(), Some("draft"));
    let facts = read("call", &given).facts.unwrap();
    assert_eq!(facts.operation.as_deref(), Some("chat"), "what it does is known all the same");
    let operation = [kind, model, ("gen_ai.operation.name", Str("generate_content"))];
    assert_eq!(node_of("call", &operation).as_deref(), Some("generate_content m"));
    let task = [
        ("traceloop.span.kind", Str("task")),
        ("traceloop.entity.name", Str("plan")),
        ("node.id", Str("draft")),
    ];
    assert_eq!(node_of("plan.task", &task).as_deref(), Some("draft"));
}

#[test]
fn the_make_of_a_model_is_its_provider_only_where_nothing_else_tells() {
    let provider = |told: &[(&str, AttributeValue<'_>)]| read("call", told).facts.unwrap().provider.clone();
    let told = [("llm.system", Str("openai")), ("llm.provider", Str("azure"))];
    assert_eq!(provider(&told).as_deref(), Some("azure"));
    assert_eq!(provider(&told[..1]).as_deref(), Some("openai"));
}
