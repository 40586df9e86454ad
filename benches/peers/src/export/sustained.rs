//! How many spans a second get through: the first rate at which one is lost, and what arrives at full speed.

use serde::{Deserialize, Serialize};

use crate::sink::{Reading, SinkProcess};

use super::client::{ClientSpec, Pace};
use super::{Exported, Protocol, Setup, natively};

/// Spans a second, from step to step.
pub const RATES: [u64; 8] = [10_000, 25_000, 50_000, 100_000, 200_000, 400_000, 800_000, 1_600_000];
const WARM_UP: usize = 4_000;
/// A program this much slower than it was told to be cannot make more spans a second.
const BEHIND: f64 = 1.1;

/// What one pipeline can take, with its queues as they come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sustained {
    /// Whose.
    pub setup: Setup,
    /// How it sends.
    pub protocol: Protocol,
    /// The highest rate of the steps at which everything arrived, before anything was lost.
    pub whole_at: Option<u64>,
    /// The first at which something was lost, and its share; `None` if the program could make no more.
    pub lost_at: Option<(u64, f64)>,
    /// Spans a second that the program made at most.
    pub made_per_second: f64,
    /// At full speed: what was made, and what came of it.
    pub full: Option<FullSpeed>,
    /// Why it was not measured to the end.
    pub problem: Option<String>,
}

/// What came of spans that were made as fast as they can be made.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FullSpeed {
    /// Nodes made.
    pub nodes: u64,
    /// In a second, while they were made.
    pub made_per_second: f64,
    /// In a second, until the last had arrived.
    pub arrived_per_second: f64,
    /// Share that did not arrive, now or at the next start.
    pub lost_ratio: f64,
    /// Share that is on disk for the next start.
    pub on_disk_ratio: f64,
    /// Processor time of all threads for one that arrived, in nanoseconds.
    pub total_ns: f64,
    /// Peak of memory beyond what the program had before, in MiB.
    pub peak_mib: Option<f64>,
}

/// Raises the rate until something is lost or `rates` end; each step takes `seconds`. Then makes `full_nodes` at full
/// speed, unless they are none.
pub fn measure(
    (setup, protocol): (Setup, Protocol),
    (rates, seconds): (&[u64], f64),
    full_nodes: usize,
    sink: &SinkProcess,
) -> Sustained {
    let mut sustained = Sustained {
        setup,
        protocol,
        whole_at: None,
        lost_at: None,
        made_per_second: 0.0,
        full: None,
        problem: None,
    };
    let raised = raise(&mut sustained, rates, seconds, sink);
    let measured = raised.and_then(|()| at_full_speed(&mut sustained, full_nodes, sink));
    sustained.problem = measured.err().map(|error| format!("{error:#}"));
    sustained
}

fn raise(sustained: &mut Sustained, rates: &[u64], seconds: f64, sink: &SinkProcess) -> anyhow::Result<()> {
    for rate in rates.iter().copied() {
        let nodes = (rate as f64 * seconds) as usize;
        let exported = run(sustained, nodes, Pace::PerSecond(rate), sink)?;
        let made_per_second = nodes as f64 * 1e9 / exported.client.make_ns as f64;
        sustained.made_per_second = sustained.made_per_second.max(made_per_second);
        let lost = lost(&exported);
        if lost > 0 {
            sustained.lost_at = Some((rate, lost as f64 / nodes as f64));
            break;
        }
        if made_per_second * BEHIND < rate as f64 {
            break;
        }
        sustained.whole_at = Some(rate);
    }
    Ok(())
}

fn at_full_speed(sustained: &mut Sustained, nodes: usize, sink: &SinkProcess) -> anyhow::Result<()> {
    if nodes > 0 {
        let full = full_speed(&run(sustained, nodes, Pace::Full, sink)?);
        sustained.made_per_second = sustained.made_per_second.max(full.made_per_second);
        sustained.full = Some(full);
    }
    Ok(())
}

fn run(sustained: &Sustained, nodes: usize, pace: Pace, sink: &SinkProcess) -> anyhow::Result<Exported> {
    let Sustained { setup, protocol, .. } = *sustained;
    let spec = ClientSpec { setup, protocol, url: sink.url(), warm_up: WARM_UP, nodes, pace, threads: 1 };
    natively(&spec, sink, Reading::Fields)
}

/// Nodes that neither came nor are on disk. What is on disk may be spans of runs, too; there is one in a thousand.
fn lost(exported: &Exported) -> u64 {
    exported.missing.saturating_sub(on_disk(exported))
}

fn on_disk(exported: &Exported) -> u64 {
    exported.client.left.map_or(0, |left| left.on_disk)
}

fn full_speed(exported: &Exported) -> FullSpeed {
    let client = &exported.client;
    let nodes = client.nodes as f64;
    let arrived = client.nodes.saturating_sub(exported.missing) as f64;
    let memory = client.peak_kib.zip(client.before_kib);
    FullSpeed {
        nodes: client.nodes,
        made_per_second: nodes * 1e9 / client.make_ns as f64,
        arrived_per_second: arrived * 1e9 / client.whole.wall_ns as f64,
        lost_ratio: lost(exported) as f64 / nodes,
        on_disk_ratio: on_disk(exported).min(exported.missing) as f64 / nodes,
        total_ns: client.whole.process_ns as f64 / arrived.max(1.0),
        peak_mib: memory.map(|(peak, before)| peak.saturating_sub(before) as f64 / 1024.0),
    }
}
