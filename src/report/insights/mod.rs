//! What to fix, first thing first: rules that look at a run, each with its evidence, a bound on what fixing it would
//! save, and how sure that is.
//!
//! A saving comes from replaying the run with something changed, so it stops where another branch begins to set the
//! pace. That is why it may be less than a node's time on the path.

pub mod catalogue;
mod failures;
mod gaps;
mod history;
mod model_speed;
mod pole;
mod quality;
mod repeats;
mod scheduling;
mod spread;

use std::cell::OnceCell;
use std::cmp::Reverse;
use std::collections::BTreeSet;

use self::catalogue::insight;
use super::analysed::Analysed;
use super::booking::NodeIx;
use super::{
    Combined, CombinedChange, Confidence, CostSection, Finding, Quality, QualityLevel, Reason, Report,
    RunStatus, Severity, Suggestion,
};
use crate::analysis::critical_path::Entry;
use crate::analysis::replay::Changes;
use crate::analysis::variability::threshold_severity;
use crate::hashing::QuickMap;
use crate::money::Money;
use crate::report::build::ReportOptions;
use crate::run::SpanIx;
use crate::time::Duration;

/// How many spans a finding names.
const MAX_SPANS: usize = 5;
/// How many changes are made together.
const MAX_COMBINED: usize = 3;

/// What the rules look at.
pub(super) struct Case<'a> {
    analysed: &'a Analysed<'a>,
    options: &'a ReportOptions,
    quality: &'a Quality,
    status: RunStatus,
    cost: Option<&'a CostSection>,
    /// Path time of each span with all below it.
    path_below: Vec<Duration>,
    entries: OnceCell<QuickMap<SpanIx, Entry>>,
}

/// A finding, and the change its first suggestion stands for.
struct Candidate {
    finding: Finding,
    change: Option<Changes>,
}

/// The findings in order, and the first suggestions of the first of them made together.
pub(super) fn findings(case: &Case<'_>) -> (Vec<Finding>, Option<Combined>) {
    let mut found: Vec<Candidate> = Vec::new();
    pole::longest_poles(case, &mut found);
    history::slower_than_usual(case, &mut found);
    model_speed::slow_models(case, &mut found);
    scheduling::queueing_at_a_limit(case, &mut found);
    scheduling::serial_but_maybe_independent(case, &mut found);
    scheduling::low_parallelism(case, &mut found);
    repeats::repeated_calls(case, &mut found);
    repeats::identical_input(case, &mut found);
    spread::stragglers(case, &mut found);
    spread::varying_nodes(case, &mut found);
    spread::cost_hot_spots(case, &mut found);
    failures::retries(case, &mut found);
    failures::errors_on_the_path(case, &mut found);
    gaps::gaps(case, &mut found);
    quality::trace_quality(case, &mut found);
    found.sort_by(|a, b| {
        let order = |finding: &Finding| (Reverse(finding.saves_max_ns), Reverse(finding.severity));
        let (a, b) = (&a.finding, &b.finding);
        order(a).cmp(&order(b)).then_with(|| (&a.code, &a.subject).cmp(&(&b.code, &b.subject)))
    });
    // Of one rule about one node the finding that saves most is told; gaps are all about the run.
    let mut told: BTreeSet<(&str, &str)> = BTreeSet::new();
    let is_of_the_run = |it: &Candidate| it.finding.code == "LP112";
    let is_first: Vec<bool> = found
        .iter()
        .map(|it| is_of_the_run(it) || told.insert((&it.finding.code, &it.finding.subject)))
        .collect();
    let mut is_first = is_first.into_iter();
    found.retain(|_| is_first.next().unwrap_or(true));
    let combined = combined(case, &found);
    found.truncate(Report::MAX_FINDINGS);
    // Without room for more: reports are kept, and candidates are several times as large as findings.
    let mut findings = Vec::with_capacity(found.len());
    for Candidate { mut finding, .. } in found {
        finding.why.shrink_to_fit();
        finding.suggestions.shrink_to_fit();
        finding.spans.shrink_to_fit();
        findings.push(finding);
    }
    (findings, combined)
}

/// The changes of the first findings about different nodes, together.
fn combined(case: &Case<'_>, found: &[Candidate]) -> Option<Combined> {
    let mut changes = Changes::default();
    let mut told: Vec<CombinedChange> = Vec::new();
    for Candidate { finding, change } in found {
        let Some((change, suggestion)) = change.as_ref().zip(finding.suggestions.first()) else { continue };
        let is_known = told.iter().any(|told| told.subject == finding.subject);
        if is_known || suggestion.saves().is_zero() || finding.confidence == Confidence::Guess {
            continue;
        }
        changes.merge(change);
        told.push(CombinedChange { subject: finding.subject.clone(), suggestion: suggestion.clone() });
        if told.len() == MAX_COMBINED {
            break;
        }
    }
    if told.len() < 2 {
        return None;
    }
    let saves_ns = case.analysed.saved_by(&changes);
    Some(Combined { changes: told, wall_ns: case.wall().saturating_sub(saves_ns), saves_ns })
}

/// Severity by the share of the wall time that could be saved at most; `None` below 2 %.
fn severity(wall_ratio: f64) -> Option<Severity> {
    match wall_ratio {
        ratio if ratio >= 0.25 => Some(Severity::Critical),
        ratio if ratio >= 0.10 => Some(Severity::High),
        ratio if ratio >= 0.05 => Some(Severity::Medium),
        ratio if ratio >= 0.02 => Some(Severity::Low),
        _ => None,
    }
}

