//! A program with the layer keeps its runs.

#![allow(missing_docs, reason = "a test")]

use std::sync::{Arc, Mutex};

use longpole::SpanExt;
use longpole::report::Source;
use longpole_store::{Recorder, RecorderCounts, RunFilter, RunOrder, Store};
use tracing::info_span;
use tracing_subscriber::prelude::*;

/// Runs the program so many times; gives what it was told of each run.
fn program(recorder: Recorder, runs: usize) -> Vec<longpole::Report> {
    let (layer, longpole) =
        longpole::builder().version("1.2").on_run_spans(recorder.into_callback()).build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        for _ in 0..runs {
            let _run = info_span!(target: "app", "run", workflow.name = "desk").entered();
            let ask = info_span!(target: "app", "ask", gen_ai.operation.name = "execute_tool",
                gen_ai.tool.name = "find", gen_ai.tool.call.arguments = "a secret wish");
            ask.record_cost(0.125);
            ask.in_scope(|| info_span!(target: "app", "parse").in_scope(|| ()));
        }
    });
    assert!(longpole.shutdown().flush.is_complete);
    longpole.runs().iter().map(|report| longpole::Report::clone(report)).collect()
}

#[test]
fn every_run_is_kept_once_shutdown_has_returned_and_nothing_of_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.db");
    let recorder = Recorder::at(&path).label("session", "7");
    let counts = recorder.counts();
    let told = program(recorder, 3);
    assert_eq!(counts(), RecorderCounts { recorded: 3, ..RecorderCounts::default() });

    let store = Store::open_existing(&path).unwrap().unwrap();
    let filter = RunFilter { labels: [("session".into(), "7".into())].into(), ..RunFilter::default() };
    let kept = store.runs(&filter, RunOrder::Start, 0, 10).unwrap();
    assert_eq!(kept.len(), 3);
    for (kept, told) in kept.iter().rev().zip(&told) {
        let documents = store.documents(kept).unwrap().unwrap();
        assert_eq!(&documents.report().unwrap(), told);
        // The spans say the same as the program did.
        let spans = documents.spans().unwrap().unwrap();
        assert!(!String::from_utf8_lossy(&spans).contains("secret"));
        let spans = longpole::decode::decode(&spans).unwrap().spans;
        let again = longpole::report_on(spans, &longpole::ReportOptions::default()).remove(0);
        let told = longpole::Report { source: Source::Decoded, pipeline: None, ..told.clone() };
        assert_eq!(again, told);
    }
}

#[test]
fn a_history_that_cannot_be_written_costs_the_program_nothing_but_the_history() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.db");
    std::fs::write(&path, "not a database, whatever its name says; ".repeat(200)).unwrap();
    let problems = Arc::new(Mutex::new(Vec::new()));
    let heard = problems.clone();
    let recorder =
        Recorder::at(&path).on_problem(move |problem| heard.lock().unwrap().push(problem.to_string()));
    let counts = recorder.counts();
    assert_eq!(program(recorder, 2).len(), 2);
    assert_eq!(counts(), RecorderCounts { failed: 2, ..RecorderCounts::default() });
    let problems = problems.lock().unwrap();
    assert_eq!(problems.len(), 2);
    assert!(problems[0].ends_with("is damaged"), "{problems:?}");
}
