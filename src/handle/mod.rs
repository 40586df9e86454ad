//! What a program asks longpole, and how it says goodbye.

mod accounts;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError, Weak};
use std::time::{Duration, Instant};

pub use accounts::{FlushReport, ShutdownReport};

use crate::aggregate::{Aggregates, NodeTotals, SlaCheck, SlowNode};
use crate::analysis::variability::{FIRST_TIMEOUT, ThresholdError, VarianceOptions};
use crate::delivery::record::SpanKey;
use crate::environment::Propagators;
use crate::layer::LayerCore;
use crate::many_runs::{ManyRuns, ManyRunsReport};
#[cfg(feature = "metrics")]
use crate::metrics::facade;
use crate::metrics::hub::{self, MetricHub};
use crate::metrics::instrument::Instrument;
use crate::metrics::store::Labels;
use crate::pipeline::run_thread::OPEN_SPANS_BYTES;
use crate::pipeline::{Pipeline, run_thread};
use crate::process_identity::ProcessIdentity;
use crate::report::build::ReportOptions;
use crate::report::{Bottleneck, Report, Summary};

/// The handle of one longpole layer.
///
/// Clones share. When the last one is dropped the pipeline is shut down as by [`Longpole::shutdown`], so keep one
/// until the program ends.
#[must_use = "longpole shuts down when its last handle is dropped"]
#[derive(Clone)]
pub struct Longpole {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    /// Where the threads are: a forked child has none of them.
    pub(crate) process: ProcessIdentity,
    pub(crate) shutdown_timeout: Duration,
    pub(crate) layer: Arc<LayerCore>,
    /// Absent where longpole is disabled: then there are no threads.
    pub(crate) pipeline: Option<Pipeline>,
    pub(crate) metrics: Arc<MetricHub>,
    #[cfg(feature = "prometheus")]
    pub(crate) metrics_page: Mutex<Option<crate::metrics_page::MetricsPage>>,
    #[cfg(feature = "mlflow")]
    pub(crate) mlflow: Option<Arc<crate::mlflow::Mlflow>>,
    #[cfg_attr(not(feature = "otlp"), allow(dead_code, reason = "nothing is handed on"))]
    pub(crate) propagators: Propagators,
    #[cfg(feature = "metrics")]
    pub(crate) uses_facade: bool,
    pub(crate) destinations: Vec<Destination>,
    /// How runs are analysed.
    pub(crate) analysis: ReportOptions,
    /// What was wrong with the settings.
    pub(crate) notes: Vec<String>,
    pub(crate) shutdown_report: Mutex<Option<ShutdownReport>>,
    /// Or being shut down.
    pub(crate) is_shut_down: AtomicBool,
}

/// Where a program's spans and metrics go.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Destination {
    /// Spans over OTLP to this address.
    Otlp(String),
    /// Spans into this file, as OTLP JSON lines.
    File(PathBuf),
    /// Spans to standard output, as OTLP JSON lines.
    Console,
    /// Spans to an exporter of OpenTelemetry's SDK.
    Exporter,
    /// Metrics over OTLP to this address.
    Metrics(String),
    /// Metrics to standard output, as OTLP JSON lines.
    MetricsConsole,
    /// Metrics on a page for Prometheus at this address.
    MetricsPage(SocketAddr),
    /// Runs to the MLflow tracking server at this address.
    Mlflow(String),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Otlp(url) => write!(f, "spans go to {url}"),
            Destination::File(path) => write!(f, "spans are written to {}", path.display()),
            Destination::Console => f.write_str("spans are printed"),
            Destination::Exporter => f.write_str("spans go to a span exporter"),
            Destination::Metrics(url) => write!(f, "metrics go to {url}"),
            Destination::MetricsConsole => f.write_str("metrics are printed"),
            Destination::MetricsPage(address) => write!(f, "metrics are at http://{address}/metrics"),
            Destination::Mlflow(url) => write!(f, "runs are logged to MLflow at {url}"),
        }
    }
}

