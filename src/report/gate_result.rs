//! What became of a gate: a condition under which a run, or a change, is not wanted.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::QualityLevel;
use crate::money::Money;
use crate::time::Duration;

/// What became of one gate.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Flat", from = "Flat")]
pub struct GateResult {
    /// The gate as it is written: `wall>25s`.
    pub expr: String,
    /// What became of it.
    pub verdict: GateVerdict,
    /// What was found; absent where it is not known, and for gates on insights.
    pub actual: Option<Amount>,
    /// What it was held against; absent for gates on insights.
    pub limit: Option<Amount>,
    /// Why nothing can be said, or what to keep in mind about the verdict.
    pub reason: Option<GateReason>,
}

/// See [`GateResult::verdict`].
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateVerdict {
    /// Its condition does not hold.
    Passed,
    /// Its condition holds.
    Failed,
    /// Whether it holds is not known. A gate that cannot be judged does not pass.
    NoData,
}

/// Something a gate looks at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// A length of time; `actual_ns` in JSON.
    Time(Duration),
    /// An amount of money; `actual_usd`.
    Money(Money),
    /// A number of things; `actual_count`.
    Count(u64),
    /// A share, 0–1; `actual_ratio`.
    Share(f64),
    /// A change as a share of what it changed from, 0.1 for a tenth more; `actual_change_ratio`.
    Change(f64),
    /// How much to trust a report; `actual_level`.
    Level(QualityLevel),
}

/// Why nothing can be said about a gate, or what to keep in mind.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum GateReason {
    /// It passed: what changed is beyond the limit, but no more than runs differ by chance.
    WithinNoise,
    /// It failed, but how much it differs from run to run by chance is not known: there are too few runs.
    NoiseUnknown,
    /// The run has no such node.
    NoSuchNode {
        /// Nodes with names like it.
        near: Vec<String>,
    },
    /// The run does not tell.
    NotTold,
    /// Only the least it can be is known: spans or prices are missing.
    LowerBound,
    /// Spans of the run are missing.
    Incomplete,
    /// There are no earlier runs to compare with, or none that tell.
    NoBaseline,
    /// What is usual is known of a node's `total` in a run, and of its `avg` between sets of runs.
    NotCompared,
    /// Only the first insights of a report are kept, and this one is not among them.
    InsightsCut,
}

impl GateVerdict {
    /// Whether the gate lets the run through.
    pub const fn is_pass(self) -> bool {
        matches!(self, GateVerdict::Passed)
    }
}

impl fmt::Display for GateReason {
    /// A clause: `within noise`, `no such node; did you mean draft?`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GateReason::WithinNoise => "within noise",
            GateReason::NoiseUnknown => "how much it differs by chance is not known",
            GateReason::NoSuchNode { near } if near.is_empty() => "no such node in this run",
            GateReason::NoSuchNode { near } => {
                return write!(f, "no such node in this run; did you mean {}?", near.join(", "));
            }
            GateReason::NotTold => "the run does not tell",
            GateReason::LowerBound => "at least that: spans or prices are missing",
            GateReason::Incomplete => "spans of the run are missing",
            GateReason::NoBaseline => "nothing to compare with",
            GateReason::NotCompared => {
                "what is usual is known of total in a run, and of avg between sets of runs"
            }
            GateReason::InsightsCut => "the report is full, it may have been left out",
        })
    }
}

/// The JSON form: the unit is in the name.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Default, Serialize, Deserialize)]
struct Flat {
    expr: String,
    /// What programs branch on.
    passed: bool,
    verdict: Option<GateVerdict>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actual_ns: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actual_usd: Option<Money>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actual_count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actual_ratio: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actual_change_ratio: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actual_level: Option<QualityLevel>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit_ns: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit_usd: Option<Money>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit_count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit_ratio: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit_change_ratio: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit_level: Option<QualityLevel>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<GateReason>,
}

impl From<GateResult> for Flat {
    fn from(result: GateResult) -> Self {
        let mut flat = Flat {
            expr: result.expr,
            passed: result.verdict.is_pass(),
            verdict: Some(result.verdict),
            reason: result.reason,
            ..Flat::default()
        };
        match result.actual {
            Some(Amount::Time(time)) => flat.actual_ns = Some(time),
            Some(Amount::Money(money)) => flat.actual_usd = Some(money),
            Some(Amount::Count(count)) => flat.actual_count = Some(count),
            Some(Amount::Share(share)) => flat.actual_ratio = Some(share),
            Some(Amount::Change(change)) => flat.actual_change_ratio = Some(change),
            Some(Amount::Level(level)) => flat.actual_level = Some(level),
            None => {}
        }
        match result.limit {
            Some(Amount::Time(time)) => flat.limit_ns = Some(time),
            Some(Amount::Money(money)) => flat.limit_usd = Some(money),
            Some(Amount::Count(count)) => flat.limit_count = Some(count),
            Some(Amount::Share(share)) => flat.limit_ratio = Some(share),
            Some(Amount::Change(change)) => flat.limit_change_ratio = Some(change),
            Some(Amount::Level(level)) => flat.limit_level = Some(level),
            None => {}
        }
        flat
    }
}

impl From<Flat> for GateResult {
    fn from(flat: Flat) -> Self {
        let actual = flat.actual_ns.map(Amount::Time);
        let actual = actual.or(flat.actual_usd.map(Amount::Money)).or(flat.actual_count.map(Amount::Count));
        let actual = actual.or(flat.actual_ratio.map(Amount::Share));
        let actual = actual.or(flat.actual_change_ratio.map(Amount::Change));
        let limit = flat.limit_ns.map(Amount::Time);
        let limit = limit.or(flat.limit_usd.map(Amount::Money)).or(flat.limit_count.map(Amount::Count));
        let limit = limit.or(flat.limit_ratio.map(Amount::Share));
        let limit = limit.or(flat.limit_change_ratio.map(Amount::Change));
        GateResult {
            expr: flat.expr,
            // `passed` alone is enough for what others write.
            verdict: flat.verdict.unwrap_or(match flat.passed {
                true => GateVerdict::Passed,
                false => GateVerdict::Failed,
            }),
            actual: actual.or(flat.actual_level.map(Amount::Level)),
            limit: limit.or(flat.limit_level.map(Amount::Level)),
            reason: flat.reason,
        }
    }
}
