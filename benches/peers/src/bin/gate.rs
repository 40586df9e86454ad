//! Counts instructions of longpole's own work and fails where they are more than the committed baseline.
//!
//! `cargo run --release -p longpole-benches --bin gate`; with `-- --update` the counts become the baseline, with
//! `-- --only TEXT` only cases with that in their names are counted, and with `-- --plant 5` each does 5 % more work
//! than the baseline says, so that the gate can be seen to fail.

#![allow(clippy::print_stdout, reason = "its output is a table")]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use longpole::harness::{Content, Harness};
use longpole_benches::baseline::{Baseline, Compared, TOLERATED_PERCENT, Verdict, compiler};
use longpole_benches::instructions::{count, valgrind_version};
use longpole_benches::workloads::{Workload, one_run};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry;

const UPDATE: &str = "cargo run --release -p longpole-benches --bin gate -- --update";
const WARM_UP_RUNS: usize = 10;
const MEASURED_RUNS: usize = 10;
/// What one turn of the planted loop costs.
const INSTRUCTIONS_PER_TURN: u64 = 3;

/// A case is a line here.
const CASES: &[(&str, Work)] = &[
    ("A analysis", Work::Spans(Workload::A, Content::Analysis)),
    ("A lean", Work::Spans(Workload::A, Content::Lean)),
    ("A full", Work::Spans(Workload::A, Content::Full)),
    ("A unsampled", Work::Spans(Workload::A, Content::Unsampled)),
    ("A location", Work::Spans(Workload::A, Content::Location)),
    ("A threads", Work::Spans(Workload::A, Content::Threads)),
    ("A target", Work::Spans(Workload::A, Content::Target)),
    ("A OpenTelemetry's context", Work::Spans(Workload::A, Content::OtelContext)),
    ("A OpenTelemetry's ids", Work::Spans(Workload::A, Content::OtelIds)),
    ("B analysis", Work::Spans(Workload::B, Content::Analysis)),
    ("B lean", Work::Spans(Workload::B, Content::Lean)),
    ("C analysis", Work::Spans(Workload::C, Content::Analysis)),
    ("C lean", Work::Spans(Workload::C, Content::Lean)),
    ("C full", Work::Spans(Workload::C, Content::Full)),
    ("C OpenTelemetry's context", Work::Spans(Workload::C, Content::OtelContext)),
    ("text of 1 KiB", Work::Spans(Workload::Text1, Content::Lean)),
    ("text of 1 KiB, not searched", Work::Spans(Workload::Text1, Content::Unmasked)),
    ("text of 16 KiB", Work::Spans(Workload::Text16, Content::Lean)),
    ("events", Work::Spans(Workload::Events, Content::Lean)),
    ("links", Work::Spans(Workload::Links, Content::Lean)),
];

#[derive(Clone, Copy)]
enum Work {
    /// Spans of a workload, on the thread that makes them.
    Spans(Workload, Content),
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        Some(arguments.get(at + 1).map_or("", String::as_str))
    };
    if let Some(name) = value("--case") {
        let turns = value("--turns").unwrap_or("0").parse().context("--turns takes a number")?;
        println!("{}", work(case(name)?, turns));
        return Ok(ExitCode::SUCCESS);
    }
    let percent: u64 = value("--plant").unwrap_or("0").parse().context("--plant takes per cents")?;
    gate(value("--only").unwrap_or_default(), percent, value("--update").is_some())
}

fn case(name: &str) -> anyhow::Result<Work> {
    match CASES.iter().find(|(known, _)| *known == name) {
        Some((_, work)) => Ok(*work),
        None => bail!("no case is called {name:?}"),
    }
}

