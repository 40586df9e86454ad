//! Brings each fault about for longpole and for the SDK and prints what became of the spans, as Markdown.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use longpole_faults::client::Pipeline;
use longpole_faults::rows::{Plan, ROWS};
use longpole_faults::table::markdown;

#[derive(Parser)]
struct Options {
    /// Seconds for each row, rather than the whole loads.
    #[arg(long)]
    short: bool,
    /// Only these rows, as in F1,F3.
    #[arg(long, value_delimiter = ',')]
    row: Vec<String>,
    /// Whose spans.
    #[arg(long, value_delimiter = ',', default_value = "longpole,sdk")]
    pipelines: Vec<Whose>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Whose {
    Longpole,
    Sdk,
}

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    for wanted in &options.row {
        anyhow::ensure!(ROWS.iter().any(|row| row.id == wanted), "there is no row {wanted}");
    }
    let pipelines = options.pipelines.iter().map(|whose| match whose {
        Whose::Longpole => Pipeline::Longpole,
        Whose::Sdk => Pipeline::Sdk,
    });
    let plan = Plan { is_short: options.short, pipelines: pipelines.collect(), client: client()? };
    let mut outcomes = Vec::new();
    for row in ROWS.iter().filter(|row| options.row.is_empty() || options.row.iter().any(|id| id == row.id)) {
        let of_row = row.run(&plan);
        let took = of_row.first().map_or(0.0, |outcome| outcome.row_took.as_secs_f64());
        let failed = of_row.iter().filter(|outcome| !outcome.failures.is_empty()).count();
        eprintln!("{} {}: {} cases, {failed} failed, {took:.1} s", row.id, row.what, of_row.len());
        outcomes.extend(of_row);
    }
    let today = httpdate::fmt_http_date(std::time::SystemTime::now());
    let today = today.split_whitespace().skip(1).take(3).collect::<Vec<_>>().join(" ");
    print!("{}", markdown(&outcomes, &today, plan.is_short));
    let is_well = outcomes.iter().all(|outcome| outcome.failures.is_empty());
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The client is built beside this program.
fn client() -> anyhow::Result<PathBuf> {
    let client = std::env::current_exe()?.with_file_name("fault-client");
    anyhow::ensure!(client.exists(), "{} is missing: build the whole crate", client.display());
    Ok(client)
}
