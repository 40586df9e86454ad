//! How long it takes, and how much memory, to get from a file of spans to reports, and to show them.
//!
//! `cargo bench --bench analysis --no-default-features --features compressed` writes OTLP files of 10⁴, 10⁵ and 10⁶
//! spans and prints Markdown tables: every step from bytes to pages, each for one span, what-if questions, and
//! instructions where valgrind is installed. Every case is a process of its own, so that its peak memory is its own
//! (Linux only; elsewhere there is none). Files are removed at the end. A short form:
//! `LONGPOLE_BENCH_MAX_SPANS=10000`. With `LONGPOLE_BENCH_JSON=file` the figures are appended there too, a line of
//! JSON each.

#![allow(clippy::print_stdout, reason = "its output is a table")]

mod counted;
mod spans;

use std::fs::{self, File, OpenOptions};
use std::hint::black_box;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use longpole::cost::price_spans;
use longpole::decode::{Limits, stream};
use longpole::render::{HtmlOptions, html_article};
use longpole::report::what_if::{Change, what_if};
use longpole::run_assembler::FinishedRun;
use longpole::span_record::SpanRecord;
use longpole::{Report, ReportOptions, report_on_run, report_with_timeline, runs_in};

use spans::{Format, write_spans};

const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];
const SPANS_PER_RUN: usize = 20;
/// Spans of the run whose every node is asked about.
const ASKED_SPANS: usize = 10_000;
/// The largest number of spans in a case; all sizes if it is not set.
const MAX_SPANS: &str = "LONGPOLE_BENCH_MAX_SPANS";
/// The file to which figures are appended.
const JSON: &str = "LONGPOLE_BENCH_JSON";

/// The steps, in their order. Peak memory is that of the steps to the report: pages are made later.
const STEPS: [&str; 7] = ["decode", "assemble", "price", "report", "text", "JSON", "HTML"];

