//! The central promise: what longpole says live is what it says of the exported bytes.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use longpole::report::Source;
use longpole::{FutureExt, Report, ReportOptions, SpanExt};
use proptest::prelude::*;
use tracing::{Instrument, Span, info_span};
use tracing_subscriber::prelude::*;

/// A step of a generated program.
#[derive(Clone, Debug)]
enum Step {
    /// A span entered and left on this thread, with the steps inside.
    Nested { mark: Mark, inside: Vec<Step> },
    /// An instrumented future polled so many times, with the steps run in its first poll.
    Future { mark: Mark, polls: u8, inside: Vec<Step> },
    /// A span opened here and run on another thread.
    Moved { mark: Mark, inside: Vec<Step> },
    /// Two spans opened together and run one after the other.
    Queued { mark: Mark, inside: Vec<Step> },
    /// A span that follows from the one before it.
    Following { mark: Mark, inside: Vec<Step> },
    /// A span a panic unwinds through.
    Panicking { mark: Mark },
    /// A wrapped future that is dropped before it is ready.
    Cancelled,
    /// A span never entered, kept while the steps run.
    HeldOpen { mark: Mark, inside: Vec<Step> },
}

#[derive(Clone, Copy, Debug)]
enum Mark {
    Plain,
    Node(u8),
    Failed(u8),
    Retry(u8),
    Costly(u8),
    Detached(u8),
    Model(u8),
    Priced(u8),
    Agent(u8),
    OpenInference(u8),
    OpenLlmetry(u8),
    Late(u8),
    Depending(u8),
    SameInput(u8),
    Tool(u8),
}

fn open(mark: Mark) -> Span {
    const NAMES: [&str; 4] = ["fetch", "plan", "draft", "rank"];
    let name = |n: u8| NAMES[n as usize % NAMES.len()];
    match mark {
        Mark::Plain => info_span!("plain"),
        Mark::Node(n) => info_span!("step", node.id = name(n)),
        Mark::Failed(n) => {
            info_span!("step", node.id = name(n), otel.status_code = "ERROR", error.type = "timeout")
        }
        Mark::Retry(n) => info_span!("step", node.id = name(n), node.attempt = 2),
        Mark::Costly(n) => {
            let span = info_span!("step", node.id = name(n), node.kind = "io", node.input_bytes = 4096u64);
            span.record_cost(0.000_1 * f64::from(n) + 0.1);
            span
        }
        Mark::Detached(n) => info_span!("step", node.id = name(n), node.detached = true),
        Mark::Model(n) => info_span!(
            "chat",
            gen_ai.operation.name = "chat",
            gen_ai.request.model = name(n),
            gen_ai.usage.input_tokens = 10,
            gen_ai.usage.output_tokens = u64::from(n),
        ),
        Mark::Priced(n) => info_span!(
            "chat",
            gen_ai.operation.name = "chat",
            gen_ai.provider.name = "openai",
            gen_ai.request.model = "gpt-4o-mini",
            gen_ai.usage.input_tokens = 1000,
            gen_ai.usage.cache_read.input_tokens = 100 * u64::from(n),
            gen_ai.usage.output_tokens = 7,
        ),
        // Its own sums are rarely those of what is inside.
        Mark::Agent(n) => info_span!(
            "agent",
            gen_ai.operation.name = "invoke_agent",
            gen_ai.agent.name = name(n),
            gen_ai.usage.input_tokens = 1000,
            gen_ai.usage.output_tokens = 7,
            gen_ai.usage.cost = 0.01 * f64::from(n),
        ),
        Mark::OpenInference(n) => info_span!(
            "tool",
            openinference.span.kind = "TOOL",
            otel.name = name(n),
            llm.token_count.prompt = 10,
            llm.cost.total = 0.1,
        ),
        Mark::OpenLlmetry(n) => info_span!(
            "agent",
            traceloop.span.kind = "agent",
            traceloop.entity.name = name(n),
            gen_ai.usage.prompt_tokens = u64::from(n),
        ),
        Mark::Depending(n) => info_span!("step", node.id = name(n), node.depends_on = "fetch, plan"),
        Mark::SameInput(n) => info_span!("step", node.id = name(n), node.input_hash = 7),
        // What it is given is content, and left out.
        Mark::Tool(n) => info_span!(
            "tool",
            gen_ai.operation.name = "execute_tool",
            gen_ai.tool.name = name(n / 2),
            gen_ai.tool.call.arguments = name(n % 2),
            gen_ai.tool.call.result = "sk-0123456789abcdefghij",
        ),
        Mark::Late(n) => {
            let span = info_span!("step", node.id = tracing::field::Empty, otel.name = tracing::field::Empty);
            span.record("node.id", name(n));
            span.record("otel.name", "renamed");
            span
        }
    }
}

struct Polled<'s> {
    left: u8,
    inside: &'s [Step],
}

impl Future for Polled<'_> {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        run(std::mem::take(&mut self.inside));
        self.left = self.left.saturating_sub(1);
        if self.left == 0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

fn drive(future: impl Future<Output = ()>) {
    let mut future = std::pin::pin!(future);
    while future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {}
}

