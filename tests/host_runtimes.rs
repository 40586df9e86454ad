//! Wherever and however often a program says goodbye, it gets its answer in time, and a backend that listens gets
//! every span. Over the network: what needs no backend is in runtimes.rs.

#[path = "support/otlp_sink.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared by test files that each use a part")]
mod otlp_sink;

#[path = "support/otlp_receiver.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared by test files that each use a part")]
mod otlp_receiver;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use longpole::{Builder, Longpole, LongpoleLayer, OtlpProtocol};
use otlp_receiver::Receiver;
use otlp_sink::Sink;
use tracing::dispatcher::DefaultGuard;
use tracing::{Instrument, info_span};
use tracing_subscriber::prelude::*;

/// What shutting down may take.
const GOODBYE: Duration = Duration::from_secs(2);
/// Spans of one `program`.
const SPANS: u64 = 21;

enum Backend {
    Http(Sink),
    Grpc(Receiver),
}

impl Backend {
    fn both() -> [Backend; 2] {
        [Backend::Http(Sink::accepting()), Backend::Grpc(Receiver::start())]
    }

    fn builder(&self) -> Builder {
        match self {
            Backend::Http(sink) => longpole::builder().otlp_endpoint(sink.url()),
            Backend::Grpc(receiver) => {
                longpole::builder().otlp_endpoint(receiver.base()).otlp_protocol(OtlpProtocol::Grpc)
            }
        }
    }

    /// How many different spans arrived, and how many in all.
    fn arrived(&self) -> (u64, u64) {
        let spans = match self {
            Backend::Http(sink) => sink.spans(),
            Backend::Grpc(receiver) => receiver.spans(),
        };
        let ids: BTreeSet<_> = spans.iter().map(|span| span.span_id.clone()).collect();
        (ids.len() as u64, spans.len() as u64)
    }
}

fn install(layer: LongpoleLayer) -> DefaultGuard {
    tracing_subscriber::registry().with(layer).set_default()
}

async fn program() {
    async {
        for _ in 0..10 {
            let step = async { tokio::task::yield_now().await };
            step.instrument(info_span!("step", node.id = "step")).await;
            info_span!("other").in_scope(|| ());
        }
    }
    .instrument(info_span!("run"))
    .await;
}

/// Says goodbye twice, and that all `closed` spans arrived, each once.
fn check(longpole: &Longpole, backend: &Backend, closed: u64) {
    let flushed = longpole.flush();
    assert!(flushed.is_complete, "{flushed}; {:?}", longpole.diagnostics());
    assert_eq!((flushed.closed, flushed.acknowledged), (closed, closed));
    let started = Instant::now();
    let first = longpole.shutdown();
    assert!(started.elapsed() <= GOODBYE, "{:?}", started.elapsed());
    assert!(first.flush.is_complete && first.flush.lost.is_empty(), "{first}");
    assert_eq!(longpole.shutdown(), first, "the second time too");
    assert_eq!(backend.arrived(), (closed, closed));
}

#[test]
fn inside_every_runtime() {
    for backend in Backend::both() {
        for workers in [None, Some(1), Some(2), Some(8)] {
            let (layer, longpole) = backend.builder().build().unwrap();
            let before = backend.arrived().0;
            let mut runtime = match workers {
                None => tokio::runtime::Builder::new_current_thread(),
                Some(workers) => {
                    let mut builder = tokio::runtime::Builder::new_multi_thread();
                    builder.worker_threads(workers);
                    builder
                }
            };
            let runtime = runtime.enable_all().build().unwrap();
            runtime.block_on(async {
                let subscriber = tracing::Dispatch::new(tracing_subscriber::registry().with(layer));
                let tasks: Vec<_> = (0..4)
                    .map(|_| {
                        let task = tracing::instrument::WithSubscriber::with_subscriber(
                            program(),
                            subscriber.clone(),
                        );
                        tokio::spawn(task)
                    })
                    .collect();
                for task in tasks {
                    task.await.unwrap();
                }
                let flushed = longpole.flush();
                assert!(flushed.is_complete, "{workers:?}: {flushed}; {:?}", longpole.diagnostics());
                let started = Instant::now();
                let report = longpole.shutdown();
                assert!(started.elapsed() <= GOODBYE, "{workers:?}: {:?}", started.elapsed());
                assert_eq!(report.flush.acknowledged, 4 * SPANS, "{workers:?}: {report}");
            });
            assert_eq!(backend.arrived().0 - before, 4 * SPANS);
        }
    }
}

