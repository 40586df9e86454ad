//! What longpole costs a program: idle, and where a span is closed.

use std::time::Duration;

use super::trial::{PATIENCE, Trial, name};
use super::{Outcome, Plan, at_once};
use crate::client::{ClientSpec, Protocol};
use crate::sink::Network;

/// The share of one core that an idle program may spend.
const IDLE_CPU: f64 = 0.005;
const IDLE_RSS_KIB: u64 = 1 << 10;

/// A few spans, then nothing, with every span and event of every library recorded: nothing may feed on itself.
pub(super) fn idle(plan: &Plan) -> anyhow::Result<Vec<Outcome>> {
    at_once(2, vec![Protocol::Grpc, Protocol::Http], |protocol| {
        let trial = Trial::new(plan, protocol)?;
        let idle_ms = plan.pick(8_000, 60_000);
        let spec = ClientSpec { is_traced: true, idle_ms, waits_for_word: true, ..trial.spec(100, 200) };
        let client = trial.start(&spec)?;
        client.wait_for_spans(PATIENCE)?;
        // The connection and what belongs to it are there when being idle begins.
        trial.sink.wait_until(Duration::from_secs(15), |tally| tally.distinct() == spec.spans);
        let report = client.report(PATIENCE + Duration::from_millis(idle_ms))?;
        let foreign: u64 = trial.sink.tally(|tally| tally.foreign.values().sum());
        let mut outcome = trial.outcome(format!("{}, {:.0} s", name(protocol), idle_ms as f64 / 1e3))?;
        outcome.report(&report);
        outcome.must_lose_nothing();
        let names = trial.sink.tally(|tally| tally.foreign.keys().cloned().collect::<Vec<_>>());
        outcome.must(foreign == 0, || format!("{foreign} spans that no program made: {names:?}"));
        outcome.more.push(format!("{foreign} foreign spans"));
        if let Some(idle) = &report.idle {
            let ratio = idle.cpu_ratio();
            outcome.must(ratio <= IDLE_CPU, || format!("idle took {:.2} % of a core", ratio * 100.0));
            let growth = idle.rss_after_kib.saturating_sub(idle.rss_before_kib);
            outcome.must(growth <= IDLE_RSS_KIB, || format!("memory grew by {growth} KiB"));
            outcome.more.push(format!("{:.3} % of a core, memory +{growth} KiB", ratio * 100.0));
        }
        Ok(outcome)
    })
}

/// How long closing a span takes, from one thread and from many.
pub(super) fn closes(plan: &Plan) -> anyhow::Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for threads in [1, 4, 16] {
        let trial = Trial::new(plan, Protocol::Grpc)?;
        trial.sink.set_network(Network::Down);
        let ms = plan.pick(1_500, 20_000);
        let spec = ClientSpec { threads, flush_ms: Some(200), ..trial.spec(2_000, ms) };
        let report = trial.start(&spec)?.report(PATIENCE + Duration::from_millis(ms))?;
        trial.sink.set_network(Network::Up);
        trial.settle()?;
        let mut outcome = trial.outcome(format!("{threads} threads, 2,000/s"))?;
        outcome.report(&report);
        outcome.must_lose_nothing();
        outcome.must_end_in_time(&report);
        outcomes.push(outcome);
    }
    Ok(outcomes)
}
