//! `longpole run`: runs a command, receives the spans it sends, and reports on them.

mod child;
mod progress;
mod signals;
mod told;
pub(crate) mod wiring;

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;

use self::child::Ended;
use self::progress::Progress;
use self::told::Session;
use crate::analysis::AnalysisArgs;
use crate::context::Context;
use crate::failure::Failure;
use crate::gates::GateArgs;
use crate::receiver::{Limits, Receiver, Tally};

/// Run a command and report on the spans it sends
///
/// Starts a receiver of OpenTelemetry spans (OTLP over HTTP and gRPC) on a free port of this machine, tells the command
/// of it by the variables that OpenTelemetry's SDKs read, and reports when the command has ended. The command keeps
/// its standard input, output and error, and its exit status; the report goes to standard error, after a blank line,
/// or to the files given with -o.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct RunArgs {
    /// The command and its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,

    /// Run it so many times, and tell what the runs say together
    #[arg(short = 'n', long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..), value_name = "TIMES")]
    runs: u32,

    /// Run it so many times first, and leave that out
    #[arg(long, default_value_t = 0, value_name = "TIMES")]
    warmup: u32,

    /// How long to wait for spans after the command has ended, if something still has a connection then; what has come
    /// of a command that is gone is waited for anyway
    #[arg(long, value_parser = humantime::parse_duration, default_value = "2s", value_name = "TIME")]
    drain: Duration,

    /// The workflow's name, for runs that do not say their own
    #[arg(long, value_name = "WORKFLOW")]
    workflow: Option<String>,

    /// Keep the runs with this label; can be given again
    #[arg(long = "label", value_parser = crate::history::label, value_name = "NAME=VALUE")]
    labels: Vec<(String, String)>,

    /// Write the reports to this file, as what its name ends in; can be given again. Standard error gets one line then
    #[arg(short, long, value_name = "FILE")]
    output: Vec<PathBuf>,

    /// Show a line about what has come while the command runs, if standard error is a terminal; the command must not
    /// draw there itself
    #[arg(long)]
    progress: bool,

    /// Whose exit status this command takes: the command's if it failed (child), or only that of what is said about its
    /// spans (gate)
    #[arg(long, value_enum, default_value_t = Status::Child, value_name = "WHOSE")]
    exit_code: Status,

    #[command(flatten)]
    gates: GateArgs,

    #[command(flatten)]
    analysis: AnalysisArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Status {
    Child,
    Gate,
}

const EXAMPLES: &str = "\
Examples:
  longpole run -- python agent.py
  longpole run -- opentelemetry-instrument python agent.py
  longpole run -n 20 --warmup 1 -o report.json -- ./pipeline
  longpole run --fail-if 'wall>25s' --fail-if 'cost>$0.10' -- python agent.py

Exit status: the command's own if it failed (128 and the signal if one killed it), 130 interrupted, 1 could not do it,
2 wrong usage, 3 a gate failed, 4 no spans came, else 0.";

/// No spans came, and why that may be.
const NO_SPANS_HELP: &str = " \
is it instrumented? For Python: opentelemetry-instrument python agent.py
       it may set its own endpoint: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT overrides ours
       it may exit before flushing: call the tracer provider's shutdown()
       check the wiring with: longpole doctor";

/// How a run that was interrupted ends, as shells have it.
const INTERRUPTED: u8 = 130;

/// Runs the command as often as asked for and reports.
pub(crate) fn run(args: &RunArgs, context: &Context) -> Result<ExitCode, Failure> {
    let mut session = Session::new(args, context)?;
    let mut last = None;
    for number in 0..args.warmup.saturating_add(args.runs) {
        let once = run_once(args, context, number == 0)?;
        let is_over =
            once.ended.interrupted.is_some() || (once.ended.code() != 0 && args.exit_code == Status::Child);
        if number >= args.warmup || is_over {
            once.tell_problems(context, args.drain);
            session.add(once.spans, once.ended.is_broken_off());
        }
        last = Some((once.ended, once.endpoint, once.tally));
        if is_over {
            break;
        }
    }
    let Some((ended, endpoint, tally)) = last else { return Ok(ExitCode::SUCCESS) };
    let status = own_status(&ended, args.exit_code);
    let outcome = if session.is_empty() {
        Err(no_spans(&ended, &endpoint, &tally))
    } else {
        tell_interruption(&ended, context);
        session.tell()
    };
    match (outcome, status) {
        (Err(failure), None) => Err(failure),
        (Err(failure), Some(status)) => {
            failure.tell();
            Ok(ExitCode::from(status))
        }
        (Ok(_), Some(status)) => Ok(ExitCode::from(status)),
        (Ok(of_gates), None) => Ok(of_gates),
    }
}

