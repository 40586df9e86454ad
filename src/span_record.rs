//! One finished span, as everything behind the callbacks and the decoders sees it.
//!
//! A [`SpanRecord`] holds ids, times, status and the facts the conventions read from attributes. It has no
//! attribute map: attributes stay in the OTLP bytes. It is made in one place only, by decoding those bytes, so
//! what a running program sees and what its exported file says cannot differ.

mod interner;

use std::num::NonZeroU64;
use std::sync::Arc;

use crate::ids::{SpanId, TraceId};
use crate::money::{CostParts, Money};
use crate::prices::{Unit, Unpriced};
use crate::time::{Duration, Timestamp};

pub use interner::Interner;

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
    /// The other spans it points to, in the order written; `None` if there are none. Few spans have any, so the
    /// others pay for a pointer only.
    pub links: Option<Box<[Link]>>,
    /// Who sent it.
    pub origin: Arc<Origin>,
    /// What only the process that ran it knows; absent for decoded traces.
    pub local: Option<LocalFacts>,
}

/// One span's pointer to another that is not its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link {
    /// The trace of the span pointed to; often another one.
    pub trace_id: TraceId,
    /// The span pointed to. It need not have arrived.
    pub span_id: SpanId,
    /// Whether the link says that this span waited for that one: its `longpole.edge` is `depends_on`.
    pub is_dependency: bool,
}

impl Link {
    /// How many links of one span are kept; more are passed over.
    pub const MAX: usize = 1_024;
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
    /// The attribute is there, so that none named means that it waited for none.
    pub tells_depends_on: bool,
    pub outcome: Option<Outcome>,
    pub attempt: Option<u64>,
    pub turns: Option<u64>,
    pub input_bytes: Option<u64>,
    pub output_bytes: Option<u64>,
    pub cost: Option<Money>,
    /// Who says so; `None` where `cost` is.
    pub cost_source: Option<CostSource>,
    /// What the cost is made of, where that is known.
    pub cost_parts: Option<Box<CostParts>>,
    /// The price table of an estimate, or that which had no price.
    pub cost_table: Option<Arc<str>>,
    /// Why a call of a model has no price, where it was tried to give it one.
    pub unpriced: Option<Unpriced>,
    pub tokens: TokenCounts,
    /// What else is told about a call of a model; absent where nothing is, as for most spans.
    pub call: Option<Box<CallDetails>>,
    /// The host called.
    pub server_address: Option<Arc<str>>,
    pub detached: bool,
    pub is_http: bool,
    pub is_db: bool,
    /// Stands for what the node was given: equal input, equal hash.
    pub input_hash: Option<u64>,
    /// On the root of a run: how many spans of it were started in its process, itself included.
    pub run_spans: Option<NonZeroU64>,
    /// All of the above as it was told, as OTLP's `Span.attributes`, where that is kept.
    pub told: Option<Box<[u8]>>,
}

/// What few spans tell about a call of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallDetails {
    /// What was used beyond [`TokenCounts`], by unit: kinds of tokens, searches, pages. In the order of units.
    pub other_usage: Vec<(Unit, u64)>,
    /// A count of what was used is negative, not whole or beyond 2⁶³.
    pub has_bad_count: bool,
    /// Tokens that a told total has and no other count tells: the counts are not all there is.
    pub unexplained_tokens: u64,
    /// A library answered from its own cache and called nobody.
    pub is_from_cache: bool,
    /// A cost was told that is no amount of money: negative, not a number, beyond what any bill has.
    pub has_bad_cost: bool,
    /// A library says that the call cost nothing, and the table of prices says otherwise; what it says is not taken.
    pub told_free: bool,
    /// What was used and has no price in the table, so that the estimated cost is without it.
    pub without_price: Vec<Unit>,
    /// How the call was processed: `batch`.
    pub processing: Option<Arc<str>>,
    /// The tier of service that answered, else the one asked for.
    pub service_tier: Option<Arc<str>>,
    /// The address of the API, where more than its host is told.
    pub api_url: Option<Arc<str>>,
    /// The answer came in pieces.
    pub is_streamed: bool,
}

/// Token counts of one call: input includes cached tokens, output includes reasoning. Counts of writers that are known
/// to leave cached tokens out are made so while they are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub struct TokenCounts {
    pub input: Option<u64>,
    pub output: Option<u64>,
    pub cache_read: Option<u64>,
    pub cache_write: Option<u64>,
    pub reasoning: Option<u64>,
}

