//! For tests of programs that use longpole.

use std::sync::Arc;

use tracing_subscriber::prelude::*;

use crate::report::Report;

/// Runs `program` under a subscriber of its own and reports on the one run in it.
///
/// Spans count that are opened on this thread inside `program`, or elsewhere as their children.
///
/// ```
/// let report = longpole::testing::capture(|| {
///     let _run = tracing::info_span!("run", workflow.name = "etl").entered();
///     tracing::info_span!("load", node.id = "load").in_scope(|| {});
/// });
/// assert_eq!(report.nodes.len(), 1);
/// assert_eq!(report.run.errors, 0);
/// ```
///
/// # Panics
/// If there was no run, or more than one: then [`capture_all`] is the right call.
pub fn capture(program: impl FnOnce()) -> Report {
    let mut reports = capture_all(program);
    assert!(
        reports.len() == 1,
        "expected one run, found {}: {:?}; open one span around the program, or use capture_all",
        reports.len(),
        reports.iter().map(|report| &report.run.name).collect::<Vec<_>>()
    );
    reports.remove(0)
}

/// Runs `program` under a subscriber of its own and reports on every run in it, in the order in which they ended.
/// At most the last 64 are kept.
pub fn capture_all(program: impl FnOnce()) -> Vec<Report> {
    let Ok((layer, longpole)) = crate::builder().build() else { return Vec::new() };
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), program);
    let _ = longpole.shutdown();
    longpole.runs().into_iter().map(Arc::unwrap_or_clone).collect()
}
