//! Measures what longpole and others cost, and writes the tables of it; see [`USAGE`].

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use longpole_benches::case::Case;
use longpole_benches::everything::{self, Plan};
use longpole_benches::export::client::{self, ClientSpec};
use longpole_benches::export::cost::{self, Cost, CostPlan};
use longpole_benches::sink::{self, SinkProcess};
use longpole_benches::tables::{self, Figures};

const USAGE: &str = "\
speed                    measures everything, and writes docs/speed.md and the tables of README.md; the figures as data
                         go to speed.json in the target folder
speed --short            sends spans from every pipeline once, and fails if one does not arrive or lacks an attribute
speed write FIGURES      writes both pages from such data, measuring nothing
speed cost [--only NAME[,NAME…]] [--protocol grpc|http] [--rounds N] [--nodes N] [--steady RATE] [--instructions] [--out FILE]
                         what a sent span costs alone, as data into FILE; names: longpole longpole-full export-only export-only-full
                         longpole-least longpole-least-full sdk sdk-least fastrace
speed sink, speed client SPEC, speed case …
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
    let (first, rest) = arguments.split_first().map_or(("", &[][..]), |(first, rest)| (first, rest));
    match (first, rest) {
        ("", _) => measure_everything(),
        ("--short", []) => check(),
        ("write", [figures]) => write_pages(&Figures::read(Path::new(figures))?),
        ("cost", options) => print_costs(options),
        ("sink", []) => Ok(sink::serve(|address| println!("{address}"))?),
        ("client", [spec]) => {
            let spec: ClientSpec = serde_json::from_str(spec)?;
            println!("{}", serde_json::to_string(&client::run(&spec)?)?);
            Ok(())
        }
        ("case", case) => {
            let (case, surroundings) = Case::from_arguments(case)?;
            println!("{}", serde_json::to_string(&case.run(&surroundings)?)?);
            Ok(())
        }
        _ => bail!("{USAGE}"),
    }
}

fn measure_everything() -> anyhow::Result<()> {
    let root = root()?;
    everything::build_allocations(&root)?;
    let figures = everything::measure(&Plan::whole(), &root, &|text| eprintln!("{text}"))?;
    let data = std::env::current_exe()?.with_file_name("speed.json");
    figures.write(&data)?;
    eprintln!("the figures are in {}", data.display());
    write_pages(&figures)?;
    for problem in figures.problems() {
        eprintln!("not measured: {problem}");
    }
    Ok(())
}

fn check() -> anyhow::Result<()> {
    let figures = everything::measure(&Plan::short(), &root()?, &|_| {})?;
    let problems = figures.problems();
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    let lossy: Vec<&str> =
        figures.sustained.iter().filter(|one| one.lost_at.is_some()).map(|one| one.setup.title()).collect();
    ensure!(lossy.is_empty(), "spans were lost at the lowest rate: {}", lossy.join(", "));
    print_table(&figures.costs);
    println!("everything arrived, with the attributes it is to have");
    Ok(())
}

fn write_pages(figures: &Figures) -> anyhow::Result<()> {
    let root = root()?;
    std::fs::write(root.join("docs/speed.md"), tables::page(figures))?;
    let readme = root.join("README.md");
    let page = std::fs::read_to_string(&readme)?;
    std::fs::write(&readme, tables::put_into(&page, &tables::short(figures))?)?;
    Ok(())
}

/// The repository.
fn root() -> anyhow::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().context("the repository this was built from is gone")
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
    let costs = cost::measure(&plan, &sink, |text| eprintln!("{text}"));
    print_table(&costs);
    if let Some(file) = option("--out") {
        std::fs::write(file, serde_json::to_vec_pretty(&costs)?)?;
    }
    let problems = costs.iter().filter(|cost| cost.problem.is_some()).count();
    ensure!(problems == 0, "{problems} were not measured to the end");
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
        if let Some(problem) = &cost.problem {
            println!("    PROBLEM: {problem}");
        }
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