/// Who says what something cost; where several do, the first one here counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CostSource {
    /// The program, by longpole's own key.
    Recorded,
    /// The provider, in `gen_ai.usage.cost`.
    GenAi,
    /// The provider, or a library, in OpenInference's `llm.cost`.
    OpenInference,
    /// A library, in MLflow's `mlflow.llm.cost`.
    Mlflow,
    /// A library, in `langfuse.observation.cost_details`.
    Langfuse,
    /// Pydantic AI, in `operation.cost`.
    PydanticAi,
    /// LiteLLM, in `litellm.cost.total` or, earlier, `gen_ai.cost.total_cost`.
    LiteLlm,
    /// longpole, from token counts and a table of prices.
    Estimated,
}

impl CostSource {
    /// The sort of source: `recorded`, `provider` or `estimated`.
    pub const fn as_str(self) -> &'static str {
        match self {
            CostSource::Recorded => "recorded",
            CostSource::Estimated => "estimated",
            CostSource::GenAi
            | CostSource::OpenInference
            | CostSource::Mlflow
            | CostSource::Langfuse
            | CostSource::PydanticAi
            | CostSource::LiteLlm => "provider",
        }
    }

    /// Whether somebody else than longpole or the program says so.
    pub const fn is_foreign(self) -> bool {
        !matches!(self, CostSource::Recorded | CostSource::Estimated)
    }

    /// The attribute it was read from.
    pub const fn key(self) -> &'static str {
        match self {
            CostSource::Recorded | CostSource::Estimated => "longpole.cost.usd",
            CostSource::GenAi => "gen_ai.usage.cost",
            CostSource::OpenInference => "llm.cost.total",
            CostSource::Mlflow => "mlflow.llm.cost",
            CostSource::Langfuse => "langfuse.observation.cost_details",
            CostSource::PydanticAi => "operation.cost",
            CostSource::LiteLlm => "litellm.cost.total",
        }
    }
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
    /// What tells its host from others: `host.id`, else the first `host.ip`, else `host.name`.
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
    /// Its trace is exported, but it is not: too much waited to be delivered.
    pub is_shed: bool,
    /// How many children were started under it in this process. With these a run knows when all of it arrived.
    pub children: u32,
}

/// The operations that are one call of a model.
const INFERENCE: [&str; 5] = ["chat", "generate_content", "text_completion", "embeddings", "rerank"];

impl NodeFacts {
    /// Whether the span is one call of a model, which is what is billed: a span above it that tells tokens repeats
    /// them.
    pub fn is_inference(&self) -> bool {
        self.operation.as_deref().is_some_and(|operation| INFERENCE.contains(&operation))
    }
}

impl SpanRecord {
    /// The id of the node this span is, by its own attributes: a given node id, else one made from its GenAI
    /// operation; `None` if it is no node, or says that it is a phase of the one around it.
    pub fn node_id(&self) -> Option<Arc<str>> {
        Some(match self.node_id_parts()? {
            (operation, Some(subject)) => format!("{operation} {subject}").into(),
            (id, None) => id.clone(),
        })
    }

    /// What the node id is made of: the given one, or an operation and what it is done to.
    pub(crate) fn node_id_parts(&self) -> Option<(&Arc<str>, Option<&Arc<str>>)> {
        let facts = self.facts.as_deref()?;
        if let Some(id) = &facts.node_id {
            return Some((id, None));
        }
        if facts.phase.is_some() {
            return None;
        }
        let operation = facts.operation.as_ref()?;
        let subject = match &**operation {
            "execute_tool" => facts.tool_name.as_ref(),
            "invoke_agent" | "create_agent" | "plan" => facts.agent_name.as_ref(),
            "invoke_workflow" => facts.workflow_name.as_ref(),
            _ => facts.request_model.as_ref().or(facts.response_model.as_ref()),
        };
        Some((operation, subject))
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

    /// See [`NodeFacts::is_inference`].
    pub fn is_inference(&self) -> bool {
        self.facts.as_ref().is_some_and(|facts| facts.is_inference())
    }

    /// Bytes this record holds on the heap and in itself, roughly; what bounds count with.
    pub fn weight(&self) -> usize {
        let links = self.links.as_deref().map_or(0, size_of_val);
        let facts = self.facts.as_ref().map_or(0, |facts| {
            let told = facts.told.as_deref().map_or(0, <[u8]>::len);
            size_of::<NodeFacts>() + facts.call.as_ref().map_or(0, |_| size_of::<CallDetails>()) + told
        });
        size_of::<Self>() + facts + links
    }
}
