//! From a run to its report: runs every analysis once and puts the answers together.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::analysis::critical_path::critical_path;
use crate::analysis::event_graph::EventGraph;
use crate::analysis::shares::{self, Share};
use crate::analysis::time_breakdown::{peak_leaves, self_times};
use crate::histogram::DurationStats;
use crate::ids::{SpanId, TraceId};
use crate::money::Money;
use crate::report::booking::{Booking, NodeIx, NodeTally};
use crate::report::findings::{findings, savings};
use crate::report::path::{BookedPath, path_segments};
use crate::report::{
    Bottleneck, CriticalPath, DurationSummary, Generator, NodeReport, PathKind, PhaseReport, Quality,
    QualityLevel, Report, RunStatus, RunSummary, SCHEMA, Source, Summary, Totals,
};
use crate::run::{Run, Warning};
use crate::run_assembler::{AssemblerConfig, FinishedRun, RunAssembler};
use crate::span_record::{Outcome, SpanRecord, Status};
use crate::time::{Duration, Timestamp};

/// What a report needs to know beside the spans.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportOptions {
    /// A node is a bottleneck in [`Report::bottleneck_info`] if its share of the sum of node times is strictly
    /// above this percentage. Default 50.
    pub bottleneck_threshold_percent: f64,
    /// Where the spans came from.
    pub source: Source,
}

impl Default for ReportOptions {
    fn default() -> Self {
        ReportOptions { bottleneck_threshold_percent: 50.0, source: Source::Decoded }
    }
}

/// Reports on every run in `spans`, in the order in which the runs began to arrive.
///
/// Each outermost span marked with a workflow name is a run; a trace without one is a run as a whole. Costs
/// O(n log n) time and memory for n spans.
///
/// ```
/// let file = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[
///   {"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"00f067aa0ba902b7","name":"job",
///    "startTimeUnixNano":"0","endTimeUnixNano":"100"},
///   {"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"00f067aa0ba902b8","parentSpanId":"00f067aa0ba902b7",
///    "name":"fetch","startTimeUnixNano":"10","endTimeUnixNano":"90"}
/// ]}]}]}"#;
/// let decoded = longpole::decode::decode(file)?;
/// let reports = longpole::report_on(decoded.spans, &longpole::ReportOptions::default());
/// assert_eq!(reports[0].findings[0].subject, "fetch");
/// assert_eq!(reports[0].findings[0].saves_max_ns.as_nanos(), 80);
/// # Ok::<(), longpole::decode::DecodeError>(())
/// ```
pub fn report_on(spans: Vec<SpanRecord>, options: &ReportOptions) -> Vec<Report> {
    let mut assembler =
        RunAssembler::new(AssemblerConfig { max_bytes: usize::MAX, ..AssemblerConfig::default() });
    for span in spans {
        // What is handed back was counted as left out of its run, and the report says so.
        let _ = assembler.push(span, Timestamp::EPOCH);
    }
    assembler.finish().into_iter().filter_map(|run| report_on_run(run, options)).collect()
}

/// Reports on one finished run; `None` if it has no spans.
pub fn report_on_run(finished: FinishedRun, options: &ReportOptions) -> Option<Report> {
    Some(report_with_sums(finished, options)?.0)
}

/// The same, with what the run adds to sums over many runs.
pub(crate) fn report_with_sums(finished: FinishedRun, options: &ReportOptions) -> Option<(Report, RunSums)> {
    let (missing, left_out) = (finished.missing, finished.left_out);
    let run = Run::from_records(finished.records)?;
    Some(build(&run, missing, left_out, options))
}

