//! From the attributes of a span, whoever wrote them, to what they tell.
//!
//! longpole, OpenTelemetry, OpenInference and OpenLLMetry name the same things differently. The table of keys is in
//! [`conventions`](crate::conventions); here is what becomes of the values.

mod token_counts;
mod told_cost;

use std::num::NonZeroU64;
use std::sync::Arc;

use crate::conventions::{Dialect, Fact, USAGE_PREFIX, meaning_of, operation_of_kind};
use crate::prices::Unit;
use crate::span_record::{CallDetails, Interner, NodeFacts, Outcome, SpanRecord};
use crate::time::Duration;
use token_counts::{Count, Evidence, count_of, counts_in};
use told_cost::ToldCost;

/// Reads the attributes of one span into its record, whoever wrote them.
///
/// One fact may be told by several attributes, of several dialects. The reader remembers who told what, so that the
/// order of attributes does not matter; see [`Dialect`].
#[derive(Clone, Debug)]
pub struct AttributeReader {
    /// Who told each fact.
    told_by: [Option<Rank>; Fact::COUNT],
    /// What another dialect than GenAI calls the span.
    span_kind: Option<SpanSort>,
    entity_name: Option<Arc<str>>,
    system: Option<Arc<str>>,
    call: ToldCall,
}

/// What is told about a call of a model, until it is known whether the span is one.
#[derive(Clone, Debug, Default)]
struct ToldCall {
    cost: ToldCost,
    /// Counts beyond the common kinds of tokens.
    usage: Vec<(Unit, Rank, u64)>,
    /// Counts in JSON.
    usage_json: Option<(Rank, Vec<(Fact, f64)>)>,
    total_tokens: Option<u64>,
    uncached_tokens: Option<u64>,
    has_bad_count: bool,
    scope_leaves_out: bool,
    processing: Option<Arc<str>>,
    service_tier: Option<Arc<str>>,
    request_service_tier: Option<Arc<str>>,
    server_address: Option<Arc<str>>,
    api_url: Option<Arc<str>>,
    is_streamed: bool,
    is_from_cache: bool,
}

/// Whose word an attribute is, and how good a one: of one dialect's spellings of a fact the shorter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    dialect: Dialect,
    key: [u8; 2],
}

impl Rank {
    /// Two spellings of one fact in one dialect differ in their length or in the sum of their bytes; a test sees to
    /// it.
    fn of(key: &str, dialect: Dialect) -> Self {
        let sum = key.bytes().fold(0u8, u8::wrapping_add);
        Rank { dialect, key: [u8::try_from(key.len()).unwrap_or(u8::MAX), sum] }
    }
}

/// A span in the words of OpenInference and OpenLLMetry.
#[derive(Clone, Copy, Debug)]
enum SpanSort {
    /// Does this GenAI operation.
    Operation(&'static str),
    /// A step with a name of its own.
    Task,
    /// Contains steps.
    Container,
}

impl Default for AttributeReader {
    fn default() -> Self {
        AttributeReader {
            told_by: [None; Fact::COUNT],
            span_kind: None,
            entity_name: None,
            system: None,
            call: ToldCall::default(),
        }
    }
}

impl AttributeReader {
    /// A reader of what this instrumentation wrote, by the name of its scope; empty where it is not known.
    pub fn of_scope(scope: &str) -> Self {
        let mut reader = AttributeReader::default();
        reader.call.scope_leaves_out = token_counts::scope_leaves_out(scope);
        reader
    }

