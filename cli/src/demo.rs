//! `longpole demo`: reports on recorded runs that come with the tool.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::ValueEnum;
use longpole::decode::decode;
use longpole::render::{Printable, text};
use longpole::report::History;
use longpole::run_assembler::FinishedRun;
use longpole::span_record::SpanRecord;
use longpole::{Report, ReportOptions, report_on_run, runs_in};

use crate::context::Context;
use crate::failure::Failure;
use crate::output;

/// Show a report now, on a recorded run that comes with the tool: no network, no setup
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct DemoArgs {
    /// What was recorded: an agent that researches and writes, a nightly load of tables, a question put to many at
    /// once, or a payment that fails twice
    #[arg(value_enum, default_value_t = Recording::Agent, value_name = "WHICH")]
    recording: Recording,

    /// Play the run first, so many times faster than it was
    #[arg(long, value_parser = speed, value_name = "TIMES")]
    speed: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Recording {
    Agent,
    Etl,
    Fanout,
    Retry,
}

const EXAMPLES: &str = "\
Examples:
  longpole demo
  longpole demo retry
  longpole demo agent --speed 10                 watch the run first, ten times faster";

/// What to type after a demo.
const NEXT: &str = "\n  That was a recorded run. Yours:  longpole run -- CMD\n";

impl Recording {
    /// Runs of one workflow, the oldest first, as packed lines of OTLP JSON.
    fn bytes(self) -> &'static [u8] {
        match self {
            Recording::Agent => include_bytes!("../demo/agent.otlp.jsonl.gz"),
            Recording::Etl => include_bytes!("../demo/etl.otlp.jsonl.gz"),
            Recording::Fanout => include_bytes!("../demo/fanout.otlp.jsonl.gz"),
            Recording::Retry => include_bytes!("../demo/retry.otlp.jsonl.gz"),
        }
    }
}

/// Reports on the last run of a recording; those before it say what is usual.
pub(crate) fn demo(args: &DemoArgs, context: &Context) -> Result<(), Failure> {
    let damaged = || "the file with longpole itself is damaged: install it again";
    let decoded = decode(args.recording.bytes()).context("cannot read the recording");
    let decoded = decoded.map_err(|error| Failure::could_not(error, damaged()))?;
    let mut runs = runs_in(decoded.spans);
    let last = runs.pop();
    if let (Some(speed), Some(run)) = (args.speed, &last) {
        play(run, speed, &mut io::stderr().lock());
    }
    let mut history = History::default();
    for run in runs {
        let report = report_on_run(run, &ReportOptions::default());
        report.iter().for_each(|report| history.push(report));
    }
    let options = ReportOptions { history: Arc::new(history), ..ReportOptions::default() };
    let report: Option<Report> = last.and_then(|run| report_on_run(run, &options));
    let report =
        report.ok_or_else(|| Failure::could_not(anyhow::anyhow!("the recording holds no run"), damaged()))?;
    let next = if context.quiet { "" } else { NEXT };
    output::print_with(&(text(&report, &context.text_style()) + next), context.color_choice())
}

/// Says when each span ends, at the pace at which it was recorded, so many times faster.
fn play(run: &FinishedRun, speed: f64, to: &mut impl Write) {
    let mut spans: Vec<&SpanRecord> = run.records.iter().collect();
    spans.sort_by_key(|span| (span.end, span.span_id));
    let first = spans.iter().map(|span| span.start).min();
    let played_from = Instant::now();
    for span in spans {
        let after = span.end.saturating_since(first.unwrap_or(span.end));
        let wait = Duration::from_nanos(after.as_nanos()).div_f64(speed);
        std::thread::sleep(wait.saturating_sub(played_from.elapsed()));
        let (seconds, name) = (after.as_nanos() as f64 / 1e9, Printable::new(&span.name));
        let took = span.end.saturating_since(span.start).as_nanos() as f64 / 1e9;
        // Nobody need look on.
        let _ = writeln!(to, "{seconds:6.2} s  {name} ended after {took:.2} s");
    }
    let _ = writeln!(to);
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse::<f64>().ok().filter(|speed| (0.01..=1e9).contains(speed));
    speed.ok_or_else(|| "expected a number from 0.01 to 1000000000".to_owned())
}
