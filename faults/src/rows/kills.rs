//! Programs that are killed at any moment, one start after another on the same folder.

use std::collections::{BTreeMap, HashSet};
use std::thread::sleep;
use std::time::Duration;

use super::trial::Trial;
use super::{Outcome, Plan, at_once};
use crate::client::process::closed_in;
use crate::client::{ClientSpec, End, Pipeline, Protocol, client_of};
use crate::sink::Network;

/// Spans a second, and how many spans a kill may cost on average; `None`: not promised, only shown.
const RATES: [(u32, Option<f64>); 3] = [(50, Some(0.2)), (2_000, Some(2.0)), (20_000, None)];

/// Kills at random moments of random rates, the backend there or not.
pub(super) fn kills(plan: &Plan) -> anyhow::Result<Vec<Outcome>> {
    let counts = match plan.pipeline() {
        Pipeline::Longpole => vec![("normal", plan.pick(200, 600)), ("strict", plan.pick(60, 200))],
        // Each loses the same, so fewer tell as much.
        Pipeline::Sdk => vec![("", plan.pick(40, 200))],
    };
    let mut outcomes = Vec::new();
    for (durability, kills) in counts {
        outcomes.extend(kills_at(plan, durability, kills)?);
    }
    Ok(outcomes)
}

struct Series {
    /// What was closed, by rate.
    made: BTreeMap<u32, Sum>,
    most_often: u32,
    duplicates: u64,
    slowest_start: Duration,
}

#[derive(Clone, Copy, Default)]
struct Sum {
    kills: u64,
    made: u64,
    lost: u64,
    worst: u64,
}

fn kills_at(plan: &Plan, durability: &str, kills: u64) -> anyhow::Result<Vec<Outcome>> {
    const SIDE_BY_SIDE: u64 = 4;
    let series: Vec<u64> = (0..SIDE_BY_SIDE).collect();
    let series = at_once(SIDE_BY_SIDE as usize, series, |number| {
        series_of_kills(plan, durability, number, kills.div_ceil(SIDE_BY_SIDE))
    })?;
    let mut sums: BTreeMap<u32, Sum> = BTreeMap::new();
    for one in &series {
        for (rate, sum) in &one.made {
            let all = sums.entry(*rate).or_default();
            all.kills += sum.kills;
            all.made += sum.made;
            all.lost += sum.lost;
            all.worst = all.worst.max(sum.worst);
        }
    }
    let mut outcomes = Vec::new();
    for (rate, allowed) in RATES {
        let sum = sums.get(&rate).copied().unwrap_or_default();
        let name = if durability.is_empty() { String::new() } else { format!(", {durability}") };
        let mut outcome = Outcome::new(format!("{rate}/s, {} kills{name}", sum.kills), plan.pipeline());
        (outcome.produced, outcome.lost) = (sum.made, sum.lost);
        outcome.received = sum.made - sum.lost;
        outcome.duplicates = series.iter().map(|one| one.duplicates).sum();
        let mean = sum.lost as f64 / sum.kills.max(1) as f64;
        outcome.more.push(format!("{mean:.2} a kill, {} at worst", sum.worst));
        if durability == "strict" {
            outcome.must(sum.lost == 0, || format!("{} lost", sum.lost));
        } else if let Some(allowed) = allowed {
            outcome.must(mean <= allowed, || format!("{mean:.2} spans lost a kill"));
        }
        let most = series.iter().map(|one| one.most_often).max().unwrap_or(0);
        outcome.must(most <= 2, || format!("a span came {most} times"));
        let slowest = series.iter().map(|one| one.slowest_start).max().unwrap_or_default();
        outcome.more.push(format!("start {:.0} ms at most", slowest.as_secs_f64() * 1e3));
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

/// One start after another in the same folder; each finds what the one before has left.
fn series_of_kills(plan: &Plan, durability: &str, number: u64, kills: u64) -> anyhow::Result<Series> {
    let protocol = if number.is_multiple_of(2) { Protocol::Http } else { Protocol::Grpc };
    let mut trial = Trial::new(plan, protocol)?;
    if !durability.is_empty() {
        trial.set("LONGPOLE_DURABILITY", durability);
    }
    let mut random = Random(0x6b69_6c6c + number);
    let mut rates = BTreeMap::new();
    let mut slowest_start = Duration::ZERO;
    for kill in 0..kills {
        let rate = RATES[(kill % 3) as usize].0;
        let network = if random.below(2) == 0 { Network::Up } else { Network::Down };
        trial.sink.set_network(network);
        let run_spans = if rate < 100 { 5 } else { 20 };
        let spec = ClientSpec { end: End::Killed, run_spans, ..trial.spec(rate, 1_000) };
        rates.insert(spec.client, rate);
        let start = std::time::Instant::now();
        let client = trial.start(&spec)?;
        slowest_start = slowest_start.max(start.elapsed());
        sleep(Duration::from_millis(20 + random.below(480)));
        client.kill()?;
    }
    trial.sink.set_network(Network::Up);
    trial.settle()?;
    let made = closed_in(trial.log())?;
    let arrived: HashSet<u64> = trial.sink.tally(|tally| tally.arrivals.keys().copied().collect());
    let mut by_client: BTreeMap<u32, (u64, u64)> = rates.keys().map(|client| (*client, (0, 0))).collect();
    for span in &made {
        let sum = by_client.entry(client_of(*span)).or_default();
        sum.0 += 1;
        sum.1 += u64::from(!arrived.contains(span));
    }
    let mut sums: BTreeMap<u32, Sum> = BTreeMap::new();
    for (client, (made, lost)) in by_client {
        let sum = sums.entry(rates.get(&client).copied().unwrap_or(0)).or_default();
        sum.kills += 1;
        sum.made += made;
        sum.lost += lost;
        sum.worst = sum.worst.max(lost);
    }
    let (most_often, duplicates) = trial.sink.tally(|tally| (tally.most_often(), tally.duplicates()));
    Ok(Series { made: sums, most_often, duplicates, slowest_start })
}

/// The same numbers each time: splitmix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    /// A number below `end`; 0 if that is 0.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next().checked_rem(end).unwrap_or(0)
    }
}
