//! Gates: conditions under which a run, or what changed about it, is not wanted.
//!
//! A gate is written as what it *fails* on: `wall>25s` fails a run that takes longer than 25 seconds.
//!
//! | gate | fails if |
//! |---|---|
//! | `wall>25s`, `work>…`, `queued>…` | the run takes longer; its work, or the waiting on its critical path, does |
//! | `cost>$0.10`, `tokens>20000`, `input_tokens`, `output_tokens`, `unpriced>0` | it costs or uses more; calls of models have no price |
//! | `errors>0`, `retries>0`, `executions`, `spans` | there are more |
//! | `efficiency<80%` | less of the wall time is what the declared graph needs |
//! | `quality<medium` | the report is less trustworthy |
//! | `insight(LP105)` | there is such an insight |
//! | `node(draft).p95>6s`: `avg`, `min`, `max`, `p50`, `p90`, `p95`, `p99`, `total`, `self`, `queued`, `on_path` | executions of a node take longer; all of them together do; … |
//! | `node(draft).share>40%` | more of the wall time is its time on the critical path |
//! | `node(draft).cost>$0.05`, `.cost_share>50%`, `.calls>10`, `.failures>0`, `.retries>0` | it costs more, more of the run's cost is its own, … |
//! | `wall>+10%`, `cost>+10%`, `node(draft).avg>+10%`, `node(draft).total>+10%` | it grew by more than that |
//!
//! Comparisons are `>`, `>=`, `<` and `<=`. Times are `250ms`, `6s`, `1m30s`, `2h`; money is in dollars.
//!
//! What cannot be known does not pass: a gate on a cost nobody tells, on a node that did not run, or on a run of which
//! spans are missing is [`GateVerdict::NoData`], unless what is known settles it. What is compared is compared with the
//! noise: a change beyond its limit that is no more than runs differ by chance passes. Where there are too few runs to
//! know that, it fails and says so.

mod measure;
mod parse;
mod relative;

use std::fmt;

pub use parse::{GateError, GateProblem};

use serde::{Deserialize, Serialize};

use crate::compare::Comparison;
use crate::report::{Amount, GateReason, GateResult, GateVerdict, QualityLevel, Report};
use measure::{Certainty, Figure, Known, Measure};

/// A condition that fails a run; made by [`Gate::parse`], written back by its `Display`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate(Condition);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    /// There is such an insight.
    Insight(&'static str),
    /// A figure is on the wrong side of a limit.
    Limit { measure: Measure, order: Order, limit: Limit },
}

/// On which side of the limit a figure fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Above,
    AtLeast,
    Below,
    AtMost,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Limit {
    value: Value,
    /// As it was written.
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Time(crate::time::Duration),
    Money(crate::money::Money),
    Count(u64),
    /// In parts per million, so that nothing is rounded.
    Share(i64),
    /// A change, in parts per million of what it changed from.
    Change(i64),
    Level(QualityLevel),
}

impl Order {
    const fn holds(self, actual: std::cmp::Ordering) -> bool {
        match self {
            Order::Above => actual.is_gt(),
            Order::AtLeast => actual.is_ge(),
            Order::Below => actual.is_lt(),
            Order::AtMost => actual.is_le(),
        }
    }

    const fn is_upward(self) -> bool {
        matches!(self, Order::Above | Order::AtLeast)
    }

    const fn as_str(self) -> &'static str {
        match self {
            Order::Above => ">",
            Order::AtLeast => ">=",
            Order::Below => "<",
            Order::AtMost => "<=",
        }
    }
}

impl Value {
    fn amount(self) -> Amount {
        match self {
            Value::Time(time) => Amount::Time(time),
            Value::Money(money) => Amount::Money(money),
            Value::Count(count) => Amount::Count(count),
            Value::Share(ppm) => Amount::Share(ppm as f64 / 1e6),
            Value::Change(ppm) => Amount::Change(ppm as f64 / 1e6),
            Value::Level(level) => Amount::Level(level),
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Condition::Insight(code) => write!(f, "insight({code})"),
            Condition::Limit { measure, order, limit } => {
                write!(f, "{measure}{}{}", order.as_str(), limit.text)
            }
        }
    }
}

