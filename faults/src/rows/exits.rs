//! The ways a program ends, and the one way it doubles.

use std::os::unix::process::ExitStatusExt;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;

use super::metronome::Metronome;
use super::trial::{PATIENCE, Trial};
use super::{Outcome, Plan, at_once, case};
use crate::client::{ClientReport, ClientSpec, End, Pipeline, Protocol, client_of};

/// What it is called, how it comes, and how many spans each may cost: those of the last millisecond.
type Ending = (&'static str, End, Option<Signal>, f64);
const ENDS: [Ending; 10] = [
    ("return from main", End::Return, None, 0.0),
    ("process::exit", End::Exit, None, 2.0),
    ("longpole::exit", End::LongpoleExit, None, 0.0),
    ("panic in main", End::PanicMain, None, 0.0),
    ("panic in a thread", End::PanicThread, None, 0.0),
    ("panic in a task", End::PanicTask, None, 0.0),
    ("abort", End::Abort, None, 2.0),
    ("stack overflow", End::StackOverflow, None, 2.0),
    ("SIGTERM", End::Killed, Some(Signal::TERM), 2.0),
    ("SIGINT", End::Killed, Some(Signal::INT), 2.0),
];

/// Each end a few times, at the rate of an agent and at that of a pipeline; a start comes after them.
pub(super) fn exits(plan: &Plan) -> anyhow::Result<Vec<Outcome>> {
    let rates = [50, 1_000];
    let times = plan.pick(3, 20);
    let ends = ENDS.iter().filter(|end| plan.pipeline() == Pipeline::Longpole || end.1 != End::LongpoleExit);
    let cases = ends.flat_map(|end| rates.map(|rate| (*end, rate))).collect();
    let mut outcomes = at_once(4, cases, |(end, rate): (Ending, u32)| {
        Ok(case(plan, format!("{}, {rate}/s, {times} times", end.0), |what| {
            one(plan, what, end, rate, times)
        }))
    })?;
    let why = "needs a memory cgroup of its own; to the process it is the SIGKILL of F11";
    outcomes.push(Outcome::skipped("OOM kill", plan.pipeline(), why));
    Ok(outcomes)
}

fn one(
    plan: &Plan,
    what: &str,
    (_, end, signal, allowed): Ending,
    rate: u32,
    times: u32,
) -> anyhow::Result<Outcome> {
    let (trial, metronome) = (Trial::new(plan, Protocol::Http)?, Metronome::start());
    for _ in 0..times {
        let run_spans = if rate < 100 { 5 } else { 20 };
        let spec = ClientSpec { end, run_spans, ..trial.spec(rate, 400) };
        let mut client = trial.start(&spec)?;
        if let Some(signal) = signal {
            sleep(Duration::from_millis(400));
            client.signal(signal)?;
        }
        let status = client.ended(PATIENCE)?;
        let is_killed = status.signal().is_some();
        let expects_kill = signal.is_some() || matches!(end, End::Abort | End::StackOverflow);
        anyhow::ensure!(is_killed == expects_kill, "it ended with {status}");
    }
    let allowed = metronome.allowed(allowed, times);
    let at_the_end = trial.outcome("")?.lost;
    trial.settle()?;
    let mut outcome = trial.outcome(what)?;
    let mean = outcome.lost as f64 / f64::from(times);
    outcome.must(outcome.produced > 0, || "no span was made".to_owned());
    outcome.must(mean <= allowed, || format!("{mean:.1} spans lost an end, {allowed:.1} allowed"));
    outcome
        .more
        .push(format!("{at_the_end} had not arrived at the end, {} after the next start", outcome.lost));
    Ok(outcome)
}

/// The child goes on making spans; both processes shut down.
pub(super) fn fork(plan: &Plan) -> anyhow::Result<Vec<Outcome>> {
    let trial = Trial::new(plan, Protocol::Http)?;
    let spec = ClientSpec { end: End::Fork, flush_ms: Some(2_000), ..trial.spec(500, 400) };
    let child_number = spec.client + 1;
    let (report, child) = trial.start(&spec)?.reports(PATIENCE)?;
    trial.settle()?;
    let mut outcome = trial.outcome("500/s in each")?;
    outcome.report(&ClientReport { produced: report.produced * 2, ..report.clone() });
    let made = crate::client::process::closed_in(trial.log())?;
    let of_child = made.iter().filter(|span| client_of(**span) == child_number);
    let lost_by_child =
        trial.sink.tally(|tally| of_child.filter(|span| !tally.arrivals.contains_key(span)).count() as u64);
    let lost_by_parent = outcome.lost - lost_by_child;
    outcome.must(lost_by_parent == 0, || format!("the parent lost {lost_by_parent}"));
    outcome.must(outcome.duplicates == 0, || "spans of the parent came twice".to_owned());
    match child {
        None => outcome.must(false, || "the child did not come to its end".to_owned()),
        Some(child) => {
            let counts = child.shutdown.counts.clone().unwrap_or_default();
            outcome.must(lost_by_child <= counts.lost + counts.pending, || {
                format!("the child lost {lost_by_child} and says {counts:?}")
            });
            let took = child.flush.took_ms + child.shutdown.took_ms;
            outcome.must(took <= 2_500.0, || format!("the child needed {took:.0} ms to end"));
            outcome.more.push(format!("the child lost {lost_by_child}, ended in {took:.0} ms"));
        }
    }
    Ok(vec![outcome])
}