    /// Takes in one attribute. Unknown keys and values of the wrong type change nothing.
    pub fn read(
        &mut self,
        record: &mut SpanRecord,
        key: &str,
        value: &AttributeValue<'_>,
        interner: &mut Interner,
    ) {
        let Some((mut fact, dialect)) = meaning_of(key) else { return };
        let rank = Rank::of(key, dialect);
        // MLflow writes texts as JSON.
        let unquoted = match value {
            AttributeValue::Str(text) if dialect == Dialect::Mlflow => {
                Some(AttributeValue::Str(text.trim_matches('"')))
            }
            _ => None,
        };
        let value = unquoted.as_ref().unwrap_or(value);
        let mut unit = token_counts::unit_of(fact);
        if fact == Fact::UnitUsage {
            unit = key.strip_prefix(USAGE_PREFIX).and_then(Unit::from_name);
            fact = unit.and_then(token_counts::fact_of).unwrap_or(fact);
        }
        let Some(told_by) = self.told_by.get_mut(fact as usize) else { return };
        if is_usage(fact) {
            match (count_of(value), unit) {
                (Count::Untold, _) => return,
                (Count::Bad, _) => return self.call.has_bad_count = true,
                (Count::Is(count), Some(unit)) if !is_common(fact) => {
                    return self.call.usage.push((unit, rank, count));
                }
                (Count::Is(_), _) => {}
            }
        }
        if is_cost(fact) {
            return self.call.cost.read(rank, fact, value);
        }
        if told_by.is_some_and(|told_by| told_by < rank) {
            return;
        }
        let call = &mut self.call;
        let is_read = match fact {
            Fact::SpanKind => sort_of(value).map(|sort| self.span_kind = Some(sort)).is_some(),
            Fact::EntityName => read_text(&mut self.entity_name, value, interner),
            Fact::System => read_text(&mut self.system, value, interner),
            Fact::TotalTokens => put(&mut call.total_tokens, value.as_count()),
            Fact::UncachedTokens => put(&mut call.uncached_tokens, value.as_count()),
            Fact::Processing => read_text(&mut call.processing, value, interner),
            Fact::ServiceTier => read_text(&mut call.service_tier, value, interner),
            Fact::RequestServiceTier => read_text(&mut call.request_service_tier, value, interner),
            Fact::ServerAddress => read_text(&mut call.server_address, value, interner),
            Fact::ApiUrl => read_text(&mut call.api_url, value, interner),
            Fact::Streamed => set(&mut call.is_streamed, value.as_bool()),
            Fact::FromCache => set(&mut call.is_from_cache, value.as_bool()),
            Fact::FirstChunk => !matches!(value, AttributeValue::Other),
            Fact::Scope => {
                let leaves_out = value.as_str().map(token_counts::scope_leaves_out);
                set(&mut call.scope_leaves_out, leaves_out)
            }
            Fact::CostSource => {
                call.cost.read_source(value);
                true
            }
            Fact::UsageDetails => match value {
                AttributeValue::Str(json) if json.len() <= LONGEST_JSON => {
                    call.usage_json = Some((rank, counts_in(json)));
                    true
                }
                _ => false,
            },
            _ => record.read_fact(fact, value, interner),
        };
        if is_read {
            *told_by = Some(rank);
        }
    }