/// What came of running the command once.
struct Once {
    ended: Ended,
    endpoint: String,
    spans: Vec<longpole::span_record::SpanRecord>,
    tally: Tally,
}

fn run_once(args: &RunArgs, context: &Context, is_first: bool) -> Result<Once, Failure> {
    let receiver = Receiver::start(Limits::default()).map_err(|error| {
        let error = anyhow::Error::new(error).context("cannot listen on 127.0.0.1");
        Failure::could_not(error, "check with longpole doctor what this machine allows")
    })?;
    let endpoint = receiver.endpoint();
    let wiring = wiring::wiring(&endpoint, |name| Some(env::var_os(name)?.to_string_lossy().into_owned()));
    if is_first {
        wiring.notes.iter().for_each(|note| context.warn("note", note));
    }
    let progress = if args.progress { Progress::begin() } else { None };
    let ended = child::run_to_end(&args.command, &wiring, &receiver, args.drain, progress.as_ref());
    drop(progress);
    let ended = ended.map_err(|error| {
        let help = "give a program and its arguments; for a line of shell: longpole run -- sh -c 'LINE'";
        Failure::could_not(error.into(), help)
    })?;
    let received = receiver.finish();
    Ok(Once { ended, endpoint, spans: received.spans, tally: received.tally })
}

impl Once {
    /// What is missing of what was sent, and why.
    fn tell_problems(&self, context: &Context, drain: Duration) {
        let Tally { refused, damaged, too_much, .. } = self.tally;
        let refused = refused.saturating_sub(too_much);
        let first = |text: &Option<String>| text.clone().unwrap_or_default();
        if too_much > 0 {
            let kept = self.tally.spans;
            let text =
                format!("memory for spans was full after {kept} spans; {too_much} requests were refused");
            crate::failure::warn("warning", &text);
        }
        if refused > 0 {
            let text = format!("{refused} requests were refused: {}", first(&self.tally.first_refusal));
            crate::failure::warn("warning", &text);
        }
        if damaged > 0 {
            let text =
                format!("{damaged} parts of requests could not be read: {}", first(&self.tally.first_damage));
            crate::failure::warn("warning", &text);
        }
        if self.ended.is_cut_off && self.ended.interrupted.is_none() {
            let text = format!(
                "something still had a connection {} after the command had ended; what it sends later is left out \
                 (--drain waits longer)",
                humantime::format_duration(drain)
            );
            context.warn("note", &text);
        }
    }
}

/// The exit status that has nothing to do with spans.
fn own_status(ended: &Ended, whose: Status) -> Option<u8> {
    match (ended.code(), ended.interrupted) {
        (0, None) => None,
        (0, Some(_)) => Some(INTERRUPTED),
        (code, _) => (whose == Status::Child || ended.interrupted.is_some()).then_some(code),
    }
}

fn tell_interruption(ended: &Ended, context: &Context) {
    if ended.interrupted.is_some() {
        context.warn(
            "note",
            &format!("interrupted after {}; this is what had come by then", seconds(ended.wall)),
        );
    }
}

fn no_spans(ended: &Ended, endpoint: &str, tally: &Tally) -> Failure {
    let mut text = format!(
        "the command finished ({}, {}) but sent no spans to {endpoint}",
        ended.in_words(),
        seconds(ended.wall)
    );
    let others = [
        (tally.metric_requests, "metrics"),
        (tally.log_requests, "logs"),
        (tally.trace_requests, "no spans"),
    ];
    for (requests, what) in others.into_iter().filter(|(requests, _)| *requests > 0) {
        text += &format!("; {requests} requests with {what} came");
    }
    Failure::nothing_there(anyhow::anyhow!(text), NO_SPANS_HELP)
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
