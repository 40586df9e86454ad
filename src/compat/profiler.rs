//! A profiler that is set for a part of a program, found from anywhere inside it, and asked as soon as that is done.
//!
//! It is bound to the current span, not to a thread: tasks under that span find it wherever they run, and two
//! workflows that share threads do not mix. Every node that ends under the span is recorded in it at once.
//!
//! ```
//! use longpole::compat::profiler::{BottleneckAnalyzer, clear_profiler, get_profiler, set_profiler};
//! # use tracing_subscriber::prelude::*;
//! # let (layer, longpole) = longpole::builder().build()?;
//! # tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
//!
//! let workflow = tracing::info_span!("workflow").entered();
//! set_profiler(BottleneckAnalyzer::new());
//! tracing::info_span!("step", node.id = "fetch").in_scope(|| { /* work */ });
//! let profiler = get_profiler().expect("set above");
//! clear_profiler();
//! assert_eq!(profiler.slowest_node().expect("one node ran").node_id, "fetch");
//! # });
//! # Ok::<(), longpole::BuildError>(())
//! ```

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tracing::instrument::Instrument;
use tracing::{Span, info_span};

use crate::aggregate::Aggregates;
use crate::layer::profilers::NodeRecorder;
use crate::layer::usage_log::UsageLog;
use crate::layer::{LayerCore, LongpoleLayer};
use crate::money::Money;
use crate::prices::PriceTable;
use crate::report::{Bottleneck, Report, Summary};

/// Sums of node times. Clones share.
#[derive(Clone, Debug, Default)]
pub struct BottleneckAnalyzer {
    inner: Arc<Analyzer>,
}

#[derive(Debug)]
struct Analyzer {
    is_enabled: AtomicBool,
    sums: Mutex<Aggregates>,
}

impl Default for Analyzer {
    fn default() -> Self {
        Analyzer { is_enabled: AtomicBool::new(true), sums: Mutex::default() }
    }
}

impl Analyzer {
    fn sums(&self) -> MutexGuard<'_, Aggregates> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BottleneckAnalyzer {
    /// One that has recorded nothing and is enabled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an execution of a node.
    pub fn record_node(&self, node_id: &str, took: Duration) {
        self.inner.record_node(&Arc::from(node_id), took.into());
    }

    /// The nodes whose total is strictly more than `threshold_percent` (commonly 50) of the sum of all totals,
    /// highest first.
    pub fn bottlenecks(&self, threshold_percent: f64) -> Vec<Bottleneck> {
        self.summary(threshold_percent).bottlenecks
    }

    /// The node with the highest total; `None` if nothing was recorded.
    pub fn slowest_node(&self) -> Option<Bottleneck> {
        self.inner.sums().slowest_node()
    }

    /// Total time, number of nodes, the slowest, and the bottlenecks.
    pub fn summary(&self, threshold_percent: f64) -> Summary {
        self.inner.sums().summary(threshold_percent)
    }

    /// Switches recording off and on.
    pub fn set_enabled(&self, enabled: bool) {
        self.inner.is_enabled.store(enabled, Ordering::Relaxed);
    }

    /// Whether it records.
    pub fn is_enabled(&self) -> bool {
        self.inner.is_enabled.load(Ordering::Relaxed)
    }
}

impl NodeRecorder for Analyzer {
    fn record_node(&self, node: &Arc<str>, took: crate::time::Duration) {
        if self.is_enabled.load(Ordering::Relaxed) {
            self.sums().add_timed_node(node, took);
        }
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn std::any::Any + Send + Sync> {
        self
    }
}

/// Binds a profiler to the current span; it replaces one that is bound to that very span. Says whether there is a
/// span that is measured.
pub fn set_profiler(profiler: BottleneckAnalyzer) -> bool {
    with_current(|core, id| core.bind_profiler(id, profiler.inner)).unwrap_or(false)
}

/// The profiler of the current span, or of the nearest span above it that has one.
pub fn get_profiler() -> Option<BottleneckAnalyzer> {
    let found = with_current(|core, id| core.profiler_of(id)).flatten()?.1;
    let inner = found.as_any().downcast::<Analyzer>().ok()?;
    Some(BottleneckAnalyzer { inner })
}

/// Takes away the profiler [`get_profiler`] finds. It also goes when its span closes, so on failure too.
pub fn clear_profiler() {
    with_current(LayerCore::unbind_profiler);
}

fn with_current<R>(f: impl FnOnce(&LayerCore, u64) -> R) -> Option<R> {
    with_layer(&Span::current(), f)
}

fn with_layer<R>(span: &Span, f: impl FnOnce(&LayerCore, u64) -> R) -> Option<R> {
    span.with_subscriber(|(id, dispatch)| {
        let layer = dispatch.downcast_ref::<LongpoleLayer>()?;
        Some(f(layer.core(), id.into_u64()))
    })?
}

/// What a profiled node gave back, how long it took and what it cost; see [`profile_node`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NodeOutcome<T> {
    /// What it gave back.
    pub value: T,
    /// Which node it was.
    pub node_id: String,
    /// How long it took.
    pub took: Duration,
    /// What it cost with everything inside it that had closed by then, as far as that is known; `None` where nothing
    /// tells a cost.
    pub cost: Option<Money>,
    /// Calls of models inside it that are not in the cost, since nobody knows their price.
    pub unpriced_calls: u64,
}

