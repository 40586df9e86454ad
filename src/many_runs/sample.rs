//! The runs that are kept one by one: all of them while they are few, then a sample.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::{SpanId, TraceId};
use crate::many_runs::report::Spread;
use crate::money::Money;
use crate::run_profile::RunProfile;
use crate::time::Duration;

/// A run as far as it is kept.
#[derive(Clone, Debug)]
pub(super) struct KeptRun {
    pub(super) wall: Duration,
    pub(super) cost: Option<Money>,
    pub(super) path: Vec<(Arc<str>, Duration)>,
    /// Its time by number of frame in the tree of its group.
    pub(super) stacks: Vec<(u32, Duration)>,
}

impl KeptRun {
    fn entries(&self) -> usize {
        self.path.len() + self.stacks.len() + 1
    }
}

/// Runs in an order that has nothing to do with what they did, and is the same wherever they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Lot {
    drawn: u64,
    trace_id: TraceId,
    root_id: SpanId,
    /// 1, 2… for runs with ids already there.
    repeated: u32,
}

/// The runs with the lowest lots. As a run's lot depends on its ids alone, neither the order of runs nor how they
/// were divided before they were merged changes which ones stay.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    runs: BTreeMap<Lot, KeptRun>,
    seen: u64,
    /// How many names and call paths the kept runs have together.
    entries: usize,
    /// Runs with this lot or a higher one are not kept any more.
    ceiling: Option<Lot>,
}

impl Sample {
    pub(super) const MAX_RUNS: usize = 1_000;

    /// Keeps the run if its lot is among the lowest.
    pub(super) fn add(&mut self, profile: &RunProfile, run: KeptRun) {
        let lot = Lot {
            drawn: draw(profile.trace_id, profile.root_id),
            trace_id: profile.trace_id,
            root_id: profile.root_id,
            repeated: 0,
        };
        self.seen = self.seen.saturating_add(1);
        self.keep(lot, run);
    }

    fn keep(&mut self, mut lot: Lot, run: KeptRun) {
        while self.runs.contains_key(&lot) {
            lot.repeated = lot.repeated.saturating_add(1);
        }
        if self.ceiling.is_some_and(|ceiling| lot >= ceiling) {
            return;
        }
        self.entries += run.entries();
        self.runs.insert(lot, run);
        if self.runs.len() > Self::MAX_RUNS {
            self.give_up_one();
        }
    }

    /// Keeps one run less: that with the highest lot.
    pub(super) fn give_up_one(&mut self) {
        if let Some((lot, run)) = self.runs.pop_last() {
            self.entries -= run.entries();
            self.ceiling = Some(lot);
        }
    }

    /// How many names and call paths the kept runs have together.
    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// Takes in the runs of `other`, whose frames go by `numbers` here.
    pub(super) fn merge(&mut self, other: &Sample, numbers: &[u32]) {
        self.seen = self.seen.saturating_add(other.seen);
        for (lot, run) in &other.runs {
            let stacks = run
                .stacks
                .iter()
                .filter_map(|(frame, time)| Some((*numbers.get(*frame as usize)?, *time)))
                .collect();
            self.keep(Lot { repeated: 0, ..*lot }, KeptRun { stacks, ..run.clone() });
        }
    }

    pub(super) fn runs(&self) -> impl Iterator<Item = &KeptRun> + Clone {
        self.runs.values()
    }

    pub(super) fn len(&self) -> u64 {
        self.runs.len() as u64
    }

    /// Whether runs are missing.
    pub(super) fn is_partial(&self) -> bool {
        self.len() < self.seen
    }
}

/// A number for a run, spread evenly: splitmix64 (Steele, Lea, Flood 2014) over its ids.
fn draw(trace_id: TraceId, root_id: SpanId) -> u64 {
    let trace = u128::from_be_bytes(trace_id.to_bytes());
    let words = [(trace >> 64) as u64, trace as u64, u64::from_be_bytes(root_id.to_bytes())];
    words.into_iter().fold(0, |state: u64, word| {
        let state = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

/// The value that `percent` of `sorted` do not exceed, by nearest rank; `None` if there are none.
pub(super) fn percentile(sorted: &[Duration], percent: u8) -> Option<Duration> {
    let rank = (sorted.len() as u128 * u128::from(percent)).div_ceil(100).max(1);
    sorted.get(usize::try_from(rank).ok()? - 1).copied()
}

/// The spread of durations in any order; `None` if there are none.
pub(super) fn spread(mut durations: Vec<Duration>) -> Option<Spread> {
    durations.sort_unstable();
    Some(Spread {
        p50_ns: percentile(&durations, 50)?,
        p95_ns: percentile(&durations, 95)?,
        p99_ns: percentile(&durations, 99)?,
    })
}
