//! One finished span, as everything behind the callbacks and the decoders sees it.
//!
//! A [`SpanRecord`] holds ids, times, status and the facts the conventions read from attributes. It has no
//! attribute map: attributes stay in the OTLP bytes. It is made in one place only, by decoding those bytes, so
//! what a running program sees and what its exported file says cannot differ.

use std::collections::HashSet;
use std::sync::Arc;

use crate::conventions::{Dialect, Fact, meaning_of, operation_of_kind};
use crate::ids::{SpanId, TraceId};
use crate::money::Money;
use crate::time::{Duration, Timestamp};

/// One finished span.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpanRecord {
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// Its own id.
    pub span_id: SpanId,
    /// The span it was started under; `None` if it has none (an all-zero id means none).
    pub parent_id: Option<SpanId>,
    /// Its name.
    pub name: Arc<str>,
    /// Its role in a call between processes.
    pub kind: SpanKind,
    /// When it was created.
    pub start: Timestamp,
    /// When its work ended. May lie before `start` in foreign traces; zero with a later start means "never ended".
    pub end: Timestamp,
    /// How it ended.
    pub status: Status,
    /// What running it looked like from inside the process; all zero for spans that do not tell.
    pub timing: Timing,
    /// What its attributes tell; absent if they tell nothing.
    pub facts: Option<Box<NodeFacts>>,
    /// Who sent it.
    pub origin: Arc<Origin>,
    /// What only the process that ran it knows; absent for decoded traces.
    pub local: Option<LocalFacts>,
}

/// A span's role in a call between processes, as in OTLP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpanKind {
    /// Not said.
    Unspecified,
    /// Work inside one process.
    #[default]
    Internal,
    /// The serving side of a call.
    Server,
    /// The calling side of a call.
    Client,
    /// Hands work over without waiting for it.
    Producer,
    /// Takes work a producer handed over.
    Consumer,
}

impl SpanKind {
    /// The kind with this OTLP number; unknown numbers are [`SpanKind::Unspecified`].
    pub fn from_otlp(number: u64) -> Self {
        match number {
            1 => SpanKind::Internal,
            2 => SpanKind::Server,
            3 => SpanKind::Client,
            4 => SpanKind::Producer,
            5 => SpanKind::Consumer,
            _ => SpanKind::Unspecified,
        }
    }
}

/// How a span ended, as in OTLP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Nobody said; counts as success.
    #[default]
    Unset,
    /// Said to be fine.
    Ok,
    /// Failed.
    Error,
}

/// What running a span looked like from inside its process. A *poll* is one thread's stretch from entering the
/// span to leaving it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timing {
    /// Creation to first running.
    pub queued: Duration,
    /// Time in which at least one thread ran inside; `None` if not measured.
    pub busy: Option<Duration>,
    /// How many polls there were.
    pub polls: u64,
    /// The longest of them.
    pub longest_poll: Duration,
    /// Creation to first enter; `None` if never entered or not measured.
    pub first_enter: Option<Duration>,
    /// End of work to close.
    pub held_open: Duration,
}

/// What a span's attributes tell about its place in a workflow.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each field is the attribute of the same name in `conventions`")]
pub struct NodeFacts {
    pub node_id: Option<Arc<str>>,
    pub node_kind: Option<Arc<str>>,
    pub workflow_name: Option<Arc<str>>,
    pub workflow_version: Option<Arc<str>>,
    pub phase: Option<Arc<str>>,
    pub operation: Option<Arc<str>>,
    pub agent_name: Option<Arc<str>>,
    pub tool_name: Option<Arc<str>>,
    pub provider: Option<Arc<str>>,
    pub request_model: Option<Arc<str>>,
    pub response_model: Option<Arc<str>>,
    pub error_type: Option<Arc<str>>,
    pub depends_on: Vec<Arc<str>>,
    pub outcome: Option<Outcome>,
    pub attempt: Option<u64>,
    pub turns: Option<u64>,
    pub input_bytes: Option<u64>,
    pub output_bytes: Option<u64>,
    pub cost: Option<Money>,
    pub tokens: TokenCounts,
    pub detached: bool,
    pub is_http: bool,
    pub is_db: bool,
}

