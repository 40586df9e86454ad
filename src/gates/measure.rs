//! What gates look at, by name, and what a report knows of it.

use std::fmt;

use crate::money::Money;
use crate::report::what_if::near;
use crate::report::{Amount, GateReason, NodeReport, QualityLevel, Report};
use crate::time::Duration;

/// Something a gate looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    Run(RunMeasure),
    Node { node: String, measure: NodeMeasure },
}

/// Of the run as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunMeasure {
    Wall,
    Work,
    Queued,
    Cost,
    Tokens,
    InputTokens,
    OutputTokens,
    Unpriced,
    Errors,
    Retries,
    Executions,
    Spans,
    Efficiency,
    Quality,
}

/// Of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeMeasure {
    Avg,
    Min,
    Max,
    P50,
    P90,
    P95,
    P99,
    Total,
    SelfTime,
    Queued,
    OnPath,
    Share,
    Cost,
    CostShare,
    Calls,
    Failures,
    Retries,
}

/// In what a measure is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Time,
    Money,
    Count,
    Share,
    Level,
}

/// By name.
pub(super) const RUN_MEASURES: [(&str, RunMeasure, Unit); 14] = [
    ("wall", RunMeasure::Wall, Unit::Time),
    ("work", RunMeasure::Work, Unit::Time),
    ("queued", RunMeasure::Queued, Unit::Time),
    ("cost", RunMeasure::Cost, Unit::Money),
    ("tokens", RunMeasure::Tokens, Unit::Count),
    ("input_tokens", RunMeasure::InputTokens, Unit::Count),
    ("output_tokens", RunMeasure::OutputTokens, Unit::Count),
    ("unpriced", RunMeasure::Unpriced, Unit::Count),
    ("errors", RunMeasure::Errors, Unit::Count),
    ("retries", RunMeasure::Retries, Unit::Count),
    ("executions", RunMeasure::Executions, Unit::Count),
    ("spans", RunMeasure::Spans, Unit::Count),
    ("efficiency", RunMeasure::Efficiency, Unit::Share),
    ("quality", RunMeasure::Quality, Unit::Level),
];

/// By name.
pub(super) const NODE_MEASURES: [(&str, NodeMeasure, Unit); 17] = [
    ("avg", NodeMeasure::Avg, Unit::Time),
    ("min", NodeMeasure::Min, Unit::Time),
    ("max", NodeMeasure::Max, Unit::Time),
    ("p50", NodeMeasure::P50, Unit::Time),
    ("p90", NodeMeasure::P90, Unit::Time),
    ("p95", NodeMeasure::P95, Unit::Time),
    ("p99", NodeMeasure::P99, Unit::Time),
    ("total", NodeMeasure::Total, Unit::Time),
    ("self", NodeMeasure::SelfTime, Unit::Time),
    ("queued", NodeMeasure::Queued, Unit::Time),
    ("on_path", NodeMeasure::OnPath, Unit::Time),
    ("share", NodeMeasure::Share, Unit::Share),
    ("cost", NodeMeasure::Cost, Unit::Money),
    ("cost_share", NodeMeasure::CostShare, Unit::Share),
    ("calls", NodeMeasure::Calls, Unit::Count),
    ("failures", NodeMeasure::Failures, Unit::Count),
    ("retries", NodeMeasure::Retries, Unit::Count),
];

/// What is found, in its unit.
#[derive(Clone, Copy, Debug)]
pub(super) enum Figure {
    Time(Duration),
    Money(Money),
    Count(u64),
    /// A part of a whole.
    Part {
        part: i128,
        whole: i128,
    },
    Ratio(f64),
    Level(QualityLevel),
}

impl Figure {
    pub(super) fn amount(self) -> Amount {
        match self {
            Figure::Time(time) => Amount::Time(time),
            Figure::Money(money) => Amount::Money(money),
            Figure::Count(count) => Amount::Count(count),
            Figure::Part { part, whole } => {
                Amount::Share(if whole > 0 { part as f64 / whole as f64 } else { 0.0 })
            }
            Figure::Ratio(ratio) => Amount::Share(ratio),
            Figure::Level(level) => Amount::Level(level),
        }
    }
}

/// How far what is found is all there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Certainty {
    /// It is.
    Exact,
    /// There may be more.
    AtLeast,
    /// It may be anything: spans are missing.
    Unsure,
}

/// What a report knows.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) figure: Option<Figure>,
    pub(super) certainty: Certainty,
    /// Why there is no figure, if that is known.
    pub(super) reason: Option<GateReason>,
}

impl Known {
    fn new(figure: Option<Figure>, certainty: Certainty) -> Self {
        Known { figure, certainty, reason: None }
    }
}

impl Measure {
    pub(super) const fn can_change(&self) -> bool {
        matches!(
            self,
            Measure::Run(RunMeasure::Wall | RunMeasure::Cost)
                | Measure::Node { measure: NodeMeasure::Avg | NodeMeasure::Total, .. }
        )
    }

    /// What the report on a run knows of it.
    pub(super) fn in_run(&self, report: &Report) -> Known {
        match self {
            Measure::Run(measure) => of_run(report, *measure),
            Measure::Node { node, measure } => match node_of(report, node) {
                Ok(node) => of_node(report, node, *measure),
                Err(reason) => Known { figure: None, certainty: Certainty::Exact, reason: Some(reason) },
            },
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Measure::Run(measure) => f.write_str(name_of(&RUN_MEASURES, *measure)),
            Measure::Node { node, measure } => {
                write!(f, "node({node}).{}", name_of(&NODE_MEASURES, *measure))
            }
        }
    }
}