fn run(steps: &[Step]) {
    for step in steps {
        match step {
            Step::Nested { mark, inside } => open(*mark).in_scope(|| run(inside)),
            Step::Future { mark, polls, inside } => {
                drive(Polled { left: *polls, inside }.instrument(open(*mark)));
            }
            Step::Moved { mark, inside } => {
                let span = open(*mark);
                let dispatch = tracing::dispatcher::get_default(Clone::clone);
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        tracing::dispatcher::with_default(&dispatch, || span.in_scope(|| run(inside)))
                    });
                });
            }
            Step::Queued { mark, inside } => {
                let (first, second) = (open(*mark), open(*mark));
                first.in_scope(|| run(inside));
                drop(first);
                second.in_scope(|| run(inside));
            }
            Step::Following { mark, inside } => {
                let (first, second) = (open(*mark), open(*mark));
                second.follows_from(&first);
                drop(first);
                second.in_scope(|| run(inside));
            }
            Step::Panicking { mark } => {
                let _ = catch_unwind(AssertUnwindSafe(|| {
                    open(*mark).in_scope(|| std::panic::resume_unwind(Box::new("planned")));
                }));
            }
            Step::Cancelled => {
                let mut future = Box::pin(std::future::pending::<()>().in_node("cancelled"));
                let _ = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            }
            Step::HeldOpen { mark, inside } => {
                let _held = open(*mark);
                run(inside);
            }
        }
    }
}

fn mark() -> impl Strategy<Value = Mark> {
    prop_oneof![
        Just(Mark::Plain),
        (0u8..4).prop_map(Mark::Node),
        (0u8..4).prop_map(Mark::Failed),
        (0u8..4).prop_map(Mark::Retry),
        (0u8..4).prop_map(Mark::Costly),
        (0u8..4).prop_map(Mark::Detached),
        (0u8..4).prop_map(Mark::Model),
        (0u8..4).prop_map(Mark::Priced),
        (0u8..4).prop_map(Mark::Agent),
        (0u8..4).prop_map(Mark::OpenInference),
        (0u8..4).prop_map(Mark::OpenLlmetry),
        (0u8..4).prop_map(Mark::Late),
        (0u8..4).prop_map(Mark::Depending),
        (0u8..4).prop_map(Mark::SameInput),
        (0u8..4).prop_map(Mark::Tool),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let leaf = prop_oneof![
        mark().prop_map(|mark| Step::Nested { mark, inside: Vec::new() }),
        mark().prop_map(|mark| Step::Panicking { mark }),
        Just(Step::Cancelled),
    ];
    let step = leaf.prop_recursive(4, 24, 4, |inner| {
        let inside = prop::collection::vec(inner, 0..4);
        prop_oneof![
            (mark(), inside.clone()).prop_map(|(mark, inside)| Step::Nested { mark, inside }),
            (mark(), 1u8..4, inside.clone()).prop_map(|(mark, polls, inside)| Step::Future {
                mark,
                polls,
                inside
            }),
            (mark(), inside.clone()).prop_map(|(mark, inside)| Step::Moved { mark, inside }),
            (mark(), inside.clone()).prop_map(|(mark, inside)| Step::Queued { mark, inside }),
            (mark(), inside.clone()).prop_map(|(mark, inside)| Step::Following { mark, inside }),
            (mark(), inside).prop_map(|(mark, inside)| Step::HeldOpen { mark, inside }),
        ]
    });
    prop::collection::vec(step, 0..5)
}

/// Runs the program with a spans file and gives the live reports and those of the file.
fn both(workflow: bool, program: &[Step]) -> (Vec<Report>, Vec<Report>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spans.jsonl");
    let (layer, longpole) = longpole::builder().spans_file(&file).build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let root = if workflow { info_span!("run", workflow.name = "generated") } else { info_span!("run") };
        root.in_scope(|| run(program));
    });
    let last = longpole.shutdown_within(std::time::Duration::from_secs(30));
    assert!(last.flush.is_complete && last.flush.lost.is_empty() && last.open == 0, "{last}");
    assert_eq!(last.flush.written, last.flush.closed);
    let live = longpole.runs().iter().map(|report| Report::clone(report)).collect();
    let decoded = longpole::decode::decode(&std::fs::read(&file).unwrap()).unwrap();
    assert!(decoded.problems.is_empty());
    (live, longpole::report_on(decoded.spans, &ReportOptions::default()))
}

/// Without the two parts that say where the spans came from.
fn what_it_says(report: &Report) -> Report {
    Report { source: Source::Live, pipeline: None, ..report.clone() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn the_live_report_equals_the_report_of_the_exported_bytes(workflow: bool, program in steps()) {
        let (live, offline) = both(workflow, &program);
        prop_assert_eq!(live.len(), 1);
        prop_assert_eq!(offline.len(), 1);
        prop_assert_eq!(what_it_says(&live[0]), what_it_says(&offline[0]));
        prop_assert_eq!(what_it_says(&live[0]).to_json(), what_it_says(&offline[0]).to_json());
        prop_assert_eq!(what_it_says(&live[0]).to_text(), what_it_says(&offline[0]).to_text());
    }
}

#[test]
fn two_runs_under_one_root_are_two_reports_live_and_offline() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spans.jsonl");
    let (layer, longpole) = longpole::builder().spans_file(&file).build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let _server = info_span!("server").entered();
        for name in ["first", "second"] {
            let _run = info_span!("run", workflow.name = name).entered();
            open(Mark::Node(0)).in_scope(|| ());
            // Inside a marked run a mark changes nothing.
            let _inner = info_span!("inner", workflow.name = "inner").entered();
            open(Mark::Node(1)).in_scope(|| ());
        }
    });
    let last = longpole.shutdown();
    assert_eq!((last.flush.closed, last.flush.written), (9, 9));
    let decoded = longpole::decode::decode(&std::fs::read(&file).unwrap()).unwrap();
    let offline = longpole::report_on(decoded.spans, &ReportOptions::default());
    let live = longpole.runs();
    let workflows: Vec<_> = live.iter().map(|report| report.run.workflow.as_deref()).collect();
    assert_eq!(workflows, [Some("first"), Some("second")]);
    let live: Vec<Report> = live.iter().map(|report| what_it_says(report)).collect();
    let offline: Vec<Report> = offline.iter().map(what_it_says).collect();
    assert_eq!(live, offline);
}
