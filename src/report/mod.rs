//! The answer about one run: the only type that is a promise to the outside.
//!
//! A [`Report`] is plain data. Text, Markdown, CSV, JSON, HTML and metrics are views of it and compute nothing:
//! whatever a person is to see stands here as a number. Its JSON form is `longpole.report/1`: additive changes
//! only; lengths of time are integers in nanoseconds with `_ns` in the name, shares are 0–1, money is a decimal
//! string in USD, unknown is `null`. Arrays are in report order, so equal input gives equal bytes.

mod analysed;
mod blocking;
pub(crate) mod booking;
mod bounds;
mod budget;
pub(crate) mod build;
pub(crate) mod charges;
mod cost_rows;
mod cost_section;
mod detached;
mod finding;
mod gate_result;
mod history;
pub mod insights;
pub mod lanes;
mod lost_context;
pub(crate) mod model_calls;
pub mod node_graph;
mod node_names;
mod path;
mod quality;
pub(crate) mod sums;
pub mod timeline;
pub mod waterfall;
pub mod what_if;
pub mod what_if_cost;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::budget::{BudgetUse, Budgets};
pub use self::cost_section::{
    CostSection, CostSourceRow, DepthCost, ModelCost, NodeCost, RollUpDifference, TokenSums, UnpricedRow,
};
pub use self::finding::{Combined, CombinedChange, Confidence, Finding, Reason, Suggestion};
pub use self::gate_result::{Amount, GateReason, GateResult, GateVerdict};
pub use self::history::{History, PastModel, PastNode, PastRun};
pub use self::lost_context::{OtherRoot, OtherRoots};
pub use crate::analysis::variability::Severity;
use crate::ids::SpanId;
use crate::money::Money;
use crate::time::{Duration, Timestamp};

/// The name of the JSON form and its major version.
pub const SCHEMA: &str = "longpole.report/1";

/// The answer about one run.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: Cow<'static, str>,
    /// Which longpole made it.
    pub generator: Generator,
    /// Where the spans came from. The only part, with [`Report::pipeline`], in which a live report and the report
    /// of its exported file differ.
    pub source: Source,
    /// Which run it is about.
    pub run: RunSummary,
    /// The run in a few numbers.
    pub totals: Totals,
    /// What set the run's length, as it ran.
    pub critical_path: CriticalPath,
    /// What would set it if nothing queued and every span waited for no more than the graph demands.
    pub allowed_path: AllowedPath,
    /// The wall time by what the critical path was doing, most first; adds up to the wall time.
    pub bounds: Vec<Bound>,
    /// Every node of the run, most time on the critical path first.
    pub nodes: Vec<NodeReport>,
    /// What to fix, first thing first: by what it saves, then by severity, code and subject; at most
    /// [`Report::MAX_FINDINGS`].
    #[serde(rename = "insights")]
    pub findings: Vec<Finding>,
    /// The changes suggested first, made together; absent where fewer than two were suggested.
    pub combined: Option<Combined>,
    /// Nodes that took time beside the path and would save nothing, longest first: the largest few.
    pub saves_nothing: Vec<String>,
    /// Spans that kept their thread from running anything else, longest first: the largest few.
    pub blocking: Vec<BlockingRow>,
    /// Work nobody in the run waited for, by name, longest first: the largest few.
    pub detached: Vec<DetachedRow>,
    /// What it used of each budget it was given; absent where none was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<BudgetUse>,
    /// What became of the gates it was held against, by whoever did, see [`crate::gates`]; absent where there were none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateResult>,
    /// What it cost; absent where nothing tells a cost or tokens and no model was called.
    #[serde(default)]
    pub cost: Option<CostSection>,
    /// Shares of the sum of node times, as a summary.
    pub bottleneck_info: Summary,
    /// How much to trust it.
    pub quality: Quality,
    /// What the live pipeline lost while the run was on; absent offline.
    pub pipeline: Option<PipelineLosses>,
}

impl Report {
    /// How many findings a report holds at most.
    pub const MAX_FINDINGS: usize = 20;
    /// How many critical path segments a report holds at most; their full number is in
    /// [`CriticalPath::segments_total`].
    pub const MAX_SEGMENTS: usize = 2_000;
}

/// Which program made a report.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generator {
    /// `longpole`.
    pub name: Cow<'static, str>,
    /// Its version.
    pub version: Cow<'static, str>,
}

/// Where a report's spans came from.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A running program.
    Live,
    /// A file, or bytes handed over.
    Decoded,
}