/// Token counts of one call, as reported: input includes cached tokens, output includes reasoning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub struct TokenCounts {
    pub input: Option<u64>,
    pub output: Option<u64>,
    pub cache_read: Option<u64>,
    pub cache_write: Option<u64>,
    pub reasoning: Option<u64>,
}

/// How a span's work ended, where the status does not say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// A panic unwound through it.
    Panicked,
    /// Its future was dropped before it was ready.
    Cancelled,
    /// It was still open when it was written.
    Partial,
}

/// Who sent a span: its resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// `service.name`.
    pub service_name: Option<Arc<str>>,
    /// `service.version`.
    pub service_version: Option<Arc<str>>,
    /// `host.id`, else `host.name`.
    pub host: Option<Arc<str>>,
}

/// What only the process that ran a span knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalFacts {
    /// It has no parent in this process.
    pub is_local_root: bool,
    /// It is marked with a workflow name, and no span above it in this process is.
    pub is_outermost_marked: bool,
    /// Its trace is exported, so it can be looked up.
    pub is_sampled: bool,
    /// How many children were started under it in this process. With these a run knows when all of it arrived.
    pub children: u32,
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

    fn as_bool(&self) -> Option<bool> {
        match self {
            AttributeValue::Bool(value) => Some(*value),
            AttributeValue::Str(text) => text.parse().ok(),
            _ => None,
        }
    }

    fn as_money(&self) -> Option<Money> {
        match self {
            AttributeValue::Double(value) => Money::from_usd(*value),
            AttributeValue::Int(value) => Money::from_usd(*value as f64),
            AttributeValue::Str(text) => text.parse().ok(),
            _ => None,
        }
        .filter(|amount| *amount >= Money::ZERO)
    }
}

/// Reads the attributes of one span into its record, whoever wrote them.
///
/// One fact may be told by several attributes, of several dialects. The reader remembers who told what, so that the
/// order of attributes does not matter between dialects; see [`Dialect`].
#[derive(Clone, Debug)]
pub struct AttributeReader {
    /// Who told each fact.
    told_by: [Option<Dialect>; Fact::COUNT],
    /// What another dialect than GenAI calls the span.
    span_kind: Option<SpanSort>,
    entity_name: Option<Arc<str>>,
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
        AttributeReader { told_by: [None; Fact::COUNT], span_kind: None, entity_name: None }
    }
}

impl AttributeReader {
    /// Takes in one attribute. Unknown keys and values of the wrong type change nothing.
    pub fn read(
        &mut self,
        record: &mut SpanRecord,
        key: &str,
        value: &AttributeValue<'_>,
        interner: &mut Interner,
    ) {
        let Some((fact, dialect)) = meaning_of(key) else { return };
        let Some(told_by) = self.told_by.get_mut(fact as usize) else { return };
        if told_by.is_some_and(|told_by| told_by < dialect) {
            return;
        }
        let is_read = match fact {
            Fact::SpanKind => sort_of(value).map(|sort| self.span_kind = Some(sort)).is_some(),
            Fact::EntityName => read_text(&mut self.entity_name, value, interner),
            _ => record.read_fact(fact, value, interner),
        };
        if is_read {
            *told_by = Some(dialect);
        }
    }

    /// Draws the conclusions that need all attributes and the span's name. Call once, after the last attribute.
    pub fn finish(self, record: &mut SpanRecord, interner: &mut Interner) {
        if let Some(sort) = self.span_kind {
            let facts = record.facts.get_or_insert_default();
            match sort {
                SpanSort::Operation(operation) if facts.operation.is_none() => {
                    let name = self.entity_name.or(Some(record.name.clone()).filter(|name| !name.is_empty()));
                    match operation {
                        "invoke_agent" if facts.agent_name.is_none() => facts.agent_name = name,
                        "execute_tool" if facts.tool_name.is_none() => facts.tool_name = name,
                        _ => {}
                    }
                    facts.operation = Some(interner.intern(operation));
                }
                SpanSort::Operation(_) => {}
                SpanSort::Task | SpanSort::Container => {
                    if facts.operation.is_none() && facts.node_id.is_none() {
                        facts.node_id = self.entity_name;
                    }
                }
            }
        }
        record.settle();
    }
}

