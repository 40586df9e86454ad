//! Finds the step that makes a workflow slow, from its `tracing` spans, and says what fixing it would save.
//!
//! A *run* of a workflow (an AI agent, a data pipeline) is a tree of spans; some of them are *nodes*. longpole is a
//! [`tracing_subscriber::Layer`](LongpoleLayer) that measures them. When a run ends it reports which node to fix
//! first, what that would save at most, and how sure it is; it exports every span over OTLP, the verdict on the
//! root; and `longpole show` says the same later, from the exported file or any other OTLP trace.
//!
//! # In a program
//!
#![cfg_attr(feature = "layer", doc = "```")]
#![cfg_attr(not(feature = "layer"), doc = "```ignore")]
//! use tracing_subscriber::prelude::*;
//!
//! let (layer, longpole) = longpole::builder().workflow("research-agent").otlp_from_env().build()?;
//! let subscriber = tracing_subscriber::registry().with(layer);
//! # tracing::subscriber::with_default(subscriber, || {
//! // subscriber.init();
//!
//! let run = tracing::info_span!("run").entered();
//! tracing::info_span!("step", node.id = "fetch").in_scope(|| { /* work */ });
//! drop(run);
//! # });
//!
//! longpole.flush();
//! let report = longpole.last_run().expect("a run has ended");
//! assert_eq!(report.nodes[0].name, "fetch");
//! println!("{}", report.to_text());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! One line does it all for a program that has no subscriber yet: `let longpole = longpole::init("research-agent")?;`
//! Keep the [`Longpole`] handle until the program ends: dropping it sends what is left.
//!
//! # What is a node
//!
//! A span that carries `node.id`; or a GenAI operation (`gen_ai.operation.name`: agents, model calls and tools, as
//! agent frameworks write them), also in the words of OpenInference and OpenLLMetry; or one selected on the
//! [`Builder`]. In a run without any, every span is a node under its own name. A span marked `workflow.name` is the root of a run; without one the outermost span is.
//!
//! Fields with a meaning: `node.id`, `node.kind`, `node.attempt`, `node.phase`, `node.detached`, `node.depends_on`,
//! `node.turns`, `node.input_bytes`, `node.output_bytes`, `node.error_type`, `node.cost_usd`, `workflow.name`,
//! `workflow.version`, and those of `tracing-opentelemetry`: `otel.name`, `otel.kind`, `otel.status_code`,
//! `otel.status_description`. Values may be recorded late. [`SpanExt`] records what no field was declared for;
//! [`FutureExt`] makes a node of a future and sees when it is dropped before it is ready.
//!
//! # Features
//!
//! - `otlp` (default): sends spans and metrics over OTLP (HTTP and gRPC, with TLS), and joins OpenTelemetry's own
//!   context, propagators and exporters. Implies `layer`.
//! - `layer` (default): the live half.
//! - `prometheus`: a page of metrics for Prometheus to scrape. Implies `otlp`.
//! - `mlflow`: logs each run to an MLflow tracking server. Implies `otlp`.
//! - `metrics`: the same numbers for the recorder of the `metrics` facade. Implies `layer`.
//! - `compressed`: reads traces that were packed with gzip or zstd.
//! - without any: the core alone, pure functions from bytes to reports. It starts no thread, opens nothing and
//!   reads no clock.

pub mod aggregate;
pub mod analysis;
pub mod attribute_reader;
pub mod compare;
pub mod conventions;
pub mod cost;
pub mod decode;
pub mod gates;
pub mod histogram;
pub mod ids;
pub mod many_runs;
pub mod money;
pub mod otlp_bytes;
pub mod otlp_json;
pub mod prices;
pub mod render;
pub mod report;
pub mod run;
pub mod run_assembler;
pub mod run_list;
pub mod run_profile;
pub mod span_record;
pub mod time;
pub mod trend;

#[cfg(feature = "layer")]
mod builder;
#[cfg(feature = "layer")]
mod clock;
#[cfg(feature = "layer")]
pub mod compat;
#[cfg(feature = "layer")]
mod delivery;
#[cfg(feature = "layer")]
mod encode;
#[cfg(feature = "layer")]
mod environment;
#[cfg(feature = "layer")]
mod handle;
mod hashing;
#[cfg(feature = "layer")]
mod layer;
#[cfg(all(test, feature = "otlp"))]
mod limits_page;
#[cfg(feature = "layer")]
mod metrics;
#[cfg(feature = "prometheus")]
mod metrics_page;
#[cfg(feature = "mlflow")]
mod mlflow;
#[cfg(feature = "layer")]
mod pipeline;
#[cfg(feature = "layer")]
mod privacy;
#[cfg(feature = "layer")]
mod process_identity;
#[cfg(feature = "otlp")]
pub mod propagation;
#[cfg(feature = "layer")]
mod random;
#[cfg(feature = "layer")]
mod restarts;
#[cfg(feature = "layer")]
mod sampler;
#[cfg(feature = "layer")]
mod sync;
#[cfg(feature = "layer")]
mod terminal;
#[cfg(feature = "layer")]
pub mod testing;

pub use report::Report;
pub use report::build::{
    ReportOptions, report_on, report_on_run, report_with_profile, report_with_timeline, runs_in,
};

#[cfg(feature = "layer")]
pub use builder::{BuildError, Builder, InitError, OtlpProtocol, builder, init};
#[cfg(feature = "layer")]
pub use delivery::spool::Durability;
#[cfg(feature = "layer")]
pub use encode::cost::CostMirror;
#[cfg(feature = "prometheus")]
pub use handle::init_metrics_exporter;
#[cfg(feature = "layer")]
pub use handle::{
    Destination, Diagnostics, FLUSH_TIMEOUT, FlushReport, Longpole, SHUTDOWN_TIMEOUT, ShutdownReport, State,
    current, exit,
};
#[cfg(feature = "layer")]
#[doc(hidden)]
pub use layer::harness;
#[cfg(feature = "otlp")]
pub use layer::otel_context::OtelSpanExt;
#[cfg(feature = "layer")]
pub use layer::{
    FutureExt, InNode, LongpoleLayer, SetParentError, SpanExt, Switch, Value, phase, track_call,
};
#[cfg(feature = "mlflow")]
pub use mlflow::{LogReportError, MlflowConfig};
#[cfg(feature = "layer")]
pub use pipeline::budgets::BudgetExceeded;
#[cfg(feature = "layer")]
pub use pipeline::keep_runs::KeepRuns;

/// Keeps the README's code compiling.
#[cfg(all(doctest, feature = "otlp"))]
#[doc = include_str!("../README.md")]
struct Readme;
