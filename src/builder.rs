//! Putting a layer, its pipeline and its handle together.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::delivery::{self, Delivery, DeliveryConfig};
use crate::encode::resource::{ResourceAttributes, encode_resource, encode_scope};
use crate::environment::{self, Environment, LimitSettings};
use crate::handle::{Destination, Inner, Longpole};
use crate::layer::config::{LayerConfig, Selector};
use crate::layer::{LayerCore, LongpoleLayer};
use crate::pipeline::Pipeline;
use crate::pipeline::run_thread::{OnRun, RunThreadConfig};
use crate::pipeline::shard::Shards;
use crate::report::Report;
use crate::report::build::ReportOptions;
use crate::run_assembler::AssemblerConfig;
use crate::terminal;

/// Settings of a layer, see [`builder`].
#[must_use = "call build() for the layer and its handle"]
pub struct Builder {
    layer: LayerConfig,
    service_name: Option<String>,
    reads_environment: bool,
    environment: Environment,
    endpoint: Option<String>,
    spans_file: Option<PathBuf>,
    bottleneck_threshold_percent: f64,
    marked_only: bool,
    on_run: Vec<OnRun>,
    tells_problems: bool,
}

/// The layer could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The OTLP endpoint given to the builder cannot be used.
    #[error("cannot send spans to {endpoint:?}")]
    Endpoint {
        /// What was given.
        endpoint: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
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
const QUEUE_BYTES: usize = 16 << 20;

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
        service_name: None,
        reads_environment: false,
        environment: Environment::default(),
        endpoint: None,
        spans_file: None,
        bottleneck_threshold_percent: 50.0,
        marked_only: false,
        on_run: Vec::new(),
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

    let (layer, longpole) = builder().workflow(workflow).otlp_from_env().report_to_stderr().build()?;
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

    /// Sends spans to this OTLP/HTTP traces address, such as `http://localhost:4318/v1/traces`.
    pub fn otlp_endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(url.into());
        self
    }

    /// Appends spans to this file as OTLP JSON lines, as the OpenTelemetry Collector's file exporter writes them.
    pub fn spans_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.spans_file = Some(path.into());
        self
    }

    /// Calls `on_run` with each run's report, on a thread of longpole's. What it traces goes to the program's
    /// subscriber and is not measured; a panic in it is caught. While it runs, later runs wait.
    pub fn on_run(mut self, on_run: impl FnMut(&Report) + Send + 'static) -> Self {
        self.on_run.push(Box::new(on_run));
        self
    }

    /// Prints each run's report on stderr, as wide as the terminal, in colour if that is one, and once what is
    /// wrong with the settings.
    pub fn report_to_stderr(mut self) -> Self {
        self.tells_problems = true;
        self.on_run(terminal::print_report)
    }

    /// A node is a bottleneck in summaries if its share of the sum of all node times is strictly above this.
    /// Default 50.
    pub fn bottleneck_threshold_percent(mut self, percent: f64) -> Self {
        self.bottleneck_threshold_percent = percent;
        self
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
        let attributes = self.resource_attributes();
        let resource = encode_resource(&attributes);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let shards = Arc::new(Shards::new(cores, limits.queue_bytes.unwrap_or(QUEUE_BYTES)));
        let (delivery, destinations) = match self.environment.is_disabled {
            true => (None, Vec::new()),
            false => self.start_delivery(&resource, &shards, &mut notes)?,
        };
        self.layer.export = !destinations.is_empty();
        self.layer.limits.apply(&limits);
        self.layer.max_open_spans = limits.open_spans.unwrap_or(self.layer.max_open_spans);
        let core = Arc::new(LayerCore::new(self.layer, shards.clone()));
        let pipeline = if self.environment.is_disabled {
            notes.push("disabled by OTEL_SDK_DISABLED or LONGPOLE_DISABLED".to_owned());
            None
        } else {
            let (dispatch_of, losses_of) = (Arc::downgrade(&core), Arc::downgrade(&core));
            let config = RunThreadConfig {
                assembler: assembler_config(&limits),
                report: ReportOptions {
                    bottleneck_threshold_percent: self.bottleneck_threshold_percent,
                    source: crate::report::Source::Live,
                },
                marked_only: self.marked_only,
                origin: attributes.origin(),
                on_run: self.on_run,
                layer_losses: Box::new(move || {
                    losses_of.upgrade().map_or_else(Default::default, |core| core.lost_spans())
                }),
                host_dispatch: Box::new(move || dispatch_of.upgrade()?.host_dispatch()),
            };
            match Pipeline::start(shards, delivery, config) {
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
        if self.tells_problems {
            terminal::print_notes(&notes);
        }
        if pipeline.is_none() {
            core.set_enabled(false);
        }
        let inner = Inner {
            layer: core.clone(),
            pipeline,
            destinations,
            bottleneck_threshold_percent: self.bottleneck_threshold_percent,
            notes,
            shutdown_report: Mutex::new(None),
        };
        Ok((LongpoleLayer::new(core), Longpole::new(inner)))
    }
}

impl Builder {
    fn resource_attributes(&self) -> ResourceAttributes {
        let environment = &self.environment;
        let name = self.service_name.clone().or_else(|| environment.service_name.clone());
        let name = name.or_else(|| self.layer.workflow.clone()).unwrap_or_else(unknown_service);
        let given = |key: &str| environment.resource_attributes.iter().any(|(known, _)| known == key);
        let mut pairs = vec![("service.name".to_owned(), name)];
        if let Some(version) = self.layer.workflow_version.clone().filter(|_| !given("service.version")) {
            pairs.push(("service.version".to_owned(), version));
        }
        pairs.extend(environment.resource_attributes.iter().cloned());
        for (key, value) in [
            ("telemetry.sdk.name", "longpole"),
            ("telemetry.sdk.language", "rust"),
            ("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
        ] {
            pairs.retain(|(known, _)| known != key);
            pairs.push((key.to_owned(), value.to_owned()));
        }
        ResourceAttributes(pairs)
    }

    fn start_delivery(
        &self,
        resource: &[u8],
        shards: &Arc<Shards>,
        notes: &mut Vec<String>,
    ) -> Result<(Option<Arc<Delivery>>, Vec<Destination>), BuildError> {
        let mut destinations = Vec::new();
        let from_environment = self.environment.traces_endpoint.as_ref().filter(|_| self.endpoint.is_none());
        let endpoint = match (&self.endpoint, from_environment) {
            (Some(url), _) => {
                Some(delivery::endpoint(url, &self.environment.headers.0, self.environment.timeout).map_err(
                    |source| BuildError::Endpoint { endpoint: url.clone(), source: Box::new(source) },
                )?)
            }
            (None, Some(url)) => {
                match delivery::endpoint(url, &self.environment.headers.0, self.environment.timeout) {
                    Ok(endpoint) => Some(endpoint),
                    Err(error) => {
                        notes.push(format!("spans are not sent to {url:?}: {error}"));
                        None
                    }
                }
            }
            (None, None) => None,
        };
        if let Some(url) = endpoint.as_ref().and(self.endpoint.as_ref().or(from_environment)) {
            destinations.push(Destination::Otlp(url.clone()));
        }
        if let Some(path) = &self.spans_file {
            delivery::check_spans_file(path)
                .map_err(|source| BuildError::SpansFile { path: path.clone(), source })?;
            destinations.push(Destination::File(path.clone()));
        }
        if destinations.is_empty() {
            return Ok((None, destinations));
        }
        let limits = &self.environment.limits;
        let defaults = DeliveryConfig::default();
        let config = DeliveryConfig {
            resource: resource.to_vec(),
            scope: encode_scope(),
            endpoint,
            spans_file: self.spans_file.clone(),
            max_queue_bytes: limits.queue_bytes.unwrap_or(defaults.max_queue_bytes),
            max_request_bytes: limits.request_bytes.unwrap_or(defaults.max_request_bytes),
            max_request_spans: limits.request_spans.unwrap_or(defaults.max_request_spans),
            max_in_flight: limits.requests_in_flight.unwrap_or(defaults.max_in_flight),
            send_delay: limits.send_delay.unwrap_or(defaults.send_delay),
            ..defaults
        };
        match delivery::start(config, shards.clone()) {
            Ok(delivery) => Ok((Some(Arc::new(delivery)), destinations)),
            Err(error) => {
                notes.push(format!("spans are not exported: {error}"));
                Ok((None, Vec::new()))
            }
        }
    }
}

fn assembler_config(limits: &LimitSettings) -> AssemblerConfig {
    let defaults = AssemblerConfig::default();
    AssemblerConfig {
        max_run_spans: limits.run_spans.unwrap_or(defaults.max_run_spans),
        max_bytes: limits.run_bytes.unwrap_or(defaults.max_bytes),
        ..defaults
    }
}

/// What OpenTelemetry calls a service that did not say its name.
fn unknown_service() -> String {
    let program = std::env::current_exe().ok();
    let name = program.as_ref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy());
    name.map_or_else(|| "unknown_service".to_owned(), |name| format!("unknown_service:{name}"))
}
