//! What a span costs with longpole and with others: instructions and allocations, by callgrind.
//!
//! `cargo run --release -p longpole-benches --bin peers -- [--only TEXT] [--out FILE] [--short]` runs every set-up with
//! every workload in processes of their own and prints a table; the figures go to FILE, a JSON object a line.

#![allow(clippy::print_stdout, reason = "its output is a table")]

use std::process::ExitCode;

use longpole_benches::case::Case;
use longpole_benches::span_costs;

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("case", case)) = arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        let (case, surroundings) = Case::from_arguments(case)?;
        println!("{}", serde_json::to_string(&case.run(&surroundings)?)?);
        return Ok(ExitCode::SUCCESS);
    }
    let value = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        Some(arguments.get(at + 1).map_or("", String::as_str))
    };
    let costs =
        span_costs::measure(value("--only").unwrap_or_default(), value("--short").is_some(), |cost| {
            println!("{}", span_costs::line(cost));
        })?;
    if let Some(path) = value("--out") {
        longpole_benches::results::write(path.as_ref(), &costs)?;
    }
    let is_whole = costs.iter().all(|cost| cost.problem.is_none());
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
