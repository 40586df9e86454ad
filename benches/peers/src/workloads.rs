//! The spans that are made, the same for everybody who measures them.

use std::future::Future;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::str::FromStr;
use std::task::{Context, Poll, Waker};

use tracing::field::Empty;
use tracing::{Instrument, Span, info, info_span, trace_span};

/// What nodes are called.
pub const NODES: [&str; 16] = [
    "fetch", "plan", "search", "rank", "draft", "critique", "refine", "tool.web", "tool.sql", "embed",
    "retrieve", "judge", "merge", "route", "guard", "emit",
];
/// Nodes below each run span.
pub const NODES_PER_RUN: usize = 1000;
/// A tree's depth, its root included, and the children of each span that has some.
pub(crate) const SPANS_DEEP: u32 = 5;
pub(crate) const TREE_FAN_OUT: usize = 3;
const SPANS_PER_TREE: usize = 121;
pub(crate) const TREES_PER_RUN: usize = 8;
/// Nodes of a run whose spans hold 16 KiB each: a run is not to be larger than what waits for an exporter.
const LONG_NODES_PER_RUN: usize = 100;

/// What a program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// A run span with 1,000 node spans below it, each entered, given its cost, left and closed.
    A,
    /// Trees of 121 spans, five deep, with two attributes.
    B,
    /// As A, each node a future that is polled five times.
    C,
    /// As A, in spans of a level that nobody wants.
    Trace,
    /// As A, with a text of 1 KiB more.
    Text1,
    /// As A, with a text of 16 KiB more and 100 nodes in a run.
    Text16,
    /// As A, with three events in each node.
    Events,
    /// As A, with two links in each node.
    Links,
}

impl Workload {
    /// All, in the order of the tables.
    pub const ALL: [Workload; 8] = [
        Workload::A,
        Workload::B,
        Workload::C,
        Workload::Trace,
        Workload::Text1,
        Workload::Text16,
        Workload::Events,
        Workload::Links,
    ];

    /// Its name in arguments and results.
    pub const fn name(self) -> &'static str {
        match self {
            Workload::A => "A",
            Workload::B => "B",
            Workload::C => "C",
            Workload::Trace => "trace",
            Workload::Text1 => "text-1k",
            Workload::Text16 => "text-16k",
            Workload::Events => "events",
            Workload::Links => "links",
        }
    }

    /// Spans of [`one_run`], run span included.
    pub const fn spans_per_run(self) -> usize {
        match self {
            Workload::B => TREES_PER_RUN * SPANS_PER_TREE,
            Workload::Links => NODES_PER_RUN + 3,
            Workload::Text16 => LONG_NODES_PER_RUN + 1,
            _ => NODES_PER_RUN + 1,
        }
    }

    pub(crate) const fn nodes_per_run(self) -> usize {
        match self {
            Workload::Text16 => LONG_NODES_PER_RUN,
            _ => NODES_PER_RUN,
        }
    }

    /// The text each node has beside the rest; empty if none.
    pub fn text(self) -> String {
        match self {
            Workload::Text1 => text(1 << 10),
            Workload::Text16 => text(16 << 10),
            _ => String::new(),
        }
    }
}

impl FromStr for Workload {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Workload> {
        let known = Workload::ALL.into_iter().find(|workload| workload.name() == name);
        known.ok_or_else(|| anyhow::anyhow!("no workload is called {name:?}"))
    }
}

/// Prose of so many bytes, as a model might have written it.
fn text(bytes: usize) -> String {
    let sentence =
        "The page was read from the archive; it holds 4 paragraphs about the cable of 1866, and one table. ";
    sentence.chars().cycle().take(bytes).collect()
}

/// Makes the spans of one run with `tracing`. `text` is [`Workload::text`].
pub fn one_run(workload: Workload, text: &str) {
    match workload {
        Workload::A => run_of_nodes(workload, |index| enter_and_record(&node(index))),
        Workload::B => (0..TREES_PER_RUN).for_each(|_| tree(0)),
        Workload::C => run_of_nodes(workload, |index| drive(CountDown(4).instrument(node(index)))),
        Workload::Trace => trace_run(),
        Workload::Text1 | Workload::Text16 => {
            run_of_nodes(workload, |index| enter_and_record(&node_with_text(index, black_box(text))));
        }
        Workload::Events => run_of_nodes(workload, |index| {
            let node = node(index);
            let _inside = node.enter();
            for step in 0..3i64 {
                info!(step = black_box(step), "a step was made");
            }
            record_cost(&node);
        }),
        Workload::Links => {
            let sources = [info_span!("source", source.id = 1u64), info_span!("source", source.id = 2u64)];
            // An exporter knows a span's ids once it was entered.
            sources.iter().for_each(|source| source.in_scope(|| ()));
            run_of_nodes(workload, |index| {
                let node = node(index);
                for source in &sources {
                    node.follows_from(source);
                }
                enter_and_record(&node);
            });
        }
    }
}

fn run_of_nodes(workload: Workload, node: impl Fn(usize)) {
    let run = info_span!("run", run.id = 7u64);
    let _inside = run.enter();
    (0..workload.nodes_per_run()).for_each(node);
}

pub(crate) fn node(index: usize) -> Span {
    info_span!(
        "node",
        node.id = node_name(index),
        gen_ai.request.model = "gpt-x",
        attempt = black_box(1i64),
        cost_usd = Empty
    )
}

fn node_with_text(index: usize, text: &str) -> Span {
    info_span!(
        "node",
        node.id = node_name(index),
        gen_ai.request.model = "gpt-x",
        attempt = black_box(1i64),
        summary = text,
        cost_usd = Empty
    )
}

pub(crate) fn node_name(index: usize) -> &'static str {
    black_box(NODES[index % NODES.len()])
}

pub(crate) fn enter_and_record(node: &Span) {
    let _inside = node.enter();
    record_cost(node);
}

fn record_cost(node: &Span) {
    node.record("cost_usd", black_box(0.001f64));
}

fn tree(depth: u32) {
    let span = info_span!("node", node.id = node_name(depth as usize), attempt = i64::from(depth));
    let _inside = span.enter();
    if depth + 1 < SPANS_DEEP {
        (0..TREE_FAN_OUT).for_each(|_| tree(depth + 1));
    }
}

fn trace_run() {
    let run = trace_span!("run", run.id = 7u64);
    let _inside = run.enter();
    for index in 0..NODES_PER_RUN {
        let span = trace_span!(
            "node",
            node.id = node_name(index),
            gen_ai.request.model = "gpt-x",
            attempt = black_box(1i64),
            cost_usd = Empty
        );
        let _inside = span.enter();
        span.record("cost_usd", black_box(0.001f64));
    }
}

/// Ready at the poll after so many.
pub(crate) struct CountDown(pub(crate) u8);

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

pub(crate) fn drive(future: impl Future<Output = ()>) {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    while future.as_mut().poll(&mut context).is_pending() {}
}