    /// Draws the conclusions that need all attributes and the span's name. Call once, after the last attribute.
    pub fn finish(self, record: &mut SpanRecord, interner: &mut Interner) {
        if let Some(system) = self.system {
            record.facts.get_or_insert_default().provider.get_or_insert(system);
        }
        if let Some(sort) = self.span_kind {
            let own_name = Some(&record.name).filter(|name| !name.is_empty());
            let facts = record.facts.get_or_insert_default();
            if facts.operation.is_none() {
                let name = || self.entity_name.as_ref().or(own_name).cloned();
                match sort {
                    SpanSort::Operation(operation) => {
                        match operation {
                            "invoke_agent" if facts.agent_name.is_none() => facts.agent_name = name(),
                            "execute_tool" if facts.tool_name.is_none() => facts.tool_name = name(),
                            _ => {}
                        }
                        facts.operation = Some(interner.intern(operation));
                    }
                    SpanSort::Task => facts.node_id = facts.node_id.take().or_else(name),
                    SpanSort::Container => facts.node_id = facts.node_id.take().or(self.entity_name),
                }
            }
        }
        forget_partial_input(&self.told_by, record);
        self.call.finish(self.told_by, record);
        record.settle();
    }
}

impl ToldCall {
    /// Puts what is told about a call into the record: the cost and the counts of any span, the rest of a call of a
    /// model only.
    fn finish(mut self, mut told_by: [Option<Rank>; Fact::COUNT], record: &mut SpanRecord) {
        self.read_usage_json(&mut told_by, record);
        let is_first_chunk_told = told(&told_by, Fact::FirstChunk).is_some();
        let evidence = Evidence {
            total: self.total_tokens,
            uncached: self.uncached_tokens,
            scope_leaves_out: self.scope_leaves_out,
            cached_by: told(&told_by, Fact::CacheReadTokens).map(|rank| rank.dialect),
        };
        let mut details = CallDetails {
            has_bad_count: self.has_bad_count,
            has_bad_cost: self.cost.has_bad_amount(),
            ..CallDetails::default()
        };
        let settled = self.cost.settle();
        if record.facts.is_none() && settled.is_none() && details == CallDetails::default() {
            return;
        }
        let facts = record.facts.get_or_insert_default();
        details.other_usage = other_usage(self.usage);
        if facts.tokens.cache_write.is_none() {
            let by_ttl = details.other_usage.iter().filter(|(unit, _)| WRITES_BY_TTL.contains(unit));
            facts.tokens.cache_write = by_ttl.map(|(_, count)| *count).reduce(u64::saturating_add);
        }
        details.unexplained_tokens = token_counts::settle(facts, evidence);
        if let Some(settled) = settled {
            details.told_free = settled.told_free;
            facts.cost = Some(settled.cost);
            facts.cost_source = Some(settled.source);
            facts.cost_parts = settled.parts.map(Box::new);
        }
        if facts.is_inference() {
            details.is_streamed = self.is_streamed || is_first_chunk_told;
            details.is_from_cache = self.is_from_cache;
            details.processing = self.processing;
            details.service_tier = self.service_tier.or(self.request_service_tier);
            details.api_url = self.api_url;
            facts.server_address = self.server_address;
        } else {
            // Kept for calls only, of which there are few.
            details.unexplained_tokens = 0;
        }
        facts.call = (details != CallDetails::default()).then(|| Box::new(details));
    }

