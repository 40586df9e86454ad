//! fastrace: no `Layer`, so the workloads are written once more with its spans. Its attributes are texts, so numbers
//! are written as such; links need the other span's context.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fastrace::collector::{Config, Reporter, SpanRecord};
use fastrace::prelude::*;

use super::{Installed, Outcome, Surroundings};
use crate::workloads::{CountDown, SPANS_DEEP, TREE_FAN_OUT, TREES_PER_RUN, Workload, drive, node_name};

struct CountingReporter(Arc<AtomicU64>);

impl Reporter for CountingReporter {
    fn report(&mut self, spans: Vec<SpanRecord>) {
        self.0.fetch_add(spans.len() as u64, Ordering::Relaxed);
    }
}

pub(super) fn reporting(_: &Surroundings) -> anyhow::Result<Installed> {
    let exported = Arc::new(AtomicU64::new(0));
    fastrace::set_reporter(CountingReporter(exported.clone()), Config::default());
    Ok(Installed {
        catch_up: Box::new(fastrace::flush),
        finish: Box::new(move || {
            fastrace::flush();
            Outcome { exported: Some(exported.load(Ordering::Relaxed)), lost: None }
        }),
    })
}

pub(super) fn silent(_: &Surroundings) -> anyhow::Result<Installed> {
    Ok(Installed::without_end())
}

/// Makes the spans of one run with fastrace.
pub fn one_run(workload: Workload, text: &str) {
    match workload {
        Workload::A | Workload::Trace => run_of_nodes(workload, |index| {
            let _node = node(index);
            record_cost();
        }),
        Workload::B => {
            for _ in 0..TREES_PER_RUN {
                let root = Span::root("node", SpanContext::random()).with_properties(|| tree_properties(0));
                let _inside = root.set_local_parent();
                (0..TREE_FAN_OUT).for_each(|_| tree(1));
            }
        }
        Workload::C => run_of_nodes(workload, |index| {
            let node = Span::enter_with_local_parent("node").with_properties(|| properties(index));
            drive(CountDown(4).in_span(node));
        }),
        Workload::Text1 | Workload::Text16 => run_of_nodes(workload, |index| {
            let _node = node(index).with_property(|| ("summary", black_box(text).to_owned()));
            record_cost();
        }),
        Workload::Events => run_of_nodes(workload, |index| {
            let _node = node(index);
            for step in 0..3i64 {
                let event = Event::new("a step was made");
                LocalSpan::add_event(event.with_property(|| ("step", black_box(step).to_string())));
            }
            record_cost();
        }),
        Workload::Links => {
            let sources = [1u64, 2].map(|id| {
                Span::root("source", SpanContext::random()).with_property(|| ("source.id", id.to_string()))
            });
            let contexts = sources.each_ref().map(SpanContext::from_span);
            run_of_nodes(workload, |index| {
                let node = contexts.into_iter().flatten().fold(node(index), LocalSpan::with_link);
                record_cost();
                drop(node);
            });
        }
    }
}

fn run_of_nodes(workload: Workload, node: impl Fn(usize)) {
    let run = Span::root("run", SpanContext::random()).with_property(|| ("run.id", 7u64.to_string()));
    let _inside = run.set_local_parent();
    (0..workload.nodes_per_run()).for_each(node);
}

fn node(index: usize) -> LocalSpan {
    LocalSpan::enter_with_local_parent("node").with_properties(|| properties(index))
}

fn properties(index: usize) -> [(&'static str, std::borrow::Cow<'static, str>); 3] {
    [
        ("node.id", node_name(index).into()),
        ("gen_ai.request.model", "gpt-x".into()),
        ("attempt", black_box(1i64).to_string().into()),
    ]
}

fn record_cost() {
    LocalSpan::add_property(|| ("cost_usd", black_box(0.001f64).to_string()));
}

fn tree(depth: u32) {
    let _span = LocalSpan::enter_with_local_parent("node").with_properties(|| tree_properties(depth));
    if depth + 1 < SPANS_DEEP {
        (0..TREE_FAN_OUT).for_each(|_| tree(depth + 1));
    }
}

fn tree_properties(depth: u32) -> [(&'static str, std::borrow::Cow<'static, str>); 2] {
    [("node.id", node_name(depth as usize).into()), ("attempt", depth.to_string().into())]
}
