//! How much memory a program with many spans needs at most, where nothing is lost.

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use crate::sink::{Reading, SinkProcess};

use super::client::{ClientSpec, Pace};
use super::{Protocol, Setup, natively};

/// What one pipeline needs beyond what the program had before it made its spans.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Whose.
    pub setup: Setup,
    /// How it sends.
    pub protocol: Protocol,
    /// Nodes made.
    pub nodes: usize,
    /// Peak beyond the resident memory of the program whose pipeline had sent its first spans, in MiB.
    pub peak_mib: Option<f64>,
    /// Why it was not measured.
    pub problem: Option<String>,
}

/// Measures in a process of its own.
pub fn measure((setup, protocol): (Setup, Protocol), nodes: usize, sink: &SinkProcess) -> Memory {
    let pace = Pace::Flush(2_000);
    let spec = ClientSpec { setup, protocol, url: sink.url(), warm_up: 2_000, nodes, pace, threads: 1 };
    let peak = peak_mib(&spec, sink);
    let problem = peak.as_ref().err().map(|error| format!("{error:#}"));
    Memory { setup, protocol, nodes, peak_mib: peak.ok(), problem }
}

fn peak_mib(spec: &ClientSpec, sink: &SinkProcess) -> anyhow::Result<f64> {
    let exported = natively(spec, sink, Reading::Fields)?;
    ensure!(exported.missing == 0, "{} of {} nodes are missing", exported.missing, spec.nodes);
    let memory = exported.client.peak_kib.zip(exported.client.before_kib);
    let (peak, before) = memory.context("this system does not tell how much memory a process had")?;
    Ok(peak.saturating_sub(before) as f64 / 1024.0)
}
