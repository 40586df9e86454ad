//! Putting a layer, its pipeline and its handle together.

mod analysis;
mod budget;
mod cost;
mod destinations;
#[cfg(feature = "mlflow")]
mod mlflow;
mod opentelemetry;
mod privacy;
mod resource;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use crate::conventions as keys;
use crate::delivery::record::SpanKey;
use crate::delivery::spool::Durability;
use crate::delivery::{Delivery, Protocol};
use crate::encode::cost::CostMirror;
use crate::encode::resource::{ResourceAttributes, encode_resource};
use crate::environment::{self, Environment, LimitSettings};
use crate::handle::{Inner, Longpole, SHUTDOWN_TIMEOUT, open_spans};
use crate::layer::config::{LayerConfig, Selector};
use crate::layer::{LayerCore, LongpoleLayer};
use crate::metrics::hub::{MetricHub, Observed};
use crate::metrics::instrument::Instrument;
use crate::metrics::store::{LabelValue, Labels};
use crate::pipeline::budgets::{BudgetWatch, OnBudget};
use crate::pipeline::io_thread::LossTelling;
use crate::pipeline::keep_runs::KeepRuns;
use crate::pipeline::outputs::Outputs;
use crate::pipeline::run_thread::{OPEN_SPANS_INTERVAL, OnRun, OnRunSpans, RunThreadConfig};
use crate::pipeline::shard::Shards;
use crate::pipeline::{Pipeline, PipelineSettings};
use crate::process_identity::ProcessIdentity;
use crate::report::build::ReportOptions;
use crate::report::{PipelineLosses, Report, Source};
use crate::run_assembler::AssemblerConfig;
use crate::span_record::SpanRecord;
use crate::terminal;

/// Settings of a layer, see [`builder`].
#[must_use = "call build() for the layer and its handle"]
pub struct Builder {
    layer: LayerConfig,
    exports_spans: bool,
    analyses: bool,
    #[cfg(feature = "otlp")]
    reads_parent: bool,
    service_name: Option<String>,
    reads_environment: bool,
    environment: Environment,
    endpoint: Option<String>,
    metrics_endpoint: Option<String>,
    otlp: OtlpSettings,
    metrics_interval: Option<Duration>,
    spans_file: Option<PathBuf>,
    durability: Option<Durability>,
    spool_dir: Option<PathBuf>,
    spool_bytes: Option<u64>,
    keep_runs: Option<KeepRuns>,
    flushes_on_panic: bool,
    resource: ResourceAttributes,
    content: Option<crate::privacy::ContentCapture>,
    redacted_keys: Vec<String>,
    #[cfg(feature = "otlp")]
    exporter: Option<crate::delivery::AnyExporter>,
    #[cfg(feature = "prometheus")]
    prometheus: Option<std::net::SocketAddr>,
    #[cfg(feature = "mlflow")]
    mlflow: mlflow::MlflowChoice,
    #[cfg(feature = "metrics")]
    uses_facade: bool,
    report: ReportOptions,
    cost_mirrors: Option<Vec<CostMirror>>,
    compares_with_earlier_runs: bool,
    marked_only: bool,
    on_run: Vec<OnRun>,
    on_run_spans: Vec<OnRunSpans>,
    on_budget: Vec<OnBudget>,
    tells_problems: bool,
}

/// What code says about OTLP beyond addresses; it beats the environment. Headers are secrets, so it cannot be printed.
#[derive(Default)]
struct OtlpSettings {
    protocol: Option<Protocol>,
    headers: Vec<(String, String)>,
    is_compressed: Option<bool>,
    certificate: Option<PathBuf>,
    client_identity: Option<(PathBuf, PathBuf)>,
}

/// How OTLP is sent; see [`Builder::otlp_protocol`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OtlpProtocol {
    /// Protobuf over HTTP/1.1. The default.
    HttpProtobuf,
    /// JSON over HTTP/1.1; several times the bytes.
    HttpJson,
    /// gRPC over HTTP/2.
    Grpc,
}

