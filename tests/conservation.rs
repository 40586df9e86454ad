//! Many threads at full speed: every span is somewhere, and every run that lost none is reported whole.

use std::collections::HashSet;

use longpole::report::RunStatus;
use tracing::info_span;
use tracing_subscriber::prelude::*;

const THREADS: usize = 8;
const RUNS: usize = 40;
const STEPS: usize = 99;

#[test]
fn every_span_of_many_threads_is_written_or_counted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spans.jsonl");
    let (tell, told) = std::sync::mpsc::channel();
    let (layer, longpole) = longpole::builder()
        .spans_file(&file)
        .on_run(move |report| tell.send((report.run.status, report.run.spans)).unwrap())
        .build()
        .unwrap();
    let dispatch = tracing::Dispatch::new(tracing_subscriber::registry().with(layer));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                tracing::dispatcher::with_default(&dispatch, || {
                    for _ in 0..RUNS {
                        info_span!("run").in_scope(|| {
                            for step in 0..STEPS {
                                info_span!("step", node.id = "step", step).in_scope(|| ());
                            }
                        });
                    }
                });
            });
        }
    });
    let last = longpole.shutdown_within(std::time::Duration::from_secs(60));
    assert!(last.flush.is_complete, "{last}");
    let produced = (THREADS * RUNS * (STEPS + 1)) as u64;
    let lost = |reason: &str| last.flush.lost.get(reason).copied().unwrap_or(0);
    assert_eq!(last.flush.closed + lost("shard_full"), produced, "{last}");
    assert_eq!(last.flush.written + lost("delivery_queue_full"), last.flush.closed, "{last}");

    let decoded = longpole::decode::decode(&std::fs::read(&file).unwrap()).unwrap();
    assert!(decoded.problems.is_empty());
    assert_eq!(decoded.spans.len() as u64, last.flush.written);
    let ids: HashSet<_> = decoded.spans.iter().map(|span| (span.trace_id, span.span_id)).collect();
    assert_eq!(ids.len(), decoded.spans.len(), "each once");

    let runs: Vec<_> = told.iter().collect();
    if last.flush.lost.is_empty() {
        assert_eq!(runs.len(), THREADS * RUNS);
        assert!(runs.iter().all(|run| *run == (RunStatus::Ok, STEPS as u64 + 1)));
        assert_eq!(longpole.node("step").unwrap().calls, (THREADS * RUNS * STEPS) as u64);
    }
}
