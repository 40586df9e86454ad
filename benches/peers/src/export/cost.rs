//! What sending one span costs: processor time and instructions of all threads, where nothing is lost.

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use crate::sink::{Counts, Reading, SinkProcess};

use super::client::{ClientSpec, Pace};
use super::{Exported, Protocol, Setup, by_callgrind, natively};

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
    /// Why it was not measured to the end.
    pub problem: Option<String>,
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

/// Measures all in turn, so that they see the same machine. `tell` hears what comes next. Whoever has a problem is not
/// measured any further.
pub fn measure(plan: &CostPlan, sink: &SinkProcess, mut tell: impl FnMut(&str)) -> Vec<Cost> {
    let mut costs: Vec<Cost> =
        plan.cases.iter().map(|(setup, protocol)| Cost::of(*setup, *protocol)).collect();
    for round in 0..plan.rounds {
        for cost in costs.iter_mut().filter(|cost| cost.problem.is_none()) {
            tell(&format!(
                "sending, round {} of {}: {}, {}",
                round + 1,
                plan.rounds,
                cost.setup.title(),
                cost.protocol.title()
            ));
            let measured = cost.measure(plan, round == 0, sink);
            cost.problem = measured.err().map(|error| format!("{error:#}"));
        }
    }
    costs
}

impl Cost {
    fn of(setup: Setup, protocol: Protocol) -> Cost {
        Cost {
            setup,
            protocol,
            total_ns: Vec::new(),
            hot_ns: Vec::new(),
            steady_ns: Vec::new(),
            instructions: Vec::new(),
            came: Counts::default(),
            problem: None,
        }
    }

    fn measure(&mut self, plan: &CostPlan, is_first: bool, sink: &SinkProcess) -> anyhow::Result<()> {
        let spec = spec((self.setup, self.protocol), plan.nodes, sink);
        let exported = whole(&spec, sink)?;
        self.came = exported.came;
        let (expected, attributes) = (self.setup.attributes(), self.came.attributes_per_node());
        // Times that follow from others are left out, which can happen to any span.
        ensure!(
            (expected - attributes).abs() < 0.1,
            "nodes came with {attributes:.2} attributes each, {expected} were expected"
        );
        let each = |ns: u64| ns as f64 / exported.client.nodes as f64;
        self.total_ns.push(each(exported.client.whole.process_ns));
        self.hot_ns.push(each(exported.client.hot_ns));
        if let Some((rate, nodes)) = plan.steady {
            let exported = whole(&ClientSpec { nodes, pace: Pace::PerSecond(rate), ..spec.clone() }, sink)?;
            self.steady_ns.push(exported.client.whole.process_ns as f64 / nodes as f64);
        }
        if let Some(nodes) = plan.counted.filter(|_| is_first) {
            self.instructions = instructions((self.setup, self.protocol), nodes, sink)?;
        }
        Ok(())
    }
}

/// Instructions of each thread for a span, the one that makes spans first; from `nodes` and four times as many.
///
/// # Errors
/// If callgrind cannot be run, or a span is lost.
pub fn instructions(case: (Setup, Protocol), nodes: usize, sink: &SinkProcess) -> anyhow::Result<Vec<f64>> {
    by_callgrind(&spec(case, nodes, sink), sink)
}

fn spec((setup, protocol): (Setup, Protocol), nodes: usize, sink: &SinkProcess) -> ClientSpec {
    let pace = Pace::Flush(AT_ONCE);
    ClientSpec { setup, protocol, url: sink.url(), warm_up: WARM_UP, nodes, pace, threads: 1 }
}

/// Runs a program of which nothing may be lost.
fn whole(spec: &ClientSpec, sink: &SinkProcess) -> anyhow::Result<Exported> {
    let exported = natively(spec, sink, Reading::Whole)?;
    let ClientSpec { nodes, pace, .. } = spec;
    ensure!(exported.missing == 0, "{} of {nodes} nodes are missing at {pace:?}", exported.missing);
    Ok(exported)
}