/// The layer could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// An OTLP endpoint given to the builder cannot be used.
    #[error("cannot send {what} to {endpoint:?}")]
    Endpoint {
        /// `spans` or `metrics`.
        what: &'static str,
        /// What was given, without credentials.
        endpoint: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The address for the metrics page cannot be listened on.
    #[error("cannot serve metrics on {address}")]
    MetricsPage {
        /// The address.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The spans file cannot be opened for appending.
    #[error("cannot write spans to {}", path.display())]
    SpansFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// longpole could not be set up for the whole program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// The layer could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The program has a global subscriber already; add the layer to it with [`builder`] instead.
    #[error("the program has a subscriber already; add longpole's layer to it with longpole::builder()")]
    Subscriber(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// Bytes of finished spans that may wait for the io thread, and for the backend.
pub(crate) const QUEUE_BYTES: usize = 16 << 20;

/// Settings for a layer to put into a subscriber the program builds itself.
///
/// Nothing is read from the environment and nothing leaves the process unless a setting says so.
///
/// ```
/// use tracing_subscriber::prelude::*;
///
/// let (layer, longpole) = longpole::builder()
///     .workflow("research-agent")
///     .on_run(|report| println!("{}", report.to_text()))
///     .build()?;
/// let subscriber = tracing_subscriber::registry().with(layer);
/// tracing::subscriber::with_default(subscriber, || {
///     let _run = tracing::info_span!("run").entered();
///     tracing::info_span!("step", node.id = "fetch").in_scope(|| {});
/// });
/// longpole.flush();
/// assert_eq!(longpole.last_run().expect("one run ended").nodes[0].name, "fetch");
/// # Ok::<(), longpole::BuildError>(())
/// ```
pub fn builder() -> Builder {
    Builder {
        layer: LayerConfig::default(),
        exports_spans: true,
        analyses: true,
        #[cfg(feature = "otlp")]
        reads_parent: false,
        service_name: None,
        reads_environment: false,
        environment: Environment::default(),
        endpoint: None,
        metrics_endpoint: None,
        otlp: OtlpSettings::default(),
        metrics_interval: None,
        spans_file: None,
        durability: None,
        spool_dir: None,
        spool_bytes: None,
        keep_runs: None,
        flushes_on_panic: false,
        resource: ResourceAttributes::default(),
        content: None,
        redacted_keys: Vec::new(),
        #[cfg(feature = "otlp")]
        exporter: None,
        #[cfg(feature = "prometheus")]
        prometheus: None,
        #[cfg(feature = "mlflow")]
        mlflow: mlflow::MlflowChoice::default(),
        #[cfg(feature = "metrics")]
        uses_facade: false,
        report: ReportOptions::default(),
        cost_mirrors: None,
        compares_with_earlier_runs: false,
        marked_only: false,
        on_run: Vec::new(),
        on_run_spans: Vec::new(),
        on_budget: Vec::new(),
        tells_problems: false,
    }
}

/// Sets up a program that has no subscriber yet: log lines on stderr (level INFO, or what `RUST_LOG` says in the
/// form `target=level,…`), longpole, export as the `OTEL_*` variables say, and each run's report on stderr.
///
/// # Errors
/// [`InitError::Subscriber`] if the program has a global subscriber already.
pub fn init(workflow: &str) -> Result<Longpole, InitError> {
    use tracing_subscriber::filter::{LevelFilter, Targets};
    use tracing_subscriber::prelude::*;

    let (layer, longpole) = builder()
        .workflow(workflow)
        .otlp_from_env()
        .parent_from_env()
        .report_to_stderr()
        .flush_on_panic()
        .build()?;
    let lines = std::env::var("RUST_LOG").ok().and_then(|filter| filter.parse::<Targets>().ok());
    let lines = lines.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let fmt = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(is_terminal)
        .with_filter(lines);
    let level = tracing_subscriber::filter::filter_fn(|metadata| *metadata.level() <= tracing::Level::INFO);
    tracing::subscriber::set_global_default(
        tracing_subscriber::registry().with(fmt).with(layer.with_filter(level)),
    )?;
    Ok(longpole)
}

impl Builder {
    /// Names the workflow: roots that are not marked with a workflow name of their own get this one.
    pub fn workflow(mut self, name: impl Into<String>) -> Self {
        self.layer.workflow = Some(name.into());
        self
    }

    /// The workflow's version, to compare runs by.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.layer.workflow_version = Some(version.into());
        self
    }

    /// The `service.name` of exported spans. Default: what the environment says, else the workflow's name, else
    /// `unknown_service:` and the program's name.
    pub fn service_name(mut self, name: impl Into<String>) -> Self {
        self.service_name = Some(name.into());
        self
    }

    /// Reads the `OTEL_*` and `LONGPOLE_*` variables: where spans go, the resource, limits. Without an endpoint in
    /// them nothing is sent. A variable that makes no sense leaves its default and is told in
    /// [`Diagnostics::notes`](crate::Diagnostics::notes).
    pub fn otlp_from_env(mut self) -> Self {
        self.reads_environment = true;
        self.environment = environment::read(|name| std::env::var(name).ok());
        self
    }

    /// Appends spans to this file as OTLP JSON lines, as the OpenTelemetry Collector's file exporter writes them.
    pub fn spans_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.spans_file = Some(path.into());
        self
    }

    /// What finished spans survive before a backend has acknowledged them. Without this call
    /// [`Durability::Normal`]: spans for an OTLP endpoint are in a file about a millisecond after they closed. What a
    /// program leaves there is sent by the next one of the same service that runs, or by one that runs already.
    ///
    /// Where no file can be written, spans wait in memory, and
    /// [`Diagnostics::notes`](crate::Diagnostics::notes) says so.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = Some(durability);
        self
    }

    /// Where spans are kept on disk until they are acknowledged. Default: `$XDG_STATE_HOME/longpole/spool`, else
    /// `~/.local/state/longpole/spool`. It is made if need be, for its owner alone; a folder others can write to is
    /// not used.
    pub fn spool_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.spool_dir = Some(folder.into());
        self
    }

    /// How many bytes of spans are kept on disk; default 256 MiB, and never more than a twentieth of what is free.
    /// Beyond, the oldest go, and are counted.
    pub fn spool_bytes(mut self, bytes: u64) -> Self {
        self.spool_bytes = Some(bytes);
        self
    }

    /// Sends only the runs that are worth it, decided when each has ended. Analysis, reports and metrics see all of
    /// them. A run's spans wait, on disk too, until then; a run that takes longer than a minute, or for which there
    /// is no room (64 MiB for all that wait), is sent.
    pub fn keep_runs(mut self, keep: KeepRuns) -> Self {
        self.keep_runs = Some(keep);
        self
    }

    /// Has a panic anywhere in the program wait, 250 ms at most, until what has closed before it is on disk; what is
    /// open is written there too. It is for programs whose panics end them: a panic that is caught takes about a
    /// millisecond longer. The panic hook there is still runs, and before.
    pub fn flush_on_panic(mut self) -> Self {
        self.flushes_on_panic = true;
        self
    }

    /// Calls `on_run` with each run's report, on a thread of longpole's. What it traces goes to the program's
    /// subscriber and is not measured; a panic in it is caught. While it runs, later runs wait.
    pub fn on_run(mut self, on_run: impl FnMut(&Report) + Send + 'static) -> Self {
        self.on_run.push(Box::new(on_run));
        self
    }

    /// The same with the spans the report was made of, for who keeps runs so that they can be looked at again, as
    /// `longpole-store` does. They hold the attributes longpole reads, which
    /// [`traces_data`](crate::otlp_bytes::traces_data) writes, and no content. Each run's spans are copied once more.
    pub fn on_run_spans(mut self, on_run: impl FnMut(&Report, &[SpanRecord]) + Send + 'static) -> Self {
        self.on_run_spans.push(Box::new(on_run));
        self
    }

    /// Prints each run's report on stderr, as wide as the terminal, in colour if that is one, and once what is
    /// wrong with the settings.
    pub fn report_to_stderr(mut self) -> Self {
        self.tells_problems = true;
        self.on_run(terminal::print_report)
    }

    /// Leaves runs without a single marked node unreported. By default every span of such a run counts as a node.
    pub fn marked_only(mut self) -> Self {
        self.marked_only = true;
        self
    }

    /// Makes nodes of the spans with this target (and the modules below it) and name; each under its span's name.
    /// `None` matches every target, or every name. For programs whose spans carry no `node.id`.
    pub fn node_spans(mut self, target: Option<&str>, name: Option<&str>) -> Self {
        let selector = Selector {
            target: target.map(str::to_owned),
            name: name.map(str::to_owned),
            ..Selector::default()
        };
        self.layer.selectors.push(selector);
        self
    }

    /// Exports source file, module and line as `code.*` attributes. Default off; costs about 50 bytes a span.
    pub fn with_location(mut self, on: bool) -> Self {
        self.layer.location = on;
        self
    }

    /// Exports the creating thread as `thread.id` and `thread.name`. Default off.
    pub fn with_threads(mut self, on: bool) -> Self {
        self.layer.threads = on;
        self
    }

    /// Exports the span's target. Default off.
    pub fn with_target(mut self, on: bool) -> Self {
        self.layer.target = on;
        self
    }

    /// Starts the pipeline and gives the layer and its handle.
    ///
    /// If the environment disables longpole, or its threads cannot be started, the layer does nothing and
    /// [`Longpole::diagnostics`] says why.
    ///
    /// # Errors
    /// [`BuildError::Endpoint`] and [`BuildError::SpansFile`], for what was given to the builder. What the
    /// environment gives is never an error.
    pub fn build(mut self) -> Result<(LongpoleLayer, Longpole), BuildError> {
        let mut notes = std::mem::take(&mut self.environment.problems);
        let limits = self.environment.limits;
        self.settle_privacy();
        self.settle_export_only(&mut notes);
        #[cfg(feature = "mlflow")]
        self.settle_mlflow_traces(&mut notes);
        let prices = self.settle_prices(&mut notes);
        let attributes = self.resource_attributes();
        let resource = encode_resource(&attributes);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let shards = Arc::new(Shards::new(cores, limits.queue_bytes.unwrap_or(QUEUE_BYTES)));
        let metrics = Arc::new(MetricHub::new(self.environment.metric_limits));
        let is_disabled = self.environment.is_disabled;
        let (delivery, mut destinations) = match is_disabled {
            true => (None, Vec::new()),
            false => {
                let service = attributes.origin().service_name.clone().unwrap_or_default();
                self.start_delivery((&resource, &service), &shards, &metrics, &mut notes)?
            }
        };
        #[cfg(feature = "mlflow")]
        let mlflow = match is_disabled {
            true => None,
            false => self.start_mlflow(&mut destinations, &mut notes)?,
        };
        #[cfg(feature = "mlflow")]
        if mlflow.is_some() && !self.analyses {
            notes.push("export_only() leaves MLflow no runs to log".to_owned());
        }
        self.layer.export = delivery.as_ref().is_some_and(|delivery| delivery.takes_spans());
        self.layer.limits.apply(&limits);
        self.layer.max_open_spans = limits.open_spans.unwrap_or(self.layer.max_open_spans);
        self.layer.sampler = self.environment.sampler;
        let traceparents = self.read_process_parent();
        let (workflow, prints_notes) = (self.layer.workflow.clone(), self.prints_notes());
        self.layer.prices = self.report.prices.clone();
        let analysis = ReportOptions { source: Source::Live, ..std::mem::take(&mut self.report) };
        let core = Arc::new(LayerCore::new(self.layer, shards.clone()));
        core.counters.traceparents_malformed.add(traceparents);
        let pipeline = if is_disabled {
            notes.push("disabled by OTEL_SDK_DISABLED or LONGPOLE_DISABLED".to_owned());
            None
        } else {
            let dispatch_of = Arc::downgrade(&core);
            let config = RunThreadConfig {
                assembler: assembler_config(&limits),
                report: analysis.clone(),
                compares_with_earlier_runs: self.compares_with_earlier_runs,
                keep_runs: self
                    .keep_runs
                    .filter(|_| delivery.as_ref().is_some_and(|it| it.keeps_by_outcome())),
                marked_only: self.marked_only,
                origin: attributes.origin(),
                on_run: self.on_run,
                on_run_spans: self.on_run_spans,
                budgets: budget_watch(&core, &analysis, workflow.as_deref()),
                on_budget: self.on_budget,
                metrics: metrics.clone(),
                #[cfg(feature = "mlflow")]
                mlflow: mlflow.clone(),
                #[cfg(feature = "metrics")]
                uses_facade: self.uses_facade,
                layer_losses: losses_of(&core),
                open_spans: open_spans_of(&core),
                host_dispatch: Box::new(move || dispatch_of.upgrade()?.host_dispatch()),
            };
            let settings = PipelineSettings {
                is_strict: self.durability == Some(Durability::Strict)
                    && delivery.as_ref().is_some_and(|delivery| delivery.has_spool()),
                analyses: self.analyses,
                prices,
                telling: LossTelling {
                    layer_losses: losses_of(&core),
                    tell: prints_notes.then_some(terminal::print_note),
                },
            };
            match Pipeline::start(shards, delivery, config, settings) {
                Ok(pipeline) => Some(pipeline),
                Err(error) => {
                    notes.push(format!(
                        "{error}: {}",
                        std::error::Error::source(&error).map_or_else(String::new, ToString::to_string)
                    ));
                    None
                }
            }
        };
        if let Some(pipeline) = &pipeline {
            let delivery = pipeline.delivery.as_ref().map(Arc::downgrade);
            let (core, outputs) = (Arc::downgrade(&core), pipeline.outputs.clone());
            metrics.set_observer(Box::new(move || {
                observe(&core, &outputs, delivery.as_ref(), workflow.as_deref())
            }));
        }
        #[cfg(feature = "prometheus")]
        let metrics_page = match pipeline.is_some() {
            true => destinations::serve_metrics(
                self.prometheus,
                &self.environment,
                &metrics,
                &mut destinations,
                &mut notes,
            )?,
            false => None,
        };
        #[cfg(not(feature = "prometheus"))]
        destinations::note_missing_prometheus(&self.environment, &mut destinations, &mut notes);
        if prints_notes {
            terminal::print_notes(&notes);
        }
        if pipeline.is_none() {
            core.set_enabled(false);
        }
        let inner = Inner {
            process: ProcessIdentity::of_this_process(),
            shutdown_timeout: limits.shutdown_timeout.unwrap_or(SHUTDOWN_TIMEOUT),
            layer: core.clone(),
            pipeline,
            metrics,
            #[cfg(feature = "prometheus")]
            metrics_page: Mutex::new(metrics_page),
            #[cfg(feature = "mlflow")]
            mlflow,
            propagators: self.environment.propagators,
            #[cfg(feature = "metrics")]
            uses_facade: self.uses_facade,
            destinations,
            analysis,
            notes,
            shutdown_report: Mutex::new(None),
            is_shut_down: AtomicBool::new(false),
        };
        let longpole = Longpole::new(inner);
        if self.flushes_on_panic {
            longpole.flush_on_panic();
        }
        Ok((LongpoleLayer::new(core), longpole))
    }

    fn prints_notes(&self) -> bool {
        self.tells_problems && self.environment.prints_notes
    }

    /// Settles under which span of another process roots stand. Returns how many malformed `TRACEPARENT`s there
    /// were.
    #[cfg(feature = "otlp")]
    fn read_process_parent(&mut self) -> u64 {
        use crate::propagation::{EnvCarrier, extract};

        if !self.reads_parent {
            return 0;
        }
        let (context, is_malformed) = extract(&EnvCarrier::of_process(), self.environment.propagators);
        self.layer.process_parent = crate::layer::otel_context::parent_in(&context);
        u64::from(is_malformed)
    }

    #[cfg(not(feature = "otlp"))]
    fn read_process_parent(&mut self) -> u64 {
        0
    }
}

