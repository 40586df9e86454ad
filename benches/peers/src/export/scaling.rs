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
}

impl Scaling {
    /// What two threads cost of what one costs, in each round. 1: they do not know of each other.
    pub fn ratios(&self) -> Vec<f64> {
        self.with_another_ns.iter().zip(&self.alone_ns).map(|(two, one)| two / one).collect()
    }
}

/// Measures in turn, so that both see the same machine.
///
/// # Errors
/// If a program cannot be run, or a span is lost.
pub fn measure(setup: Setup, rounds: usize, nodes: usize, sink: &SinkProcess) -> anyhow::Result<Scaling> {
    let mut scaling = Scaling { setup, alone_ns: Vec::new(), with_another_ns: Vec::new() };
    for _ in 0..rounds {
        for threads in [1, 2] {
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
            ensure!(exported.missing == 0, "{} nodes of {} are missing", exported.missing, setup.name());
            let each = exported.client.hot_ns as f64 / exported.client.nodes as f64;
            if threads == 1 { &mut scaling.alone_ns } else { &mut scaling.with_another_ns }.push(each);
        }
    }
    Ok(scaling)
}
