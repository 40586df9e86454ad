//! Flush and shutdown return, with numbers, wherever they are called.

use std::time::Duration;

use longpole::Longpole;
use tracing::{Instrument, info_span};
use tracing_subscriber::prelude::*;

/// A handle that spans of this thread are measured by, writing to a file so that delivery takes part.
struct Set {
    longpole: Longpole,
    _subscriber: tracing::subscriber::DefaultGuard,
    folder: tempfile::TempDir,
}

fn set_up() -> Set {
    let folder = tempfile::tempdir().unwrap();
    let (layer, longpole) =
        longpole::builder().spans_file(folder.path().join("spans.jsonl")).build().unwrap();
    let subscriber = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    Set { longpole, _subscriber: subscriber, folder }
}

impl Set {
    fn spans_in_the_file(&self) -> usize {
        let bytes = std::fs::read(self.folder.path().join("spans.jsonl")).unwrap();
        longpole::decode::decode(&bytes).unwrap().spans.len()
    }
}

async fn program() {
    async {
        tokio::task::yield_now().await;
        info_span!("step", node.id = "step").in_scope(|| ());
    }
    .instrument(info_span!("run"))
    .await;
}

fn check(set: &Set) {
    let flushed = set.longpole.flush();
    assert!(flushed.is_complete, "{flushed}");
    assert_eq!((flushed.closed, flushed.written, flushed.runs), (2, 2, 1));
    let last = set.longpole.shutdown();
    assert!(last.flush.is_complete, "{last}");
    assert_eq!(set.spans_in_the_file(), 2);
}

#[test]
fn without_a_runtime() {
    let set = set_up();
    futures::executor::block_on(program());
    check(&set);
}

#[tokio::test(flavor = "current_thread")]
async fn inside_a_current_thread_runtime() {
    let set = set_up();
    program().await;
    check(&set);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn inside_a_multi_thread_runtime() {
    let set = set_up();
    program().await;
    check(&set);
}

#[test]
fn after_the_runtime_is_gone() {
    let set = set_up();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(program());
    drop(runtime);
    check(&set);
}

#[test]
fn in_a_drop_and_while_panicking() {
    struct ShutsDown(Longpole);
    impl Drop for ShutsDown {
        fn drop(&mut self) {
            assert!(std::thread::panicking());
            assert_eq!(self.0.shutdown().flush.written, 2);
        }
    }
    let set = set_up();
    futures::executor::block_on(program());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _guard = ShutsDown(set.longpole.clone());
        std::panic::resume_unwind(Box::new("planned"));
    }));
    assert!(panicked.is_err());
    assert_eq!(set.spans_in_the_file(), 2);
}

#[test]
fn from_many_threads_at_once_with_one_answer() {
    let set = set_up();
    futures::executor::block_on(program());
    let reports: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(|| set.longpole.shutdown())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(reports.iter().all(|report| *report == reports[0]));
    assert_eq!(reports[0].flush.written, 2);
}

#[test]
fn dropping_the_last_handle_shuts_down() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spans.jsonl");
    let (layer, longpole) = longpole::builder().spans_file(&file).build().unwrap();
    let clone = longpole.clone();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        futures::executor::block_on(program());
        drop(longpole);
        futures::executor::block_on(program());
        drop(clone);
    });
    let decoded = longpole::decode::decode(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(decoded.spans.len(), 4);
}

#[test]
fn a_deadline_in_the_past_is_kept() {
    let set = set_up();
    futures::executor::block_on(program());
    let _whatever_it_says = set.longpole.flush_within(Duration::ZERO);
    check(&set);
}
