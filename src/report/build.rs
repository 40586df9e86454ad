//! From a run to its report: runs every analysis once and puts the answers together.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use crate::analysis::declared_graph::greedy_bounds;
use crate::analysis::replay::{Changes, ReplayedSegment};
use crate::analysis::shares::{self, Share};
use crate::analysis::time_breakdown::peak_leaves;
use crate::cost::price_spans;
use crate::histogram::DurationStats;
use crate::prices::PriceTable;
use crate::report::analysed::Analysed;
use crate::report::booking::{Booking, NodeTally, PhaseTally};
use crate::report::bounds::bounds;
use crate::report::cost_rows::cost_section;
use crate::report::insights::{Case, findings};
use crate::report::path::path_segments;
use crate::report::quality::quality;
use crate::report::sums::{RunSums, profile, run_sums};
use crate::report::timeline::Timeline;
use crate::report::{
    AllowedPath, AllowedRow, Bottleneck, Budgets, CriticalPath, DurationSummary, Generator, History,
    NodeReport, OtherRoot, OtherRoots, PathKind, PhaseReport, Quality, Report, RunStatus, RunSummary, SCHEMA,
    Source, Summary, Totals, blocking, detached,
};
use crate::run::{DependencyUse, Run, RunOptions, RunSpan};
use crate::run_assembler::{AssemblerConfig, FinishedRun, RunAssembler};
use crate::run_profile::{RunCost, RunProfile};
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
    /// How a run is made of its spans, where several readings are reasonable.
    pub run: RunOptions,
    /// How long an execution of a node may take on average, by node.
    pub slas: BTreeMap<String, Duration>,
    /// How long an execution of any other node may take on average; `None` sets no limit.
    pub slow_threshold: Option<Duration>,
    /// A span that keeps its thread so long without a break blocks its executor. Default
    /// [`ReportOptions::BLOCKING_THRESHOLD`].
    pub blocking_threshold: Duration,
    /// Whether a node is also told to vary much by the two simple rules: its P99 is more than twice its mean; its
    /// longest execution is more than five times its shortest.
    pub simple_variance_rules: bool,
    /// Earlier runs of the same workflow: what is usual. Without any, nothing is compared.
    pub history: Arc<History>,
    /// Roots of other runs of the same program, which may have been meant to be part of this one. The order in which
    /// they come changes nothing, but only the first [`OtherRoot::MAX`] are looked at.
    pub other_roots: Vec<OtherRoot>,
    /// What calls of models cost that do not say so; `None`: the table that comes with longpole.
    pub prices: Option<PriceTable>,
    /// What a run may use; the report says what it used of that.
    pub budgets: Budgets,
}

impl ReportOptions {
    /// 10 ms. Advice for asynchronous code is to give the thread back within 10 to 100 µs; what takes a hundred
    /// times as long is told.
    pub const BLOCKING_THRESHOLD: Duration = Duration::from_millis(10);
}