impl<T> NodeOutcome<T> {
    /// In milliseconds.
    pub fn execution_time_ms(&self) -> f64 {
        self.took.as_secs_f64() * 1e3
    }

    /// In US dollars: the double nearest to the cost; `None` where nothing tells one.
    pub fn cost_usd(&self) -> Option<f64> {
        self.cost.map(nearest_usd)
    }

    /// Writes time and cost into a node's output, as `_execution_time_ms` and `_cost_usd`, and as
    /// `_execution_time_ms_{node_id}` and `_cost_usd_{node_id}`. A cost that is not known is not written.
    pub fn annotate(&self, output: &mut Map<String, Value>) {
        annotate(output, &self.node_id, self.execution_time_ms(), self.cost);
    }
}

/// Time and cost of a node in a run, as `_execution_time_ms`, `_cost_usd`, `_execution_time_ms_{node_id}` and
/// `_cost_usd_{node_id}`: those of all its executions together, the cost with everything inside them. A cost that is
/// not known is left out. `None` if the run had no such node.
///
/// ```
/// # use tracing_subscriber::prelude::*;
/// # let (layer, longpole) = longpole::builder().build()?;
/// # tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
/// tracing::info_span!("draft", node.id = "draft", node.cost_usd = 0.0412).in_scope(|| { /* work */ });
/// # });
/// longpole.flush();
/// let report = longpole.last_run().expect("a run has ended");
/// let result = longpole::compat::profiler::node_result(&report, "draft").expect("it ran");
/// assert_eq!(result["_cost_usd"], 0.0412);
/// assert_eq!(result["_cost_usd_draft"], 0.0412);
/// # Ok::<(), longpole::BuildError>(())
/// ```
pub fn node_result(report: &Report, node_id: &str) -> Option<Map<String, Value>> {
    let node = report.nodes.iter().find(|node| node.name == node_id)?;
    let mut result = Map::new();
    annotate(&mut result, node_id, node.duration.sum_ns.as_millis_f64(), node.cost_with_nested_usd);
    Some(result)
}

/// Time and cost of every node of a run, as `_execution_time_ms_{node_id}` and `_cost_usd_{node_id}`; as
/// [`node_result`].
pub fn run_result(report: &Report) -> Map<String, Value> {
    let mut result = Map::new();
    for node in &report.nodes {
        let time = Value::from(node.duration.sum_ns.as_millis_f64());
        result.insert(format!("_execution_time_ms_{}", node.name), time);
        if let Some(cost) = node.cost_with_nested_usd {
            result.insert(format!("_cost_usd_{}", node.name), Value::from(nearest_usd(cost)));
        }
    }
    result
}

fn annotate(output: &mut Map<String, Value>, node_id: &str, execution_time_ms: f64, cost: Option<Money>) {
    let time = Value::from(execution_time_ms);
    output.insert("_execution_time_ms".to_owned(), time.clone());
    output.insert(format!("_execution_time_ms_{node_id}"), time);
    if let Some(cost) = cost {
        let cost = Value::from(nearest_usd(cost));
        output.insert("_cost_usd".to_owned(), cost.clone());
        output.insert(format!("_cost_usd_{node_id}"), cost);
    }
}

/// Dividing would round twice.
fn nearest_usd(amount: Money) -> f64 {
    amount.to_string().parse().unwrap_or_else(|_| amount.as_usd())
}

/// Runs `work` as the node `node_id` and says how long it took and what it cost: the calls of models inside it that
/// had closed by then, and what [`SpanExt::record_cost`](crate::SpanExt::record_cost) says. The node is measured also
/// where `work` panics.
pub fn profile_node<T>(node_id: &str, work: impl FnOnce() -> T) -> NodeOutcome<T> {
    let profiled = Profiled::begin(node_id);
    let value = profiled.span.in_scope(work);
    profiled.end(value)
}

/// The same for a future.
pub async fn profile_node_async<T>(node_id: &str, work: impl Future<Output = T>) -> NodeOutcome<T> {
    let profiled = Profiled::begin(node_id);
    let value = work.instrument(profiled.span.clone()).await;
    profiled.end(value)
}

/// A node that is being profiled.
struct Profiled<'n> {
    node_id: &'n str,
    started: Instant,
    span: Span,
    usage: Option<(Arc<UsageLog>, Option<PriceTable>)>,
}

impl<'n> Profiled<'n> {
    fn begin(node_id: &'n str) -> Self {
        let started = Instant::now();
        let span = node_span(node_id);
        let usage =
            with_layer(&span, |core, id| Some((core.bind_usage_log(id)?, core.config.prices.clone())));
        Profiled { node_id, started, span, usage: usage.flatten() }
    }

    fn end<T>(self, value: T) -> NodeOutcome<T> {
        let took = self.started.elapsed();
        // It closes: what it says itself is logged.
        drop(self.span);
        let cost = self.usage.map(|(log, prices)| log.cost(prices.as_ref())).unwrap_or_default();
        NodeOutcome {
            value,
            node_id: self.node_id.to_owned(),
            took,
            cost: cost.cost,
            unpriced_calls: cost.unpriced_calls,
        }
    }
}

fn node_span(node_id: &str) -> Span {
    info_span!(target: "workflow", "node", otel.name = node_id, node.id = node_id)
}