/// How longpole is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostics {
    /// Whether it is running.
    pub state: State,
    /// Where spans go.
    pub destinations: Vec<Destination>,
    /// Spans open right now.
    pub open_spans: u64,
    /// Spans closed so far.
    pub closed_spans: u64,
    /// Runs reported on so far.
    pub runs: u64,
    /// How often a run used more than [`Builder::cost_budget_usd`](crate::Builder::cost_budget_usd) or
    /// [`Builder::token_quota`](crate::Builder::token_quota) allow.
    pub budgets_exceeded: u64,
    /// Everything lost, shortened or suppressed so far, counted by reason. Empty: nothing.
    pub counts: BTreeMap<String, u64>,
    /// What went wrong last with spans on the way to a backend or a file.
    pub last_error: Option<String>,
    /// Spans a backend has acknowledged so far.
    pub acknowledged_spans: u64,
    /// Requests with metrics that a backend has taken.
    pub metrics_requests: u64,
    /// What went wrong last with metrics on the way to a backend.
    pub last_metrics_error: Option<String>,
    /// Runs logged to an MLflow server.
    pub mlflow_runs: u64,
    /// What went wrong last with runs on the way to an MLflow server.
    pub last_mlflow_error: Option<String>,
    /// What the user should know, each told once: variables that made no sense, roots that never end.
    pub notes: Vec<String>,
}

/// See [`Diagnostics::state`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Measuring.
    Running,
    /// Switched off with [`Longpole::set_enabled`].
    Paused,
    /// Never started: an environment variable says so, or its threads could not be started.
    Disabled,
    /// Shut down.
    ShutDown,
}

/// How long [`Longpole::flush`] waits at most.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long [`Longpole::shutdown`] waits at most if `LONGPOLE_SHUTDOWN_TIMEOUT` does not say.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

impl Longpole {
    pub(crate) fn new(inner: Inner) -> Self {
        let inner = Arc::new(inner);
        let owner: Weak<Inner> = Arc::downgrade(&inner);
        let _ = inner.layer.owner.set(owner);
        Longpole { inner }
    }

    #[cfg(feature = "otlp")]
    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    pub(crate) fn from_inner(inner: Arc<Inner>) -> Self {
        Longpole { inner }
    }

    /// Where spans go; empty if nothing leaves the process.
    pub fn destinations(&self) -> &[Destination] {
        &self.inner.destinations
    }

    /// The newest report.
    pub fn last_run(&self) -> Option<Arc<Report>> {
        self.reports(|reports| reports.back().cloned())
    }

    /// The newest reports, oldest first; at most 64 are kept.
    pub fn runs(&self) -> Vec<Arc<Report>> {
        self.reports(|reports| reports.iter().cloned().collect())
    }

    /// The kept report of the run with this id, see [`crate::report::RunSummary::id`]. A prefix will do; of several
    /// the newest.
    pub fn run(&self, id: &str) -> Option<Arc<Report>> {
        self.reports(|reports| reports.iter().rev().find(|report| report.run.id.starts_with(id)).cloned())
    }

    /// The sums of one node over all runs since the start or [`Longpole::clear`]; `None` if it never ran.
    pub fn node(&self, name: &str) -> Option<NodeTotals> {
        self.inner.pipeline.as_ref()?.outputs.state().aggregates.node(name)
    }

    /// Total node time, the slowest node and the bottlenecks over all runs.
    pub fn summary(&self) -> Summary {
        self.bottlenecks_above(self.inner.analysis.bottleneck_threshold_percent)
    }

    /// The node with the highest total over all runs; `None` before the first run ended.
    pub fn slowest_node(&self) -> Option<Bottleneck> {
        self.inner.pipeline.as_ref()?.outputs.state().aggregates.slowest_node()
    }

    /// The nodes whose total is strictly more than `threshold_percent` of the sum of all nodes' totals, highest
    /// first.
    pub fn bottlenecks(&self, threshold_percent: f64) -> Vec<Bottleneck> {
        self.bottlenecks_above(threshold_percent).bottlenecks
    }

