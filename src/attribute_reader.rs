//! From the attributes of a span, whoever wrote them, to what they tell.
//!
//! longpole, OpenTelemetry, OpenInference and OpenLLMetry name the same things differently. The table of keys is in
//! [`conventions`](crate::conventions); here is what becomes of the values.

mod kept;
mod token_counts;
mod told_call;
mod told_cost;

use std::num::NonZeroU64;
use std::sync::Arc;

use crate::conventions::{Dialect, Fact, KeyMeaning, USAGE_PREFIX, operation_of_kind};
use crate::prices::Unit;
use crate::span_record::{Interner, NodeFacts, Outcome, SpanRecord};
use crate::time::Duration;
use told_call::{Rank, ToldBy, ToldCall};

/// Reads the attributes of one span into its record, whoever wrote them.
///
/// One fact may be told by several attributes, of several dialects. The reader remembers who told what, so that the
/// order of attributes does not matter; see [`Dialect`].
#[derive(Clone, Debug, Default)]
pub struct AttributeReader {
    /// Who told each fact.
    told_by: ToldBy,
    /// What another dialect than GenAI calls the span.
    span_kind: Option<SpanSort>,
    entity_name: Option<Arc<str>>,
    system: Option<Arc<str>>,
    /// What was read, where it is kept.
    kept: Vec<u8>,
    call: ToldCall,
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
        if let Some(meaning) = interner.meaning_of(key.as_bytes()) {
            self.take(record, (key.as_bytes(), meaning), value, interner);
        }
    }

    /// Takes in an attribute of which it is known what its key means.
    pub(crate) fn take(
        &mut self,
        record: &mut SpanRecord,
        (key, meaning): (&[u8], KeyMeaning),
        value: &AttributeValue<'_>,
        interner: &mut Interner,
    ) {
        let KeyMeaning { mut fact, dialect, .. } = meaning;
        let rank = Rank::of(meaning);
        // MLflow writes texts as JSON.
        let unquoted = match value {
            AttributeValue::Str(text) if dialect == Dialect::Mlflow => {
                Some(AttributeValue::Str(text.trim_matches('"')))
            }
            _ => None,
        };
        let value = unquoted.as_ref().unwrap_or(value);
        if interner.keeps_attributes {
            kept::keep(&mut self.kept, fact, key, value);
        }
        let mut unit = token_counts::unit_of(fact);
        if fact == Fact::UnitUsage {
            let name = key.strip_prefix(USAGE_PREFIX.as_bytes());
            unit = name.and_then(|name| Unit::from_name(std::str::from_utf8(name).ok()?));
            fact = unit.and_then(token_counts::fact_of).unwrap_or(fact);
        }
        if self.call.takes_whole(fact, unit, rank, value) || self.told_by.has_better(fact, rank) {
            return;
        }
        let is_read = match fact {
            Fact::SpanKind => sort_of(value).map(|sort| self.span_kind = Some(sort)).is_some(),
            Fact::EntityName => read_text(&mut self.entity_name, value, interner),
            Fact::System => read_text(&mut self.system, value, interner),
            _ => match self.call.read(fact, rank, value, interner) {
                Some(is_read) => is_read,
                None => record.read_fact(fact, value, interner),
            },
        };
        if is_read {
            self.told_by.set(fact, rank);
        }
    }

    /// Draws the conclusions that need all attributes and the span's name. Call once, after the last attribute.
    pub fn finish(mut self, record: &mut SpanRecord, interner: &mut Interner) {
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
        if interner.keeps_attributes && self.call.scope_leaves_out && self.told_by.get(Fact::Scope).is_none()
        {
            kept::keep_scope(&mut self.kept, token_counts::SCOPE_THAT_LEAVES_OUT);
        }
        self.call.finish(&mut self.told_by, record);
        record.settle();
        if !self.kept.is_empty() {
            record.facts.get_or_insert_default().told = Some(self.kept.into());
        }
    }
}

/// Drops the hash of an input that may not have been all there was, unless longpole's own key told it.
fn forget_partial_input(told_by: &ToldBy, record: &mut SpanRecord) {
    let is_own = told_by.get(Fact::InputHash).is_some_and(|rank| rank.dialect == Dialect::Longpole);
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
        // Most that tell anything tell one of these.
        let may_tell_nothing =
            |facts: &NodeFacts| facts.operation.is_none() && facts.node_id.is_none() && !facts.is_http;
        if self
            .facts
            .as_deref()
            .is_some_and(|facts| may_tell_nothing(facts) && *facts == NodeFacts::default())
        {
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
mod tests;
