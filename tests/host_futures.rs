//! A future that is dropped before it is ready says so, however it is dropped, and leaves nothing open.

#[path = "support/otlp_sink.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared by test files that each use a part")]
mod otlp_sink;

use std::future::{Future, pending, ready};
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use longpole::{FutureExt, Longpole};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use otlp_sink::Sink;
use tracing::instrument::WithSubscriber;
use tracing_subscriber::prelude::*;

struct Bench {
    sink: Sink,
    longpole: Longpole,
    subscriber: tracing::Dispatch,
}

fn bench() -> Bench {
    let sink = Sink::accepting();
    let (layer, longpole) = longpole::builder().otlp_endpoint(sink.url()).build().unwrap();
    let subscriber = tracing::Dispatch::new(tracing_subscriber::registry().with(layer));
    Bench { sink, longpole, subscriber }
}

impl Bench {
    /// The outcomes of the nodes so named, after saying goodbye; with how many spans were open then.
    fn outcomes(self, name: &str) -> (Vec<Option<String>>, u64) {
        let report = self.longpole.shutdown();
        assert!(report.flush.is_complete && report.flush.lost.is_empty(), "{report}");
        let spans = self.sink.spans();
        (spans.iter().filter(|span| span.name == name).map(outcome).collect(), report.open)
    }
}

fn outcome(span: &Span) -> Option<String> {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == "longpole.outcome")?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        other => panic!("{other:?}"),
    }
}

fn cancelled() -> Option<String> {
    Some("cancelled".to_owned())
}

fn poll_once(future: &mut Pin<Box<dyn Future<Output = ()> + Send>>) {
    assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

#[tokio::test]
async fn by_select() {
    let bench = bench();
    async {
        tokio::select! {
            biased;
            () = pending().in_node("loses") => {}
            () = ready(()).in_node("wins") => {}
        }
    }
    .with_subscriber(bench.subscriber.clone())
    .await;
    let report = bench.longpole.flush();
    assert_eq!(report.acknowledged, 2, "{report}");
    let spans = bench.sink.spans();
    let of = |name: &str| spans.iter().find(|span| span.name == name).and_then(outcome);
    assert_eq!((of("loses"), of("wins")), (cancelled(), None));
    assert_eq!(bench.longpole.shutdown().open, 0);
}

#[tokio::test]
async fn by_a_timeout() {
    let bench = bench();
    let slow = async {
        let nested = pending::<()>().in_node("within");
        nested.await;
    };
    let run = async { tokio::time::timeout(Duration::from_millis(1), slow.in_node("slow")).await };
    assert!(run.with_subscriber(bench.subscriber.clone()).await.is_err());
    let flushed = bench.longpole.flush();
    assert_eq!(flushed.acknowledged, 2, "{flushed}");
    assert!(bench.sink.spans().iter().all(|span| outcome(span) == cancelled()), "what waited inside too");
    assert_eq!(bench.longpole.shutdown().open, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_aborting_the_task() {
    let bench = bench();
    let (started, has_started) = tokio::sync::oneshot::channel();
    let task = tracing::dispatcher::with_default(&bench.subscriber, || {
        async {
            started.send(()).unwrap();
            pending::<()>().await;
        }
        .in_node("task")
    });
    let task = tokio::spawn(task);
    has_started.await.unwrap();
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!(bench.outcomes("task"), (vec![cancelled()], 0));
}

#[test]
fn before_the_first_poll() {
    let bench = bench();
    tracing::dispatcher::with_default(&bench.subscriber, || drop(pending::<()>().in_node("never")));
    // A runtime that ends drops what it never ran.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let never = tracing::dispatcher::with_default(&bench.subscriber, || pending::<()>().in_node("never"));
    let task = runtime.spawn(never);
    drop(runtime);
    assert!(futures::executor::block_on(task).is_err());
    assert_eq!(bench.outcomes("never"), (vec![cancelled(), cancelled()], 0));
}

#[test]
fn on_another_thread_without_a_subscriber() {
    let bench = bench();
    let mut future: Pin<Box<dyn Future<Output = ()> + Send>> =
        tracing::dispatcher::with_default(&bench.subscriber, || Box::pin(pending::<()>().in_node("wanders")));
    poll_once(&mut future);
    std::thread::spawn(move || {
        poll_once(&mut future);
        drop(future);
    })
    .join()
    .unwrap();
    assert_eq!(bench.outcomes("wanders"), (vec![cancelled()], 0));
}

#[test]
fn while_something_else_panics() {
    let bench = bench();
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut future: Pin<Box<dyn Future<Output = ()> + Send>> =
            tracing::dispatcher::with_default(&bench.subscriber, || {
                Box::pin(pending::<()>().in_node("bystander"))
            });
        poll_once(&mut future);
        std::panic::resume_unwind(Box::new("planned"));
    }));
    assert!(unwound.is_err());
    assert_eq!(bench.outcomes("bystander"), (vec![cancelled()], 0));
}

#[test]
fn one_that_is_forgotten_is_told_as_open() {
    let bench = bench();
    tracing::dispatcher::with_default(&bench.subscriber, || {
        let mut future: Pin<Box<dyn Future<Output = ()> + Send>> =
            Box::pin(pending::<()>().in_node("forgotten"));
        poll_once(&mut future);
        std::mem::forget(future);
        drop(pending::<()>().in_node("dropped"));
    });
    assert_eq!(bench.longpole.diagnostics().open_spans, 1);
    assert_eq!(bench.outcomes("dropped"), (vec![cancelled()], 1));
}

#[test]
fn ten_thousand_cancelled_futures_leave_nothing_open() {
    let bench = bench();
    tracing::dispatcher::with_default(&bench.subscriber, || {
        let _run = tracing::info_span!("run").entered();
        let mut futures: Vec<Pin<Box<dyn Future<Output = ()> + Send>>> = Vec::new();
        for _ in 0..10_000 {
            futures.push(Box::pin(pending::<()>().in_node("many")));
        }
        futures.iter_mut().step_by(2).for_each(poll_once);
        assert_eq!(bench.longpole.diagnostics().open_spans, 10_001);
        drop(futures);
    });
    let _ = bench.longpole.flush_within(otlp_sink::PATIENCE);
    let (outcomes, open) = bench.outcomes("many");
    assert_eq!((outcomes.len(), open), (10_000, 0));
    assert!(outcomes.into_iter().all(|outcome| outcome == cancelled()));
}
