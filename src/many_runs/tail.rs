//! Which nodes own the tail: why long runs take longer than ordinary ones, to the nanosecond.
//!
//! The path's time by name is a partition of a run's wall time. So the difference between the mean wall time of long
//! runs and that of ordinary ones is the sum, over names, of the differences of their mean path times: every
//! nanosecond of the tail has an owner, and none has two.
//!
//! Each difference has two parts. With f the share of runs in which the name is on the path, and m its mean time
//! where it is, in the tail (t) and in the middle (m):
//!
//! ```text
//! Δ = (f_t − f_m) · m_m  +  f_t · (m_t − m_m)
//!     more often            longer
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::many_runs::report::{Tail, TailOwner, TailOwnership};
use crate::many_runs::sample::{KeptRun, percentile};
use crate::time::Duration;

/// Where long and ordinary runs lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bands {
    pub(super) tail_from: Duration,
    pub(super) mid_from: Duration,
    pub(super) mid_to: Duration,
}

impl Bands {
    /// `None` without runs.
    pub(super) fn of<'r>(runs: impl Iterator<Item = &'r KeptRun>, tail_percentile: u8) -> Option<Bands> {
        let mut walls: Vec<Duration> = runs.map(|run| run.wall).collect();
        walls.sort_unstable();
        Some(Bands {
            tail_from: percentile(&walls, tail_percentile)?,
            mid_from: percentile(&walls, 40)?,
            mid_to: percentile(&walls, 60)?,
        })
    }

    pub(super) fn is_tail(&self, run: &KeptRun) -> bool {
        run.wall >= self.tail_from
    }

    fn is_mid(&self, run: &KeptRun) -> bool {
        self.mid_from <= run.wall && run.wall <= self.mid_to
    }
}

/// The tail of complete runs, of which `runs` may be a sample. Of at most 1,000 runs, so that no sum overflows.
pub(super) fn tail<'r>(
    runs: impl Iterator<Item = &'r KeptRun> + Clone,
    tail_percentile: u8,
    is_sample: bool,
) -> Tail {
    let bands = Bands::of(runs.clone(), tail_percentile);
    let mut compared = Compared::default();
    let mut compared_runs = 0;
    for run in runs {
        compared_runs += 1;
        let Some(bands) = &bands else { continue };
        compared.add(run, bands.is_tail(run), bands.is_mid(run));
    }
    let is_enough = compared.tail.runs.min(compared.mid.runs) >= Tail::MIN_RUNS;
    Tail {
        tail_percentile,
        tail_from_ns: bands.map(|bands| bands.tail_from),
        mid_from_ns: bands.map(|bands| bands.mid_from),
        mid_to_ns: bands.map(|bands| bands.mid_to),
        tail_runs: compared.tail.runs,
        mid_runs: compared.mid.runs,
        min_runs: Tail::MIN_RUNS,
        compared_runs,
        is_sample,
        ownership: is_enough.then(|| compared.ownership()),
    }
}

/// Runs and their time, of all runs of a band or of those with a name on their path.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    runs: u64,
    nanos: u128,
}

impl Sum {
    fn add(&mut self, time: Duration) {
        self.runs += 1;
        self.nanos += u128::from(time.as_nanos());
    }

    fn duration(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.nanos).unwrap_or(u64::MAX))
    }

    /// Both as whole numbers with a sign: 1,000 runs of 2⁶⁴ ns are 2⁷⁴, and no product below has more than two
    /// further factors of 1,000.
    fn signed(self) -> (i128, i128) {
        (i128::from(self.runs), self.nanos as i128)
    }
}

#[derive(Debug, Default)]
struct Compared {
    tail: Sum,
    mid: Sum,
    by_name: BTreeMap<Arc<str>, (Sum, Sum)>,
}

impl Compared {
    fn add(&mut self, run: &KeptRun, is_tail: bool, is_mid: bool) {
        if is_tail {
            self.tail.add(run.wall);
        }
        if is_mid {
            self.mid.add(run.wall);
        }
        if !is_tail && !is_mid {
            return;
        }
        for (name, time) in &run.path {
            let (tail, mid) = self.by_name.entry(name.clone()).or_default();
            if is_tail {
                tail.add(*time);
            }
            if is_mid {
                mid.add(*time);
            }
        }
    }

    fn ownership(&self) -> TailOwnership {
        let ((tail_runs, tail_wall), (mid_runs, mid_wall)) = (self.tail.signed(), self.mid.signed());
        // Differences of means, times the number of runs of both bands: whole numbers.
        let runs = tail_runs * mid_runs;
        let gap = tail_wall * mid_runs - mid_wall * tail_runs;
        let mut owners: Vec<(i128, TailOwner)> = Vec::with_capacity(self.by_name.len());
        for (name, (tail, mid)) in &self.by_name {
            let ((tail_on, tail_time), (mid_on, mid_time)) = (tail.signed(), mid.signed());
            let delta = tail_time * mid_runs - mid_time * tail_runs;
            let more_often = match mid_on {
                0 => 0.0,
                _ => quotient(mid_time * (tail_on * mid_runs - mid_on * tail_runs), runs * mid_on),
            };
            let longer = match mid_on {
                0 => quotient(tail_time, tail_runs),
                _ => quotient(tail_time * mid_on - tail_on * mid_time, tail_runs * mid_on),
            };
            let owner = TailOwner {
                name: name.to_string(),
                tail_runs_on_path: tail.runs,
                mid_runs_on_path: mid.runs,
                tail_path_ns: tail.duration(),
                mid_path_ns: mid.duration(),
                delta_ns: quotient(delta, runs),
                gap_ratio: (gap != 0).then(|| quotient(delta, gap)),
                because_more_often_ns: more_often,
                because_longer_ns: longer,
            };
            owners.push((delta, owner));
        }
        // By name already, which decides between equal parts.
        owners.sort_by(|(one, _), (other, _)| other.cmp(one));
        TailOwnership {
            tail_wall_ns: self.tail.duration(),
            mid_wall_ns: self.mid.duration(),
            gap_ns: quotient(gap, runs),
            owners: owners.into_iter().map(|(_, owner)| owner).collect(),
        }
    }
}

/// Zero for a zero divisor, which no caller has.
fn quotient(numerator: i128, denominator: i128) -> f64 {
    if numerator == 0 || denominator == 0 { 0.0 } else { numerator as f64 / denominator as f64 }
}