#[test]
fn without_a_runtime_and_after_it_is_gone() {
    for backend in Backend::both() {
        let (layer, longpole) = backend.builder().build().unwrap();
        let _subscriber = install(layer);
        let mut pool = futures::executor::LocalPool::new();
        pool.run_until(program());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(program());
        drop(runtime);
        check(&longpole, &backend, 2 * SPANS);
    }
}

#[test]
fn in_a_drop_inside_a_runtime() {
    struct SaysGoodbye(Longpole);
    impl Drop for SaysGoodbye {
        fn drop(&mut self) {
            let started = Instant::now();
            let report = self.0.shutdown();
            assert!(started.elapsed() <= GOODBYE, "{:?}", started.elapsed());
            assert_eq!(report.flush.acknowledged, SPANS, "{report}");
        }
    }
    for backend in Backend::both() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (layer, longpole) = backend.builder().build().unwrap();
        let _subscriber = install(layer);
        runtime.block_on(async {
            let _goodbye = SaysGoodbye(longpole.clone());
            program().await;
        });
        assert_eq!(backend.arrived(), (SPANS, SPANS));
    }
}

#[test]
fn in_a_panic_hook() {
    type Task = (Longpole, mpsc::Sender<(u64, Duration)>);
    thread_local! {
        static IN_HOOK: Mutex<Option<Task>> = const { Mutex::new(None) };
    }
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let told = IN_HOOK.with(|of_this_test| of_this_test.lock().unwrap().take());
        let Some((longpole, answers)) = told else { return usual(info) };
        let started = Instant::now();
        let acknowledged = longpole.flush().acknowledged;
        longpole.shutdown();
        answers.send((acknowledged, started.elapsed())).unwrap();
    }));
    for backend in Backend::both() {
        let (layer, longpole) = backend.builder().build().unwrap();
        let _subscriber = install(layer);
        futures::executor::block_on(program());
        let (answers, answer) = mpsc::channel();
        IN_HOOK.with(|of_this_test| *of_this_test.lock().unwrap() = Some((longpole, answers)));
        // Inside of a span, so that the hook finds one open.
        let panicked = std::panic::catch_unwind(|| info_span!("run").in_scope(|| panic!("planned")));
        assert!(panicked.is_err());
        let (acknowledged, took) = answer.try_recv().unwrap();
        assert_eq!(acknowledged, SPANS);
        assert!(took <= GOODBYE, "{took:?}");
    }
}

#[test]
fn sixty_four_at_once() {
    for backend in Backend::both() {
        let (layer, longpole) = backend.builder().build().unwrap();
        let _subscriber = install(layer);
        futures::executor::block_on(program());
        let flushes = at_once(|| longpole.flush().acknowledged);
        assert_eq!(flushes, vec![SPANS; 64]);
        let started = Instant::now();
        let goodbyes = at_once(|| longpole.shutdown());
        assert!(started.elapsed() <= GOODBYE, "{:?}", started.elapsed());
        assert!(goodbyes.iter().all(|report| *report == goodbyes[0]));
        assert_eq!(goodbyes[0].flush.acknowledged, SPANS);
        assert_eq!(backend.arrived(), (SPANS, SPANS));
    }
}

fn at_once<T: Send>(call: impl Fn() -> T + Sync) -> Vec<T> {
    let start = std::sync::Barrier::new(64);
    std::thread::scope(|scope| {
        let one = || {
            start.wait();
            call()
        };
        let threads: Vec<_> = (0..64).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn in_a_callback() {
    for backend in Backend::both() {
        let (answers, answer) = mpsc::channel();
        let builder = backend.builder().on_run(move |_| {
            let longpole = longpole::current().unwrap();
            let started = Instant::now();
            let _whatever_it_says = longpole.flush();
            let report = longpole.shutdown();
            let _ = answers.send((report, started.elapsed()));
        });
        let (layer, longpole) = builder.build().unwrap();
        let subscriber = install(layer);
        futures::executor::block_on(program());
        let (report, took) = answer.recv_timeout(otlp_sink::PATIENCE).unwrap();
        assert!(took <= GOODBYE, "{took:?}");
        assert_eq!(report.flush.closed, SPANS);
        assert_eq!(longpole.shutdown(), report);
        assert_eq!(backend.arrived(), (SPANS, SPANS), "{report}");
        drop(subscriber);
    }
}