    /// The nodes that take strictly longer than `threshold` on average, by how much, and those whose durations vary
    /// much; the worst first.
    ///
    /// # Errors
    ///
    /// [`ThresholdError`] if the threshold is zero.
    pub fn slow_nodes(&self, threshold: Duration) -> Result<Vec<SlowNode>, ThresholdError> {
        let simple = self.inner.analysis.simple_variance_rules;
        let variance = VarianceOptions { p99_over_twice_mean: simple, spread: simple };
        match &self.inner.pipeline {
            Some(pipeline) => pipeline.outputs.state().aggregates.slow_nodes(threshold.into(), &variance),
            None => Aggregates::default().slow_nodes(threshold.into(), &variance),
        }
    }

    /// Whether a node takes at most what [`Builder::sla`](crate::Builder::sla), or else
    /// [`Builder::slow_threshold`](crate::Builder::slow_threshold), allows on average; `None` if neither says
    /// anything about it, or it never ran.
    pub fn check_sla(&self, node: &str) -> Option<SlaCheck> {
        let analysis = &self.inner.analysis;
        let sla = analysis.slas.get(node).copied().or(analysis.slow_threshold)?;
        self.inner.pipeline.as_ref()?.outputs.state().aggregates.check_sla(node, sla)
    }

    /// How long to wait for an execution of a node before giving up: twice its 95th percentile so far, 5 s before
    /// its first.
    pub fn suggest_timeout(&self, node: &str) -> Duration {
        let state = self.inner.pipeline.as_ref().map(|pipeline| pipeline.outputs.state());
        let timeout = state.map_or(FIRST_TIMEOUT, |state| state.aggregates.suggest_timeout(node));
        timeout.to_std()
    }

    /// What the runs since the start or [`Longpole::clear`] say together, by workflow and version: which nodes are on
    /// the critical path and how long, and which make the long runs long.
    pub fn many_runs(&self) -> ManyRunsReport {
        let report = |runs: &ManyRuns| runs.report(ManyRuns::TAIL_PERCENTILE);
        match &self.inner.pipeline {
            Some(pipeline) => report(&pipeline.outputs.state().many_runs),
            None => report(&ManyRuns::default()),
        }
    }

    /// Forgets all sums and reports.
    pub fn clear(&self) {
        if let Some(pipeline) = &self.inner.pipeline {
            let mut state = pipeline.outputs.state();
            state.aggregates = Default::default();
            state.many_runs = Default::default();
            state.reports.clear();
        }
    }

    /// Switches measuring off and on. While it is off new spans cost one look at a flag, or nothing with
    /// [`LongpoleLayer::switchable`](crate::LongpoleLayer::switchable); spans that are open already are finished.
    pub fn set_enabled(&self, enabled: bool) {
        self.inner.layer.set_enabled(enabled && self.inner.pipeline.is_some());
    }

    /// Whether new spans are measured.
    pub fn is_enabled(&self) -> bool {
        self.inner.layer.is_enabled()
    }

