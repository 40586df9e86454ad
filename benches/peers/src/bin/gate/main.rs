//! Counts instructions of longpole's own work and fails where they are more than the committed baseline.
//!
//! `cargo run --release -p longpole-benches --bin gate`; with `-- --update` the counts become the baseline, with
//! `-- --only TEXT` only cases with that in their names are counted, and with `-- --plant 5` each does 5 % more work
//! than the baseline says, so that the gate can be seen to fail.

#![allow(clippy::print_stdout, reason = "its output is a table")]

mod cases;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context;
use longpole_benches::baseline::{Baseline, Compared, Counts, TOLERATED_PERCENT, Verdict, compiler};
use longpole_benches::instructions::{count, pin_c_library, valgrind_version};

use crate::cases::{CASES, Done, work};

const UPDATE: &str = "cargo run --release -p longpole-benches --bin gate -- --update";
/// What one turn of the planted loop costs.
const INSTRUCTIONS_PER_TURN: u64 = 4;

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        Some(arguments.get(at + 1).map_or("", String::as_str))
    };
    if let Some(name) = value("--case") {
        let turns = value("--turns").unwrap_or("0").parse().context("--turns takes a number")?;
        println!("{}", serde_json::to_string(&work(name, turns)?)?);
        return Ok(ExitCode::SUCCESS);
    }
    let percent: u64 = value("--plant").unwrap_or("0").parse().context("--plant takes per cents")?;
    gate(value("--only").unwrap_or_default(), percent, value("--update").is_some())
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
        let known = before.cases.get(*name).map_or(0, |known| known.instructions);
        let counted = counts(name, known * planted_percent / 100 / INSTRUCTIONS_PER_TURN)?;
        now.cases.insert((*name).to_owned(), counted);
        let compared = before.compare(name, counted);
        println!("{compared}");
        all.push(compared);
    }
    if is_update {
        // Those that were not counted stay.
        for (name, _) in CASES {
            if let Some(known) = before.cases.get(*name) {
                now.cases.entry((*name).to_owned()).or_insert(*known);
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
        println!("\n{} of the cases cost less than the baseline says; keep that: {UPDATE}", better.len());
        better.iter().for_each(|compared| println!("  {compared}"));
    }
    if failed.is_empty() {
        println!("\n{} cases within {TOLERATED_PERCENT} % of the baseline", all.len() - better.len());
        return ExitCode::SUCCESS;
    }
    println!("\nFAILED: {} of the cases cost more than the baseline says", failed.len());
    failed.iter().for_each(|compared| println!("  {compared}"));
    if before.rust != now.rust {
        println!("The baseline was counted with rustc {}, this is {}.", before.rust, now.rust);
    }
    println!("If that is worth it: {UPDATE}");
    ExitCode::FAILURE
}

/// Counts in a process of its own.
fn counts(name: &str, turns: u64) -> anyhow::Result<Counts> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--case", name, "--turns", &turns.to_string()]);
    pin_c_library(&mut command);
    let counted = count(&command, Some(cases::MEASURED), &std::env::temp_dir())
        .with_context(|| format!("cannot count {name:?}"))?;
    let done: Done = serde_json::from_str(&counted.printed).context("a case prints what it did")?;
    Ok(Counts {
        instructions: counted.instructions / done.measured.max(1),
        allocations_per_1000: done.made.map(|made| counted.allocations * 1000 / made.max(1)),
    })
}