fn build(run: &Run, missing: u64, left_out: u64, options: &ReportOptions) -> (Report, RunSums) {
    let self_times = self_times(run);
    let booking = Booking::new(run, &self_times);
    let segments = critical_path(run);
    let path = BookedPath::new(run, &booking, &segments);
    let graph = EventGraph::new(run);
    let slack = graph.slack();
    let savings = savings(run, &booking, &path, &graph);
    let quality = quality(run, missing, left_out, &segments, &graph);
    let rows = path.rows(run, &booking);
    let nodes = node_reports(run, &booking, &path, &savings, &slack);
    let report = Report {
        schema: SCHEMA.to_owned(),
        generator: Generator { name: "longpole".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
        source: options.source,
        run: run_summary(run, &booking, &self_times, &quality),
        totals: Totals {
            parallelism_achieved: work(run, &self_times).ratio_of(run.wall()),
            parallelism_peak: peak_leaves(run),
            unattributed_ns: path.unattributed,
            queued_ns: rows.iter().map(|row| row.queued_ns).sum(),
            cost_usd: booking.cost,
            tokens: booking.tokens,
        },
        critical_path: CriticalPath {
            kind: PathKind::AsRun,
            length_ns: path.nodes.iter().map(|path_node| path_node.time).sum(),
            beside: path.beside(run, &booking, &slack),
            rows,
            segments: path_segments(run, &booking, &segments),
            segments_total: segments.len() as u64,
        },
        nodes,
        findings: findings(run, &booking, &path, &graph, &savings, quality.level),
        bottleneck_info: bottleneck_info(run, &booking, options.bottleneck_threshold_percent),
        quality,
        pipeline: None,
    };
    let sums = run_sums(run, booking, &path, &self_times, report.run.status);
    (report, sums)
}

/// What one run adds to sums over many.
#[derive(Debug)]
#[cfg_attr(not(feature = "layer"), allow(dead_code, reason = "metrics are of the live half"))]
pub(crate) struct RunSums {
    pub(crate) nodes: Vec<NodeSums>,
    /// Every execution that counts in statistics, in order of the nodes.
    pub(crate) executions: Vec<Execution>,
    pub(crate) workflow: Option<Arc<str>>,
    pub(crate) outcome: &'static str,
    pub(crate) wall: Duration,
    pub(crate) end: Timestamp,
    pub(crate) trace_id: TraceId,
    pub(crate) root_span: Option<SpanId>,
    /// Whether its trace can be looked up in a backend.
    pub(crate) is_sampled: bool,
}

/// One execution of a node.
#[derive(Debug)]
#[cfg_attr(not(feature = "layer"), allow(dead_code, reason = "metrics are of the live half"))]
pub(crate) struct Execution {
    pub(crate) node: Arc<str>,
    /// How many executions it is nested in.
    pub(crate) depth: u32,
    pub(crate) outcome: &'static str,
    /// The class of its error, if it failed.
    pub(crate) error_type: Option<Arc<str>>,
    /// Queueing included.
    pub(crate) duration: Duration,
    /// Time in which no nested node ran.
    pub(crate) self_time: Duration,
    pub(crate) busy: Option<Duration>,
    pub(crate) span_id: Option<SpanId>,
    pub(crate) end: Timestamp,
}

fn run_sums(
    run: &Run,
    booking: Booking,
    path: &BookedPath,
    self_times: &[Duration],
    status: RunStatus,
) -> RunSums {
    let root = run.span(run.root);
    RunSums {
        executions: executions(run, &booking, self_times),
        nodes: node_sums(run, booking, path),
        workflow: root.record.workflow_name().cloned(),
        outcome: match status {
            RunStatus::Ok => "ok",
            RunStatus::Error => "error",
            RunStatus::Panicked => "panicked",
            RunStatus::Cancelled => "cancelled",
            RunStatus::Incomplete => "partial",
        },
        wall: run.wall(),
        end: root.clipped.end,
        trace_id: root.record.trace_id,
        root_span: (!root.is_synthetic).then_some(root.record.span_id),
        is_sampled: root.record.local.is_some_and(|local| local.is_sampled),
    }
}

fn executions(run: &Run, booking: &Booking, self_times: &[Duration]) -> Vec<Execution> {
    let mut own_times = vec![Duration::ZERO; self_times.len()];
    let mut depths = vec![0u32; self_times.len()];
    // A parent stands before its children.
    for ix in run.indices() {
        let Some(execution) = booking.execution_of[ix.index()] else { continue };
        let own = &mut own_times[execution.index()];
        *own = own.saturating_add(self_times[ix.index()]);
        let around = run.span(ix).parent.and_then(|parent| booking.execution_of[parent.index()]);
        if execution == ix
            && let Some(around) = around
        {
            depths[ix.index()] = depths[around.index()].saturating_add(1);
        }
    }
    let of_node = |tally: &NodeTally| {
        let node = tally.name.clone();
        let counted = tally.executions.iter().copied().filter(|ix| run.span(*ix).in_statistics);
        let execution = |ix: crate::run::SpanIx| {
            let record = &run.span(ix).record;
            let outcome = outcome(record);
            let facts = record.facts.as_deref();
            let class = facts.and_then(|facts| facts.error_type.clone());
            Execution {
                node: node.clone(),
                depth: depths[ix.index()],
                outcome,
                error_type: record.failed().then(|| match outcome {
                    "error" => class.unwrap_or_else(|| "_OTHER".into()),
                    other => class.unwrap_or_else(|| other.into()),
                }),
                duration: record.end.saturating_since(record.start),
                self_time: own_times[ix.index()],
                busy: record.timing.busy,
                span_id: (!run.span(ix).is_synthetic).then_some(record.span_id),
                end: record.end,
            }
        };
        counted.map(execution).collect::<Vec<_>>()
    };
    booking.nodes.iter().flat_map(of_node).collect()
}

/// How an execution ended, as metrics tell it.
pub(crate) fn outcome(record: &SpanRecord) -> &'static str {
    match record.facts.as_ref().and_then(|facts| facts.outcome) {
        Some(Outcome::Panicked) => "panicked",
        Some(Outcome::Cancelled) => "cancelled",
        Some(Outcome::Partial) => "partial",
        None if record.status == Status::Error => "error",
        None => "ok",
    }
}

