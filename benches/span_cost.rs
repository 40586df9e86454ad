//! What one span costs the thread that makes it: instructions (by callgrind) and allocations.
//!
//! `cargo bench --bench span_cost` prints a Markdown table with the budgets beside the figures. The program runs
//! itself under `valgrind --tool=callgrind` and counts inside [`measured`] only, after a warm-up; without valgrind
//! it says so and prints allocations alone. Instruction counts repeat where times on a shared machine do not; they are
//! held against a baseline by `cargo run --release -p longpole-benches --bin gate`. Allocations fail this program.

#![allow(clippy::print_stdout, reason = "its output is a table")]

use std::alloc::System;
use std::future::Future;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::process::{Command, ExitCode};
use std::task::{Context, Poll, Waker};

use longpole::harness::{Content, Harness};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tracing::field::Empty;
use tracing::{Instrument, Span, info_span};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Layer, SubscriberExt};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const NODES: [&str; 16] = [
    "fetch", "plan", "search", "rank", "draft", "critique", "refine", "tool.web", "tool.sql", "embed",
    "retrieve", "judge", "merge", "route", "guard", "emit",
];
const SPANS_PER_RUN: usize = 1000;
const WARM_UP_RUNS: usize = 20;
const MEASURED_RUNS: usize = 20;

#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    workload: Workload,
    /// `None`: a layer that does nothing.
    content: Option<Content>,
    /// What it is to cost, in instructions per span; a missed budget is only told. `None`: for comparison only.
    budget: Option<u64>,
}

#[derive(Clone, Copy)]
enum Workload {
    /// Enter, a late record, exit, close.
    Sync,
    /// A future polled five times.
    Async,
    /// As `Sync`, with two texts of 100 bytes each that are searched for secrets.
    Texts,
}

/// Plain prose, and what has many of the bytes that secrets have too.
const TEXTS: [&str; 2] = [
    "the page was read from the archive and holds four paragraphs about the transatlantic cable laid by b",
    "request 3f0c6a1e-5b1d-4a51-9d0a-1c2b3a4d5e6f of tool_call web_search took 3-4 attempts_so_far JSON I",
];

const fn case(name: &'static str, workload: Workload, content: Option<Content>, budget: Option<u64>) -> Case {
    Case { name, workload, content, budget }
}

const CASES: [Case; 17] = [
    case("A-nothing", Workload::Sync, None, None),
    case("A-analysis", Workload::Sync, Some(Content::Analysis), Some(2500)),
    case("A-lean", Workload::Sync, Some(Content::Lean), Some(3000)),
    case("A-full", Workload::Sync, Some(Content::Full), Some(4000)),
    case("C-nothing", Workload::Async, None, None),
    case("C-analysis", Workload::Async, Some(Content::Analysis), None),
    case("C-lean", Workload::Async, Some(Content::Lean), None),
    case("C-full", Workload::Async, Some(Content::Full), Some(5800)),
    // What one option more costs than A-lean or C-lean; otel-ids than A-analysis.
    case("A-lean+location", Workload::Sync, Some(Content::Location), None),
    case("A-lean+threads", Workload::Sync, Some(Content::Threads), None),
    case("A-lean+target", Workload::Sync, Some(Content::Target), None),
    case("A-lean+unsampled", Workload::Sync, Some(Content::Unsampled), None),
    case("A-lean+otel-context", Workload::Sync, Some(Content::OtelContext), None),
    case("C-lean+otel-context", Workload::Async, Some(Content::OtelContext), None),
    case("A-analysis+otel-ids", Workload::Sync, Some(Content::OtelIds), None),
    // What searching two texts for secrets costs.
    case("A-lean+texts", Workload::Texts, Some(Content::Lean), None),
    case("A-lean+texts-unmasked", Workload::Texts, Some(Content::Unmasked), None),
];

struct NoopLayer;

impl<S: tracing::Subscriber> Layer<S> for NoopLayer {}

fn node_span(index: usize) -> Span {
    info_span!(
        "node",
        node.id = black_box(NODES[index % NODES.len()]),
        gen_ai.request.model = "gpt-x",
        attempt = black_box(1i64),
        cost_usd = Empty
    )
}

fn text_span(index: usize) -> Span {
    let [prose, signs] = black_box(TEXTS);
    info_span!("node", node.id = black_box(NODES[index % NODES.len()]), prose, signs, cost_usd = Empty)
}