    /// Takes in counts in JSON where no attribute of a better dialect tells them.
    fn read_usage_json(&mut self, told_by: &mut [Option<Rank>; Fact::COUNT], record: &mut SpanRecord) {
        let Some((rank, counts)) = self.usage_json.take() else { return };
        for (fact, count) in counts {
            let Some(by) = told_by.get_mut(fact as usize) else { continue };
            let Count::Is(count) = count_of(&AttributeValue::Double(count)) else {
                self.has_bad_count = true;
                continue;
            };
            if by.is_some_and(|by| by < rank) {
                continue;
            }
            *by = Some(rank);
            let tokens = &mut record.facts.get_or_insert_default().tokens;
            let slot = match fact {
                Fact::InputTokens => &mut tokens.input,
                Fact::OutputTokens => &mut tokens.output,
                Fact::CacheReadTokens => &mut tokens.cache_read,
                Fact::CacheWriteTokens => &mut tokens.cache_write,
                Fact::ReasoningTokens => &mut tokens.reasoning,
                _ => &mut self.total_tokens,
            };
            *slot = Some(count);
        }
    }
}

/// Longer JSON holds no counts.
const LONGEST_JSON: usize = 4_096;

const WRITES_BY_TTL: [Unit; 2] = [Unit::CACHE_WRITE_5M, Unit::CACHE_WRITE_1H];

/// The best told count of each unit, in the order of units.
fn other_usage(mut usage: Vec<(Unit, Rank, u64)>) -> Vec<(Unit, u64)> {
    usage.sort_unstable();
    usage.dedup_by_key(|(unit, ..)| *unit);
    usage.into_iter().map(|(unit, _, count)| (unit, count)).collect()
}

fn told(told_by: &[Option<Rank>; Fact::COUNT], fact: Fact) -> Option<Rank> {
    told_by.get(fact as usize).copied().flatten()
}

/// Whether it is a common kind of tokens, which has a place of its own in the record.
fn is_common(fact: Fact) -> bool {
    use Fact::{CacheReadTokens, CacheWriteTokens, InputTokens, OutputTokens, ReasoningTokens};
    matches!(fact, InputTokens | OutputTokens | CacheReadTokens | CacheWriteTokens | ReasoningTokens)
}

/// Whether it counts what a call used.
fn is_usage(fact: Fact) -> bool {
    let is_other = matches!(fact, Fact::TotalTokens | Fact::UncachedTokens | Fact::UnitUsage);
    is_common(fact) || is_other || token_counts::unit_of(fact).is_some()
}

/// Whether it is an amount of money.
fn is_cost(fact: Fact) -> bool {
    use Fact::{
        Cost, CostCacheRead, CostCacheWrite, CostDetails, CostInput, CostOther, CostOutput, CostPrompt,
    };
    matches!(
        fact,
        Cost | CostPrompt | CostInput | CostOutput | CostCacheRead | CostCacheWrite | CostOther | CostDetails
    )
}

/// Drops the hash of an input that may not have been all there was, unless longpole's own key told it.
fn forget_partial_input(told_by: &[Option<Rank>; Fact::COUNT], record: &mut SpanRecord) {
    let is_own = told(told_by, Fact::InputHash).is_some_and(|rank| rank.dialect == Dialect::Longpole);
    if let Some(facts) = record.facts.as_mut().filter(|_| !is_own) {
        let is_whole = facts.operation.as_deref().is_some_and(|operation| GIVEN_IN_FULL.contains(&operation));
        facts.input_hash = facts.input_hash.filter(|_| is_whole);
    }
}

/// Operations whose recorded input is all they are given. What libraries record of a model's or an agent's is often
/// the question alone, without the conversation it stands in.
const GIVEN_IN_FULL: [&str; 4] = ["execute_tool", "retrieval", "embeddings", "rerank"];

/// The sort of span that another dialect's word for it means. A workflow is none of them: its entity name is the
/// workflow's.
fn sort_of(value: &AttributeValue<'_>) -> Option<SpanSort> {
    let kind = value.as_str()?;
    let is = |name: &str| kind.eq_ignore_ascii_case(name);
    match operation_of_kind(kind) {
        Some(operation) => Some(SpanSort::Operation(operation)),
        None if is("task") || is("guardrail") || is("evaluator") => Some(SpanSort::Task),
        None if is("chain") => Some(SpanSort::Container),
        None => None,
    }
}

/// Puts the text of `value` into `slot`, if it is one and not empty; says whether it did.
fn read_text(slot: &mut Option<Arc<str>>, value: &AttributeValue<'_>, interner: &mut Interner) -> bool {
    let AttributeValue::Str(text) = value else { return false };
    if text.is_empty() {
        return false;
    }
    *slot = Some(interner.intern(text));
    true
}

/// Puts `told` into `slot`, if it is something; says whether it did.
fn put<T>(slot: &mut Option<T>, told: Option<T>) -> bool {
    let is_told = told.is_some();
    if is_told {
        *slot = told;
    }
    is_told
}

/// The same for a slot that always holds something.
fn set<T>(slot: &mut T, told: Option<T>) -> bool {
    told.map(|told| *slot = told).is_some()
}

impl SpanRecord {
    /// Takes in one fact and says whether the value was of a type that tells it.
    fn read_fact(&mut self, fact: Fact, value: &AttributeValue<'_>, interner: &mut Interner) -> bool {
        let duration = || value.as_count().map(Duration::from_nanos);
        let timing = &mut self.timing;
        match fact {
            Fact::Queued => set(&mut timing.queued, duration()),
            Fact::Busy => put(&mut timing.busy, duration()),
            Fact::Polls => set(&mut timing.polls, value.as_count()),
            Fact::LongestPoll => set(&mut timing.longest_poll, duration()),
            Fact::FirstEnter => put(&mut timing.first_enter, duration()),
            Fact::HeldOpen => set(&mut timing.held_open, duration()),
            _ => self.facts.get_or_insert_default().read(fact, value, interner),
        }
    }

