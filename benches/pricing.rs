//! What it costs to read the table of prices, to find a model in it for the first time, and to price a call.
//!
//! `cargo bench --no-default-features --bench pricing` prints a Markdown table. Times are medians and shared machines
//! blur them; instructions are counted by callgrind, where valgrind is installed, inside [`measured`] only. What costs
//! more than its budget fails the program.

#![allow(clippy::print_stdout, reason = "its output is a table")]

use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use longpole::prices::{Call, Price, PriceTable, Unit, Unpriced, Usage};
use longpole::time::Timestamp;

/// A call's provider and model; what it used is the same for all.
type Name = (Option<&'static str>, &'static str);

const PLAIN: Name = (Some("openai"), "gpt-4o-2024-08-06");
const CACHED: Name = (Some("anthropic"), "claude-sonnet-4-5");
const DATED: Name = (Some("deepseek"), "deepseek-chat");
const LAST: Name = (Some("aws.bedrock"), "us.anthropic.claude-sonnet-4-20250514-v1:0");
const BY_MODEL: Name = (None, "gemini-2.5-pro");
const UNKNOWN: Name = (Some("openai"), "my-own-model");

struct Case {
    name: &'static str,
    call: Option<Name>,
    is_first: bool,
    budget: Duration,
}

const fn later(name: &'static str, call: Name) -> Case {
    Case { name, call: Some(call), is_first: false, budget: Duration::from_micros(2) }
}

const fn first(name: &'static str, call: Name) -> Case {
    Case { name, call: Some(call), is_first: true, budget: Duration::from_millis(2) }
}

const CASES: [Case; 10] = [
    Case { name: "read the table", call: None, is_first: true, budget: Duration::from_millis(10) },
    first("first: a plain model", PLAIN),
    first("first: behind a word for the provider", LAST),
    first("first: by the model's name alone", BY_MODEL),
    first("first: an unknown model", UNKNOWN),
    later("later: a plain model", PLAIN),
    later("later: with cached tokens", CACHED),
    later("later: prices by date and hour", DATED),
    later("later: with tiers", BY_MODEL),
    later("later: an unknown model", UNKNOWN),
];

fn usage() -> Usage {
    Usage::tokens(10_000, 500).with(Unit::CACHE_READ, 6_000).with(Unit::CACHE_WRITE, 2_000)
}

fn price(table: &PriceTable, (provider, model): Name, usage: &Usage) -> Result<Price, Unpriced> {
    let at = Timestamp::from_unix_nanos(1_793_534_400_000_000_000);
    table.price(&Call { provider, api_url: None, model, at, context: &[("service_tier", "default")], usage })
}

/// What callgrind counts.
#[inline(never)]
fn measured(call: Option<Name>, usage: &Usage) {
    let table = black_box(PriceTable::embedded());
    if let Some(call) = call {
        let _ = black_box(price(table, call, usage));
    }
}

/// Prices once, in a process of its own: everything is for the first time unless it is warmed up.
fn run(case: &Case) -> Duration {
    let usage = usage();
    if case.call.is_some() {
        PriceTable::embedded();
    }
    if let Some(call) = case.call.filter(|_| !case.is_first) {
        for _ in 0..1_000 {
            let _ = black_box(price(PriceTable::embedded(), call, &usage));
        }
    }
    let repeats = if case.is_first { 1 } else { 1_000 };
    let start = Instant::now();
    for _ in 0..repeats {
        measured(black_box(case.call), &usage);
    }
    start.elapsed() / repeats
}

fn this_program(case: &Case, program: Command) -> Option<std::process::Output> {
    let mut program = program;
    program.args(["--case", case.name]).output().ok()
}

/// The median of some runs.
fn time(case: &Case) -> Option<Duration> {
    let exe = std::env::current_exe().ok()?;
    let mut times = (0..15)
        .map(|_| {
            let output = this_program(case, Command::new(&exe))?;
            String::from_utf8_lossy(&output.stdout).trim().parse().ok().map(Duration::from_nanos)
        })
        .collect::<Option<Vec<_>>>()?;
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

fn instructions(case: &Case) -> Option<u64> {
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=pricing::measured*"])
        .arg("--callgrind-out-file=/dev/null")
        .arg(std::env::current_exe().ok()?);
    let output = this_program(case, valgrind)?;
    let text = String::from_utf8_lossy(&output.stderr);
    let total: u64 = text.lines().find_map(|line| line.split("Collected :").nth(1))?.trim().parse().ok()?;
    Some(total / if case.is_first { 1 } else { 1_000 })
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--case") {
        let case = CASES.iter().find(|case| arguments.get(at + 1).is_some_and(|name| name == case.name));
        println!("{}", run(case.expect("the program started itself")).as_nanos());
        return ExitCode::SUCCESS;
    }
    let usage = usage();
    for call in [PLAIN, CACHED, DATED, LAST, BY_MODEL] {
        price(PriceTable::embedded(), call, &usage).expect("what is measured is a priced call");
    }
    println!("| case | instructions | time | budget |");
    println!("|---|--:|--:|--:|");
    let mut is_within = true;
    for case in &CASES {
        let instructions =
            instructions(case).map_or_else(|| "not counted".to_owned(), |count| count.to_string());
        let time = time(case).expect("the program can start itself");
        let is_over = time > case.budget;
        is_within &= !is_over;
        let mark = if is_over { " (over)" } else { "" };
        println!("| {} | {instructions} | {time:.1?}{mark} | {:?} |", case.name, case.budget);
    }
    if is_within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
