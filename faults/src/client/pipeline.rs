//! The two pipelines, each set up as its users do.

use std::time::{Duration, Instant};

use anyhow::Context;
use longpole::Longpole;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::prelude::*;

use super::{ClientSpec, Counts, Pipeline, Protocol, Told};

/// What a program keeps of its pipeline.
pub enum Running {
    /// longpole's handle.
    Longpole(Longpole),
    /// The SDK's provider.
    Sdk(SdkTracerProvider),
}

/// Sets the pipeline up for the whole process. With the SDK this needs a runtime.
///
/// # Errors
/// What the pipeline's own builders say.
pub fn start(spec: &ClientSpec) -> anyhow::Result<Running> {
    let level = if spec.is_traced { LevelFilter::TRACE } else { LevelFilter::INFO };
    match spec.pipeline {
        Pipeline::Longpole => {
            let (layer, longpole) = longpole::builder().otlp_from_env().build()?;
            if spec.is_traced {
                tracing_subscriber::registry().with(layer).try_init()?;
            } else {
                tracing_subscriber::registry().with(layer.with_filter(level)).try_init()?;
            }
            Ok(Running::Longpole(longpole))
        }
        Pipeline::Sdk => {
            let exporter = match spec.protocol {
                Protocol::Http => SpanExporter::builder().with_http().build(),
                Protocol::Grpc => SpanExporter::builder().with_tonic().build(),
            };
            let exporter = exporter.context("cannot make the SDK's exporter")?;
            let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).build();
            let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("faults"));
            if spec.is_traced {
                tracing_subscriber::registry().with(layer).try_init()?;
            } else {
                tracing_subscriber::registry().with(layer.with_filter(level)).try_init()?;
            }
            opentelemetry::global::set_tracer_provider(provider.clone());
            Ok(Running::Sdk(provider))
        }
    }
}

impl Running {
    /// Sends what is there, and what was said about it.
    pub fn flush(&self, timeout_ms: Option<u64>) -> Told {
        let start = Instant::now();
        match self {
            Running::Longpole(longpole) => {
                let timeout = timeout_ms.map_or(longpole::FLUSH_TIMEOUT, Duration::from_millis);
                let report = longpole.flush_within(timeout);
                told(report.is_complete, report.to_string(), start, Some(counts(&report)))
            }
            Running::Sdk(provider) => sdk_told(&provider.force_flush(), start),
        }
    }

    /// Ends the pipeline, and what was said about it.
    pub fn shutdown(&self) -> Told {
        let start = Instant::now();
        match self {
            Running::Longpole(longpole) => {
                let report = longpole.shutdown();
                told(report.flush.is_complete, report.to_string(), start, Some(counts(&report.flush)))
            }
            Running::Sdk(provider) => sdk_told(&provider.shutdown(), start),
        }
    }

    /// What else there is to say.
    pub fn notes(&self) -> Vec<String> {
        let Running::Longpole(longpole) = self else { return Vec::new() };
        let diagnostics = longpole.diagnostics();
        let counts = diagnostics.counts.iter().map(|(what, count)| format!("{what}: {count}"));
        let error = diagnostics.last_error.map(|error| format!("last error: {error}"));
        diagnostics.notes.into_iter().chain(counts).chain(error).collect()
    }

    /// Ends the process as longpole's users are told to; the SDK has no such thing.
    pub fn exit(&self, code: i32) -> ! {
        match self {
            Running::Longpole(longpole) => longpole.exit(code),
            Running::Sdk(_) => std::process::exit(code),
        }
    }
}

fn told(is_ok: bool, text: String, start: Instant, counts: Option<Counts>) -> Told {
    Told { is_ok, text, took_ms: start.elapsed().as_secs_f64() * 1e3, counts }
}

fn sdk_told(result: &OTelSdkResult, start: Instant) -> Told {
    let text = match result {
        Ok(()) => "Ok".to_owned(),
        Err(error) => error.to_string(),
    };
    told(result.is_ok(), text, start, None)
}

fn counts(report: &longpole::FlushReport) -> Counts {
    Counts {
        closed: report.closed,
        acknowledged: report.acknowledged,
        rejected: report.rejected,
        pending: report.pending,
        spooled: report.spooled,
        lost: report.lost.values().sum(),
    }
}