impl Gate {
    /// Reads a gate, blanks around its parts or not. The name of a node may hold anything, brackets too.
    ///
    /// # Errors
    /// [`GateError`] says at which character it stops being a gate, and what could stand there.
    ///
    /// ```
    /// use longpole::gates::Gate;
    ///
    /// assert_eq!(Gate::parse("node(draft).p95 > 6s")?.to_string(), "node(draft).p95>6s");
    /// let error = Gate::parse("wall>6 parsecs").unwrap_err();
    /// assert_eq!(error.at, 5);
    /// # Ok::<(), longpole::gates::GateError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Gate, GateError> {
        parse::gate(text)
    }

    /// Whether the gate is about a change: against earlier runs, or between what is compared.
    pub fn is_relative(&self) -> bool {
        matches!(&self.0, Condition::Limit { limit: Limit { value: Value::Change(_), .. }, .. })
    }

    /// Judges a run. A gate about a change is judged by `comparison`, whose newer side the run belongs to, or else by
    /// what the report says is usual.
    pub fn check(&self, report: &Report, comparison: Option<&Comparison>) -> GateResult {
        match &self.0 {
            Condition::Insight(code) => self.insight(report, code),
            Condition::Limit { measure, order, limit: Limit { value: Value::Change(limit), .. } } => {
                let change = relative::change(measure, report, comparison);
                self.judged_change(change, *order, *limit)
            }
            Condition::Limit { measure, order, limit } => {
                let known = measure.in_run(report);
                let holds = known.compare(limit.value).map(|actual| order.holds(actual));
                let (verdict, reason) = match (holds, known.certainty) {
                    (Some(holds), Certainty::Exact) => (verdict_of(holds), None),
                    // What is already too much stays too much; what is not may become so.
                    (Some(holds), Certainty::AtLeast) if holds == order.is_upward() => {
                        (verdict_of(holds), None)
                    }
                    (Some(_), Certainty::AtLeast) => (GateVerdict::NoData, Some(GateReason::LowerBound)),
                    (Some(_), Certainty::Unsure) => (GateVerdict::NoData, Some(GateReason::Incomplete)),
                    (None, _) => (GateVerdict::NoData, known.reason.clone().or(Some(GateReason::NotTold))),
                };
                self.result(verdict, known.figure.map(Figure::amount), reason)
            }
        }
    }

    fn insight(&self, report: &Report, code: &str) -> GateResult {
        let is_there = report.findings.iter().any(|finding| finding.code == code);
        match is_there {
            false if report.findings.len() >= Report::MAX_FINDINGS => {
                self.result(GateVerdict::NoData, None, Some(GateReason::InsightsCut))
            }
            _ => self.result(verdict_of(is_there), None, None),
        }
    }

    fn judged_change(
        &self,
        change: Result<relative::Change, GateReason>,
        order: Order,
        limit: i64,
    ) -> GateResult {
        let change = match change {
            Ok(change) => change,
            Err(reason) => return self.result(GateVerdict::NoData, None, Some(reason)),
        };
        let Some((actual, ratio)) = change.against(limit) else {
            return self.result(GateVerdict::NoData, None, Some(GateReason::NoBaseline));
        };
        let holds = order.holds(actual);
        let (verdict, reason) = match (holds, change.is_noise) {
            _ if change.certainty == Certainty::Unsure => (GateVerdict::NoData, Some(GateReason::LowerBound)),
            // What grew too much already has; what has not may have.
            _ if change.certainty == Certainty::AtLeast && holds != order.is_upward() => {
                (GateVerdict::NoData, Some(GateReason::LowerBound))
            }
            (false, _) => (GateVerdict::Passed, None),
            (true, Some(true)) => (GateVerdict::Passed, Some(GateReason::WithinNoise)),
            (true, Some(false)) => (GateVerdict::Failed, None),
            (true, None) => (GateVerdict::Failed, Some(GateReason::NoiseUnknown)),
        };
        self.result(verdict, Some(Amount::Change(ratio)), reason)
    }

    fn result(&self, verdict: GateVerdict, actual: Option<Amount>, reason: Option<GateReason>) -> GateResult {
        let limit = match &self.0 {
            Condition::Insight(_) => None,
            Condition::Limit { limit, .. } => Some(limit.value.amount()),
        };
        GateResult { expr: self.to_string(), verdict, actual, limit, reason }
    }

    /// Whether the figure differs from run to run by chance, so that one run in many says little.
    fn is_noisy(&self) -> bool {
        match &self.0 {
            Condition::Insight(_) => false,
            Condition::Limit { limit, .. } => !matches!(limit.value, Value::Count(_) | Value::Level(_)),
        }
    }
}

const fn verdict_of(holds: bool) -> GateVerdict {
    if holds { GateVerdict::Failed } else { GateVerdict::Passed }
}