    /// How longpole is doing.
    pub fn diagnostics(&self) -> Diagnostics {
        // Not by the report: who makes it may be waiting for a callback that asks this.
        let is_shut_down = self.inner.is_shut_down.load(Ordering::Relaxed);
        let mut diagnostics = Diagnostics {
            state: match &self.inner.pipeline {
                _ if is_shut_down => State::ShutDown,
                None => State::Disabled,
                Some(_) if self.is_enabled() => State::Running,
                Some(_) => State::Paused,
            },
            destinations: self.inner.destinations.clone(),
            open_spans: self.inner.layer.open_spans(),
            closed_spans: 0,
            runs: 0,
            budgets_exceeded: 0,
            counts: self.inner.counts(),
            last_error: None,
            acknowledged_spans: 0,
            metrics_requests: 0,
            last_metrics_error: None,
            mlflow_runs: 0,
            last_mlflow_error: None,
            notes: self.inner.notes.clone(),
        };
        if let Some(pipeline) = &self.inner.pipeline {
            diagnostics.closed_spans = pipeline.outputs.closed_spans.load(Ordering::Relaxed);
            diagnostics.runs = pipeline.outputs.runs.load(Ordering::Relaxed);
            diagnostics.budgets_exceeded = pipeline.outputs.budgets_exceeded.load(Ordering::Relaxed);
            diagnostics.notes.extend(pipeline.outputs.state().notes.iter().cloned());
            if let Some(status) = pipeline.delivery.as_ref().map(|delivery| delivery.status()) {
                diagnostics.last_error = status.last_error;
                diagnostics.acknowledged_spans = status.acked_spans;
                diagnostics.metrics_requests = status.metrics_requests;
                diagnostics.last_metrics_error = status.last_metrics_error;
                diagnostics.notes.extend(status.notes);
            }
        }
        #[cfg(feature = "mlflow")]
        if let Some(status) = self.inner.mlflow.as_ref().map(|mlflow| mlflow.status()) {
            diagnostics.mlflow_runs = status.logged;
            diagnostics.last_mlflow_error = status.last_error;
            diagnostics.notes.extend(status.notes);
        }
        diagnostics
    }

    /// Adds an execution of a node that no span measures. It counts in sums and metrics, not in any run's report.
    pub fn record_node(&self, name: &str, took: Duration) {
        let name: Arc<str> = name.into();
        if let Some(pipeline) = &self.inner.pipeline {
            pipeline.outputs.state().aggregates.add_timed_node(&name, took.into());
            self.inner.metrics.direct().record_timed_node(&name, took.into(), hub::now());
        }
    }

    /// Reports on every run whose root has closed and sends what has been closed so far, metrics included: those once,
    /// whatever the answer, since later ones tell the same and more. Waits at most
    /// [`FLUSH_TIMEOUT`], on any thread and in any runtime.
    pub fn flush(&self) -> FlushReport {
        self.flush_within(FLUSH_TIMEOUT)
    }

    /// The same with another timeout.
    pub fn flush_within(&self, timeout: Duration) -> FlushReport {
        let started = Instant::now();
        let deadline = started + timeout;
        if !self.inner.process.is_this_process() {
            return self.inner.forked_report(started);
        }
        let mut is_complete = true;
        if let Some(pipeline) = &self.inner.pipeline {
            is_complete = pipeline.flush(deadline);
            if let Some(delivery) = &pipeline.delivery {
                is_complete &= delivery.flush(deadline).is_complete;
            }
        }
        #[cfg(feature = "mlflow")]
        if let Some(mlflow) = &self.inner.mlflow {
            is_complete &= mlflow.flush(deadline);
        }
        self.inner.flush_report(is_complete, started)
    }

    /// Ends measuring: reports on everything, sends what is left and stops the threads. Waits at most
    /// [`SHUTDOWN_TIMEOUT`], or what `LONGPOLE_SHUTDOWN_TIMEOUT` says, on any thread and in any runtime. Later calls give the first one's report; spans
    /// closed later are counted and lost.
    pub fn shutdown(&self) -> ShutdownReport {
        self.shutdown_within(self.inner.shutdown_timeout)
    }

    /// The same with another timeout.
    pub fn shutdown_within(&self, timeout: Duration) -> ShutdownReport {
        self.inner.shutdown(timeout)
    }

    /// Shuts down as [`Longpole::shutdown`] does and ends the process: `std::process::exit` alone loses the spans
    /// that closed in its last millisecond, and whatever is still open.
    pub fn exit(&self, code: i32) -> ! {
        let _ = self.shutdown();
        std::process::exit(code)
    }

    fn reports<T: Default>(&self, look: impl FnOnce(&std::collections::VecDeque<Arc<Report>>) -> T) -> T {
        self.inner
            .pipeline
            .as_ref()
            .map_or_else(T::default, |pipeline| look(&pipeline.outputs.state().reports))
    }