fn name_of<M: Copy + PartialEq>(measures: &[(&'static str, M, Unit)], wanted: M) -> &'static str {
    measures.iter().find(|(_, measure, _)| *measure == wanted).map_or("", |(name, ..)| name)
}

/// A node by name, or names like it.
pub(super) fn node_of<'r>(report: &'r Report, name: &str) -> Result<&'r NodeReport, GateReason> {
    report.nodes.iter().find(|node| node.name == name).ok_or_else(|| {
        let names = report.nodes.iter().map(|node| node.name.as_str());
        GateReason::NoSuchNode { near: near(name, names) }
    })
}

/// Whether spans of the run are missing, so that there may be more of everything.
fn is_incomplete(report: &Report) -> bool {
    report.quality.open_spans > 0 || report.quality.left_out_spans > 0
}

/// Of sums: what is missing adds to them.
pub(super) fn of_sums(report: &Report) -> Certainty {
    if is_incomplete(report) { Certainty::AtLeast } else { Certainty::Exact }
}

/// Of all else.
fn of_others(report: &Report) -> Certainty {
    if is_incomplete(report) { Certainty::Unsure } else { Certainty::Exact }
}

fn of_run(report: &Report, measure: RunMeasure) -> Known {
    let (run, totals) = (&report.run, &report.totals);
    let sum = |figure| Known::new(figure, of_sums(report));
    let count = |count| sum(Some(Figure::Count(count)));
    let tokens = |of: fn(&crate::report::Tokens) -> u64| {
        sum(totals.tokens.as_ref().map(|tokens| Figure::Count(of(tokens))))
    };
    match measure {
        RunMeasure::Wall => sum(Some(Figure::Time(run.wall_ns))),
        RunMeasure::Work => sum(Some(Figure::Time(run.work_ns))),
        RunMeasure::Queued => Known::new(Some(Figure::Time(totals.queued_ns)), of_others(report)),
        RunMeasure::Cost => {
            let is_lower_bound = report.cost.as_ref().is_some_and(|section| section.is_lower_bound);
            let certainty = if is_lower_bound { Certainty::AtLeast } else { of_sums(report) };
            Known::new(totals.cost_usd.map(Figure::Money), certainty)
        }
        RunMeasure::Tokens => tokens(|tokens| tokens.input.saturating_add(tokens.output)),
        RunMeasure::InputTokens => tokens(|tokens| tokens.input),
        RunMeasure::OutputTokens => tokens(|tokens| tokens.output),
        RunMeasure::Unpriced => count(report.cost.as_ref().map_or(0, |section| section.unpriced_calls)),
        RunMeasure::Errors => count(run.errors),
        RunMeasure::Retries => count(run.retries),
        RunMeasure::Executions => count(run.executions),
        RunMeasure::Spans => count(run.spans),
        RunMeasure::Efficiency => Known::new(totals.efficiency.map(Figure::Ratio), of_others(report)),
        RunMeasure::Quality => Known::new(Some(Figure::Level(report.quality.level)), Certainty::Exact),
    }
}

fn of_node(report: &Report, node: &NodeReport, measure: NodeMeasure) -> Known {
    let times = &node.duration;
    let sum = |figure| Known::new(Some(figure), of_sums(report));
    let other = |figure| Known::new(Some(figure), of_others(report));
    let cost_row = || report.cost.as_ref()?.nodes.iter().find(|row| row.node == node.name);
    match measure {
        NodeMeasure::Avg => other(Figure::Time(times.avg_ns)),
        NodeMeasure::Min => other(Figure::Time(times.min_ns)),
        NodeMeasure::Max => sum(Figure::Time(times.max_ns)),
        NodeMeasure::P50 => other(Figure::Time(times.p50_ns)),
        NodeMeasure::P90 => other(Figure::Time(times.p90_ns)),
        NodeMeasure::P95 => other(Figure::Time(times.p95_ns)),
        NodeMeasure::P99 => other(Figure::Time(times.p99_ns)),
        NodeMeasure::Total => sum(Figure::Time(times.sum_ns)),
        NodeMeasure::SelfTime => other(Figure::Time(node.self_ns)),
        NodeMeasure::Queued => sum(Figure::Time(node.queued_ns)),
        NodeMeasure::OnPath => other(Figure::Time(node.on_path_ns)),
        NodeMeasure::Share => other(Figure::Part {
            part: node.on_path_ns.as_nanos().into(),
            whole: report.run.wall_ns.as_nanos().into(),
        }),
        NodeMeasure::Cost => {
            let is_lower_bound = cost_row().is_some_and(|row| row.is_lower_bound);
            let certainty = if is_lower_bound { Certainty::AtLeast } else { of_sums(report) };
            Known::new(node.cost_usd.map(Figure::Money), certainty)
        }
        NodeMeasure::CostShare => {
            let is_lower_bound = report.cost.as_ref().is_some_and(|section| section.is_lower_bound);
            let certainty = if is_lower_bound { Certainty::Unsure } else { of_others(report) };
            let part = node.cost_usd.zip(report.totals.cost_usd).map(|(part, whole)| Figure::Part {
                part: part.as_picodollars(),
                whole: whole.as_picodollars(),
            });
            Known::new(part, certainty)
        }
        NodeMeasure::Calls => sum(Figure::Count(node.calls)),
        NodeMeasure::Failures => sum(Figure::Count(node.failures)),
        NodeMeasure::Retries => sum(Figure::Count(node.retries)),
    }
}