/// The name of the JSON form of a [`Check`] and its major version.
pub const SCHEMA: &str = "longpole.check/1";

/// What became of gates, of one run or several together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// [`SCHEMA`].
    pub schema: String,
    /// Whether all of them passed.
    pub passed: bool,
    /// The workflow of the runs, or the name of their roots; empty where there are no runs.
    pub workflow: String,
    /// The ids of the runs they were held against.
    pub runs: Vec<String>,
    /// What became of each, in their order.
    pub gates: Vec<GateResult>,
}

impl Check {
    /// Judges runs, see [`check_runs`].
    pub fn of(gates: &[Gate], runs: &[Report], comparison: Option<&Comparison>) -> Check {
        let gates = check_runs(gates, runs, comparison);
        Check {
            schema: SCHEMA.to_owned(),
            passed: gates.iter().all(|gate| gate.verdict.is_pass()),
            workflow: runs
                .first()
                .map(|run| run.run.workflow.as_ref().unwrap_or(&run.run.name).clone())
                .unwrap_or_default(),
            runs: runs.iter().map(|run| run.run.id.clone()).collect(),
            gates,
        }
    }
}

/// Judges several runs of one thing together, each gate once.
///
/// A time, an amount of money, a share or a change fails if it does in at least half of the runs: that is how its median
/// fares, and one slow run in many is chance. A count, an insight or the quality of a report fails if it does in any.
/// A gate that one of the runs has no data for has none. What a result shows is one of the runs that decided it, the
/// worst for counts, the one in the middle else. No runs give no data.
pub fn check_runs(gates: &[Gate], runs: &[Report], comparison: Option<&Comparison>) -> Vec<GateResult> {
    gates.iter().map(|gate| check_together(gate, runs, comparison)).collect()
}

fn check_together(gate: &Gate, runs: &[Report], comparison: Option<&Comparison>) -> GateResult {
    let mut results: Vec<GateResult> = runs.iter().map(|run| gate.check(run, comparison)).collect();
    if let Some(unknown) = results.iter().find(|result| result.verdict == GateVerdict::NoData) {
        return unknown.clone();
    }
    results.sort_by(|one, other| order_of(one).total_cmp(&order_of(other)));
    let failed = results.iter().filter(|result| result.verdict == GateVerdict::Failed).count();
    let fails = if gate.is_noisy() { failed * 2 >= results.len().max(1) } else { failed > 0 };
    let deciding: Vec<GateResult> =
        results.into_iter().filter(|result| (result.verdict == GateVerdict::Failed) == fails).collect();
    let chosen = if gate.is_noisy() { deciding.len() / 2 } else { deciding.len().saturating_sub(1) };
    let chosen = deciding.into_iter().nth(chosen);
    chosen.unwrap_or_else(|| gate.result(GateVerdict::NoData, None, Some(GateReason::NotTold)))
}

/// To find the run in the middle.
fn order_of(result: &GateResult) -> f64 {
    match result.actual {
        Some(Amount::Time(time)) => time.as_secs_f64(),
        Some(Amount::Money(money)) => money.as_usd(),
        Some(Amount::Count(count)) => count as f64,
        Some(Amount::Share(ratio) | Amount::Change(ratio)) => ratio,
        // The worst one is the one shown.
        Some(Amount::Level(level)) => -f64::from(level as u8),
        None => 0.0,
    }
}

impl Known {
    /// How what is known compares with a limit; `None` where nothing is.
    fn compare(&self, limit: Value) -> Option<std::cmp::Ordering> {
        let parts = |part: i128, whole: i128, ppm: i64| {
            let part = part.saturating_mul(1_000_000);
            (whole > 0).then(|| part.cmp(&whole.saturating_mul(i128::from(ppm))))
        };
        match (self.figure?, limit) {
            (Figure::Time(time), Value::Time(limit)) => Some(time.cmp(&limit)),
            (Figure::Money(money), Value::Money(limit)) => Some(money.cmp(&limit)),
            (Figure::Count(count), Value::Count(limit)) => Some(count.cmp(&limit)),
            (Figure::Part { part, whole }, Value::Share(ppm)) => parts(part, whole, ppm),
            (Figure::Ratio(ratio), Value::Share(ppm)) => ratio.partial_cmp(&(ppm as f64 / 1e6)),
            (Figure::Level(level), Value::Level(limit)) => Some(level.cmp(&limit)),
            // Limits are read in the unit of their measure.
            _ => None,
        }
    }
}