    fn bottlenecks_above(&self, threshold_percent: f64) -> Summary {
        let pipeline = self.inner.pipeline.as_ref();
        pipeline.map_or_else(Summary::default, |p| p.outputs.state().aggregates.summary(threshold_percent))
    }
}

/// How long a panic waits for the spans that closed before it to be on disk.
const PANIC_WAIT: Duration = Duration::from_millis(250);

impl Longpole {
    /// Puts a panic hook before the one there is: after that one has run, what has closed is brought to disk, and what
    /// is open, too, as far as it has come.
    pub(crate) fn flush_on_panic(&self) {
        // Hooks cannot be changed by a thread that panics.
        if std::thread::panicking() {
            return;
        }
        let inner = Arc::downgrade(&self.inner);
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            previous(panic);
            if let Some(inner) = inner.upgrade() {
                inner.save_after_panic();
            }
        }));
    }
}

/// A handle that does not keep longpole running.
#[derive(Clone, Debug, Default)]
pub(crate) struct WeakLongpole(Weak<Inner>);

impl Longpole {
    pub(crate) fn downgrade(&self) -> WeakLongpole {
        WeakLongpole(Arc::downgrade(&self.inner))
    }
}

/// Metrics of other parts of the crate. Once longpole is gone they go nowhere.
impl WeakLongpole {
    pub(crate) fn is_alive(&self) -> bool {
        self.0.strong_count() > 0
    }

    pub(crate) fn count_metric(&self, of: Instrument, labels: Labels) {
        let Some(inner) = self.0.upgrade() else { return };
        #[cfg(feature = "metrics")]
        inner.tell_facade(of, &labels, facade::Change::Add(1));
        inner.metrics.direct().add(of, labels, 1, hub::now());
    }

    pub(crate) fn record_metric(&self, of: Instrument, labels: Labels, value: u64) {
        let Some(inner) = self.0.upgrade() else { return };
        #[cfg(feature = "metrics")]
        inner.tell_facade(of, &labels, facade::Change::Record(value));
        inner.metrics.direct().record(of, labels, value, None, hub::now());
    }

    pub(crate) fn change_metric(&self, of: Instrument, labels: Labels, by: i64) {
        let Some(inner) = self.0.upgrade() else { return };
        #[cfg(feature = "metrics")]
        inner.tell_facade(of, &labels, facade::Change::Move(by));
        inner.metrics.direct().change_level(of, labels, by, hub::now());
    }
}

#[cfg(feature = "metrics")]
impl Inner {
    /// The recorder is the program's, and this may run while a panic unwinds.
    fn tell_facade(&self, of: Instrument, labels: &Labels, change: facade::Change) {
        if self.uses_facade {
            let emit = std::panic::AssertUnwindSafe(|| facade::emit(of, labels, change));
            let _ = std::panic::catch_unwind(emit);
        }
    }
}

#[cfg(feature = "otlp")]
impl Longpole {
    /// Offers longpole's counters and levels as observable instruments of a program's own meter. Histograms cannot be
    /// offered that way: OpenTelemetry has no observable ones. They go over OTLP, see
    /// [`Builder::otlp_metrics_endpoint`](crate::Builder::otlp_metrics_endpoint).
    pub fn register_instruments(&self, meter: &opentelemetry::metrics::Meter) {
        crate::metrics::instruments::register(&self.inner.metrics, meter);
    }
}

#[cfg(feature = "mlflow")]
impl Longpole {
    /// Logs a report to the MLflow server given with [`Builder::mlflow`](crate::Builder::mlflow), as each finished run
    /// is logged anyway: for reports made in another way, of a file's runs for one. A run that is there already is
    /// added to and not logged twice. Returns at once; the report is sent by a thread of longpole's.
    ///
    /// # Errors
    ///
    /// [`LogReportError`](crate::LogReportError) if it cannot be taken. What becomes of a report that was taken is told
    /// in [`Longpole::diagnostics`].
    pub fn log_bottleneck_report(&self, report: &Report) -> Result<(), crate::LogReportError> {
        match &self.inner.mlflow {
            Some(mlflow) => mlflow.log_report(report.clone()),
            None => Err(crate::LogReportError::NoServer),
        }
    }
}

