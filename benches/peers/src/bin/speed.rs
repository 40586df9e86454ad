//! Measures what longpole and others cost; see `--help`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::process::ExitCode;

use anyhow::{Context, bail};
use longpole_benches::export::client::{self, ClientSpec};
use longpole_benches::export::cost::{self, Cost, CostPlan};
use longpole_benches::sink::{self, SinkProcess};

const USAGE: &str = "\
speed cost [--only NAME[,NAME…]] [--protocol grpc|http] [--rounds N] [--nodes N] [--steady RATE] [--instructions]
    processor time, and instructions, for each span that arrives at a sink in another process
    names: longpole longpole-full longpole-least sdk sdk-least fastrace
speed sink, speed client SPEC
    what it starts itself";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("speed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> anyhow::Result<()> {
    match arguments.first().map(String::as_str) {
        Some("sink") => Ok(sink::serve(|address| println!("{address}"))?),
        Some("client") => {
            let spec: ClientSpec = serde_json::from_str(arguments.get(1).context("no specification")?)?;
            println!("{}", serde_json::to_string(&client::run(&spec)?)?);
            Ok(())
        }
        Some("cost") => print_costs(&arguments[1..]),
        _ => bail!("{USAGE}"),
    }
}

fn print_costs(arguments: &[String]) -> anyhow::Result<()> {
    let option = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).map(String::as_str)
    };
    let number = |name: &str, default: usize| option(name).map_or(Ok(default), str::parse);
    let mut cases = CostPlan::all_cases();
    if let Some(names) = option("--only") {
        let names: Vec<&str> = names.split(',').collect();
        cases.retain(|(setup, _)| names.contains(&setup.name()));
    }
    if let Some(wanted) = option("--protocol") {
        cases.retain(|(_, protocol)| protocol.title().eq_ignore_ascii_case(wanted));
    }
    let steady = option("--steady").map(str::parse::<u64>).transpose()?;
    let plan = CostPlan {
        cases,
        rounds: number("--rounds", 3)?,
        nodes: number("--nodes", 60_000)?,
        steady: steady.map(|rate| (rate, usize::try_from(rate).unwrap_or(usize::MAX).saturating_mul(2))),
        counted: arguments.iter().any(|argument| argument == "--instructions").then_some(4_000),
    };
    let sink = SinkProcess::start()?;
    let costs = cost::measure(&plan, &sink, |text| eprintln!("{text}"))?;
    print_table(&costs);
    Ok(())
}

fn print_table(costs: &[Cost]) {
    println!(
        "{:16}{:6}{:>12}{:>16}{:>12}{:>8}{:>8}  instructions: all, by thread",
        "", "", "hot ns", "all ns (min)", "steady ns", "attr", "bytes"
    );
    for cost in costs {
        let all: f64 = cost.instructions.iter().sum();
        let each: Vec<String> = cost.instructions.iter().map(|count| format!("{count:.0}")).collect();
        println!(
            "{:16}{:6}{:>12.0}{:>16}{:>12.0}{:>8.2}{:>8.0}  {all:.0}: {}",
            cost.setup.name(),
            cost.protocol.title(),
            median(&cost.hot_ns),
            format!("{:.0} ({:.0})", median(&cost.total_ns), least(&cost.total_ns)),
            median(&cost.steady_ns),
            cost.came.attributes_per_node(),
            cost.came.bytes as f64 / (cost.came.nodes + cost.came.others) as f64,
            each.join(" "),
        );
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}
