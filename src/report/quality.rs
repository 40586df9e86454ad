//! How much to trust a report: what never ended, lost its parent, was left out or is odd otherwise.

use std::collections::BTreeMap;

use super::analysed::Analysed;
use super::{OpenRow, Quality, QualityLevel};
use crate::run::{DependencyUse, Run, RunSpan, SpanIx, Warning};
use crate::span_record::Outcome;

/// How many spans that never ended are named.
const MAX_OPEN: usize = 10;

pub(super) fn quality(analysed: &Analysed<'_>, missing: u64, left_out: u64) -> Quality {
    let run = analysed.run;
    let missing = missing.saturating_add(told_missing(run).saturating_sub(left_out));
    let count = |warning: Warning| run.warnings.get(&warning).copied().unwrap_or(0);
    let spans = run.indices().filter(|ix| !run.span(*ix).is_synthetic).count() as u64;
    let never_ended = run.indices().filter(|ix| is_open(run.span(*ix))).count() as u64;
    let open = missing + never_ended;
    let orphans = orphans(run);
    let affected = open
        + orphans
        + left_out
        + count(Warning::NegativeDuration)
        + count(Warning::ConflictingSpanId)
        + count(Warning::ParentCycle);
    let is_path_affected = analysed.critical.segments.iter().any(|segment| is_orphan(run, segment.span));
    let level = if affected == 0 {
        QualityLevel::High
    } else if affected.saturating_mul(100) <= spans && !is_path_affected {
        QualityLevel::Medium
    } else {
        QualityLevel::Low
    };
    Quality {
        level,
        closed_spans: spans - never_ended.min(spans),
        open_spans: open,
        missing_spans: missing,
        orphans,
        left_out_spans: left_out,
        declared_edges: run
            .dependencies
            .iter()
            .filter(|edge| edge.used != DependencyUse::Contradicted)
            .count() as u64,
        inferred_edges: analysed.graph.inferred_edges(),
        detached_spans: run.indices().filter(|ix| run.span(*ix).is_detached).count() as u64,
        warnings: warnings(run, left_out),
        open: open_rows(analysed),
        not_claimed: not_claimed(level, open, left_out),
    }
}

/// Whether the parent of a span is missing. The root is none of them: a run may be part of a larger trace.
pub(super) fn is_orphan(run: &Run, ix: SpanIx) -> bool {
    let span = run.span(ix);
    let parent = span.parent.map(|parent| run.span(parent));
    let expected = span.record.parent_id.filter(|_| ix != run.root);
    expected.is_some_and(|id| parent.is_none_or(|parent| parent.record.span_id != id))
}

/// Whether it never ended, as far as is known.
fn is_open(span: &RunSpan) -> bool {
    let outcome = span.record.facts.as_ref().and_then(|facts| facts.outcome);
    span.is_unfinished || outcome == Some(Outcome::Partial)
}

/// How many spans are missing by what the roots of runs tell, see [`conventions::RUN_SPANS`](crate::conventions): each
/// counts what is nearer to it than to any other that tells. O(n).
fn told_missing(run: &Run) -> u64 {
    let told = |span: &RunSpan| span.record.facts.as_deref()?.run_spans.filter(|_| span.ordinal == 1);
    if run.spans.iter().all(|span| told(span).is_none()) {
        return 0;
    }
    /// Where a span counts.
    #[derive(Clone, Copy)]
    enum At {
        Root(usize),
        /// Below a span that is missing, whose root is not known.
        Lost,
        Nowhere,
    }
    let mut places: Vec<At> = Vec::with_capacity(run.spans.len());
    let mut here = vec![0u64; run.spans.len()];
    let mut lost = 0u64;
    for ix in run.indices() {
        let span = run.span(ix);
        let place = match span.parent {
            _ if told(span).is_some() => At::Root(ix.index()),
            Some(_) if is_orphan(run, ix) => At::Lost,
            Some(parent) => places[parent.index()],
            None => At::Nowhere,
        };
        places.push(place);
        match place {
            // Copies of a span count once.
            _ if span.ordinal > 1 || span.is_synthetic => {}
            At::Root(root) => here[root] += 1,
            At::Lost => lost += 1,
            At::Nowhere => {}
        }
    }
    let missing =
        run.spans.iter().zip(here).filter_map(|(span, here)| Some(told(span)?.get().saturating_sub(here)));
    missing.fold(0, u64::saturating_add).saturating_sub(lost)
}

fn open_rows(analysed: &Analysed<'_>) -> Vec<OpenRow> {
    let run = analysed.run;
    let row = |ix: SpanIx| OpenRow {
        node: analysed.node_name(ix),
        span: run.span(ix).record.name.as_ref().to_owned(),
        span_id: run.span(ix).record.span_id.to_string(),
        start_ns: run.span(ix).record.start.saturating_since(run.span(run.root).clipped.start),
    };
    run.indices().filter(|ix| is_open(run.span(*ix))).take(MAX_OPEN).map(row).collect()
}

/// What cannot be said with spans missing: how long the run is while something is open; which path it took and what
/// would make it shorter unless hardly anything is missing; what it cost.
fn not_claimed(level: QualityLevel, open: u64, left_out: u64) -> Vec<String> {
    let claims = [
        ("wall", open > 0),
        ("critical_path", level == QualityLevel::Low),
        ("savings", level == QualityLevel::Low),
        ("cost", open > 0 || left_out > 0),
    ];
    claims.into_iter().filter(|(_, is_in_doubt)| *is_in_doubt).map(|(claim, _)| claim.to_owned()).collect()
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
    let flagged = |flag: fn(&RunSpan) -> bool| run.indices().filter(|ix| flag(run.span(*ix))).count() as u64;
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
