//! Processes of one service side by side.

use std::thread::sleep;
use std::time::Duration;

use super::metronome::Metronome;
use super::trial::{PATIENCE, Trial};
use super::{Outcome, Plan};
use crate::client::process::closed_in;
use crate::client::{ClientSpec, End, Pipeline, Protocol};
use crate::sink::Network;

/// Spans that a kill may cost at 2,000 a second.
const A_KILL: f64 = 2.0;
/// How soon a neighbour that runs already takes over.
const TAKEN_OVER: Duration = Duration::from_secs(30);

/// What a killed process has left is sent by one of three that start at once; or by one that ran beside it.
pub(super) fn neighbours(plan: &Plan) -> anyhow::Result<Vec<Outcome>> {
    let outcomes = vec![race(plan)?];
    if plan.pipeline() == Pipeline::Sdk {
        return Ok(outcomes);
    }
    Ok(outcomes.into_iter().chain([beside(plan)?]).collect())
}

fn killed(trial: &Trial, ms: u64) -> anyhow::Result<()> {
    let dying = trial.start(&ClientSpec { end: End::Killed, ..trial.spec(2_000, ms) })?;
    sleep(Duration::from_millis(ms));
    dying.kill()
}

fn race(plan: &Plan) -> anyhow::Result<Outcome> {
    let trial = Trial::new(plan, Protocol::Grpc)?;
    let (rounds, metronome) = (plan.pick(3, 20), Metronome::start());
    for _ in 0..rounds {
        trial.sink.set_network(Network::Down);
        killed(&trial, plan.pick(300, 2_000))?;
        let made = closed_in(trial.log())?;
        trial.sink.set_network(Network::Up);
        let spec = |_| ClientSpec { waits_for_word: true, ..trial.spec(200, 100) };
        let specs: Vec<ClientSpec> = (0..3).map(spec).collect();
        let three = super::at_once(3, specs, |spec| trial.start(&spec))?;
        trial.sink.wait_for_quiet(Duration::from_secs(2), PATIENCE, |tally| {
            made.iter().all(|span| tally.arrivals.contains_key(span))
        });
        for client in three {
            client.report(PATIENCE)?;
        }
    }
    let mut outcome = trial.outcome(format!("three start at once, {rounds} times"))?;
    // The last millisecond of each killed one is not promised.
    let (lost, most) = (outcome.lost, f64::from(rounds) * metronome.allowed(A_KILL, rounds));
    outcome.must(lost as f64 <= most, || format!("{lost} spans lost, {most:.1} allowed"));
    let duplicates = outcome.duplicates;
    outcome.must(duplicates == 0, || format!("{duplicates} spans came twice"));
    Ok(outcome)
}

fn beside(plan: &Plan) -> anyhow::Result<Outcome> {
    let trial = Trial::new(plan, Protocol::Http)?;
    let spec = ClientSpec { waits_for_word: true, ..trial.spec(200, 500) };
    trial.sink.set_network(Network::Down);
    let (surviving, metronome) = (trial.start(&spec)?, Metronome::start());
    killed(&trial, 300)?;
    trial.sink.set_network(Network::Up);
    let made = closed_in(trial.log())?;
    let all = |tally: &crate::sink::Tally| made.iter().all(|span| tally.arrivals.contains_key(span));
    let start = std::time::Instant::now();
    trial.sink.wait_until(TAKEN_OVER, all);
    let took = start.elapsed();
    let by_the_survivor = trial.outcome("")?.lost;
    let report = surviving.report(PATIENCE)?;
    trial.settle()?;
    let mut outcome = trial.outcome("one runs on")?;
    outcome.report(&report);
    let lost = outcome.lost;
    let most = metronome.allowed(A_KILL, 1);
    outcome.must(lost as f64 <= most, || format!("{lost} spans lost, {most:.1} allowed"));
    outcome.more.push(format!("{by_the_survivor} not taken over after {:.1} s", took.as_secs_f64()));
    Ok(outcome)
}