impl<'a> Case<'a> {
    pub(super) fn new(
        analysed: &'a Analysed<'a>,
        options: &'a ReportOptions,
        quality: &'a Quality,
        status: RunStatus,
        cost: Option<&'a CostSection>,
    ) -> Self {
        let path_below = analysed.path_time_with_below();
        Case { analysed, options, quality, status, cost, path_below, entries: OnceCell::new() }
    }

    /// How the path came into each span on it.
    fn entries(&self) -> &QuickMap<SpanIx, Entry> {
        let entries = &self.analysed.critical.entries;
        self.entries.get_or_init(|| entries.iter().map(|entry| (entry.span, *entry)).collect())
    }

    fn wall(&self) -> Duration {
        self.analysed.run.wall()
    }

    fn node_name(&self, node: NodeIx) -> String {
        self.analysed.booking.nodes[node].name.as_ref().to_owned()
    }

    /// The name of the run as a subject.
    fn run_name(&self) -> String {
        let root = &self.analysed.run.span(self.analysed.run.root).record;
        root.workflow_name().unwrap_or(&root.name).as_ref().to_owned()
    }

    /// All nodes but the one that only stands for the run.
    fn steps(&self) -> impl Iterator<Item = NodeIx> + '_ {
        let booking = &self.analysed.booking;
        (0..booking.nodes.len()).filter(|node| !booking.is_root_alone(self.analysed.run, *node))
    }

    /// Severity of what saves so much; `None` if it is not worth a line.
    fn severity_of(&self, saves: Duration) -> Option<Severity> {
        severity(saves.ratio_of(self.wall())?)
    }

    /// Worth a word: at least 1 ms or 1 % of the run, whichever is less.
    fn is_material(&self, time: Duration) -> bool {
        let ratio = time.ratio_of(self.wall());
        !time.is_zero() && (time >= Duration::from_millis(1) || ratio.is_some_and(|ratio| ratio >= 0.01))
    }

    /// What a change saves that takes at most `path_time` from the critical path. No replay saves more than that, so
    /// none is made where it is not worth a line; the answer is zero then.
    fn saved(&self, change: &Changes, path_time: Duration) -> Duration {
        match self.severity_of(path_time) {
            Some(_) => self.analysed.saved_by(change),
            None => Duration::ZERO,
        }
    }

    /// How much of the critical path lies in these spans, of which none is inside another, and below them.
    fn path_time_in<'s>(&self, spans: impl IntoIterator<Item = &'s SpanIx>) -> Duration {
        spans.into_iter().map(|ix| self.path_below[ix.index()]).sum()
    }

    /// The path time of a node.
    fn path_time_of(&self, node: NodeIx) -> Duration {
        self.analysed.path.of(node).map_or(Duration::ZERO, |path_node| path_node.time)
    }

    /// A finding with nothing but its code, subject, bound and severity.
    fn finding(&self, code: &str, subject: String, saves: Duration, severity: Severity) -> Finding {
        let about = insight(code);
        let text = |pick: fn(&catalogue::Insight) -> &'static str| about.map(pick).unwrap_or_default().into();
        Finding {
            code: code.to_owned(),
            title: text(|about| about.title),
            severity,
            subject,
            saves_max_ns: saves,
            wall_ratio: saves.ratio_of(self.wall()).unwrap_or(0.0),
            saves_max_usd: None,
            confidence: Confidence::Likely,
            why: Vec::new(),
            suggestions: Vec::new(),
            rationale: text(|about| about.rationale),
            caveat: text(|about| about.caveat),
            spans: Vec::new(),
        }
    }

    /// As sure as the evidence is, and never surer than the trace.
    fn confidence(&self, of_evidence: Confidence) -> Confidence {
        match self.quality.level {
            QualityLevel::Low => Confidence::Guess,
            QualityLevel::Medium => of_evidence.min(Confidence::Likely),
            QualityLevel::High => of_evidence,
        }
    }

    /// The ids of the first few spans.
    fn span_ids(&self, spans: impl IntoIterator<Item = SpanIx>) -> Vec<String> {
        let id = |ix: SpanIx| self.analysed.run.span(ix).record.span_id.to_hex();
        spans.into_iter().take(MAX_SPANS).map(id).collect()
    }

    /// How long a span ran, queueing left out.
    fn running(&self, ix: SpanIx) -> Duration {
        self.analysed.run.span(ix).run_interval().duration()
    }

    /// What an execution cost, with everything inside it.
    fn cost_of(&self, ix: SpanIx) -> Option<Money> {
        self.analysed.booking.charges.within(ix)
    }
}

impl Candidate {
    fn new(finding: Finding) -> Self {
        Candidate { finding, change: None }
    }

    /// With the only suggestion and the change it stands for.
    fn with_change(mut finding: Finding, suggestion: Suggestion, change: Changes) -> Self {
        finding.suggestions.push(suggestion);
        Candidate { finding, change: Some(change) }
    }
}

/// The middle one; of an even number the lower of the middle two. Zero for none.
fn lower_median(mut durations: Vec<Duration>) -> Duration {
    durations.sort_unstable();
    let middle = durations.len().saturating_sub(1) / 2;
    durations.get(middle).copied().unwrap_or_default()
}

/// The reason an owner gave a node so much time and it took more.
fn over_sla(case: &Case<'_>, node: NodeIx) -> Option<(Severity, Reason)> {
    let tally = &case.analysed.booking.nodes[node];
    let own = case.options.slas.get(&*tally.name).copied();
    let sla_ns = own.or(case.options.slow_threshold)?;
    let average_ns = tally.durations.mean()?;
    let threshold = sla_ns.as_nanos() as f64;
    let severity = threshold_severity(tally.durations.mean_nanos()?, threshold).ok()??;
    Some((severity, Reason::OverSla { sla_ns, average_ns }))
}