/// What one node's executions in one run add to the sums.
#[derive(Debug, Default)]
pub(crate) struct NodeSums {
    pub(crate) name: Arc<str>,
    /// Whether its time counts in the sum of node times: not if it only stands for the run as a whole.
    pub(crate) counts_in_sum: bool,
    pub(crate) durations: DurationStats,
    pub(crate) failures: u64,
    pub(crate) on_path: Duration,
    pub(crate) self_time: Duration,
    pub(crate) queued: Duration,
    pub(crate) cost: Option<Money>,
}

fn node_sums(run: &Run, booking: Booking, path: &BookedPath) -> Vec<NodeSums> {
    let is_root_beside_others: Vec<bool> = (0..booking.nodes.len())
        .map(|node| booking.nodes.len() > 1 && booking.is_root_alone(run, node))
        .collect();
    let sums = |(node, tally): (NodeIx, NodeTally)| NodeSums {
        counts_in_sum: !is_root_beside_others[node],
        on_path: path.of(node).map_or(Duration::ZERO, |path_node| path_node.time),
        name: tally.name,
        durations: tally.durations,
        failures: tally.failures,
        self_time: tally.self_time,
        queued: tally.queued,
        cost: tally.cost,
    };
    booking.nodes.into_iter().enumerate().map(sums).collect()
}

/// Work done in the run: self times without the time spent waiting to be run.
fn work(run: &Run, self_times: &[Duration]) -> Duration {
    let worked = |ix: crate::run::SpanIx| {
        let own = self_times[ix.index()];
        own.saturating_sub(run.span(ix).record.timing.queued.min(own))
    };
    run.indices().map(worked).sum()
}

fn run_summary(run: &Run, booking: &Booking, self_times: &[Duration], quality: &Quality) -> RunSummary {
    let root = run.span(run.root);
    let facts = root.record.facts.as_deref();
    let root_span_id = (!root.is_synthetic).then(|| root.record.span_id.to_string());
    let steps = || {
        (0..booking.nodes.len()).filter(|node| !booking.is_root_alone(run, *node)).map(|n| &booking.nodes[n])
    };
    let version = facts.and_then(|facts| facts.workflow_version.as_ref());
    RunSummary {
        id: format!("{}-{}", root.record.trace_id, root.record.span_id),
        trace_id: root.record.trace_id.to_string(),
        root_span_id,
        name: root.record.name.to_string(),
        workflow: facts.and_then(|facts| facts.workflow_name.as_ref()).map(ToString::to_string),
        version: version.or(root.record.origin.service_version.as_ref()).map(ToString::to_string),
        started_at: root.clipped.start.to_rfc3339(),
        start_unix_ns: root.clipped.start,
        status: status(run, quality),
        wall_ns: run.wall(),
        work_ns: work(run, self_times),
        spans: run.indices().filter(|ix| !run.span(*ix).is_synthetic).count() as u64,
        executions: steps().map(|tally| tally.executions.len() as u64).sum(),
        errors: steps().map(|tally| tally.failures).sum(),
        retries: steps().map(|tally| tally.retries).sum(),
    }
}