/// Counts, compares, tells.
fn gate(only: &str, planted_percent: u64, is_update: bool) -> anyhow::Result<ExitCode> {
    let Some(valgrind) = valgrind_version() else {
        println!("NOTHING COUNTED: valgrind is not installed");
        return Ok(ExitCode::SUCCESS);
    };
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../baseline.json");
    let baseline = Baseline::read(&path);
    let (rust, target) = compiler();
    let mut now = Baseline { rust, target, ..Baseline::default() };
    let before = if is_update { baseline.unwrap_or_default() } else { baseline? };
    println!("rustc {}, {}, {valgrind}; baseline by rustc {}", now.rust, now.target, before.rust);
    if !is_update && before.target != now.target {
        println!("NOTHING COMPARED: the baseline is for {}", before.target);
        return Ok(ExitCode::SUCCESS);
    }
    let mut all: Vec<Compared> = Vec::new();
    for (name, _) in CASES.iter().filter(|(name, _)| name.contains(only)) {
        let known = before.instructions.get(*name).copied().unwrap_or(0);
        let counted = instructions(name, known * planted_percent / 100 / INSTRUCTIONS_PER_TURN)?;
        now.instructions.insert((*name).to_owned(), counted);
        let compared = before.compare(name, counted);
        println!("{compared}");
        all.push(compared);
    }
    if is_update {
        // Those that were not counted stay.
        for (name, _) in CASES {
            if let Some(known) = before.instructions.get(*name) {
                now.instructions.entry((*name).to_owned()).or_insert(*known);
            }
        }
        now.write(&path)?;
        println!("\nwritten to {}", path.display());
        return Ok(ExitCode::SUCCESS);
    }
    Ok(tell(&all, &before, &now))
}

fn tell(all: &[Compared], before: &Baseline, now: &Baseline) -> ExitCode {
    let of = |verdicts: &[Verdict]| -> Vec<&Compared> {
        all.iter().filter(|compared| verdicts.contains(&compared.verdict())).collect()
    };
    let failed = of(&[Verdict::Worse, Verdict::New]);
    let better = of(&[Verdict::Better]);
    if !better.is_empty() {
        println!("\n{} cases cost less than the baseline says; keep that: {UPDATE}", better.len());
        better.iter().for_each(|compared| println!("  {compared}"));
    }
    if failed.is_empty() {
        println!("\n{} cases within {TOLERATED_PERCENT} % of the baseline", all.len() - better.len());
        return ExitCode::SUCCESS;
    }
    println!("\nFAILED: {} cases cost over {TOLERATED_PERCENT} % more than the baseline says", failed.len());
    failed.iter().for_each(|compared| println!("  {compared}"));
    if before.rust != now.rust {
        println!("The baseline was counted with rustc {}, this is {}.", before.rust, now.rust);
    }
    println!("If that is worth it: {UPDATE}");
    ExitCode::FAILURE
}

/// Instructions per span in a process of its own.
fn instructions(name: &str, turns: u64) -> anyhow::Result<u64> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--case", name, "--turns", &turns.to_string()]);
    let counted = count(&command, Some("gate::measured*"), &std::env::temp_dir())
        .with_context(|| format!("cannot count {name:?}"))?;
    let spans: u64 = counted.printed.trim().parse().context("a case prints how many spans it made")?;
    Ok(counted.instructions / spans.max(1))
}

/// Does the work of a case and returns how many spans were measured.
fn work(work: Work, turns: u64) -> usize {
    match work {
        Work::Spans(workload, content) => spans(workload, content, turns),
    }
}

fn spans(workload: Workload, content: Content, turns: u64) -> usize {
    let mut harness = Harness::new(content);
    let is_first = tracing::subscriber::set_global_default(registry().with(harness.layer())).is_ok();
    assert!(is_first, "one case per process");
    let text = workload.text();
    let spans = workload.spans_per_run();
    for _ in 0..WARM_UP_RUNS {
        one_run(workload, &text);
        assert_eq!(harness.discard(), spans);
    }
    for _ in 0..MEASURED_RUNS {
        measured(turns * spans as u64, || one_run(black_box(workload), &text));
        assert_eq!(harness.discard(), spans);
    }
    MEASURED_RUNS * spans
}

/// What callgrind counts.
#[inline(never)]
fn measured(turns: u64, work: impl FnOnce()) {
    work();
    for turn in 0..turns {
        black_box(turn);
    }
}
