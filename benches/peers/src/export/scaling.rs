//! Whether two threads that make spans hinder each other: processor time of a span on one of two threads, by that on
//! one alone.

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use crate::sink::{Reading, SinkProcess};

use super::client::{ClientSpec, Pace};
use super::{Protocol, Setup, natively};

/// Nodes that each thread makes at once, at the same time as the others; then all is sent.
const AT_ONCE: usize = 1_000;

/// What one pipeline's spans cost the threads that make them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    /// Whose.
    pub setup: Setup,
    /// On one thread, in each round, in nanoseconds.
    pub alone_ns: Vec<f64>,
    /// On each of two, likewise.
    pub with_another_ns: Vec<f64>,
    /// Why it was not measured to the end.
    pub problem: Option<String>,
}

impl Scaling {
    /// What two threads cost of what one costs, in each round. 1: they do not know of each other.
    pub fn ratios(&self) -> Vec<f64> {
        self.with_another_ns.iter().zip(&self.alone_ns).map(|(two, one)| two / one).collect()
    }
}

/// Measures in turn, so that both see the same machine.
pub fn measure(setup: Setup, rounds: usize, nodes: usize, sink: &SinkProcess) -> Scaling {
    let (alone_ns, with_another_ns) = (Vec::new(), Vec::new());
    let mut scaling = Scaling { setup, alone_ns, with_another_ns, problem: None };
    let measured = (0..rounds).try_for_each(|_| {
        scaling.alone_ns.push(each_ns(setup, 1, nodes, sink)?);
        scaling.with_another_ns.push(each_ns(setup, 2, nodes, sink)?);
        anyhow::Ok(())
    });
    scaling.problem = measured.err().map(|error| format!("{error:#}"));
    scaling
}

/// What a span costs the thread that makes it, where so many make them.
fn each_ns(setup: Setup, threads: usize, nodes: usize, sink: &SinkProcess) -> anyhow::Result<f64> {
    let spec = ClientSpec {
        setup,
        protocol: Protocol::Grpc,
        url: sink.url(),
        warm_up: 4 * AT_ONCE,
        nodes,
        pace: Pace::Flush(AT_ONCE * threads),
        threads,
    };
    let exported = natively(&spec, sink, Reading::Fields)?;
    ensure!(exported.missing == 0, "{} nodes are missing", exported.missing);
    Ok(exported.client.hot_ns as f64 / exported.client.nodes as f64)
}
