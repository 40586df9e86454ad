//! Who declared to wait for whom.
//!
//! A span names nodes (`node.depends_on`) or links to spans. Whatever of that are siblings that were over when it
//! started takes the place of the order of time. A name means the executions of that node beside the span that were
//! over by then and belong to its round: a loop over the same nodes waits round by round. Spans without length hold
//! nobody up, and neither does naming them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::options::Links;
use super::{RunSpan, SpanIx, Warning, Warnings};
use crate::hashing::QuickMap;
use crate::ids::SpanId;
use crate::span_record::Link;
use crate::time::Timestamp;

/// A span declared to wait for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The one that waits.
    pub span: SpanIx,
    /// The one it waits for.
    pub on: SpanIx,
    /// What is made of it.
    pub used: DependencyUse,
}

/// What is made of a declared dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DependencyUse {
    /// It takes the place of the order of time.
    Kept,
    /// The other was not over when the span started: it streams, or the declaration is wrong.
    Contradicted,
    /// The two are not siblings: counts in the graph of nodes only.
    Elsewhere,
}

/// How many executions one name means at most, the last to end: a thousand that wait for a thousand are not a million
/// dependencies.
const MAX_MEANT: usize = 64;

/// All declared dependencies, in order of those who wait, each once.
pub(super) fn find(spans: &[RunSpan], links: Links, warnings: &mut Warnings) -> Vec<Dependency> {
    let declares = |span: &RunSpan| {
        let names = span.record.facts.as_ref().map_or(&[][..], |facts| &facts.depends_on);
        let links_count = links_of(span).any(|link| link.is_dependency || links == Links::AsDeps);
        !names.is_empty() || links_count
    };
    if !spans.iter().any(declares) {
        return Vec::new();
    }
    let named = Named::of(spans);
    let mut found = Vec::new();
    for (at, span) in spans.iter().enumerate().filter(|(_, span)| declares(span)) {
        let mut on: BTreeSet<SpanIx> = BTreeSet::new();
        for name in span.record.facts.iter().flat_map(|facts| &facts.depends_on) {
            match named.meant_by(name, SpanIx::new(at), spans) {
                Some(meant) => on.extend(meant),
                None => warnings.add(Warning::UnknownDependency),
            }
        }
        for link in links_of(span).filter(|link| link.is_dependency || links == Links::AsDeps) {
            if link.trace_id == span.record.trace_id
                && let Some(other) = named.owners.get(&link.span_id)
            {
                on.insert(*other);
            }
        }
        on.remove(&SpanIx::new(at));
        for on in on {
            let dependency = Dependency { span: SpanIx::new(at), on, used: DependencyUse::Elsewhere };
            let used = used(span, &spans[on.index()]);
            if used == Some(DependencyUse::Contradicted) {
                warnings.add(Warning::EdgeContradicted);
            }
            found.extend(used.map(|used| Dependency { used, ..dependency }));
        }
    }
    found
}

fn links_of(span: &RunSpan) -> impl Iterator<Item = &Link> {
    span.record.links.iter().flatten()
}

/// What to make of `span` waiting for `other`; `None` if one of them takes no time, or nobody waits for it.
fn used(span: &RunSpan, other: &RunSpan) -> Option<DependencyUse> {
    if span.interval().is_empty() || other.interval().is_empty() {
        return None;
    }
    if span.parent != other.parent || span.parent.is_none() {
        return Some(DependencyUse::Elsewhere);
    }
    if !span.is_blocking() || !other.is_blocking() {
        return None;
    }
    let is_over = other.clipped.end <= span.clipped.start;
    Some(if is_over { DependencyUse::Kept } else { DependencyUse::Contradicted })
}

/// Spans by what they can be named.
struct Named {
    owners: QuickMap<SpanId, SpanIx>,
    /// By node id, else by span name; in order of their ends.
    anywhere: QuickMap<Arc<str>, Vec<SpanIx>>,
    /// The same among the children of one parent.
    beside: QuickMap<(Option<SpanIx>, Arc<str>), Vec<SpanIx>>,
}

impl Named {
    fn of(spans: &[RunSpan]) -> Self {
        let mut named =
            Named { owners: QuickMap::default(), anywhere: QuickMap::default(), beside: QuickMap::default() };
        let mut by_end: Vec<SpanIx> = (0..spans.len()).map(SpanIx::new).collect();
        by_end.sort_by_key(|ix| spans[ix.index()].run_interval().end);
        for ix in by_end {
            let span = &spans[ix.index()];
            if span.is_synthetic {
                continue;
            }
            if span.ordinal == 1 {
                named.owners.insert(span.record.span_id, ix);
            }
            named.anywhere.entry(name_of(span)).or_default().push(ix);
            named.beside.entry((span.parent, name_of(span))).or_default().push(ix);
        }
        named
    }

    /// The executions meant where the span at `ix` says it waits for `name`: those beside it that were over when it
    /// started; without any, one beside it that was not; without any, those elsewhere. `None` if no span goes by
    /// that name.
    fn meant_by(&self, name: &Arc<str>, ix: SpanIx, spans: &[RunSpan]) -> Option<Vec<SpanIx>> {
        let span = &spans[ix.index()];
        let anywhere = self.anywhere.get(name)?;
        let beside = |name: Arc<str>| self.beside.get(&(span.parent, name)).map_or(&[][..], Vec::as_slice);
        let started = span.run_interval().start;
        let over =
            |of: &[SpanIx]| of.partition_point(|other| spans[other.index()].run_interval().end <= started);
        let earlier_rounds = beside(name_of(span));
        let last_round = over(earlier_rounds).checked_sub(1).and_then(|last| earlier_rounds.get(last));
        let round_start = last_round.map_or(Timestamp::EPOCH, |last| spans[last.index()].interval().start);
        let of_this_round = |of: &[SpanIx]| -> Vec<SpanIx> {
            let latest_first = of.iter().take(over(of)).rev().take(MAX_MEANT);
            let in_round = |other: &&SpanIx| spans[other.index()].interval().start >= round_start;
            let meant: Vec<SpanIx> = latest_first.clone().filter(in_round).copied().collect();
            if meant.is_empty() { latest_first.take(1).copied().collect() } else { meant }
        };
        let siblings = beside(name.clone());
        let meant = match of_this_round(siblings) {
            none if none.is_empty() => {
                siblings.iter().copied().find(|other| *other != ix).into_iter().collect()
            }
            meant => meant,
        };
        Some(if meant.is_empty() { of_this_round(anywhere) } else { meant })
    }
}

fn name_of(span: &RunSpan) -> Arc<str> {
    span.record.node_id().unwrap_or_else(|| span.record.name.clone())
}
