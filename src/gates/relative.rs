//! Changes: against what is usual, or between what is compared, and whether they are noise.

use std::cmp::Ordering;

use super::measure::{Certainty, Measure, NodeMeasure, RunMeasure, node_of, of_sums};
use crate::analysis::compare_samples::{SampleComparison, Verdict};
use crate::compare::Comparison;
use crate::report::{Baseline, GateReason, History, Report};
use crate::time::Duration;

/// Something that was one thing and is another, in whatever unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    base: i128,
    new: i128,
    /// Whether it is no more than runs differ by chance; `None` where there are too few to tell.
    pub(super) is_noise: Option<bool>,
    /// How far what it is now is all there is.
    pub(super) certainty: Certainty,
}

impl Change {
    /// How it compares with a limit in parts per million, exactly, and what it is as a share; `None` where it changed
    /// from nothing.
    pub(super) fn against(&self, limit: i64) -> Option<(Ordering, f64)> {
        let change = self.new.saturating_sub(self.base);
        (self.base > 0).then(|| {
            let parts = change.saturating_mul(1_000_000);
            let limit = self.base.saturating_mul(i128::from(limit));
            (parts.cmp(&limit), change as f64 / self.base as f64)
        })
    }
}

pub(super) fn change(
    measure: &Measure,
    report: &Report,
    comparison: Option<&Comparison>,
) -> Result<Change, GateReason> {
    match comparison {
        Some(comparison) => compared(measure, comparison),
        None => against_usual(measure, report),
    }
}

/// Against the earlier runs the report knows of.
fn against_usual(measure: &Measure, report: &Report) -> Result<Change, GateReason> {
    let certainty = of_sums(report);
    match measure {
        Measure::Run(RunMeasure::Wall) => {
            let baseline = report.run.baseline.as_ref().ok_or(GateReason::NoBaseline)?;
            Ok(Change { certainty, ..from_usual(baseline, report.run.wall_ns) })
        }
        Measure::Node { node, measure: NodeMeasure::Total } => {
            let node = node_of(report, node)?;
            let baseline = node.baseline.as_ref().ok_or(GateReason::NoBaseline)?;
            // What is usual is told without queueing.
            let took = node.duration.sum_ns.saturating_sub(node.queued_ns);
            Ok(Change { certainty, ..from_usual(baseline, took) })
        }
        Measure::Node { .. } => Err(GateReason::NotCompared),
        Measure::Run(_) => Err(GateReason::NoBaseline),
    }
}

fn from_usual(baseline: &Baseline, took: Duration) -> Change {
    let is_known = baseline.runs >= History::MIN_RUNS as u64;
    Change {
        base: baseline.p50_ns.as_nanos().into(),
        new: took.as_nanos().into(),
        is_noise: is_known.then(|| !baseline.is_exceeded_by(took) && !baseline.is_undercut_by(took)),
        certainty: Certainty::Exact,
    }
}

/// Between two sets of runs.
fn compared(measure: &Measure, comparison: &Comparison) -> Result<Change, GateReason> {
    match measure {
        Measure::Run(RunMeasure::Wall) => of_samples(&comparison.wall.comparison),
        Measure::Run(RunMeasure::Cost) => {
            let cost = comparison.cost.as_ref().ok_or(GateReason::NoBaseline)?;
            Ok(Change {
                base: cost.base_mean_usd.as_picodollars(),
                new: cost.new_mean_usd.as_picodollars(),
                is_noise: None,
                // Either side may have cost more.
                certainty: if cost.is_lower_bound { Certainty::Unsure } else { Certainty::Exact },
            })
        }
        Measure::Run(_) => Err(GateReason::NoBaseline),
        Measure::Node { node, measure: NodeMeasure::Avg } => {
            let found = comparison.nodes.iter().find(|change| change.name == *node);
            let found = found.ok_or_else(|| GateReason::NoSuchNode { near: Vec::new() })?;
            of_samples(found.duration.as_ref().ok_or(GateReason::NoBaseline)?)
        }
        Measure::Node { .. } => Err(GateReason::NotCompared),
    }
}

fn of_samples(told: &SampleComparison) -> Result<Change, GateReason> {
    let (base, new) = told.base_median_ns.zip(told.new_median_ns).ok_or(GateReason::NoBaseline)?;
    Ok(Change {
        base: base.as_nanos().into(),
        new: new.as_nanos().into(),
        is_noise: match told.verdict {
            Verdict::Insufficient => None,
            Verdict::Regressed | Verdict::Improved => Some(false),
            Verdict::Unchanged | Verdict::Inconclusive => Some(true),
        },
        certainty: Certainty::Exact,
    })
}