/// Which run a report is about and how it went.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Trace id and root span id, hex, with `-` between them.
    pub id: String,
    /// The trace.
    pub trace_id: String,
    /// The root span; absent where several spans have no parent.
    pub root_span_id: Option<String>,
    /// The root span's name.
    pub name: String,
    /// The workflow the root is marked with.
    pub workflow: Option<String>,
    /// The workflow's version, else the service's.
    pub version: Option<String>,
    /// When it started, RFC 3339 in UTC.
    pub started_at: String,
    /// When it started, exactly.
    pub start_unix_ns: Timestamp,
    /// How it ended.
    pub status: RunStatus,
    /// From the root's start to its end.
    pub wall_ns: Duration,
    /// Self time of all spans together, without the time they were queued.
    pub work_ns: Duration,
    /// How many spans it has.
    pub spans: u64,
    /// How many executions of nodes it has, its root left out.
    pub executions: u64,
    /// How many executions failed.
    pub errors: u64,
    /// How many executions were second or later tries.
    pub retries: u64,
    /// What earlier runs took; absent where none were given.
    pub baseline: Option<Baseline>,
}

/// What earlier runs of the same workflow took.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// How many runs it is made of.
    pub runs: u64,
    /// Their median.
    pub p50_ns: Duration,
    /// The median distance from that median.
    pub mad_ns: Duration,
}

/// How a run ended.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Its root did not fail and every span of it was seen.
    Ok,
    /// Its root has an error status.
    Error,
    /// A panic unwound through its root.
    Panicked,
    /// Its root's future was dropped before it was ready.
    Cancelled,
    /// Some span of it never ended or never arrived.
    Incomplete,
}

/// A run in a few numbers.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Work divided by wall time; absent where the wall time is zero.
    pub parallelism_achieved: Option<f64>,
    /// Work divided by the least time the graph allows: how much could be busy on average with workers enough.
    /// Absent without declared edges.
    pub parallelism_average: Option<f64>,
    /// The least time the graph allows with any number of workers (its *span*, T∞). Absent without declared edges.
    pub graph_bound_ns: Option<Duration>,
    /// That as a share of the wall time: 1 where the run was as short as its dependencies allow. Absent without
    /// declared edges.
    pub efficiency: Option<f64>,
    /// No schedule of as many workers as were busy at the peak is shorter than this. Absent without declared edges.
    pub greedy_at_least_ns: Option<Duration>,
    /// Any schedule of so many workers that never leaves one idle while work is ready is at most so long. Absent
    /// without declared edges.
    pub greedy_at_most_ns: Option<Duration>,
    /// The wall time divided by the shortest that so many workers allow: how many times faster a perfect schedule
    /// could be at most. Absent without declared edges.
    pub speed_up_room: Option<f64>,
    /// The most spans without a running child that ran at once.
    pub parallelism_peak: u64,
    /// Path time that belongs to no node: the root's own, and that of spans outside every node.
    pub unattributed_ns: Duration,
    /// How long the executions on the path waited before they ran, together.
    pub queued_ns: Duration,
    /// What the run cost as far as that is known, see [`CostSection::is_lower_bound`]; absent where no cost is known.
    pub cost_usd: Option<Money>,
    /// Input and output tokens of the leaf calls; absent where none were recorded.
    pub tokens: Option<Tokens>,
}

/// Token counts summed over calls.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Input tokens, cached ones included.
    pub input: u64,
    /// Output tokens, reasoning ones included.
    pub output: u64,
}

/// What set the run's length: the chain of work that would have to get shorter for the run to get shorter.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CriticalPath {
    /// `as_run`: with the queueing that happened.
    pub kind: PathKind,
    /// The part of the wall time that belongs to nodes. With [`Totals::unattributed_ns`] it makes the wall time.
    pub length_ns: Duration,
    /// One row per node on the path, in order of first appearance.
    pub rows: Vec<PathRow>,
    /// Nodes that ran beside the path, longest first: the largest few.
    pub beside: Vec<BesideRow>,
    /// The path itself, in time order; together they tile the wall time unless cut at [`Report::MAX_SEGMENTS`].
    pub segments: Vec<PathSegment>,
    /// How many segments the whole path has.
    pub segments_total: u64,
}

/// Which path it is.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathKind {
    /// As the run went, queueing included.
    AsRun,
    /// Without queueing, and among siblings that declared what they wait for with nothing else between them.
    AsTheGraphAllows,
}

/// The path that would be critical if nothing but the graph held the run up.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AllowedPath {
    /// `as_the_graph_allows`.
    pub kind: PathKind,
    /// Whether something was declared and every edge of it was. Otherwise it is in part the order that was seen,
    /// without the queueing, and the graph may allow less.
    pub is_declared: bool,
    /// The run's length on it.
    pub wall_ns: Duration,
    /// The nodes on it, in order of first appearance, with their time.
    pub rows: Vec<AllowedRow>,
}

