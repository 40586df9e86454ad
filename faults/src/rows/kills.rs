//! Programs that are killed at any moment, one start after another on the same folder.

use std::collections::{BTreeMap, HashSet};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::metronome::Metronome;
use super::trial::Trial;
use super::{Outcome, Plan, at_once};
use crate::client::process::closed_in;
use crate::client::{ClientSpec, End, Pipeline, Protocol, client_of};
use crate::sink::Network;

/// Spans a second, how many spans a kill may cost on average (`None`: not promised, only shown), and how many clients
/// run at a time: the more of them, the less are they held up by each other.
const RATES: [(u32, Option<f64>, u64); 3] = [(50, Some(0.2), 4), (2_000, Some(2.0), 2), (20_000, None, 1)];
/// Spans whose requests may be under way when a program is killed: four requests of 2,048.
const UNDER_WAY: u64 = 4 * 2_048;

/// Kills at random moments of random lengths of life, the backend there or not.
pub(super) fn kills(plan: &Plan) -> anyhow::Result<Vec<Outcome>> {
    let counts = match plan.pipeline() {
        Pipeline::Longpole => vec![("normal", plan.pick(210, 900)), ("strict", plan.pick(60, 300))],
        // Each loses the same, so fewer tell as much.
        Pipeline::Sdk => vec![("", plan.pick(40, 200))],
    };
    let mut outcomes = Vec::new();
    for (durability, kills) in counts {
        for (rate, allowed, width) in RATES {
            outcomes.push(kills_at(plan, durability, kills / 3, rate, allowed, width)?);
        }
    }
    Ok(outcomes)
}

/// What came of one start after another in the same folder.
#[derive(Default)]
struct Series {
    kills: u64,
    made: u64,
    lost: u64,
    /// The most that one kill cost, and how many spans that client had made.
    worst: (u64, u64),
    duplicates: u64,
    most_often: u32,
    slowest_start: Duration,
}

fn kills_at(
    plan: &Plan,
    durability: &str,
    kills: u64,
    rate: u32,
    allowed: Option<f64>,
    width: u64,
) -> anyhow::Result<Outcome> {
    let metronome = Metronome::start();
    let all = at_once(width as usize, (0..width).collect(), |number| {
        series_of_kills(plan, durability, number, kills.div_ceil(width), rate)
    })?;
    let millisecond = metronome.stop();
    let mut sum = Series::default();
    for one in all {
        sum.kills += one.kills;
        sum.made += one.made;
        sum.lost += one.lost;
        sum.worst = sum.worst.max(one.worst);
        sum.duplicates += one.duplicates;
        sum.most_often = sum.most_often.max(one.most_often);
        sum.slowest_start = sum.slowest_start.max(one.slowest_start);
    }
    let name = if durability.is_empty() { String::new() } else { format!(", {durability}") };
    let mut outcome = Outcome::new(format!("{rate}/s, {} kills{name}", sum.kills), plan.pipeline());
    (outcome.produced, outcome.lost, outcome.duplicates) = (sum.made, sum.lost, sum.duplicates);
    outcome.received = sum.made - sum.lost;
    let mean = sum.lost as f64 / sum.kills.max(1) as f64;
    outcome.must(sum.made > 0, || "no span was made".to_owned());
    if durability == "strict" {
        outcome.must(sum.lost == 0, || format!("{} lost", sum.lost));
    } else if let Some(allowed) = allowed {
        let allowed = allowed * millisecond;
        outcome.must(mean <= allowed, || format!("{mean:.2} spans lost a kill, {allowed:.2} allowed"));
    }
    let duplicates = sum.duplicates;
    outcome.must(duplicates <= sum.kills * UNDER_WAY, || format!("{duplicates} duplicates"));
    outcome.more.push(format!("{mean:.2} a kill, {} of {} at worst", sum.worst.0, sum.worst.1));
    outcome.more.push(format!("no span more than {} times", sum.most_often));
    let start = sum.slowest_start.as_secs_f64() * 1e3;
    outcome.more.push(format!("start {start:.0} ms at most; a millisecond took {millisecond:.1} ms"));
    Ok(outcome)
}

/// One start after another in the same folder; each finds what the one before has left.
fn series_of_kills(
    plan: &Plan,
    durability: &str,
    number: u64,
    kills: u64,
    rate: u32,
) -> anyhow::Result<Series> {
    let protocol = if number.is_multiple_of(2) { Protocol::Http } else { Protocol::Grpc };
    let mut trial = Trial::new(plan, protocol)?;
    if !durability.is_empty() {
        trial.set("LONGPOLE_DURABILITY", durability);
    }
    let mut random = Random(0x6b69_6c6c + number);
    let mut clients: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    let mut slowest_start = Duration::ZERO;
    for _ in 0..kills {
        let network = if random.below(2) == 0 { Network::Up } else { Network::Down };
        trial.sink.set_network(network);
        let run_spans = if rate < 100 { 5 } else { 20 };
        let spec = ClientSpec { end: End::Killed, run_spans, ..trial.spec(rate, 1_000) };
        clients.insert(spec.client, (0, 0));
        let start = Instant::now();
        let client = trial.start(&spec)?;
        slowest_start = slowest_start.max(start.elapsed());
        sleep(Duration::from_millis(20 + random.below(480)));
        client.kill()?;
    }
    trial.sink.set_network(Network::Up);
    trial.settle()?;
    let made = closed_in(trial.log())?;
    let arrived: HashSet<u64> = trial.sink.tally(|tally| tally.arrivals.keys().copied().collect());
    for span in &made {
        let (made, lost) = clients.entry(client_of(*span)).or_default();
        *made += 1;
        *lost += u64::from(!arrived.contains(span));
    }
    let (most_often, duplicates) = trial.sink.tally(|tally| (tally.most_often(), tally.duplicates()));
    Ok(Series {
        kills,
        made: made.len() as u64,
        lost: clients.values().map(|(_, lost)| lost).sum(),
        worst: clients.values().map(|(made, lost)| (*lost, *made)).max().unwrap_or_default(),
        duplicates,
        most_often,
        slowest_start,
    })
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
