//! What sending one span costs: processor time and instructions of all threads, where nothing is lost.

use std::collections::BTreeMap;

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use crate::sink::{Counts, Reading, SinkProcess};

use super::client::{ClientSpec, Pace};
use super::{Protocol, Setup, by_callgrind, natively};

/// Nodes made before anything is measured.
const WARM_UP: usize = 4_000;
/// Below the SDK's queue of 2,048, with the spans of runs.
const AT_ONCE: usize = 2_000;

/// What one pipeline costs for each span that arrives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Whose.
    pub setup: Setup,
    /// How it sends.
    pub protocol: Protocol,
    /// Processor time of all threads in each round, until all had arrived and the pipeline had ended; in nanoseconds.
    pub total_ns: Vec<f64>,
    /// That of the thread that makes the spans.
    pub hot_ns: Vec<f64>,
    /// The same at a steady rate.
    pub steady_ns: Vec<f64>,
    /// Instructions of each thread, the one that makes spans first; empty if not counted.
    pub instructions: Vec<f64>,
    /// What came in the last round.
    pub came: Counts,
}

/// How much is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct CostPlan {
    /// Who.
    pub cases: Vec<(Setup, Protocol)>,
    /// All of them in turn, so many times.
    pub rounds: usize,
    /// Nodes made by each in a round.
    pub nodes: usize,
    /// Nodes a second, and how many, at a steady rate; none: not measured.
    pub steady: Option<(u64, usize)>,
    /// Nodes under callgrind, of which four times as many are made, too; none: not counted.
    pub counted: Option<usize>,
}

impl CostPlan {
    /// Who sends spans over what.
    pub fn all_cases() -> Vec<(Setup, Protocol)> {
        let protocols = Protocol::ALL.into_iter();
        protocols.flat_map(|protocol| Setup::SENDING.map(|setup| (setup, protocol))).collect()
    }
}

/// Measures.
///
/// # Errors
/// If anything cannot be run, a span is lost, or a program's spans come with other attributes than in its other runs.
pub fn measure(plan: &CostPlan, sink: &SinkProcess, mut tell: impl FnMut(&str)) -> anyhow::Result<Vec<Cost>> {
    let mut costs: BTreeMap<usize, Cost> = BTreeMap::new();
    for round in 0..plan.rounds {
        for (at, (setup, protocol)) in plan.cases.iter().copied().enumerate() {
            tell(&format!("round {round}: {} over {}", setup.name(), protocol.title()));
            let cost = costs.entry(at).or_insert_with(|| Cost {
                setup,
                protocol,
                total_ns: Vec::new(),
                hot_ns: Vec::new(),
                steady_ns: Vec::new(),
                instructions: Vec::new(),
                came: Counts::default(),
            });
            let spec = ClientSpec {
                setup,
                protocol,
                url: sink.url(),
                warm_up: WARM_UP,
                nodes: plan.nodes,
                pace: Pace::Flush(AT_ONCE),
                threads: 1,
            };
            let exported = natively(&spec, sink, Reading::Whole)?;
            let (name, nodes) = (setup.name(), exported.client.nodes as f64);
            ensure!(exported.missing == 0, "{} of {nodes} nodes of {name} are missing", exported.missing);
            let (before, now) = (cost.came.attributes_per_node(), exported.came.attributes_per_node());
            ensure!(
                round == 0 || (before - now).abs() < 0.05,
                "{name}: nodes came with {before} attributes each, and with {now}"
            );
            cost.came = exported.came;
            cost.total_ns.push(exported.client.whole.process_ns as f64 / nodes);
            cost.hot_ns.push(exported.client.hot_ns as f64 / nodes);
            if let Some((rate, nodes)) = plan.steady {
                let spec = ClientSpec { nodes, pace: Pace::PerSecond(rate), ..spec.clone() };
                let exported = natively(&spec, sink, Reading::Whole)?;
                ensure!(
                    exported.missing == 0,
                    "{} of {nodes} nodes of {name} are missing at {rate} a second",
                    exported.missing
                );
                cost.steady_ns.push(exported.client.whole.process_ns as f64 / nodes as f64);
            }
            if let Some(nodes) = plan.counted.filter(|_| round == 0) {
                cost.instructions = by_callgrind(&ClientSpec { nodes, ..spec }, sink)?;
            }
        }
    }
    Ok(costs.into_values().collect())
}
