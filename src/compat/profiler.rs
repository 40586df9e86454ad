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
use crate::layer::{LayerCore, LongpoleLayer};
use crate::report::{Bottleneck, Summary};

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
    Span::current().with_subscriber(|(id, dispatch)| {
        let layer = dispatch.downcast_ref::<LongpoleLayer>()?;
        Some(f(layer.core(), id.into_u64()))
    })?
}

/// What a profiled node gave back and how long it took; see [`profile_node`].
#[derive(Clone, Debug, PartialEq)]
pub struct NodeOutcome<T> {
    /// What it gave back.
    pub value: T,
    /// Which node it was.
    pub node_id: String,
    /// How long it took.
    pub took: Duration,
}

impl<T> NodeOutcome<T> {
    /// In milliseconds.
    pub fn execution_time_ms(&self) -> f64 {
        self.took.as_secs_f64() * 1e3
    }

    /// Writes the time into a node's output, as `_execution_time_ms` and `_execution_time_ms_{node_id}`.
    pub fn annotate(&self, output: &mut Map<String, Value>) {
        let time = Value::from(self.execution_time_ms());
        output.insert("_execution_time_ms".to_owned(), time.clone());
        output.insert(format!("_execution_time_ms_{}", self.node_id), time);
    }
}

/// Runs `work` as the node `node_id` and says how long it took. The node is measured also where `work` panics.
pub fn profile_node<T>(node_id: &str, work: impl FnOnce() -> T) -> NodeOutcome<T> {
    let started = Instant::now();
    let value = node_span(node_id).in_scope(work);
    NodeOutcome { value, node_id: node_id.to_owned(), took: started.elapsed() }
}

/// The same for a future.
pub async fn profile_node_async<T>(node_id: &str, work: impl Future<Output = T>) -> NodeOutcome<T> {
    let started = Instant::now();
    let value = work.instrument(node_span(node_id)).await;
    NodeOutcome { value, node_id: node_id.to_owned(), took: started.elapsed() }
}

fn node_span(node_id: &str) -> Span {
    info_span!(target: "workflow", "node", otel.name = node_id, node.id = node_id)
}