#[cfg(feature = "prometheus")]
impl Longpole {
    /// Serves metrics for Prometheus on `address`, at `/metrics`, until this handle is shut down; gives the address,
    /// with the port the system chose if zero was asked for. A page that is served already goes.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub fn serve_metrics(&self, address: SocketAddr) -> std::io::Result<SocketAddr> {
        let page = crate::metrics_page::serve(address, self.inner.metrics.clone())?;
        let address = page.address();
        *self.inner.metrics_page.lock().unwrap_or_else(PoisonError::into_inner) = Some(page);
        Ok(address)
    }
}

/// Serves the metrics of the current subscriber's longpole layer for Prometheus, on `127.0.0.1:9090` or where
/// `OTEL_EXPORTER_PROMETHEUS_HOST` and `_PORT` say, at `/metrics`.
///
/// # Errors
/// If there is no such layer, or if the address cannot be listened on.
#[cfg(feature = "prometheus")]
pub fn init_metrics_exporter() -> std::io::Result<SocketAddr> {
    let none = || std::io::Error::other("the current subscriber has no longpole layer");
    let longpole = current().ok_or_else(none)?;
    let named = crate::environment::read(|name| std::env::var(name).ok()).prometheus;
    longpole.serve_metrics(crate::metrics_page::address_of(&named)?)
}

/// The spans of a layer that have been open for so long, as far as they have come.
pub(crate) fn open_spans(core: &LayerCore, older_than: Duration) -> Vec<(SpanKey, Vec<u8>)> {
    let mut found = Vec::new();
    core.write_open_spans(older_than.into(), OPEN_SPANS_BYTES, &mut |span| {
        let key = SpanKey { trace_id: span.trace_id, span_id: span.span_id };
        found.push((key, span.message.to_vec()));
    });
    found
}

impl Inner {
    fn save_after_panic(&self) {
        if !self.process.is_this_process() {
            return;
        }
        // One of ours would wait for itself.
        let is_ours = std::thread::current().name().is_some_and(|name| name.starts_with("longpole-"));
        let Some(pipeline) = self.pipeline.as_ref().filter(|_| !is_ours) else { return };
        let Some(delivery) = pipeline.delivery.as_ref().filter(|delivery| delivery.has_spool()) else {
            return;
        };
        pipeline.drain(Instant::now() + PANIC_WAIT);
        delivery.write_open(&open_spans(&self.layer, Duration::ZERO));
    }

    fn shutdown(&self, timeout: Duration) -> ShutdownReport {
        let started = Instant::now();
        let deadline = started + timeout;
        if !self.process.is_this_process() {
            self.layer.set_enabled(false);
            return ShutdownReport { flush: self.forked_report(started), open: 0 };
        }
        let mut report = match self.shutdown_report.try_lock() {
            Ok(report) => report,
            Err(TryLockError::Poisoned(report)) => report.into_inner(),
            // Whoever is shutting down waits for this very thread.
            Err(TryLockError::WouldBlock) if run_thread::is_current() => {
                return ShutdownReport {
                    flush: self.flush_report(false, started),
                    open: self.layer.open_spans(),
                };
            }
            Err(TryLockError::WouldBlock) => {
                self.shutdown_report.lock().unwrap_or_else(PoisonError::into_inner)
            }
        };
        if let Some(first) = &*report {
            return first.clone();
        }
        self.is_shut_down.store(true, Ordering::Relaxed);
        let mut is_complete = true;
        let open = self.layer.open_spans();
        self.layer.set_enabled(false);
        if let Some(pipeline) = &self.pipeline {
            let refused = self.layer.leave_open_spans(OPEN_SPANS_BYTES);
            if refused > 0 {
                pipeline.outputs.lost("open_at_shutdown", refused);
            }
            is_complete = pipeline.stop(deadline);
            let left = self.layer.shards.close();
            if left > 0 {
                pipeline.outputs.lost("closed_during_shutdown", left);
            }
            if let Some(delivery) = &pipeline.delivery {
                is_complete &= delivery.shutdown(deadline).is_complete;
            }
        }
        #[cfg(feature = "mlflow")]
        if let Some(mlflow) = &self.mlflow {
            is_complete &= mlflow.shutdown(deadline);
        }
        #[cfg(feature = "prometheus")]
        drop(self.metrics_page.lock().unwrap_or_else(PoisonError::into_inner).take());
        let last = ShutdownReport { flush: self.flush_report(is_complete, started), open };
        *report = Some(last.clone());
        last
    }