/// The sort of span that another dialect's word for it means. A workflow's entity name is the workflow's, so it is
/// told nothing by one.
fn sort_of(value: &AttributeValue<'_>) -> Option<SpanSort> {
    let AttributeValue::Str(kind) = value else { return None };
    match operation_of_kind(kind) {
        Some(operation) => Some(SpanSort::Operation(operation)),
        None if kind.eq_ignore_ascii_case("task") => Some(SpanSort::Task),
        None if kind.eq_ignore_ascii_case("chain") => Some(SpanSort::Container),
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

    /// The id of the node this span is, by its own attributes: a given node id, else one made from its GenAI
    /// operation; `None` if it is no node.
    pub fn node_id(&self) -> Option<Arc<str>> {
        let facts = self.facts.as_deref()?;
        if let Some(id) = &facts.node_id {
            return Some(id.clone());
        }
        let operation = facts.operation.as_ref()?;
        let subject = match &**operation {
            "execute_tool" => facts.tool_name.as_ref(),
            "invoke_agent" | "create_agent" | "plan" => facts.agent_name.as_ref(),
            "invoke_workflow" => facts.workflow_name.as_ref(),
            _ => facts.request_model.as_ref().or(facts.response_model.as_ref()),
        };
        Some(match subject {
            Some(subject) => format!("{operation} {subject}").into(),
            None => operation.clone(),
        })
    }

    /// Whether it failed: an error status, a panic or a cancellation.
    pub fn failed(&self) -> bool {
        let outcome = self.facts.as_ref().and_then(|facts| facts.outcome);
        self.status == Status::Error || matches!(outcome, Some(Outcome::Panicked | Outcome::Cancelled))
    }

    /// The name of the workflow this span is marked as the root of.
    pub fn workflow_name(&self) -> Option<&Arc<str>> {
        self.facts.as_ref()?.workflow_name.as_ref()
    }

    /// Whether the program said that nobody waits for it.
    pub fn is_detached(&self) -> bool {
        self.facts.as_ref().is_some_and(|facts| facts.detached)
    }

    /// Bytes this record holds on the heap and in itself, roughly; what bounds count with.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.facts.as_ref().map_or(0, |_| size_of::<NodeFacts>())
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
            Fact::DependsOn => set(&mut self.depends_on, Some(names_in(value, interner))),
            Fact::Attempt => count(&mut self.attempt),
            Fact::Turns => count(&mut self.turns),
            Fact::InputBytes => count(&mut self.input_bytes),
            Fact::OutputBytes => count(&mut self.output_bytes),
            Fact::InputTokens => count(&mut self.tokens.input),
            Fact::OutputTokens => count(&mut self.tokens.output),
            Fact::CacheReadTokens => count(&mut self.tokens.cache_read),
            Fact::CacheWriteTokens => count(&mut self.tokens.cache_write),
            Fact::ReasoningTokens => count(&mut self.tokens.reasoning),
            Fact::Cost => put(&mut self.cost, value.as_money()),
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
            | Fact::EntityName => false,
        }
    }
}

/// The names in a string array, or in a string with commas between them.
fn names_in(value: &AttributeValue<'_>, interner: &mut Interner) -> Vec<Arc<str>> {
    match value {
        AttributeValue::Strings(names) => names.iter().map(|name| interner.intern(name)).collect(),
        AttributeValue::Str(names) => {
            let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
            names.map(|name| interner.intern(name)).collect()
        }
        _ => Vec::new(),
    }
}

/// Keeps one copy of each name, so that a million spans of twenty names hold twenty strings.
///
/// Bounded: past [`Interner::CAPACITY`] distinct names, new ones get a copy each.
#[derive(Debug, Default)]
pub struct Interner {
    names: HashSet<Arc<str>>,
}

impl Interner {
    /// How many distinct names are kept.
    pub const CAPACITY: usize = 10_000;

    /// The shared copy of `name`.
    pub fn intern(&mut self, name: &str) -> Arc<str> {
        if let Some(shared) = self.names.get(name) {
            return shared.clone();
        }
        let shared: Arc<str> = name.into();
        if self.names.len() < Self::CAPACITY {
            self.names.insert(shared.clone());
        }
        shared
    }
}
