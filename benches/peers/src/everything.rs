//! Everything that is measured, one after the other.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::export::cost::{self, CostPlan};
use crate::export::sustained::{self, RATES};
use crate::export::{Protocol, Setup, memory, scaling};
use crate::results::SpanCost;
use crate::setups::SETUPS;
use crate::sink::SinkProcess;
use crate::span_costs;
use crate::tables::{About, Bench, Figures};

/// Where what does not matter between longpole's set-ups is measured once.
const MAIN: [Setup; 6] =
    [Setup::Longpole, Setup::LongpoleFull, Setup::ExportOnly, Setup::Sdk, Setup::SdkLeast, Setup::Fastrace];

/// What of it, and how much.
#[derive(Clone, Debug)]
pub struct Plan {
    cost: CostPlan,
    steady_rate: u64,
    rates: Vec<u64>,
    seconds_per_rate: f64,
    full_speed_nodes: usize,
    memory_nodes: usize,
    scaling: (usize, usize),
    counted_nodes: Option<usize>,
    benches: &'static [&'static [&'static str]],
}

impl Plan {
    /// All, in some twelve minutes on two processors.
    pub fn whole() -> Plan {
        Plan {
            cost: CostPlan {
                cases: CostPlan::all_cases(),
                rounds: 3,
                nodes: 60_000,
                steady: Some((20_000, 30_000)),
                counted: None,
            },
            steady_rate: 20_000,
            rates: RATES.to_vec(),
            seconds_per_rate: 1.0,
            full_speed_nodes: 1_000_000,
            memory_nodes: 1_000_000,
            scaling: (5, 50_000),
            counted_nodes: Some(4_000),
            benches: &[
                &["analysis", "--no-default-features", "--features", "compressed"],
                &["pricing", "--no-default-features"],
            ],
        }
    }

