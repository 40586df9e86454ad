//! Makes the spans of workload A, a run after the other, any number at a time.

use std::borrow::Cow;
use std::hint::black_box;

use fastrace::local::{LocalParentGuard, LocalSpan};
use fastrace::prelude::SpanContext;
use tracing::info_span;
use tracing::span::EnteredSpan;

use crate::workloads::{NODES_PER_RUN, enter_and_record, node, node_name};

use super::Setup;

/// A run of nodes that goes on from call to call.
pub(super) struct Producer {
    is_fastrace: bool,
    run: Option<Run>,
    made: usize,
}

enum Run {
    Tracing { _inside: EnteredSpan },
    // Left before it is closed.
    Fastrace { _inside: LocalParentGuard, _run: fastrace::Span },
}

impl Producer {
    pub(super) fn new(setup: Setup) -> Producer {
        Producer { is_fastrace: setup == Setup::Fastrace, run: None, made: 0 }
    }

    /// Makes so many nodes, and the spans of the runs around them.
    pub(super) fn make(&mut self, nodes: usize) {
        for _ in 0..nodes {
            if self.run.is_none() {
                self.run = Some(self.begin());
            }
            if self.is_fastrace {
                fastrace_node(self.made);
            } else {
                enter_and_record(&node(self.made));
            }
            self.made += 1;
            if self.made == NODES_PER_RUN {
                self.end();
            }
        }
    }

    /// Ends the run that has begun, if one has.
    pub(super) fn end(&mut self) {
        self.run = None;
        self.made = 0;
    }

    fn begin(&self) -> Run {
        if self.is_fastrace {
            let run = fastrace::Span::root("run", SpanContext::random()).with_property(|| ("run.id", "7"));
            Run::Fastrace { _inside: run.set_local_parent(), _run: run }
        } else {
            Run::Tracing { _inside: info_span!("run", run.id = 7u64).entered() }
        }
    }
}

/// Its properties are texts, so numbers are written out.
fn fastrace_node(index: usize) {
    let _node = LocalSpan::enter_with_local_parent("node").with_properties(|| {
        [
            ("node.id", Cow::Borrowed(node_name(index))),
            ("gen_ai.request.model", Cow::Borrowed("gpt-x")),
            ("attempt", Cow::Owned(black_box(1i64).to_string())),
        ]
    });
    LocalSpan::add_property(|| ("cost_usd", black_box(0.001f64).to_string()));
}