/// A node on the path the graph allows.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AllowedRow {
    /// The node; absent for time that belongs to none.
    pub node: Option<String>,
    /// Its time on that path.
    pub duration_ns: Duration,
}

/// A part of the wall time, by what the critical path was doing.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// `retry`, `queue`, `no_span`, `model_wait`, `tool`, `own_cpu`, or `wait_` with the kind of node.
    pub kind: String,
    /// How long.
    pub duration_ns: Duration,
    /// The same as a share of the wall time.
    pub wall_ratio: f64,
}

/// A span that kept its thread.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockingRow {
    /// The node it belongs to, where it belongs to one.
    pub node: Option<String>,
    /// Its name.
    pub span: String,
    /// One such span.
    pub span_id: String,
    /// How many spans of that node and name did.
    pub spans: u64,
    /// The longest time one of them kept its thread.
    pub longest_poll_ns: Duration,
}

/// Work nobody waited for.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DetachedRow {
    /// The node, or the span's name where it belongs to none.
    pub name: String,
    /// How many spans.
    pub spans: u64,
    /// Their time together, what is inside another of them left out.
    pub duration_ns: Duration,
}

/// A node on the critical path.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathRow {
    /// The node.
    pub node: String,
    /// What sort of work it is.
    pub kind: String,
    /// How many of its executions are on the path.
    pub executions: u64,
    /// How many of those failed.
    pub failed: u64,
    /// Its time on the path.
    pub duration_ns: Duration,
    /// The same as a share of the wall time.
    pub wall_ratio: f64,
    /// How long its executions on the path waited before they ran.
    pub queued_ns: Duration,
    /// Whether the order of time alone says what one of its executions on the path waited for.
    pub is_inferred: bool,
    /// What its executions on the path cost.
    pub cost_usd: Option<Money>,
    /// Where its time lies, from the run's start, in time order, neighbours joined; at most 200 pieces.
    pub pieces: Vec<Piece>,
    /// Whether it has the most time on the path.
    pub is_longest: bool,
}

/// A stretch of time, from the run's start.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// When it starts.
    pub start_ns: Duration,
    /// How long it is.
    pub duration_ns: Duration,
}

/// A node that ran beside the path.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BesideRow {
    /// The node.
    pub node: String,
    /// How long its executions took together.
    pub duration_ns: Duration,
    /// How much longer the tightest of them could have taken without making the run longer.
    pub slack_ns: Option<Duration>,
}

/// A stretch of the critical path.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathSegment {
    /// The node it is booked to; absent where it belongs to none.
    pub node: Option<Arc<str>>,
    /// The span it lies in; all zero for a root that is made up.
    #[cfg_attr(test, schemars(with = "String"))]
    pub span_id: SpanId,
    /// That span's name.
    pub span: Arc<str>,
    /// When it starts, from the run's start.
    pub start_ns: Duration,
    /// How long it is.
    pub duration_ns: Duration,
    /// What makes it follow the one before.
    pub edge: PathEdge,
}

/// What makes a stretch of the critical path follow the one before.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathEdge {
    /// A parent runs its child, or goes on after it.
    Parent,
    /// The span declared to wait for a sibling.
    Declared,
    /// A sibling had ended when the span started: it is taken to have waited for it.
    Inferred,
}