/// Seconds of each step.
type Seconds = [f64; STEPS.len()];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let outcome = match arguments.get(1..).unwrap_or_default() {
        [flag, file] if flag == "--case" => measure(Path::new(file)),
        [flag, file] if flag == "--what-if" => ask_about_every_node(Path::new(file)),
        [flag, case] if flag == "--counted" => count(case),
        _ => tables(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Every case, in a process of its own.
fn tables() -> io::Result<()> {
    let folder = std::env::temp_dir().join(format!("longpole-analysis-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let outcome = cases(&folder);
    fs::remove_dir_all(&folder)?;
    outcome
}

fn cases(folder: &Path) -> io::Result<()> {
    let most = std::env::var(MAX_SPANS).ok().and_then(|most| most.parse().ok()).unwrap_or(usize::MAX);
    let sizes: Vec<usize> = SIZES.into_iter().filter(|spans| *spans <= most).collect();
    let steps = |unit: &str| STEPS.map(|step| format!("{step} {unit}")).join(" | ");
    println!("| case | spans | MB | runs | {} | peak MiB |", steps("s"));
    println!("|---|---|---|---|{}---|", "---|".repeat(STEPS.len()));
    let mut growth: Vec<(String, usize, Seconds)> = Vec::new();
    for format in Format::ALL {
        for is_one_run in [false, true] {
            let name = format!("{}, {}", format.name(), if is_one_run { "one run" } else { "runs of 20" });
            for spans in &sizes {
                let per_run = if is_one_run { *spans } else { SPANS_PER_RUN };
                growth.push((name.clone(), *spans, case(folder, &name, format, *spans, per_run)?));
            }
        }
    }
    println!("\n| case | spans | {} |", steps("µs for each"));
    println!("|---|---|{}", "---|".repeat(STEPS.len()));
    for (name, spans, seconds) in &growth {
        let each = seconds.map(|seconds| format!("{:.2}", seconds * 1e6 / *spans as f64));
        println!("| {name} | {spans} | {} |", each.join(" | "));
    }
    println!("\n| case | spans | nodes | s |\n|---|---|---|---|");
    let file: PathBuf = folder.join("spans");
    write_file(&file, Format::Protobuf, ASKED_SPANS, ASKED_SPANS)?;
    println!("| what-if for every node of one run | {ASKED_SPANS} | {} |", told_by("--what-if", &file)?);
    println!("\n| case | spans | instructions for each |\n|---|---|---|");
    for case in counted::CASES {
        let Some(instructions) = instructions(case) else {
            println!("| {case} | {} | not counted |", counted::SPANS);
            continue;
        };
        let each = instructions as f64 / counted::SPANS as f64;
        println!("| {case} | {} | {each:.0} |", counted::SPANS);
        append(&format!(
            r#"{{"bench":"analysis","case":"{case}","spans":{},"instructions_per_span":{each:.1}}}"#,
            counted::SPANS
        ))?;
    }
    Ok(())
}

fn case(folder: &Path, name: &str, format: Format, spans: usize, per_run: usize) -> io::Result<Seconds> {
    let file: PathBuf = folder.join("spans");
    write_file(&file, format, spans, per_run)?;
    let bytes = fs::metadata(&file)?.len();
    let told = told_by("--case", &file).map_err(|error| io::Error::other(format!("{name}: {error}")))?;
    let numbers: Vec<f64> = told.split_whitespace().map_while(|number| number.parse().ok()).collect();
    let [runs, peak, seconds @ ..] = &numbers[..] else {
        return Err(io::Error::other(format!("{name}: no figures in {told:?}")));
    };
    let seconds: Seconds = seconds.try_into().map_err(|_| io::Error::other(format!("{name}: {told:?}")))?;
    let cells = seconds.map(|seconds| format!("{seconds:.3}")).join(" | ");
    let mebibytes = peak / f64::from(1 << 20);
    println!("| {name} | {spans} | {:.1} | {runs} | {cells} | {mebibytes:.0} |", bytes as f64 / 1e6);
    let steps = STEPS.iter().zip(seconds);
    let steps: Vec<String> = steps.map(|(step, seconds)| format!(r#""{step}":{seconds:.6}"#)).collect();
    append(&format!(
        r#"{{"bench":"analysis","case":"{name}","spans":{spans},"bytes":{bytes},"runs":{runs},"seconds":{{{}}},"peak_bytes":{peak}}}"#,
        steps.join(",")
    ))?;
    Ok(seconds)
}

/// Appends a line to the file of figures, if one is wanted.
fn append(line: &str) -> io::Result<()> {
    let Some(file) = std::env::var_os(JSON) else { return Ok(()) };
    writeln!(OpenOptions::new().create(true).append(true).open(file)?, "{line}")
}

fn write_file(file: &Path, format: Format, spans: usize, per_run: usize) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(file)?);
    write_spans(&mut out, format, spans, per_run)?;
    out.flush()
}

/// What this program prints in a process of its own.
fn told_by(flag: &str, file: &Path) -> io::Result<String> {
    let output = Command::new(std::env::current_exe()?).arg(flag).arg(file).output()?;
    let told = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() { Ok(told) } else { Err(io::Error::other(told)) }
}

/// The only run in a file.
fn only_run(file: &Path) -> io::Result<FinishedRun> {
    let mut runs = runs_in(decoded(file)?);
    match (runs.pop(), runs.len()) {
        (Some(run), 0) if run.left_out == 0 => Ok(run),
        (_, others) => Err(io::Error::other(format!("{others} runs too many, or spans were left out"))),
    }
}

fn decoded(file: &Path) -> io::Result<Vec<SpanRecord>> {
    let mut spans = Vec::new();
    let problems = stream(File::open(file)?, &Limits::default(), &mut |span| spans.push(span));
    match problems.map_err(io::Error::other)?.first() {
        Some(problem) => Err(io::Error::other(problem.to_string())),
        None => Ok(spans),
    }
}

/// Asks of each node of the only run in a file what the run would have been without it, each time from the start.
fn ask_about_every_node(file: &Path) -> io::Result<()> {
    let run = only_run(file)?;
    let options = ReportOptions::default();
    let report = report_on_run(run.clone(), &options).ok_or_else(|| io::Error::other("no spans"))?;
    let nodes: Vec<String> =
        report.nodes.into_iter().filter(|node| !node.is_root).map(|node| node.name).collect();
    let begin = Instant::now();
    for node in &nodes {
        let change = Change::Remove { node: node.clone() };
        what_if(run.clone(), &[change], &options.run).map_err(io::Error::other)?;
    }
    println!("{} | {:.3}", nodes.len(), begin.elapsed().as_secs_f64());
    Ok(())
}

/// Goes all the way from a file to pages, and prints the number of runs, the peak memory and the seconds of each step.
fn measure(file: &Path) -> io::Result<()> {
    let options = ReportOptions::default();
    let (spans, decode) = timed(|| decoded(file));
    let (runs, assemble) = timed(|| spans.map(runs_in));
    let mut runs = runs?;
    let ((), price) = timed(|| runs.iter_mut().for_each(|run| price_spans(&mut run.records, None)));
    let (reports, report): (Vec<Report>, f64) =
        timed(|| runs.into_iter().filter_map(|run| report_on_run(run, &options)).collect());
    let peak = peak_memory().unwrap_or(0);
    let ((), text) = timed(|| reports.iter().for_each(|report| drop(black_box(report.to_text()))));
    let ((), json) = timed(|| reports.iter().for_each(|report| drop(black_box(report.to_json()))));
    // A page has a waterfall, for which where each span lies has to be found first.
    let runs = runs_in(decoded(file)?).into_iter();
    let with_timelines: Vec<_> = runs.filter_map(|run| report_with_timeline(run, &options)).collect();
    let ((), html) = timed(|| {
        for (report, timeline) in &with_timelines {
            black_box(html_article(report, Some(timeline), &HtmlOptions::default()));
        }
    });
    let seconds: Seconds = [decode, assemble, price, report, text, json, html];
    println!("{} {peak} {}", reports.len(), seconds.map(|seconds| format!("{seconds:.6}")).join(" "));
    Ok(())
}

/// What a step gives, and the seconds it took.
fn timed<T>(step: impl FnOnce() -> T) -> (T, f64) {
    let begin = Instant::now();
    let outcome = step();
    (outcome, begin.elapsed().as_secs_f64())
}

/// The most memory this process ever had, in bytes.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// What callgrind counts.
#[inline(never)]
fn measured(case: Box<dyn FnOnce()>) {
    case();
}

fn count(case: &str) -> io::Result<()> {
    let prepared = counted::prepare(case);
    measured(prepared.ok_or_else(|| io::Error::other(format!("no case {case:?}")))?);
    Ok(())
}

/// What a counted case takes; `None` without valgrind.
fn instructions(case: &str) -> Option<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=analysis::measured*"])
        .arg("--callgrind-out-file=/dev/null")
        .arg(std::env::current_exe().ok()?)
        .args(["--counted", case])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr);
    text.lines().find_map(|line| line.split("Collected :").nth(1))?.trim().parse().ok()
}
