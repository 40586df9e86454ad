//! All figures of one measurement.

use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::export::cost::Cost;
use crate::export::memory::Memory;
use crate::export::scaling::Scaling;
use crate::export::sustained::Sustained;
use crate::export::{Protocol, Setup};
use crate::results::SpanCost;

use super::About;

/// All figures; what was not measured is empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// With what.
    pub about: About,
    /// What a span costs the thread that makes it, and all threads before anything is sent.
    pub spans: Vec<SpanCost>,
    /// What a sent span costs.
    pub costs: Vec<Cost>,
    /// Nodes a second at a steady rate of [`Figures::costs`].
    pub steady_rate: u64,
    /// How many get through.
    pub sustained: Vec<Sustained>,
    /// Memory.
    pub memory: Vec<Memory>,
    /// Two threads.
    pub scaling: Vec<Scaling>,
    /// Reading, analysing and pricing.
    pub benches: Vec<Bench>,
}

/// What a bench of the library prints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bench {
    /// Its name for `cargo bench --bench`.
    pub name: String,
    /// Its Markdown.
    pub printed: String,
    /// Its figures as data, where it has such.
    pub lines: Vec<serde_json::Value>,
    /// Why it has none.
    pub problem: Option<String>,
}

impl Figures {
    /// Reads what [`Figures::write`] wrote.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(path: &Path) -> anyhow::Result<Figures> {
        let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} holds no figures", path.display()))
    }

    /// Writes everything as JSON.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Everything that went wrong, with what it concerns.
    pub fn problems(&self) -> Vec<String> {
        let told = |what: String, problem: &Option<String>| {
            problem.as_ref().map(|problem| format!("{what}: {problem}"))
        };
        let named = |what: &str, setup: Setup, protocol: Protocol| {
            format!("{what}, {} over {}", setup.title(), protocol.title())
        };
        let spans =
            self.spans.iter().map(|cost| (format!("{} with {}", cost.setup, cost.workload), &cost.problem));
        let costs = self.costs.iter();
        let costs = costs.map(|cost| (named("sending", cost.setup, cost.protocol), &cost.problem));
        let sustained = self.sustained.iter();
        let sustained = sustained.map(|one| (named("rates", one.setup, one.protocol), &one.problem));
        let memory = self.memory.iter();
        let memory = memory.map(|one| (named("memory", one.setup, one.protocol), &one.problem));
        let scaling = self.scaling.iter();
        let scaling = scaling.map(|one| (named("threads", one.setup, Protocol::Grpc), &one.problem));
        let benches = self.benches.iter().map(|bench| (bench.name.clone(), &bench.problem));
        let all = spans.chain(costs).chain(sustained).chain(memory).chain(scaling).chain(benches);
        all.filter_map(|(what, problem)| told(what, problem)).collect()
    }

    /// The cost of one pipeline.
    pub fn cost(&self, setup: Setup, protocol: Protocol) -> Option<&Cost> {
        self.costs.iter().find(|cost| cost.setup == setup && cost.protocol == protocol)
    }
}