/// One node of a run.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Its id.
    pub name: String,
    /// What sort of work it is.
    pub kind: String,
    /// Whether its only execution is the run's root.
    pub is_root: bool,
    /// How many executions it had.
    pub calls: u64,
    /// How many of them failed.
    pub failures: u64,
    /// How many were second or later tries.
    pub retries: u64,
    /// How long its executions took, queueing included.
    pub duration: DurationSummary,
    /// Time in which no nested node existed, being queued included.
    pub self_ns: Duration,
    /// Time a thread ran inside its executions; absent where not measured.
    pub busy_ns: Option<Duration>,
    /// How long its executions waited before they ran.
    pub queued_ns: Duration,
    /// Its time on the critical path.
    pub on_path_ns: Duration,
    /// How much longer its tightest execution could have taken without making the run longer; absent where no
    /// execution of it blocks the run.
    pub slack_ns: Option<Duration>,
    /// How much longer its tightest execution could have taken before anything after it would have started later.
    pub free_float_ns: Option<Duration>,
    /// What the run would save if it took no time, also called its drag; absent off the path.
    pub save_max_ns: Option<Duration>,
    /// The part of its path time that lies in executions that failed.
    pub failed_on_path_ns: Duration,
    /// How many of its spans kept their thread too long.
    pub blocking: u64,
    /// The model its calls used, the most used one.
    pub model: Option<String>,
    /// What its executions took together in earlier runs, without queueing; absent where none were given.
    pub baseline: Option<Baseline>,
    /// Its total as a share of the sum of all nodes' totals. Counts nested nodes twice.
    pub sum_ratio: f64,
    /// Its total as a share of the wall time; above 1 where executions ran at once.
    pub wall_ratio: f64,
    /// Its path time as a share of the wall time; with the unattributed share these add up to 1.
    pub critical_path_ratio: f64,
    /// The most of its executions that ran at once.
    pub peak_concurrency: u64,
    /// What it cost itself, not through nested nodes; absent where that is not known.
    pub cost_usd: Option<Money>,
    /// What it cost with everything inside it, an execution inside another of the same node counted once.
    #[serde(default)]
    pub cost_with_nested_usd: Option<Money>,
    /// What tokens it used itself.
    pub tokens: Option<Tokens>,
    /// How many conversation turns its executions say they took together; absent where none does.
    #[serde(default)]
    pub turns: Option<u64>,
    /// Named parts of it, longest first.
    pub phases: Vec<PhaseReport>,
    /// The part of its total that no phase and no nested node covers; absent where it has no phases.
    pub untracked_ns: Option<Duration>,
}

/// Spans inside a node that are no nodes themselves, by name.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseReport {
    /// The phase's name.
    pub name: String,
    /// How many spans it had.
    pub calls: u64,
    /// How long they took together.
    pub total_ns: Duration,
    /// What they cost; absent where that is not known.
    #[serde(default)]
    pub cost_usd: Option<Money>,
}

/// How long executions took. Quantiles are exact up to 64 executions and within 1.1 % beyond.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct DurationSummary {
    pub sum_ns: Duration,
    pub avg_ns: Duration,
    pub min_ns: Duration,
    pub max_ns: Duration,
    pub p50_ns: Duration,
    pub p90_ns: Duration,
    pub p95_ns: Duration,
    pub p99_ns: Duration,
}

/// A summary of a run or of many by shares of the sum of node times.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Sum of all nodes' totals, in milliseconds.
    pub total_time_ms: f64,
    /// How many nodes there are.
    pub node_count: u64,
    /// The node with the highest total, the first recorded on a tie.
    pub slowest_node: Option<Bottleneck>,
    /// Nodes whose share is strictly above the threshold, highest total first.
    pub bottlenecks: Vec<Bottleneck>,
}

/// One row of a [`Summary`].
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bottleneck {
    /// The node.
    pub node_id: String,
    /// Sum of its executions, in milliseconds.
    pub total_duration_ms: f64,
    /// Their average, in milliseconds.
    pub avg_duration_ms: f64,
    /// How many there were.
    pub call_count: u64,
    /// Its total as a percentage of the sum of all totals.
    pub percent_of_total: f64,
}

/// How much to trust a report.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// High: nothing open, orphaned or dropped. Medium: at most 1 % of the spans affected, none on the path.
    pub level: QualityLevel,
    /// Spans that arrived closed.
    pub closed_spans: u64,
    /// Spans that never ended or never arrived.
    pub open_spans: u64,
    /// Those of them that never arrived, though the process that ran them counted them: the run has so many spans
    /// more than [`RunSummary::spans`].
    #[serde(default)]
    pub missing_spans: u64,
    /// Spans whose parent is missing.
    pub orphans: u64,
    /// Spans left out of the analysis because the run was too large.
    pub left_out_spans: u64,
    /// Edges between spans that were declared, and that time does not contradict.
    pub declared_edges: u64,
    /// Edges between spans inferred from time.
    pub inferred_edges: u64,
    /// Spans outside the path whose work nobody waited for.
    pub detached_spans: u64,
    /// What was odd about the spans, counted by name.
    pub warnings: BTreeMap<String, u64>,
    /// The first few spans that never ended.
    pub open: Vec<OpenRow>,
    /// What the report does not claim, because spans are missing: `savings`, `critical_path`, `wall`, `cost`.
    pub not_claimed: Vec<String>,
}

/// A span that never ended.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenRow {
    /// The node it belongs to, where it belongs to one.
    pub node: Option<String>,
    /// Its name.
    pub span: String,
    /// Its id.
    pub span_id: String,
    /// When it started, from the run's start.
    pub start_ns: Duration,
}

/// See [`Quality::level`].
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum QualityLevel {
    Low,
    Medium,
    High,
}

/// Spans the live pipeline lost, by reason; empty where it lost none.
pub type PipelineLosses = BTreeMap<String, u64>;