fn one_run(workload: Workload) {
    let run = info_span!("run", run.id = 7u64);
    let _inside = run.enter();
    for index in 0..SPANS_PER_RUN {
        let span = match workload {
            Workload::Sync | Workload::Async => node_span(index),
            Workload::Texts => text_span(index),
        };
        match workload {
            Workload::Sync => {
                let _inside = span.enter();
                span.record("cost_usd", black_box(0.001f64));
            }
            Workload::Async => drive(CountDown(4).instrument(span)),
            Workload::Texts => span.in_scope(|| {
                span.record("cost_usd", black_box(0.001f64));
            }),
        }
    }
}

/// Ready at the poll after so many.
struct CountDown(u8);

impl Future for CountDown {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        match self.0.checked_sub(1) {
            Some(left) => {
                self.0 = left;
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }
}

fn drive(future: impl Future<Output = ()>) {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    while future.as_mut().poll(&mut context).is_pending() {}
}

/// What callgrind counts.
#[inline(never)]
fn measured(workload: Workload) {
    one_run(black_box(workload));
}

/// Runs a case and returns its allocations in the measured part.
fn run(case: Case) -> usize {
    let harness = case.content.map(Harness::new);
    let subscriber: Box<dyn tracing::Subscriber + Send + Sync> = match &harness {
        Some(harness) => Box::new(Registry::default().with(harness.layer())),
        None => Box::new(Registry::default().with(NoopLayer)),
    };
    tracing::subscriber::set_global_default(subscriber).expect("one case per process");
    let mut harness = harness;
    let mut empty_shards = || {
        if let Some(harness) = &mut harness {
            assert_eq!(harness.discard(), SPANS_PER_RUN + 1);
        }
    };
    for _ in 0..WARM_UP_RUNS {
        one_run(case.workload);
        empty_shards();
    }
    let mut allocations = 0;
    for _ in 0..MEASURED_RUNS {
        let region = Region::new(ALLOCATOR);
        measured(case.workload);
        let change = region.change();
        allocations += change.allocations + change.reallocations;
        empty_shards();
    }
    allocations
}

/// Instructions per span, counted by a run of this program under callgrind.
fn instructions_per_span(case: Case) -> Option<u64> {
    let profile = std::env::var("SPAN_COST_PROFILE_DIR").unwrap_or_default();
    let profile =
        if profile.is_empty() { "/dev/null".to_owned() } else { format!("{profile}/{}.out", case.name) };
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=span_cost::measured*"])
        .arg(format!("--callgrind-out-file={profile}"))
        .arg(std::env::current_exe().ok()?)
        .args(["--case", case.name])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let total: u64 = text.lines().find_map(|line| line.split("Collected :").nth(1))?.trim().parse().ok()?;
    Some(total / (MEASURED_RUNS * (SPANS_PER_RUN + 1)) as u64)
}

fn allocations(case: Case) -> String {
    let output =
        std::env::current_exe().and_then(|exe| Command::new(exe).args(["--case", case.name]).output());
    output.map_or_else(
        |error| error.to_string(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--case") {
        let case =
            CASES.into_iter().find(|case| Some(case.name) == arguments.get(at + 1).map(String::as_str));
        println!("{}", run(case.expect("a case of the table")));
        return ExitCode::SUCCESS;
    }
    if arguments.iter().any(|argument| argument == "--test") {
        return ExitCode::SUCCESS;
    }
    let has_valgrind = Command::new("valgrind").arg("--version").output().is_ok();
    if !has_valgrind {
        println!("valgrind is not installed: NO INSTRUCTIONS COUNTED, allocations only\n");
    }
    println!(
        "| case | instructions/span | budget | allocations in {MEASURED_RUNS} runs of {SPANS_PER_RUN} | budget |"
    );
    println!("|---|--:|--:|--:|--:|");
    let mut is_within = true;
    for case in CASES {
        let instructions = if has_valgrind { instructions_per_span(case) } else { None };
        let allocations = allocations(case);
        let budget = case.budget.map_or_else(|| "–".to_owned(), |budget| budget.to_string());
        let is_over = case.budget.zip(instructions).is_some_and(|(budget, count)| count > budget);
        let mark = if is_over { " (over)" } else { "" };
        let shown = instructions.map_or_else(|| "not counted".to_owned(), |count| count.to_string());
        println!("| {} | {shown}{mark} | {budget} | {allocations} | 0 |", case.name);
        // Timing attributes vary in length, so a shard's buffer may grow once more late.
        // OpenTelemetry's contexts are allocated by its own crate, one at each enter.
        is_within &= case.content == Some(Content::OtelContext)
            || allocations.parse().is_ok_and(|count: usize| count < MEASURED_RUNS);
    }
    if is_within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
