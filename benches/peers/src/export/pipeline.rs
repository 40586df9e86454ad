//! The pipelines, each set up as its users do.

use std::borrow::Cow;
use std::time::Duration;

use anyhow::Context;
use fastrace_opentelemetry::OpenTelemetryReporter;
use longpole::{Builder, Durability, Longpole, OtlpProtocol};
use opentelemetry::InstrumentationScope;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::prelude::*;

use super::{Protocol, Setup};

const SERVICE: &str = "speed";
/// As long as a pipeline may take to send what is left.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a program keeps of its pipeline.
pub(super) enum Pipeline {
    Nothing,
    Longpole { longpole: Longpole, _spool: TempDir },
    Sdk { provider: SdkTracerProvider, _runtime: Option<Runtime> },
    Fastrace { _runtime: Option<Runtime> },
}

/// Sets the pipeline up for the whole process. Everybody's own spans are kept out by the same filter: exporters of
/// the SDK are exported themselves without one.
pub(super) fn start(setup: Setup, protocol: Protocol, url: &str) -> anyhow::Result<Pipeline> {
    match setup {
        Setup::Nothing => Ok(Pipeline::Nothing),
        Setup::Longpole
        | Setup::LongpoleFull
        | Setup::ExportOnly
        | Setup::ExportOnlyFull
        | Setup::LongpoleLeast
        | Setup::LongpoleLeastFull => {
            let spool = TempDir::with_prefix("longpole-speed-")?;
            let address = address(protocol, url);
            let builder = longpole::builder().service_name(SERVICE).spool_dir(spool.path());
            let builder = match protocol {
                Protocol::Grpc => builder.otlp_protocol(OtlpProtocol::Grpc),
                Protocol::Http => builder.otlp_protocol(OtlpProtocol::HttpProtobuf),
            };
            let builder = match setup {
                Setup::LongpoleFull => with_content_of_sdk(builder),
                Setup::ExportOnly => builder.export_only(),
                Setup::ExportOnlyFull => with_content_of_sdk(builder.export_only()),
                Setup::LongpoleLeast => builder.export_only().durability(Durability::Memory),
                Setup::LongpoleLeastFull => {
                    with_content_of_sdk(builder.export_only().durability(Durability::Memory))
                }
                _ => builder,
            };
            let (layer, longpole) = builder.otlp_endpoint(address).build()?;
            tracing_subscriber::registry().with(layer).with(LevelFilter::INFO).try_init()?;
            Ok(Pipeline::Longpole { longpole, _spool: spool })
        }
        Setup::Sdk | Setup::SdkLeast => {
            let (exporter, runtime) = exporter(protocol, url)?;
            let provider =
                SdkTracerProvider::builder().with_resource(resource()).with_batch_exporter(exporter).build();
            let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer(SERVICE));
            let layer = if setup == Setup::SdkLeast {
                let layer = layer.with_location(false).with_threads(false).with_target(false);
                layer.with_tracked_inactivity(false).with_context_activation(false)
            } else {
                layer
            };
            tracing_subscriber::registry().with(layer).with(LevelFilter::INFO).try_init()?;
            Ok(Pipeline::Sdk { provider, _runtime: runtime })
        }
        Setup::Fastrace => {
            let (exporter, runtime) = exporter(protocol, url)?;
            let scope = InstrumentationScope::builder(SERVICE).build();
            let reporter = OpenTelemetryReporter::new(exporter, Cow::Owned(resource()), scope);
            fastrace::set_reporter(reporter, fastrace::collector::Config::default());
            Ok(Pipeline::Fastrace { _runtime: runtime })
        }
    }
}

/// What became of spans that did not arrive, by the pipeline's own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// Spans that are gone.
    pub lost: u64,
    /// Spans that are on disk, for the program's next start.
    pub on_disk: u64,
}

impl Pipeline {
    /// Waits until everything was sent.
    pub(super) fn flush(&self) -> anyhow::Result<()> {
        match self {
            Pipeline::Nothing => {}
            Pipeline::Longpole { longpole, .. } => {
                let report = longpole.flush_within(PATIENCE);
                anyhow::ensure!(report.is_complete, "longpole's flush was not complete: {report}");
            }
            Pipeline::Sdk { provider, .. } => provider.force_flush().context("the SDK's flush failed")?,
            Pipeline::Fastrace { .. } => fastrace::flush(),
        }
        Ok(())
    }

    /// Ends it; what it says of spans that it could not send, where it says anything.
    pub(super) fn shutdown(self) -> anyhow::Result<Option<Left>> {
        match self {
            Pipeline::Nothing => Ok(None),
            Pipeline::Longpole { longpole, _spool } => {
                let report = longpole.shutdown_within(PATIENCE).flush;
                let lost = report.lost.values().sum::<u64>() + report.rejected;
                let on_disk = report.spooled;
                Ok(Some(Left { lost: lost + report.pending.saturating_sub(on_disk), on_disk }))
            }
            Pipeline::Sdk { provider, _runtime } => {
                provider.shutdown().context("the SDK's shutdown failed")?;
                Ok(None)
            }
            Pipeline::Fastrace { _runtime } => {
                fastrace::flush();
                Ok(None)
            }
        }
    }
}

/// What tracing-opentelemetry's defaults add to a span; longpole has busy and idle times anyway.
fn with_content_of_sdk(builder: Builder) -> Builder {
    builder.with_location(true).with_threads(true).with_target(true)
}

fn resource() -> Resource {
    Resource::builder().with_service_name(SERVICE).build()
}

fn address(protocol: Protocol, url: &str) -> String {
    match protocol {
        Protocol::Grpc => url.to_owned(),
        Protocol::Http => format!("{url}/v1/traces"),
    }
}

/// The SDK's exporter; over gRPC with the runtime it needs, which is that of `#[tokio::main]`.
fn exporter(protocol: Protocol, url: &str) -> anyhow::Result<(SpanExporter, Option<Runtime>)> {
    let address = address(protocol, url);
    match protocol {
        Protocol::Grpc => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let inside = runtime.enter();
            let exporter = SpanExporter::builder().with_tonic().with_endpoint(address).build()?;
            drop(inside);
            Ok((exporter, Some(runtime)))
        }
        Protocol::Http => Ok((SpanExporter::builder().with_http().with_endpoint(address).build()?, None)),
    }
}
