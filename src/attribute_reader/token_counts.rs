//! Counts of tokens as libraries tell them, made to mean the same.
//!
//! OpenTelemetry, OpenInference and the APIs of OpenAI and Google count cached tokens as input. The APIs of Anthropic
//! and of Amazon Bedrock count them beside it, and while most instrumentations add them up, some write what the API
//! said. What is certain is made inclusive here; what is not stays as it is told, and has no price if it contradicts
//! itself.
//!
//! | what says that cached tokens are left out of the input | seen in |
//! |---|---|
//! | the instrumentation that wrote the span | OpenTelemetry's botocore (0.66b2) and OpenLLMetry's Bedrock (0.62.4) for Bedrock; OpenLLMetry for JavaScript's Anthropic (0.27.0) |
//! | the total is input, output and cached tokens together | LangChain on Bedrock Converse (through OpenLLMetry 0.62.4), raw Bedrock answers |
//! | more cached tokens than input, on Anthropic or Bedrock | any that writes what the API said |
//! | the AI SDK's input without the split that version 6 writes, on Anthropic or Bedrock | Vercel's AI SDK 5 |

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::AttributeValue;
use crate::conventions::{Dialect, Fact};
use crate::prices::Unit;
use crate::span_record::{NodeFacts, TokenCounts};

/// What is known of the writer of a span, beside the counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Evidence {
    /// Input and output together, as told.
    pub(super) total: Option<u64>,
    /// Input tokens that have nothing to do with a cache, as told.
    pub(super) uncached: Option<u64>,
    /// The instrumentation is one that leaves them out.
    pub(super) scope_leaves_out: bool,
    /// Whose word the count of tokens read from a cache is.
    pub(super) cached_by: Option<Dialect>,
}

/// Instrumentations that write Anthropic's and Bedrock's input as their APIs say it, by the beginning of their names.
const LEAVE_OUT: [&str; 3] = [
    "opentelemetry.instrumentation.botocore",
    "opentelemetry.instrumentation.bedrock",
    "@traceloop/instrumentation-anthropic",
];

/// One of them.
pub(super) const SCOPE_THAT_LEAVES_OUT: &str = "opentelemetry.instrumentation.bedrock";

/// Whether this instrumentation leaves cached tokens out of the input.
pub(super) fn scope_leaves_out(scope: &str) -> bool {
    LEAVE_OUT.iter().any(|name| scope.starts_with(name))
}

/// Makes the input inclusive where it certainly is not, likewise the output where it lacks the reasoning, and counts
/// what a total has that nothing else tells.
pub(super) fn settle(facts: &mut NodeFacts, evidence: Evidence) -> u64 {
    let is_embedding = facts.operation.as_deref() == Some("embeddings");
    let TokenCounts { cache_read, cache_write, .. } = facts.tokens;
    let cached = cache_read.unwrap_or(0).saturating_add(cache_write.unwrap_or(0));
    let api_leaves_out = cached > 0 && api_leaves_out(facts);
    let tokens = &mut facts.tokens;
    // Some libraries write zero where they know nothing.
    let total = evidence.total.filter(|total| *total > 0);
    if is_embedding && tokens.input.is_none() {
        tokens.input = total;
    }
    if leaves_out(tokens, cached, total, evidence, api_leaves_out) {
        tokens.input = tokens.input.map(|input| input.saturating_add(cached));
    } else if tokens.input.is_none() {
        tokens.input = evidence.uncached.map(|uncached| uncached.saturating_add(cached));
    }
    let (Some(total), Some(input)) = (total, tokens.input) else { return 0 };
    let told = input.saturating_add(tokens.output.unwrap_or(0));
    let reasoning = tokens.reasoning.unwrap_or(0);
    if reasoning > 0 && told.checked_add(reasoning) == Some(total) {
        tokens.output = Some(tokens.output.unwrap_or(0).saturating_add(reasoning));
        return 0;
    }
    total.saturating_sub(told)
}

fn leaves_out(
    tokens: &TokenCounts,
    cached: u64,
    total: Option<u64>,
    evidence: Evidence,
    api_leaves_out: bool,
) -> bool {
    let Some(input) = tokens.input.filter(|_| cached > 0) else { return false };
    if let Some(uncached) = evidence.uncached {
        return input == uncached && uncached.checked_add(cached).is_some();
    }
    let told = input.saturating_add(tokens.output.unwrap_or(0));
    let total_has_more = total.is_some() && told.checked_add(cached) == total;
    let is_old_ai_sdk = evidence.cached_by == Some(Dialect::VercelAi);
    evidence.scope_leaves_out || total_has_more || (api_leaves_out && (input < cached || is_old_ai_sdk))
}

/// Whether the API that was called counts cached tokens beside the input: Anthropic's and Bedrock's, and Claude's
/// wherever it runs.
fn api_leaves_out(facts: &NodeFacts) -> bool {
    let has = |text: &Option<std::sync::Arc<str>>, part: &str| {
        let text = text.as_deref().unwrap_or_default().as_bytes();
        text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
    };
    let is_aws = facts.provider.as_deref().is_some_and(|provider| provider.eq_ignore_ascii_case("aws"));
    is_aws
        || has(&facts.provider, "anthropic")
        || has(&facts.provider, "bedrock")
        || has(&facts.request_model, "claude")
        || has(&facts.response_model, "claude")
}