    /// Every pipeline once, over both protocols, in seconds: whether all spans arrive with what they are to have.
    pub fn short() -> Plan {
        Plan {
            cost: CostPlan {
                cases: CostPlan::all_cases(),
                rounds: 1,
                nodes: 4_000,
                steady: Some((5_000, 1_000)),
                counted: None,
            },
            steady_rate: 5_000,
            rates: vec![2_000],
            seconds_per_rate: 0.3,
            full_speed_nodes: 0,
            memory_nodes: 10_000,
            scaling: (1, 4_000),
            counted_nodes: None,
            benches: &[],
        }
    }
}

/// Measures; `tell` hears what comes next. What cannot be measured is told in its place of the figures.
///
/// # Errors
/// If this program cannot be started as a sink, or cargo cannot be asked for versions.
pub fn measure(plan: &Plan, root: &Path, tell: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Figures> {
    let about = About::here(root)?;
    let can_count = about.valgrind.is_some();
    let mut figures = Figures {
        about,
        spans: Vec::new(),
        costs: Vec::new(),
        steady_rate: plan.steady_rate,
        sustained: Vec::new(),
        memory: Vec::new(),
        scaling: Vec::new(),
        benches: Vec::new(),
    };
    let sink = SinkProcess::start()?;
    figures.costs = cost::measure(&plan.cost, &sink, tell);
    for setup in MAIN {
        // What one pipeline takes differs little between protocols.
        let is_shown = matches!(setup, Setup::LongpoleFull | Setup::Sdk);
        for protocol in if is_shown { &Protocol::ALL[..] } else { &[Protocol::Grpc] } {
            tell(&format!("rates: {}, {}", setup.title(), protocol.title()));
            let steps = (&plan.rates[..], plan.seconds_per_rate);
            figures.sustained.push(sustained::measure(
                (setup, *protocol),
                steps,
                plan.full_speed_nodes,
                &sink,
            ));
        }
    }
    for setup in Setup::SENDING {
        tell(&format!("memory and two threads: {}", setup.title()));
        figures.memory.push(memory::measure((setup, Protocol::Grpc), plan.memory_nodes, &sink));
        let (rounds, nodes) = plan.scaling;
        figures.scaling.push(scaling::measure(setup, rounds, nodes, &sink));
    }
    for arguments in plan.benches {
        tell(&format!("cargo bench --bench {}", arguments[0]));
        figures.benches.push(bench(arguments, root));
    }
    if let Some(nodes) = plan.counted_nodes.filter(|_| can_count) {
        count(&mut figures, nodes, tell)?;
    }
    Ok(figures)
}

/// Counts instructions, on two threads: counts do not mind company as times do.
fn count(figures: &mut Figures, nodes: usize, tell: &(dyn Fn(&str) + Sync)) -> anyhow::Result<()> {
    let cases = |protocol| Setup::SENDING.map(|setup| (setup, protocol));
    let (ours, theirs) = std::thread::scope(|scope| {
        let ours = scope.spawn(|| counts(&["longpole"], &cases(Protocol::Http), nodes, tell));
        let theirs = counts(&["none ", "no-op ", "tro-", "fastrace"], &cases(Protocol::Grpc), nodes, tell);
        (ours.join(), theirs)
    });
    let ours = ours.map_err(|_| anyhow::anyhow!("the thread that counts longpole has panicked"))?;
    for counts in [ours, theirs] {
        let (spans, sent) = counts?;
        figures.spans.extend(spans);
        for ((setup, protocol), instructions) in sent {
            let known = figures.costs.iter_mut();
            for cost in known.filter(|cost| cost.setup == setup && cost.protocol == protocol) {
                match &instructions {
                    Ok(instructions) => cost.instructions.clone_from(instructions),
                    Err(problem) => cost.problem = Some(format!("not counted: {problem}")),
                }
            }
        }
    }
    figures.spans.sort_by_key(|cost| SETUPS.iter().position(|setup| setup.name == cost.setup));
    Ok(())
}

type Sent = Vec<((Setup, Protocol), Result<Vec<f64>, String>)>;

/// What spans cost by set-ups whose names begin so, and what sent ones cost.
fn counts(
    names: &[&str],
    cases: &[(Setup, Protocol)],
    nodes: usize,
    tell: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<(Vec<SpanCost>, Sent)> {
    let sink = SinkProcess::start()?;
    let mut spans = Vec::new();
    for name in names {
        let hear = |cost: &SpanCost| tell(&span_costs::line(cost));
        // The threads behind are counted for A alone: that takes much longer, and the sent spans tell more.
        let mut hot = span_costs::measure(name, true, hear)?;
        for cost in hot.iter_mut().filter(|cost| cost.workload == "A") {
            if let Some(all) = span_costs::measure(&format!("{} A", cost.setup), false, hear)?.pop() {
                *cost = all;
            }
        }
        spans.append(&mut hot);
    }
    let sent = cases.iter().map(|(setup, protocol)| {
        tell(&format!("instructions: {}, {}", setup.title(), protocol.title()));
        let counted = cost::instructions((*setup, *protocol), nodes, &sink);
        ((*setup, *protocol), counted.map_err(|error| format!("{error:#}")))
    });
    Ok((spans, sent.collect()))
}

/// What a bench of the library prints.
fn bench(arguments: &[&str], root: &Path) -> Bench {
    let name = arguments[0].to_owned();
    let mut bench = Bench { name, ..Bench::default() };
    let ran = run_bench(arguments, root, &mut bench);
    bench.problem = ran.err().map(|error| format!("{error:#}"));
    bench
}

fn run_bench(arguments: &[&str], root: &Path, bench: &mut Bench) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("figures");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["bench", "--locked", "-q", "-p", "longpole", "--bench"]).args(arguments).current_dir(root);
    let output = command.env("LONGPOLE_BENCH_JSON", &data).output()?;
    bench.printed = String::from_utf8(output.stdout)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", said.lines().last().unwrap_or("it failed and said nothing"));
    let lines = std::fs::read_to_string(&data).unwrap_or_default();
    bench.lines = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    Ok(())
}

/// Builds what counts allocations, beside this program.
///
/// # Errors
/// If cargo cannot.
pub fn build_allocations(root: &Path) -> anyhow::Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--locked", "-q", "--release", "-p", "longpole-benches", "--bin", "allocations"]);
    let status = command.current_dir(root).status().context("cannot run cargo")?;
    ensure!(status.success(), "the program that counts allocations cannot be built");
    Ok(())
}