impl Default for ReportOptions {
    fn default() -> Self {
        ReportOptions {
            bottleneck_threshold_percent: 50.0,
            source: Source::Decoded,
            run: RunOptions::default(),
            slas: BTreeMap::new(),
            slow_threshold: None,
            blocking_threshold: Self::BLOCKING_THRESHOLD,
            simple_variance_rules: false,
            history: Arc::default(),
            other_roots: Vec::new(),
            prices: None,
            budgets: Budgets::default(),
        }
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
    let runs = runs_in(spans);
    let roots = OtherRoots::of(&runs);
    let report = |run: FinishedRun| {
        let other_roots = roots.within(&run);
        report_on_run(run, &ReportOptions { other_roots, ..options.clone() })
    };
    runs.into_iter().filter_map(report).collect()
}

/// The runs in `spans`, in the order in which they began to arrive: what [`report_on`] reports on.
pub fn runs_in(spans: Vec<SpanRecord>) -> Vec<FinishedRun> {
    let mut assembler =
        RunAssembler::new(AssemblerConfig { max_bytes: usize::MAX, ..AssemblerConfig::default() });
    // Taken from the end, so that memory is given back on the way.
    let mut rest = spans;
    rest.reverse();
    while let Some(span) = rest.pop() {
        // What is handed back was counted as left out of its run, and the report says so.
        let _ = assembler.push(span, Timestamp::EPOCH);
        if rest.len() < rest.capacity() / 2 {
            rest.shrink_to_fit();
        }
    }
    assembler.finish()
}

/// Reports on one finished run; `None` if it has no spans.
pub fn report_on_run(finished: FinishedRun, options: &ReportOptions) -> Option<Report> {
    Some(report_and(finished, options, |_, _| ())?.0)
}

/// Reports on one finished run, and says what it adds to the picture of many; `None` if it has no spans.
pub fn report_with_profile(finished: FinishedRun, options: &ReportOptions) -> Option<(Report, RunProfile)> {
    let (report, mut profile) = report_and(finished, options, profile)?;
    profile.cost = run_cost(&report);
    Some((report, profile))
}

/// Reports on one finished run, and says where each of its spans lies; `None` if it has no spans.
pub fn report_with_timeline(finished: FinishedRun, options: &ReportOptions) -> Option<(Report, Timeline)> {
    report_and(finished, options, |analysed, _| Timeline::of(analysed))
}

/// The same, with what the run adds to sums over many runs.
pub(crate) fn report_with_sums(finished: FinishedRun, options: &ReportOptions) -> Option<(Report, RunSums)> {
    let (report, mut sums) = report_and(finished, options, run_sums)?;
    sums.profile.cost = run_cost(&report);
    Some((report, sums))
}

fn run_cost(report: &Report) -> Option<RunCost> {
    let cost = report.cost.as_ref()?;
    Some(RunCost {
        total: cost.total_usd,
        is_lower_bound: cost.is_lower_bound,
        calls: cost.calls,
        unpriced_calls: cost.unpriced_calls,
        input_tokens: cost.tokens.input,
        output_tokens: cost.tokens.output,
    })
}

/// The report on a run and whatever else is to be told of it.
fn report_and<T>(
    finished: FinishedRun,
    options: &ReportOptions,
    tell: impl FnOnce(&Analysed<'_>, RunStatus) -> T,
) -> Option<(Report, T)> {
    let (missing, left_out, mut records) = (finished.missing, finished.left_out, finished.records);
    price_spans(&mut records, options.prices.as_ref());
    let run = Run::with_options(records, &options.run)?;
    let analysed = Analysed::of(&run);
    let report = build(&analysed, missing, left_out, options);
    let told = tell(&analysed, report.run.status);
    Some((report, told))
}

fn build(analysed: &Analysed<'_>, missing: u64, left_out: u64, options: &ReportOptions) -> Report {
    let Analysed { run, booking, path, .. } = analysed;
    let quality = quality(analysed, missing, left_out);
    let status = status(run, &quality);
    let rows = path.rows(run, booking);
    let blocking = blocking::find(analysed, options.blocking_threshold);
    let cost = cost_section(analysed, &quality);
    let case = Case::new(analysed, options, &quality, status, cost.as_ref());
    let (findings, combined) = findings(&case);
    let allowed_path = allowed_path(analysed);
    Report {
        schema: SCHEMA.into(),
        generator: Generator { name: "longpole".into(), version: env!("CARGO_PKG_VERSION").into() },
        source: options.source,
        run: run_summary(analysed, status, &options.history),
        totals: Totals {
            queued_ns: rows.iter().map(|row| row.queued_ns).sum(),
            ..totals(analysed, &allowed_path)
        },
        critical_path: CriticalPath {
            kind: PathKind::AsRun,
            length_ns: path.nodes.iter().map(|path_node| path_node.time).sum(),
            beside: path.beside(run, booking, &analysed.slack),
            rows,
            segments: path_segments(run, booking, path, &analysed.critical.segments),
            segments_total: analysed.critical.segments.len() as u64,
        },
        allowed_path,
        bounds: bounds(analysed),
        nodes: node_reports(analysed, &blocking, &options.history),
        findings,
        combined,
        saves_nothing: saves_nothing(analysed),
        blocking: blocking::rows(analysed, &blocking),
        detached: detached::rows(analysed),
        budgets: options.budgets.used_by(booking.cost, booking.tokens),
        gates: Vec::new(),
        cost,
        bottleneck_info: bottleneck_info(run, booking, options.bottleneck_threshold_percent),
        quality,
        pipeline: None,
    }
}

fn totals(analysed: &Analysed<'_>, allowed: &AllowedPath) -> Totals {
    let (run, work) = (analysed.run, analysed.work());
    let peak = peak_leaves(run);
    let bound = allowed.wall_ns;
    let workers = u32::try_from(peak).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
    let greedy = greedy_bounds(work, bound, workers);
    let declared = |value: Option<f64>| value.filter(|_| allowed.is_declared);
    Totals {
        parallelism_achieved: work.ratio_of(run.wall()),
        parallelism_average: declared(work.ratio_of(bound)),
        graph_bound_ns: allowed.is_declared.then_some(bound),
        efficiency: declared(bound.ratio_of(run.wall())),
        greedy_at_least_ns: allowed.is_declared.then_some(greedy.at_least),
        greedy_at_most_ns: allowed.is_declared.then_some(greedy.at_most),
        speed_up_room: declared(run.wall().ratio_of(greedy.at_least)),
        parallelism_peak: peak,
        unattributed_ns: analysed.path.unattributed,
        queued_ns: Duration::ZERO,
        cost_usd: analysed.booking.cost,
        tokens: analysed.booking.tokens,
    }
}

/// How many nodes are named that save nothing.
const MAX_SAVE_NOTHING: usize = 3;
/// From this share of the wall time on it is worth saying that a node saves nothing.
const WORTH_NAMING: f64 = 0.02;

/// Nodes that took time and are on no critical path, longest first.
fn saves_nothing(analysed: &Analysed<'_>) -> Vec<String> {
    let (run, booking) = (analysed.run, &analysed.booking);
    let is_beside = |tally: &&NodeTally| {
        let slack = || tally.executions.iter().filter_map(|ix| analysed.slack[ix.index()]);
        let has_slack = slack().next().is_some() && slack().all(|slack| !slack.is_zero());
        has_slack && tally.running.ratio_of(run.wall()).is_some_and(|ratio| ratio >= WORTH_NAMING)
    };
    let on_path: Vec<bool> = (0..booking.nodes.len()).map(|node| analysed.path.of(node).is_some()).collect();
    let beside = booking.nodes.iter().zip(on_path).filter(|(_, on_path)| !on_path).map(|(tally, _)| tally);
    let mut beside: Vec<&NodeTally> = beside.filter(is_beside).collect();
    beside.sort_by(|a, b| b.running.cmp(&a.running).then_with(|| a.name.cmp(&b.name)));
    beside.iter().take(MAX_SAVE_NOTHING).map(|tally| tally.name.as_ref().to_owned()).collect()
}

/// Whether any span of a run says what it waited for.
fn declares_anything(run: &Run) -> bool {
    let is_told = |span: &RunSpan| span.record.facts.as_ref().is_some_and(|facts| facts.tells_depends_on);
    run.dependencies.iter().any(|edge| edge.used != DependencyUse::Contradicted)
        || run.spans.iter().any(is_told)
}

/// The path if nothing but the graph held the run up.
fn allowed_path(analysed: &Analysed<'_>) -> AllowedPath {
    let run = analysed.run;
    let path = analysed.graph.replayed_path(&Changes::as_the_graph_allows());
    AllowedPath {
        kind: PathKind::AsTheGraphAllows,
        is_declared: path.inferred_edges == 0 && declares_anything(run),
        wall_ns: path.segments.iter().map(|segment| segment.length).sum(),
        rows: rows_of(analysed, &path.segments),
    }
}

/// The time of each node on a replayed path, in order of first appearance.
pub(super) fn rows_of(analysed: &Analysed<'_>, segments: &[ReplayedSegment]) -> Vec<AllowedRow> {
    let mut rows: Vec<AllowedRow> = Vec::new();
    // Where the row of each node is; of what belongs to none at the end.
    let nodes = analysed.booking.nodes.len();
    let mut row_of: Vec<Option<usize>> = vec![None; nodes + 1];
    for ReplayedSegment { span, length, .. } in segments {
        let node = analysed.owner_of_time(*span);
        let row = *row_of[node.unwrap_or(nodes)].get_or_insert_with(|| {
            let name = node.map(|node| analysed.booking.nodes[node].name.as_ref().to_owned());
            rows.push(AllowedRow { node: name, duration_ns: Duration::ZERO });
            rows.len() - 1
        });
        rows[row].duration_ns = rows[row].duration_ns.saturating_add(*length);
    }
    rows
}

fn run_summary(analysed: &Analysed<'_>, status: RunStatus, history: &History) -> RunSummary {
    let Analysed { run, booking, .. } = analysed;
    let root = run.span(run.root);
    let facts = root.record.facts.as_deref();
    let root_span_id = (!root.is_synthetic).then(|| root.record.span_id.to_hex());
    let steps = || {
        (0..booking.nodes.len()).filter(|node| !booking.is_root_alone(run, *node)).map(|n| &booking.nodes[n])
    };
    let version = facts.and_then(|facts| facts.workflow_version.as_ref());
    RunSummary {
        id: format!("{}-{}", root.record.trace_id, root.record.span_id),
        trace_id: root.record.trace_id.to_hex(),
        root_span_id,
        name: root.record.name.as_ref().to_owned(),
        workflow: facts.and_then(|facts| facts.workflow_name.as_ref()).map(ToString::to_string),
        version: version.or(root.record.origin.service_version.as_ref()).map(ToString::to_string),
        started_at: root.clipped.start.to_rfc3339(),
        start_unix_ns: root.clipped.start,
        status,
        wall_ns: run.wall(),
        work_ns: analysed.work(),
        spans: run.indices().filter(|ix| !run.span(*ix).is_synthetic).count() as u64,
        executions: steps().map(|tally| tally.executions.len() as u64).sum(),
        errors: steps().map(|tally| tally.failures).sum(),
        retries: steps().map(|tally| tally.retries).sum(),
        baseline: history.wall(),
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
    analysed: &Analysed<'_>,
    blocking: &[blocking::Blocking],
    history: &History,
) -> Vec<NodeReport> {
    let Analysed { run, booking, path, .. } = analysed;
    let savings = analysed.savings();
    let with_nested = analysed.costs_with_nested();
    let sum: Duration = summed_nodes(run, booking).map(|tally| tally.durations.sum()).sum();
    let least = |floats: &[Option<Duration>], tally: &NodeTally| {
        tally.executions.iter().filter_map(|ix| floats[ix.index()]).min()
    };
    let mut blocked = vec![0u64; booking.nodes.len()];
    for node in blocking.iter().filter_map(|found| booking.node_of[found.span.index()]) {
        blocked[node] += 1;
    }
    let mut nodes: Vec<NodeReport> = (0..booking.nodes.len())
        .map(|node| {
            let tally = &booking.nodes[node];
            let on_path = path.of(node).map_or(Duration::ZERO, |path_node| path_node.time);
            let total = tally.durations.sum();
            NodeReport {
                name: tally.name.as_ref().to_owned(),
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
                slack_ns: least(&analysed.slack, tally),
                free_float_ns: least(&analysed.free_float, tally),
                save_max_ns: savings.iter().find(|(of, _)| *of == node).map(|(_, saved)| *saved),
                failed_on_path_ns: path
                    .of(node)
                    .map_or(Duration::ZERO, |path_node| path_node.failed_time(run)),
                blocking: blocked[node],
                model: tally.model.as_ref().map(ToString::to_string),
                baseline: history.node(&tally.name),
                sum_ratio: total.ratio_of(sum).unwrap_or(0.0),
                wall_ratio: total.ratio_of(run.wall()).unwrap_or(0.0),
                critical_path_ratio: on_path.ratio_of(run.wall()).unwrap_or(0.0),
                peak_concurrency: tally.peak_concurrency,
                cost_usd: tally.cost,
                cost_with_nested_usd: with_nested[node],
                tokens: tally.tokens,
                turns: tally.turns,
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
    let phase = |(name, phase): (&Arc<str>, &PhaseTally)| PhaseReport {
        name: name.as_ref().to_owned(),
        calls: phase.calls,
        total_ns: phase.total,
        cost_usd: phase.cost,
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