fn status(run: &Run, quality: &Quality) -> RunStatus {
    let root = &run.span(run.root).record;
    match root.facts.as_ref().and_then(|facts| facts.outcome) {
        Some(Outcome::Panicked) => RunStatus::Panicked,
        Some(Outcome::Cancelled) => RunStatus::Cancelled,
        Some(Outcome::Partial) => RunStatus::Incomplete,
        None if quality.open_spans > 0 || quality.orphans > 0 => RunStatus::Incomplete,
        None if root.status == Status::Error => RunStatus::Error,
        None => RunStatus::Ok,
    }
}

fn node_reports(
    run: &Run,
    booking: &Booking,
    path: &BookedPath,
    savings: &[(NodeIx, Duration)],
    slack: &[Option<Duration>],
) -> Vec<NodeReport> {
    let sum: Duration = summed_nodes(run, booking).map(|tally| tally.durations.sum()).sum();
    let mut nodes: Vec<NodeReport> = (0..booking.nodes.len())
        .map(|node| {
            let tally = &booking.nodes[node];
            let on_path = path.of(node).map_or(Duration::ZERO, |path_node| path_node.time);
            let total = tally.durations.sum();
            NodeReport {
                name: tally.name.to_string(),
                kind: tally.kind.clone(),
                is_root: booking.is_root_alone(run, node),
                calls: tally.executions.len() as u64,
                failures: tally.failures,
                retries: tally.retries,
                duration: duration_summary(&tally.durations),
                self_ns: tally.self_time,
                busy_ns: tally.busy,
                queued_ns: tally.queued,
                on_path_ns: on_path,
                slack_ns: tally.executions.iter().filter_map(|ix| slack[ix.index()]).min(),
                save_max_ns: savings.iter().find(|(of, _)| *of == node).map(|(_, saved)| *saved),
                sum_ratio: total.ratio_of(sum).unwrap_or(0.0),
                wall_ratio: total.ratio_of(run.wall()).unwrap_or(0.0),
                critical_path_ratio: on_path.ratio_of(run.wall()).unwrap_or(0.0),
                peak_concurrency: tally.peak_concurrency,
                cost_usd: tally.cost,
                tokens: tally.tokens,
                phases: phases(tally),
                untracked_ns: tally.untracked,
            }
        })
        .collect();
    nodes.sort_by(|a, b| {
        let total = |node: &NodeReport| node.duration.sum_ns;
        b.on_path_ns.cmp(&a.on_path_ns).then(total(b).cmp(&total(a))).then_with(|| a.name.cmp(&b.name))
    });
    nodes
}

fn phases(tally: &NodeTally) -> Vec<PhaseReport> {
    let phase = |(name, (calls, total)): (&Arc<str>, &(u64, Duration))| PhaseReport {
        name: name.to_string(),
        calls: *calls,
        total_ns: *total,
    };
    let mut phases: Vec<PhaseReport> = tally.phases.iter().map(phase).collect();
    phases.sort_by(|a, b| b.total_ns.cmp(&a.total_ns).then_with(|| a.name.cmp(&b.name)));
    phases
}

/// How long executions took, as reports tell it; all zero if there were none.
pub(crate) fn duration_summary(stats: &DurationStats) -> DurationSummary {
    let quantile = |q: f64| stats.quantile(q).unwrap_or_default();
    DurationSummary {
        sum_ns: stats.sum(),
        avg_ns: stats.mean().unwrap_or_default(),
        min_ns: stats.min().unwrap_or_default(),
        max_ns: stats.max().unwrap_or_default(),
        p50_ns: quantile(0.50),
        p90_ns: quantile(0.90),
        p95_ns: quantile(0.95),
        p99_ns: quantile(0.99),
    }
}

/// The nodes whose times the summary adds up: all, but the one that is only the run itself if there are others.
fn summed_nodes<'b>(run: &Run, booking: &'b Booking) -> impl Iterator<Item = &'b NodeTally> + use<'b> {
    let root = (0..booking.nodes.len()).find(|node| booking.is_root_alone(run, *node));
    let skipped = root.filter(|_| booking.nodes.len() > 1);
    (0..booking.nodes.len()).filter(move |node| Some(*node) != skipped).map(|node| &booking.nodes[node])
}

fn bottleneck_info(run: &Run, booking: &Booking, threshold_percent: f64) -> Summary {
    let totals = summed_nodes(run, booking);
    summary(
        totals
            .map(|tally| (tally.name.clone(), tally.durations.sum(), tally.executions.len() as u64))
            .collect(),
        threshold_percent,
    )
}