    /// Fills in what the writer leaves out because it follows from the rest.
    fn settle(&mut self) {
        let timing = &mut self.timing;
        if timing.polls > 0 {
            timing.first_enter.get_or_insert(timing.queued);
            if timing.longest_poll.is_zero() {
                timing.longest_poll = timing.busy.unwrap_or_default();
            }
        }
        if self.facts.as_deref() == Some(&NodeFacts::default()) {
            self.facts = None;
        }
    }
}

impl NodeFacts {
    fn read(&mut self, fact: Fact, value: &AttributeValue<'_>, interner: &mut Interner) -> bool {
        let mut text = |slot: &mut Option<Arc<str>>| read_text(slot, value, interner);
        let count = |slot: &mut Option<u64>| put(slot, value.as_count());
        match fact {
            Fact::NodeId => match value {
                // Numbers are common ids in data pipelines.
                AttributeValue::Int(number) => {
                    put(&mut self.node_id, Some(interner.intern(&number.to_string())))
                }
                _ => text(&mut self.node_id),
            },
            Fact::NodeKind => text(&mut self.node_kind),
            Fact::WorkflowName => text(&mut self.workflow_name),
            Fact::WorkflowVersion => text(&mut self.workflow_version),
            Fact::Phase => text(&mut self.phase),
            Fact::Operation => text(&mut self.operation),
            Fact::AgentName => text(&mut self.agent_name),
            Fact::ToolName => text(&mut self.tool_name),
            Fact::Provider => text(&mut self.provider),
            Fact::RequestModel => text(&mut self.request_model),
            Fact::ResponseModel => text(&mut self.response_model),
            Fact::ErrorType => text(&mut self.error_type),
            Fact::DependsOn => {
                let is_read = set(&mut self.depends_on, names_in(value, interner));
                self.tells_depends_on |= is_read;
                is_read
            }
            Fact::RunSpans => put(&mut self.run_spans, value.as_count().and_then(NonZeroU64::new)),
            Fact::Attempt => count(&mut self.attempt),
            Fact::Turns => count(&mut self.turns),
            Fact::InputBytes => count(&mut self.input_bytes),
            Fact::OutputBytes => count(&mut self.output_bytes),
            Fact::InputHash => put(&mut self.input_hash, value.as_hash()),
            Fact::InputTokens => count(&mut self.tokens.input),
            Fact::OutputTokens => count(&mut self.tokens.output),
            Fact::CacheReadTokens => count(&mut self.tokens.cache_read),
            Fact::CacheWriteTokens => count(&mut self.tokens.cache_write),
            Fact::ReasoningTokens => count(&mut self.tokens.reasoning),
            Fact::CostTable => text(&mut self.cost_table),
            Fact::Detached => set(&mut self.detached, value.as_bool()),
            Fact::Http => set(&mut self.is_http, Some(true)),
            Fact::Db => set(&mut self.is_db, Some(true)),
            Fact::Outcome => put(
                &mut self.outcome,
                match value {
                    AttributeValue::Str("panicked") => Some(Outcome::Panicked),
                    AttributeValue::Str("cancelled") => Some(Outcome::Cancelled),
                    AttributeValue::Str("partial") => Some(Outcome::Partial),
                    _ => None,
                },
            ),
            // Held by the record itself, or by who reads it.
            Fact::Queued
            | Fact::Busy
            | Fact::Polls
            | Fact::LongestPoll
            | Fact::FirstEnter
            | Fact::HeldOpen
            | Fact::SpanKind
            | Fact::EntityName
            | Fact::System
            | Fact::Cost
            | Fact::CostPrompt
            | Fact::CostInput
            | Fact::CostOutput
            | Fact::CostCacheRead
            | Fact::CostCacheWrite
            | Fact::CostOther
            | Fact::CostDetails
            | Fact::CostSource
            | Fact::FromCache
            | Fact::TotalTokens
            | Fact::UncachedTokens
            | Fact::CacheWrite5mTokens
            | Fact::CacheWrite1hTokens
            | Fact::InputTextTokens
            | Fact::InputAudioTokens
            | Fact::InputImageTokens
            | Fact::InputVideoTokens
            | Fact::OutputTextTokens
            | Fact::OutputAudioTokens
            | Fact::OutputImageTokens
            | Fact::OutputVideoTokens
            | Fact::CacheAudioReadTokens
            | Fact::CacheImageReadTokens
            | Fact::UnitUsage
            | Fact::UsageDetails
            | Fact::Processing
            | Fact::ServiceTier
            | Fact::RequestServiceTier
            | Fact::ServerAddress
            | Fact::ApiUrl
            | Fact::Streamed
            | Fact::FirstChunk
            | Fact::Scope => false,
        }
    }
}

/// The names in a string array, or in a string with commas between them.
fn names_in(value: &AttributeValue<'_>, interner: &mut Interner) -> Option<Vec<Arc<str>>> {
    match value {
        AttributeValue::Strings(names) => Some(names.iter().map(|name| interner.intern(name)).collect()),
        AttributeValue::Str(names) => {
            let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
            Some(names.map(|name| interner.intern(name)).collect())
        }
        _ => None,
    }
}

/// The value of an attribute, borrowed from whatever carried it.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeValue<'a> {
    /// A string.
    Str(&'a str),
    /// A boolean.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// A floating-point number.
    Double(f64),
    /// An array; only its strings are kept.
    Strings(Vec<&'a str>),
    /// Bytes, maps and everything else the analysis does not read.
    Other,
}

impl AttributeValue<'_> {
    /// A count; accepts integral doubles and decimal strings, which foreign writers use.
    fn as_count(&self) -> Option<u64> {
        match self {
            AttributeValue::Int(value) => u64::try_from(*value).ok(),
            AttributeValue::Double(value) if *value >= 0.0 && value.fract() == 0.0 && *value < 9e15 => {
                Some(*value as u64)
            }
            AttributeValue::Str(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// A truth; Python writes it as `True` where it makes it a text.
    fn as_bool(&self) -> Option<bool> {
        match self {
            AttributeValue::Bool(value) => Some(*value),
            AttributeValue::Str(text) if text.eq_ignore_ascii_case("true") => Some(true),
            AttributeValue::Str(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    fn as_str(&self) -> Option<&str> {
        match self {
            AttributeValue::Str(text) => Some(text),
            _ => None,
        }
    }

    /// A number that stands for the value: itself if it is one, else the FNV-1a hash of its text.
    fn as_hash(&self) -> Option<u64> {
        match self {
            AttributeValue::Int(value) => Some(value.cast_unsigned()),
            AttributeValue::Str(text) if !text.is_empty() => {
                let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
                Some(text.bytes().fold(0xcbf2_9ce4_8422_2325, step))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
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
        let mut reader = AttributeReader::default();
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
            let kept: Vec<_> =
                told.iter().filter(|(key, _)| key.contains("token")).rev().skip(without).collect();
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
        let provider =
            |told: &[(&str, AttributeValue<'_>)]| read("call", told).facts.unwrap().provider.clone();
        let told = [("llm.system", Str("openai")), ("llm.provider", Str("azure"))];
        assert_eq!(provider(&told).as_deref(), Some("azure"));
        assert_eq!(provider(&told[..1]).as_deref(), Some("openai"));
    }
}
