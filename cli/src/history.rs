//! The file runs are kept in, as commands use it.

use std::path::PathBuf;
use std::time::SystemTime;

use longpole::Report;
use longpole::span_record::SpanRecord;
use longpole::time::Timestamp;
use longpole_store::{Labels, Limits, Outcome, Store, StoreError, default_path};

use crate::context::Context;
use crate::failure::Failure;

/// The file: as an option or `LONGPOLE_STORE` says, else the one in the state folder.
pub(crate) fn path(context: &Context) -> Result<PathBuf, Failure> {
    context.store.clone().map_or_else(default_path, Ok).map_err(failure)
}

/// The history, which is made if it is not there.
pub(crate) fn open(context: &Context) -> Result<Store, Failure> {
    let mut store = Store::open(&path(context)?).map_err(failure)?;
    store.limit(limits(context));
    Ok(store)
}

/// The history, for who looks for a run in it.
pub(crate) fn existing(context: &Context, wanted: Option<&str>) -> Result<Store, Failure> {
    let path = path(context)?;
    let found = Store::open_existing(&path).map_err(failure)?;
    found.ok_or_else(|| {
        let wanted = wanted.map(|wanted| format!("no run, workflow or file {wanted}: ")).unwrap_or_default();
        let error = anyhow::anyhow!("{wanted}no runs are kept yet in {}", path.display());
        Failure::nothing_there(error, crate::runs::HELP_RECORD)
    })
}

/// What a command that could not use the history says.
pub(crate) fn failure(error: StoreError) -> Failure {
    let help = match &error {
        StoreError::Run { .. } | StoreError::Locked { .. } => error.remedy(),
        StoreError::NoPlace => "set XDG_STATE_HOME or HOME, or name a file: --store FILE".to_owned(),
        _ => format!("{}: --store FILE", error.remedy()),
    };
    Failure::could_not(anyhow::Error::new(error), help)
}

/// Records a run on the side of what a command does: a failure is told, and the command goes on.
pub(crate) fn record(
    context: &Context,
    store: &mut Option<Store>,
    report: &Report,
    spans: &[SpanRecord],
    labels: &Labels,
) -> Option<Outcome> {
    let recorded = match store {
        Some(store) => store.record(report, spans, labels, now()).map_err(failure),
        none => open(context).and_then(|opened| {
            let store = none.insert(opened);
            store.record(report, spans, labels, now()).map_err(failure)
        }),
    };
    match recorded {
        Ok(outcome) => {
            if outcome.removed > 0 && context.verbose {
                context.warn("note", &format!("{} old runs were removed from the history", outcome.removed));
            }
            Some(outcome)
        }
        Err(failure) => {
            failure.warn("the run is not kept");
            None
        }
    }
}

/// This moment.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_system_time(SystemTime::now())
}

/// How much is kept: `LONGPOLE_STORE_RUNS`, `…_AGE` and `…_BYTES`; what cannot be read there is told and not followed.
fn limits(context: &Context) -> Limits {
    let mut limits = Limits::default();
    let number = |name: &str| read(context, name, |text| text.parse::<u64>().ok());
    limits.runs = number("LONGPOLE_STORE_RUNS").unwrap_or(limits.runs);
    limits.bytes = number("LONGPOLE_STORE_BYTES").unwrap_or(limits.bytes);
    let age = read(context, "LONGPOLE_STORE_AGE", |text| humantime::parse_duration(text).ok());
    limits.age = age.map_or(limits.age, Into::into);
    limits
}

fn read<T>(context: &Context, name: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
    let text = std::env::var_os(name)?;
    let value = text.to_str().and_then(|text| parse(text.trim()));
    if value.is_none() {
        context.warn("warning", &format!("{name}={} cannot be read and is ignored", text.to_string_lossy()));
    }
    value
}

/// Reads `NAME=VALUE`.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE, such as session=7".to_owned()),
    }
}

/// Reads a point in time: how long ago (`7d`), or a day or moment in UTC (`2026-11-21`, `2026-11-21T02:17:43Z`).
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        return Ok(now().saturating_sub(ago.into()));
    }
    let whole = if text.contains(['T', ' ']) { text.to_owned() } else { format!("{text}T00:00:00Z") };
    humantime::parse_rfc3339_weak(&whole)
        .map(Timestamp::from_system_time)
        .map_err(|_| "expected how long ago, such as 7d, or a day such as 2026-11-21".to_owned())
}