/// Spans a layer lost so far, by reason, for whoever asks again and again.
fn losses_of(core: &Arc<LayerCore>) -> Box<dyn Fn() -> PipelineLosses + Send> {
    let core = Arc::downgrade(core);
    Box::new(move || core.upgrade().map_or_else(Default::default, |core| core.lost_spans()))
}

/// Watches what runs use, where they may not use everything.
fn budget_watch(
    core: &Arc<LayerCore>,
    analysis: &ReportOptions,
    workflow: Option<&str>,
) -> Option<BudgetWatch> {
    let core = Arc::downgrade(core);
    let open_tree = move |trace_id| core.upgrade().map(|core| core.open_tree(trace_id)).unwrap_or_default();
    let watch = || BudgetWatch::new(analysis.budgets, workflow.map(Arc::from), Box::new(open_tree));
    (!analysis.budgets.is_empty()).then(watch)
}

/// The spans of a layer that have been open for a while.
fn open_spans_of(core: &Arc<LayerCore>) -> Box<dyn Fn() -> Vec<(SpanKey, Vec<u8>)> + Send> {
    let core = Arc::downgrade(core);
    Box::new(move || core.upgrade().map_or_else(Vec::new, |core| open_spans(&core, OPEN_SPANS_INTERVAL)))
}

