//! tracing-opentelemetry with the SDK's batch span processor.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, SpanData, SpanExporter,
};
use tracing::Subscriber;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry;
use tracing_subscriber::registry::LookupSpan;

use super::{Installed, Outcome, Surroundings};

/// What the layer does beyond the spans' own fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extras {
    /// Its defaults: location, thread, target, busy and idle times, context activation.
    Defaults,
    /// Only context activation.
    Lean,
    /// Nothing.
    Leanest,
}

/// Counts spans on their way to another exporter.
#[derive(Debug)]
pub struct CountingExporter<E> {
    exporter: E,
    exported: Arc<AtomicU64>,
}

#[derive(Debug)]
struct NoExport;

impl SpanExporter for NoExport {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        Ok(())
    }
}

impl<E: SpanExporter> SpanExporter for CountingExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        self.exporter.export(batch).await?;
        self.exported.fetch_add(spans, Ordering::Relaxed);
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: std::time::Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

pub(super) fn defaults(surroundings: &Surroundings) -> anyhow::Result<Installed> {
    installed(NoExport, Extras::Defaults, Sampler::AlwaysOn, surroundings.queue)
}

pub(super) fn lean(surroundings: &Surroundings) -> anyhow::Result<Installed> {
    installed(NoExport, Extras::Lean, Sampler::AlwaysOn, surroundings.queue)
}

pub(super) fn leanest(surroundings: &Surroundings) -> anyhow::Result<Installed> {
    installed(NoExport, Extras::Leanest, Sampler::AlwaysOn, surroundings.queue)
}

pub(super) fn off(surroundings: &Surroundings) -> anyhow::Result<Installed> {
    installed(NoExport, Extras::Defaults, Sampler::AlwaysOff, surroundings.queue)
}

pub(super) fn leanest_off(surroundings: &Surroundings) -> anyhow::Result<Installed> {
    installed(NoExport, Extras::Leanest, Sampler::AlwaysOff, surroundings.queue)
}

pub(super) fn other_level(surroundings: &Surroundings) -> anyhow::Result<Installed> {
    let (provider, exported) = provider(NoExport, Sampler::AlwaysOn, surroundings.queue);
    let subscriber = registry().with(layer(&provider, Extras::Defaults)).with(LevelFilter::INFO);
    tracing::subscriber::set_global_default(subscriber)?;
    Ok(ends_with(provider, exported))
}

/// The layer alone on a registry, handing its spans to `exporter`. `queue`: spans that may wait; the SDK's default else.
///
/// # Errors
/// If the process has a subscriber already.
pub fn installed(
    exporter: impl SpanExporter + 'static,
    extras: Extras,
    sampler: Sampler,
    queue: Option<usize>,
) -> anyhow::Result<Installed> {
    let (provider, exported) = provider(exporter, sampler, queue);
    tracing::subscriber::set_global_default(registry().with(layer(&provider, extras)))?;
    Ok(ends_with(provider, exported))
}

fn layer<S>(provider: &SdkTracerProvider, extras: Extras) -> OpenTelemetryLayer<S, SdkTracer>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("bench"));
    match extras {
        Extras::Defaults => layer,
        Extras::Lean => without_extras(layer),
        Extras::Leanest => without_extras(layer).with_context_activation(false),
    }
}

fn without_extras<S>(layer: OpenTelemetryLayer<S, SdkTracer>) -> OpenTelemetryLayer<S, SdkTracer>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    layer.with_location(false).with_threads(false).with_target(false).with_tracked_inactivity(false)
}

fn provider(
    exporter: impl SpanExporter + 'static,
    sampler: Sampler,
    queue: Option<usize>,
) -> (SdkTracerProvider, Arc<AtomicU64>) {
    let exported = Arc::new(AtomicU64::new(0));
    let config = BatchConfigBuilder::default();
    let config = match queue {
        Some(spans) => config.with_max_queue_size(spans),
        None => config,
    };
    let exporter = CountingExporter { exporter, exported: exported.clone() };
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(config.build()).build();
    let resource = Resource::builder_empty().with_service_name("bench").build();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(processor)
        .with_sampler(sampler)
        .with_resource(resource)
        .build();
    (provider, exported)
}

/// What was lost the SDK only logs: whoever knows how many spans were made can tell.
fn ends_with(provider: SdkTracerProvider, exported: Arc<AtomicU64>) -> Installed {
    let flushed = provider.clone();
    Installed {
        catch_up: Box::new(move || {
            let _ = flushed.force_flush();
        }),
        finish: Box::new(move || {
            let _ = provider.force_flush();
            let _ = provider.shutdown();
            Outcome { exported: Some(exported.load(Ordering::Relaxed)), lost: None }
        }),
    }
}