/// The unit that a fact counts, if it is one beyond the common kinds of tokens.
pub(super) fn unit_of(fact: Fact) -> Option<Unit> {
    Some(match fact {
        Fact::CacheWrite5mTokens => Unit::CACHE_WRITE_5M,
        Fact::CacheWrite1hTokens => Unit::CACHE_WRITE_1H,
        Fact::InputTextTokens => Unit::INPUT_TEXT,
        Fact::InputAudioTokens => Unit::INPUT_AUDIO,
        Fact::InputImageTokens => Unit::INPUT_IMAGE,
        Fact::InputVideoTokens => Unit::INPUT_VIDEO,
        Fact::OutputTextTokens => Unit::OUTPUT_TEXT,
        Fact::OutputAudioTokens => Unit::OUTPUT_AUDIO,
        Fact::OutputImageTokens => Unit::OUTPUT_IMAGE,
        Fact::OutputVideoTokens => Unit::OUTPUT_VIDEO,
        Fact::CacheAudioReadTokens => Unit::CACHE_AUDIO_READ,
        Fact::CacheImageReadTokens => Unit::CACHE_IMAGE_READ,
        _ => return None,
    })
}

/// The fact that a unit of the price table is, for the common kinds of tokens.
pub(super) fn fact_of(unit: Unit) -> Option<Fact> {
    [
        (Unit::INPUT, Fact::InputTokens),
        (Unit::OUTPUT, Fact::OutputTokens),
        (Unit::CACHE_READ, Fact::CacheReadTokens),
        (Unit::CACHE_WRITE, Fact::CacheWriteTokens),
        (Unit::REASONING, Fact::ReasoningTokens),
    ]
    .into_iter()
    .find_map(|(of, fact)| (of == unit).then_some(fact))
}

/// Counts in JSON, as Langfuse and MLflow write them, by the facts they tell. Kinds that Langfuse tells apart are
/// disjoint, so the input is their sum; answers of an API that it passes on as they are have `prompt_tokens`.
pub(super) fn counts_in(json: &str) -> Vec<(Fact, f64)> {
    let Ok(entries) = serde_json::from_str::<BTreeMap<Cow<'_, str>, serde_json::Value>>(json) else {
        return Vec::new();
    };
    let number = |key: &str| entries.get(key).and_then(serde_json::Value::as_f64);
    let detail = |of: &str, key: &str| entries.get(of)?.get(key)?.as_f64();
    let mut counts = Vec::new();
    let mut put = |fact, count: Option<f64>| counts.extend(count.map(|count| (fact, count)));
    put(Fact::TotalTokens, number("total").or(number("total_tokens")));
    if number("input").is_none() && number("output").is_none() {
        put(Fact::InputTokens, number("prompt_tokens").or(number("input_tokens")));
        put(Fact::OutputTokens, number("completion_tokens").or(number("output_tokens")));
        let cached = detail("prompt_tokens_details", "cached_tokens");
        let cached = cached.or_else(|| detail("input_tokens_details", "cached_tokens"));
        put(Fact::CacheReadTokens, cached.or(number("cache_read_input_tokens")));
        put(Fact::CacheWriteTokens, number("cache_creation_input_tokens"));
        let reasoning = detail("completion_tokens_details", "reasoning_tokens");
        put(Fact::ReasoningTokens, reasoning.or_else(|| detail("output_tokens_details", "reasoning_tokens")));
        return counts;
    }
    let sum = |wanted: &dyn Fn(&str) -> bool| {
        let told = entries.iter().filter(|(key, _)| wanted(key)).filter_map(|(_, count)| count.as_f64());
        told.reduce(|sum, count| sum + count)
    };
    let is_write = |key: &str| key.contains("cache_creation") || key.contains("cache_write");
    let is_read = |key: &str| key.contains("cache") && !is_write(key);
    let is_reasoning = |key: &str| key.contains("reasoning");
    put(Fact::InputTokens, sum(&|key| key.starts_with("input") || key.starts_with("cache")));
    put(Fact::OutputTokens, sum(&|key| key.starts_with("output")));
    put(Fact::CacheReadTokens, sum(&is_read));
    put(Fact::CacheWriteTokens, sum(&is_write));
    put(Fact::ReasoningTokens, sum(&is_reasoning));
    counts
}

/// A count of something that was used, as an attribute tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    /// This many.
    Is(u64),
    /// Negative, not whole, or beyond 2⁶³.
    Bad,
    /// Not a number at all.
    Untold,
}

/// Reads a count; whole doubles and decimal strings count, which foreign writers use.
pub(super) fn count_of(value: &AttributeValue<'_>) -> Count {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    let of_double = |number: f64| match number {
        number if (0.0..BEYOND).contains(&number) && number.fract() == 0.0 => Count::Is(number as u64),
        _ => Count::Bad,
    };
    match value {
        AttributeValue::Int(count) => u64::try_from(*count).map_or(Count::Bad, Count::Is),
        AttributeValue::Double(number) => of_double(*number),
        AttributeValue::Str(text) => match text.trim().parse::<i64>() {
            Ok(count) => u64::try_from(count).map_or(Count::Bad, Count::Is),
            Err(_) => text.trim().parse().map_or(Count::Untold, of_double),
        },
        _ => Count::Untold,
    }
}