/// The summary of nodes given as name, total and calls, in the order in which they were recorded.
pub(crate) fn summary(totals: Vec<(Arc<str>, Duration, u64)>, threshold_percent: f64) -> Summary {
    let shares = shares::shares(&totals);
    let above = shares::bottlenecks(&totals, threshold_percent);
    Summary {
        total_time_ms: shares.iter().map(|share| share.total).sum::<Duration>().as_millis_f64(),
        node_count: shares.len() as u64,
        slowest_node: shares.first().map(bottleneck),
        bottlenecks: above.iter().map(bottleneck).collect(),
    }
}

fn bottleneck(share: &Share) -> Bottleneck {
    Bottleneck {
        node_id: share.node.to_string(),
        total_duration_ms: share.total.as_millis_f64(),
        avg_duration_ms: if share.calls == 0 {
            0.0
        } else {
            share.total.as_millis_f64() / share.calls as f64
        },
        call_count: share.calls,
        percent_of_total: share.percent_of_total,
    }
}

fn quality(
    run: &Run,
    missing: u64,
    left_out: u64,
    segments: &[crate::analysis::critical_path::Segment],
    graph: &EventGraph<'_>,
) -> Quality {
    let count = |warning: Warning| run.warnings.get(&warning).copied().unwrap_or(0);
    let spans = run.indices().filter(|ix| !run.span(*ix).is_synthetic).count() as u64;
    let partial = run.indices().filter(|ix| {
        let facts = run.span(*ix).record.facts.as_deref();
        facts.is_some_and(|facts| facts.outcome == Some(Outcome::Partial))
    });
    let open = missing + count(Warning::UnfinishedSpan) + partial.count() as u64;
    let orphans = orphans(run);
    let affected = open
        + orphans
        + left_out
        + count(Warning::NegativeDuration)
        + count(Warning::ConflictingSpanId)
        + count(Warning::ParentCycle);
    let is_orphan = |ix: crate::run::SpanIx| {
        let span = run.span(ix);
        let parent = span.parent.map(|parent| run.span(parent));
        let expected = span.record.parent_id.filter(|_| ix != run.root);
        expected.is_some_and(|id| parent.is_none_or(|parent| parent.record.span_id != id))
    };
    let is_path_affected = segments.iter().any(|segment| is_orphan(segment.span));
    let level = if affected == 0 {
        QualityLevel::High
    } else if affected.saturating_mul(100) <= spans && !is_path_affected {
        QualityLevel::Medium
    } else {
        QualityLevel::Low
    };
    Quality {
        level,
        closed_spans: spans - count(Warning::UnfinishedSpan).min(spans),
        open_spans: open,
        orphans,
        left_out_spans: left_out,
        inferred_edges: graph.inferred_edges(),
        detached_spans: run.indices().filter(|ix| run.span(*ix).is_detached).count() as u64,
        warnings: warnings(run, left_out),
    }
}

/// Spans whose parent is missing. The root is none of them: a run may be part of a larger trace.
fn orphans(run: &Run) -> u64 {
    let missing = run.warnings.get(&Warning::MissingParent).copied().unwrap_or(0);
    let root = run.span(run.root);
    let parent_id = root.record.parent_id.filter(|_| root.parent.is_none());
    let is_below_another = parent_id.is_some_and(|id| run.spans.iter().all(|span| span.record.span_id != id));
    missing.saturating_sub(u64::from(is_below_another))
}

fn warnings(run: &Run, left_out: u64) -> BTreeMap<String, u64> {
    let told = |(warning, count): (&Warning, &u64)| {
        let count = if *warning == Warning::MissingParent { orphans(run) } else { *count };
        (count > 0).then(|| (warning.as_str().to_owned(), count))
    };
    let mut warnings: BTreeMap<String, u64> = run.warnings.iter().filter_map(told).collect();
    let flagged = |flag: fn(&crate::run::RunSpan) -> bool| {
        run.indices().filter(|ix| flag(run.span(*ix))).count() as u64
    };
    for (name, count) in [
        ("starts_before_parent", flagged(|span| span.starts_before_parent)),
        ("outlives_parent", flagged(|span| span.outlives_parent)),
        ("left_out", left_out),
    ] {
        if count > 0 {
            warnings.insert(name.to_owned(), count);
        }
    }
    warnings
}
