//! Addresses at which there is nobody, and clocks that cannot be trusted.

use std::time::Duration;

use super::trial::{PATIENCE, Trial, name};
use super::untrusted::Untrusted;
use super::{Outcome, Plan, at_once, case};
use crate::client::{ClientSpec, Protocol};
use crate::sink::Network;

/// Waits double from a tenth of a second, so there are few tries after this.
const QUICK_TRIES_MS: u64 = 1_500;
/// The share of one core that waiting for a backend may cost.
const WAITING_CPU: f64 = 0.01;

/// Spans and then nothing: what trying again costs.
pub(super) fn nobody_there(plan: &Plan) -> anyhow::Result<Vec<Outcome>> {
    let cases: Vec<(&str, Protocol)> = ["no such name", "refused", "no TLS there", "untrusted certificate"]
        .into_iter()
        .flat_map(|what| [(what, Protocol::Grpc), (what, Protocol::Http)])
        .collect();
    at_once(6, cases, |(what, protocol)| {
        Ok(case(plan, format!("{}, {what}", name(protocol)), |named| one(plan, named, what, protocol)))
    })
}

fn one(plan: &Plan, named: &str, what: &str, protocol: Protocol) -> anyhow::Result<Outcome> {
    let mut trial = Trial::new(plan, protocol)?;
    let url = trial.sink.url();
    let mut untrusted = None;
    match what {
        "no such name" => trial.set("OTEL_EXPORTER_OTLP_ENDPOINT", "http://nobody.invalid:4318"),
        "refused" => trial.sink.set_network(Network::Down),
        "untrusted certificate" => {
            let server = Untrusted::start()?;
            trial.set("OTEL_EXPORTER_OTLP_ENDPOINT", &server.url);
            untrusted = Some(server);
        }
        _ => {
            trial.sink.set_network(Network::Garbled);
            trial.set("OTEL_EXPORTER_OTLP_ENDPOINT", url.replace("http:", "https:"));
        }
    }
    let idle_ms = plan.pick(3_000, 60_000);
    let spec = ClientSpec { idle_ms, waits_for_word: true, flush_ms: Some(200), ..trial.spec(500, 200) };
    let client = trial.start(&spec)?;
    client.wait_for_spans(PATIENCE)?;
    // The first tries come quickly one after another; what it costs to wait is seen after them.
    std::thread::sleep(Duration::from_millis(QUICK_TRIES_MS));
    let report = client.report(PATIENCE + Duration::from_millis(idle_ms))?;
    let tries = match &untrusted {
        Some(server) => server.connections(),
        None => trial.sink.tally(|tally| tally.connections),
    };
    trial.set("OTEL_EXPORTER_OTLP_ENDPOINT", url);
    trial.sink.set_network(Network::Up);
    trial.settle()?;
    let mut outcome = trial.outcome(named)?;
    outcome.report(&report);
    outcome.must_lose_nothing();
    outcome.must_end_in_time(&report);
    if let Some(idle) = &report.idle {
        let ratio = idle.cpu_ratio();
        outcome.must(ratio <= WAITING_CPU, || format!("waiting took {:.1} % of a core", ratio * 100.0));
        outcome.more.push(format!("waiting: {:.2} % of a core", ratio * 100.0));
    }
    if matches!(what, "no TLS there" | "untrusted certificate") {
        let most = 20 + idle_ms / 1_000;
        outcome.must(tries <= most, || format!("{tries} tries"));
        outcome.more.push(format!("{tries} tries in {:.0} s", (idle_ms + QUICK_TRIES_MS) as f64 / 1e3));
    }
    Ok(outcome)
}

/// Not from outside: the machine's clock is not ours to set.
pub(super) fn clock(plan: &Plan) -> anyhow::Result<Vec<Outcome>> {
    let why = "the machine's clock is not set for a test; the crate's own tests give the time as an argument";
    Ok(vec![Outcome::skipped("one hour forward and back", plan.pipeline(), why)])
}