    /// What a forked child says: it has no threads that could send, and any of the parent's locks may be taken for
    /// ever.
    fn forked_report(&self, started: Instant) -> FlushReport {
        FlushReport { lost: self.layer.lost_spans(), took: started.elapsed(), ..FlushReport::default() }
    }

    fn flush_report(&self, is_complete: bool, started: Instant) -> FlushReport {
        let mut report = FlushReport {
            is_complete,
            lost: self.losses(),
            took: started.elapsed(),
            ..FlushReport::default()
        };
        if let Some(pipeline) = &self.pipeline {
            report.closed = pipeline.outputs.closed_spans.load(Ordering::Relaxed);
            report.runs = pipeline.outputs.runs.load(Ordering::Relaxed);
            if let Some(delivery) = &pipeline.delivery {
                let status = delivery.status();
                report.acknowledged = status.acked_spans;
                report.written = status.written_spans;
                report.rejected = status.rejected_spans;
                report.pending = status.pending_spans;
                report.spooled = status.spooled_spans.min(status.pending_spans);
                report.discarded = status.discarded_spans;
                report.recovered = status.recovered_spans;
            }
        }
        report
    }

    /// Spans lost anywhere, by reason.
    fn losses(&self) -> BTreeMap<String, u64> {
        let mut losses = self.layer.lost_spans();
        if let Some(pipeline) = &self.pipeline {
            losses.extend(pipeline.outputs.losses());
            losses.extend(pipeline.delivery.iter().flat_map(|delivery| delivery.losses()));
        }
        losses
    }

    /// Everything counted: losses, and what was shortened or suppressed.
    fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = self.losses();
        counts.extend(self.layer.counts());
        let delivery = self.pipeline.as_ref().and_then(|pipeline| pipeline.delivery.as_ref());
        counts.extend(delivery.into_iter().flat_map(|delivery| delivery.recovery_losses()));
        #[cfg(feature = "mlflow")]
        if let Some(mlflow) = &self.mlflow {
            counts.extend(mlflow.status().lost.into_iter().map(|(why, runs)| (why.to_owned(), runs)));
        }
        counts
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shutdown(self.shutdown_timeout);
    }
}

impl fmt::Debug for Longpole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Longpole").field("destinations", &self.inner.destinations).finish_non_exhaustive()
    }
}

/// Ends the process as [`Longpole::exit`] does, for the longpole layer of the current subscriber; without one, as
/// `std::process::exit` does.
pub fn exit(code: i32) -> ! {
    match current() {
        Some(longpole) => longpole.exit(code),
        None => std::process::exit(code),
    }
}

/// The handle of the longpole layer in the current subscriber, if there is one that is not shut down for good.
pub fn current() -> Option<Longpole> {
    tracing::dispatcher::get_default(|dispatch| {
        let layer = dispatch.downcast_ref::<crate::layer::LongpoleLayer>()?;
        let owner = layer.core().owner.get()?.upgrade()?;
        owner.downcast::<Inner>().ok().map(Longpole::from_inner)
    })
}
