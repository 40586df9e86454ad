//! longpole as a program sets it up, with its pipeline, sending over OTLP/HTTP.

use std::time::Duration;

use longpole::{Builder, Longpole};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry;

use super::{Installed, Outcome, Surroundings};

/// Under callgrind everything takes fifty times as long.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) fn analysis(_: &Surroundings) -> anyhow::Result<Installed> {
    installed(longpole::builder().workflow("bench"))
}

/// What the environment says applies: some of the set-ups differ in that only.
fn exporting(surroundings: &Surroundings) -> Builder {
    longpole::builder()
        .otlp_from_env()
        .workflow("bench")
        .otlp_endpoint(&surroundings.endpoint)
        .spool_dir(&surroundings.folder)
}

pub(super) fn lean(surroundings: &Surroundings) -> anyhow::Result<Installed> {
    installed(exporting(surroundings))
}

pub(super) fn full(surroundings: &Surroundings) -> anyhow::Result<Installed> {
    installed(full_content(surroundings))
}

fn full_content(surroundings: &Surroundings) -> Builder {
    exporting(surroundings).with_location(true).with_threads(true).with_target(true)
}

pub(super) fn full_export_only(surroundings: &Surroundings) -> anyhow::Result<Installed> {
    installed(full_content(surroundings).export_only())
}

pub(super) fn otel_context(surroundings: &Surroundings) -> anyhow::Result<Installed> {
    installed(exporting(surroundings).activate_otel_context(true))
}

pub(super) fn disabled(surroundings: &Surroundings) -> anyhow::Result<Installed> {
    let (layer, longpole) = exporting(surroundings).build()?;
    longpole.set_enabled(false);
    tracing::subscriber::set_global_default(registry().with(layer))?;
    Ok(ends_with(longpole))
}

pub(super) fn switchable_on(surroundings: &Surroundings) -> anyhow::Result<Installed> {
    switchable(surroundings, true)
}

pub(super) fn switchable_off(surroundings: &Surroundings) -> anyhow::Result<Installed> {
    switchable(surroundings, false)
}

fn switchable(surroundings: &Surroundings, is_on: bool) -> anyhow::Result<Installed> {
    let (layer, longpole) = exporting(surroundings).build()?;
    longpole.set_enabled(is_on);
    tracing::subscriber::set_global_default(registry().with(layer.switchable()))?;
    Ok(ends_with(longpole))
}

pub(super) fn other_level(surroundings: &Surroundings) -> anyhow::Result<Installed> {
    let (layer, longpole) = exporting(surroundings).build()?;
    tracing::subscriber::set_global_default(registry().with(layer).with(LevelFilter::INFO))?;
    Ok(ends_with(longpole))
}

/// A layer of these settings, alone on a registry.
///
/// # Errors
/// If it cannot be built or the process has a subscriber already.
pub fn installed(builder: Builder) -> anyhow::Result<Installed> {
    let (layer, longpole) = builder.build()?;
    tracing::subscriber::set_global_default(registry().with(layer))?;
    Ok(ends_with(longpole))
}

fn ends_with(longpole: Longpole) -> Installed {
    let flushed = longpole.clone();
    Installed {
        catch_up: Box::new(move || {
            flushed.flush_within(PATIENCE);
        }),
        finish: Box::new(move || {
            let report = longpole.shutdown_within(PATIENCE).flush;
            let is_lossless = report.lost.is_empty() && report.rejected == 0 && report.pending == 0;
            let lost = (!is_lossless).then(|| report.to_string());
            let is_exporting = !longpole.destinations().is_empty();
            Outcome { exported: is_exporting.then_some(report.acknowledged), lost }
        }),
    }
}