/// What the layer, the pipeline and the delivery count, for who reads metrics.
fn observe(
    core: &Weak<LayerCore>,
    outputs: &Outputs,
    delivery: Option<&Weak<Delivery>>,
    workflow: Option<&str>,
) -> Observed {
    use std::sync::atomic::Ordering::Relaxed;

    let Some(core) = core.upgrade() else { return Observed::new() };
    let delivery = delivery.and_then(Weak::upgrade);
    let active = core.active_nodes().into_iter().map(|(node, count)| {
        let mut labels: Labels = vec![(keys::NODE_ID, LabelValue::Text(node))];
        labels.extend(workflow.map(|name| (keys::WORKFLOW_NAME, LabelValue::Text(name.into()))));
        (labels, count)
    });
    let mut losses = core.lost_spans();
    losses.extend(outputs.losses());
    losses.extend(delivery.iter().flat_map(|delivery| delivery.losses()));
    let lost = losses
        .into_iter()
        .map(|(reason, spans)| (vec![(keys::REASON, LabelValue::Text(reason.into()))], spans));
    let pending = delivery.map_or(0, |delivery| delivery.status().pending_spans);
    let waiting = pending.saturating_add(outputs.waiting_spans.load(Relaxed));
    vec![
        (Instrument::NodeActive, active.collect()),
        (Instrument::PipelineSpans, vec![(Labels::new(), outputs.closed_spans.load(Relaxed))]),
        (Instrument::PipelineQueue, vec![(Labels::new(), waiting)]),
        (Instrument::PipelineLost, lost.collect()),
        (Instrument::PipelineTime, vec![(Labels::new(), outputs.analysis_nanos.load(Relaxed))]),
    ]
}

fn assembler_config(limits: &LimitSettings) -> AssemblerConfig {
    let defaults = AssemblerConfig::default();
    AssemblerConfig {
        max_run_spans: limits.run_spans.unwrap_or(defaults.max_run_spans),
        max_bytes: limits.run_bytes.unwrap_or(defaults.max_bytes),
        ..defaults
    }
}
