//! How much memory a program with many spans needs at most, where nothing is lost.

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use crate::sink::{Reading, SinkProcess};

use super::client::{ClientSpec, Pace};
use super::{Protocol, Setup, natively};

/// What one pipeline needs beyond what the program had before it made its spans.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Whose.
    pub setup: Setup,
    /// How it sends.
    pub protocol: Protocol,
    /// Nodes made.
    pub nodes: usize,
    /// Peak beyond the resident memory of the program whose pipeline had sent its first spans, in MiB.
    pub peak_mib: f64,
    /// That memory before, in MiB.
    pub before_mib: f64,
}

/// Measures in a process of its own.
///
/// # Errors
/// If the program cannot be run, a span is lost, or the system does not tell memory.
pub fn measure(
    (setup, protocol): (Setup, Protocol),
    nodes: usize,
    sink: &SinkProcess,
) -> anyhow::Result<Memory> {
    let pace = Pace::Flush(2_000);
    let spec = ClientSpec { setup, protocol, url: sink.url(), warm_up: 2_000, nodes, pace, threads: 1 };
    let exported = natively(&spec, sink, Reading::Fields)?;
    ensure!(exported.missing == 0, "{} of {nodes} nodes are missing", exported.missing);
    let memory = exported.client.peak_kib.zip(exported.client.before_kib);
    let (peak, before) = memory.context("this system does not tell how much memory a process had")?;
    let mib = |kib: u64| kib as f64 / 1024.0;
    Ok(Memory { setup, protocol, nodes, peak_mib: mib(peak.saturating_sub(before)), before_mib: mib(before) })
}
