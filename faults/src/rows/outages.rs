//! Backends that are away, slow, mute, or whose connections break, for a while.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::trial::{PATIENCE, Trial, name};
use super::{Outcome, Plan, at_once, case};
use crate::client::{ClientSpec, Protocol};
use crate::sink::{Answer, Network, Sink};

const BOTH: [Protocol; 2] = [Protocol::Grpc, Protocol::Http];
/// How soon a request must come after a fault has ended: ten seconds, and a little for a busy machine.
const RECOVERY: Duration = Duration::from_secs(12);
/// The most spans of a request of longpole's.
const REQUEST_SPANS: u64 = 2_048;

/// The backend is away in the middle, and there before and after.
pub(super) fn away(plan: &Plan) -> anyhow::Result<Vec<Outcome>> {
    let (before, away, after) = plan.pick((500, 1_500, 1_000), (8_000, 20_000, 8_000));
    let mut outcomes = Vec::new();
    for protocol in BOTH {
        let trial = Trial::new(plan, protocol)?;
        let spec = ClientSpec { flush_ms: Some(30_000), ..trial.spec(2_000, before + away + after) };
        let client = trial.start(&spec)?;
        sleep(Duration::from_millis(before));
        trial.sink.set_network(Network::Down);
        sleep(Duration::from_millis(away));
        trial.sink.set_network(Network::Up);
        let report = client.report(PATIENCE + Duration::from_millis(after))?;
        let was_started_again = trial.settle()?;
        let case = format!(
            "{}, {:.1} s of {:.1} s, 2,000/s",
            name(protocol),
            secs(away),
            secs(before + away + after)
        );
        let mut outcome = trial.outcome(case)?;
        outcome.report(&report);
        outcome.must_lose_nothing();
        let duplicates = outcome.duplicates;
        outcome.must(duplicates <= REQUEST_SPANS, || format!("{duplicates} duplicates"));
        if was_started_again {
            outcome.more.push("the rest came at the next start".to_owned());
        }
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

/// Each request is answered late.
pub(super) fn slow(plan: &Plan) -> anyhow::Result<Vec<Outcome>> {
    let ms = plan.pick(2_000, 20_000);
    let mut outcomes = Vec::new();
    for (delay, drained_ms) in [(500, 5_000.0), (2_000, 15_000.0)] {
        let trial = Trial::new(plan, Protocol::Grpc)?;
        trial.sink.answer(Vec::new(), vec![Answer::TakeAfter(Duration::from_millis(delay))]);
        let spec = ClientSpec { flush_ms: Some(30_000), ..trial.spec(2_000, ms) };
        let report = trial.start(&spec)?.report(PATIENCE + Duration::from_millis(ms))?;
        let mut outcome = trial.outcome(format!("{delay} ms a request, 2,000/s for {:.0} s", secs(ms)))?;
        outcome.report(&report);
        outcome.must_lose_nothing();
        outcome.must(report.flush.is_ok, || format!("the flush was not complete: {}", report.flush.text));
        let took = report.flush.took_ms;
        outcome.must(took <= drained_ms, || format!("the flush took {took:.0} ms"));
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

/// The backend accepts and never answers; it is well when the program starts again.
pub(super) fn mute(plan: &Plan) -> anyhow::Result<Vec<Outcome>> {
    let trial = Trial::new(plan, Protocol::Grpc)?;
    trial.sink.answer(Vec::new(), vec![Answer::Never]);
    let ms = plan.pick(2_000, 15_000);
    let spec = ClientSpec { flush_ms: plan.pick(Some(500), None), ..trial.spec(2_000, ms) };
    let report = trial.start(&spec)?.report(PATIENCE + Duration::from_millis(ms))?;
    let at_its_end = trial.outcome("")?.lost;
    trial.sink.set_network(Network::Down);
    trial.sink.answer(Vec::new(), vec![Answer::Take]);
    trial.sink.set_network(Network::Up);
    trial.settle()?;
    let mut outcome = trial.outcome(format!("2,000/s for {:.0} s", secs(ms)))?;
    outcome.report(&report);
    outcome.must_lose_nothing();
    outcome.must_end_in_time(&report);
    outcome
        .must(!report.shutdown.is_ok || spooled(&report) > 0, || "the shutdown said all is well".to_owned());
    outcome.more.push(format!("not received at its end: {at_its_end}"));
    Ok(vec![outcome])
}

fn spooled(report: &crate::client::ClientReport) -> u64 {
    report.shutdown.counts.as_ref().map_or(0, |counts| counts.spooled)
}

/// How a connection breaks.
#[derive(Clone, Copy)]
enum Broken {
    Network(Network),
    Answer(fn() -> Answer),
}

/// Connections break for a while, each in one way.
pub(super) fn broken(plan: &Plan) -> anyhow::Result<Vec<Outcome>> {
    let ways: Vec<(&str, Broken)> = vec![
        ("reset at once", Broken::Network(Network::ResetAfter(0))),
        ("reset after a byte", Broken::Network(Network::ResetAfter(1))),
        ("reset inside of a request", Broken::Network(Network::ResetAfter(700))),
        ("reset after the request", Broken::Answer(|| Answer::Reset)),
        ("GOAWAY after each request", Broken::Answer(|| Answer::GoAway)),
        ("no HTTP", Broken::Network(Network::Garbled)),
        ("half-open", Broken::Network(Network::Deaf)),
    ];
    let cases: Vec<_> =
        BOTH.iter().flat_map(|protocol| ways.iter().map(move |way| (*protocol, *way))).collect();
    at_once(plan.pick(4, 2), cases, |(protocol, (what, way))| {
        Ok(case(plan, format!("{}, {what}", name(protocol)), |what| broken_one(plan, protocol, what, way)))
    })
}

fn broken_one(plan: &Plan, protocol: Protocol, what: &str, way: Broken) -> anyhow::Result<Outcome> {
    let mut trial = Trial::new(plan, protocol)?;
    if plan.is_short {
        // A request on a dead connection is given up sooner than by default.
        trial.set("OTEL_EXPORTER_OTLP_TIMEOUT", "1000");
    }
    let rate = 1_000;
    let (before, broken, after) = plan.pick((300, 1_000, 500), (3_000, 30_000, 3_000));
    let spec = ClientSpec { flush_ms: Some(15_000), ..trial.spec(rate, before + broken + after) };
    let client = trial.start(&spec)?;
    sleep(Duration::from_millis(before));
    begin(&trial.sink, way);
    sleep(Duration::from_millis(broken));
    let healed = Instant::now();
    end(&trial.sink, way);
    let seen = trial.sink.tally(|tally| tally.requests.len());
    let came_back = trial.sink.wait_until(RECOVERY, |tally| tally.requests.len() > seen);
    let recovery = healed.elapsed();
    let report = client.report(PATIENCE + Duration::from_millis(after))?;
    let was_started_again = trial.settle()?;
    let mut outcome = trial.outcome(what)?;
    outcome.report(&report);
    outcome.must_lose_nothing();
    outcome.must(came_back && recovery <= RECOVERY, || {
        format!("the first request after the fault came after {recovery:.1?}")
    });
    // Spans whose fate a client cannot know come twice; each try that was reset may have been taken.
    let is_unknowable = matches!(way, Broken::Answer(answer) if matches!(answer(), Answer::Reset));
    let duplicates = outcome.duplicates;
    outcome.must(is_unknowable || duplicates <= 4 * REQUEST_SPANS, || format!("{duplicates} duplicates"));
    outcome.more.push(format!("back after {:.1} s", recovery.as_secs_f64()));
    if was_started_again {
        outcome.more.push("the rest came at the next start".to_owned());
    }
    Ok(outcome)
}

fn begin(sink: &Sink, way: Broken) {
    match way {
        Broken::Network(network) => sink.set_network(network),
        Broken::Answer(answer) => sink.answer(Vec::new(), vec![answer()]),
    }
}

fn end(sink: &Sink, way: Broken) {
    match way {
        Broken::Network(_) => sink.set_network(Network::Up),
        Broken::Answer(_) => sink.answer(Vec::new(), vec![Answer::Take]),
    }
}

fn secs(ms: u64) -> f64 {
    ms as f64 / 1e3
}
