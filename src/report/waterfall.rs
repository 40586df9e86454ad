//! Which spans of a run are worth a row of a waterfall, and what becomes of the others.
//!
//! A run of 20,000 spans drawn in full is a wall of ticks. So spans get rows in this order: those on the critical path
//! and those that failed, the longest first; then the longest of the others. What is above a span always comes before
//! it. The rest becomes counted folds below its parents; where nothing below a span has a row, a number beside it says
//! how much there is. Five or more equal spans beside each other that have nothing below them, are not on the path and
//! did not fail are a fold in any case.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::money::Money;
use crate::report::path::joined_up_to;
use crate::report::timeline::{SpanState, Timeline, TimelineSpan};
use crate::time::{Duration, Interval};

/// The rows of a waterfall.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Waterfall {
    /// From the top down.
    pub rows: Vec<WaterfallRow>,
    /// How many spans have no row of their own.
    pub folded_spans: u64,
}

/// A row of a [`Waterfall`].
#[derive(Clone, Debug, PartialEq)]
pub enum WaterfallRow {
    /// A span.
    Span {
        /// Its place in [`Timeline::spans`].
        at: u32,
        /// How many spans below it are shown by nothing but this row, since none of them has one.
        inside: u64,
    },
    /// Several spans.
    Fold(Box<Fold>),
    /// A stretch of the critical path in which no span ran but the root.
    Gap(Interval),
}

/// Spans below one parent that share a row, with everything below them.
#[derive(Clone, Debug, PartialEq)]
pub struct Fold {
    /// Their parent, by its place in [`Timeline::spans`].
    pub parent: u32,
    /// How many spans they lie in.
    pub depth: u32,
    /// How many they are, without what is below them.
    pub siblings: u64,
    /// How many spans are in the row, with what is below.
    pub spans: u64,
    /// Their names and how often each occurs, the most frequent first: at most [`Fold::MAX_NAMES`].
    pub names: Vec<(Arc<str>, u64)>,
    /// How many names there are.
    pub names_total: u64,
    /// How long the shortest took.
    pub min_ns: Duration,
    /// The median; of an even number the lower one of the two in the middle.
    pub median_ns: Duration,
    /// How long the longest took.
    pub max_ns: Duration,
    /// How long at least one of them was there.
    pub covered_ns: Duration,
    /// When any of them was there, neighbours joined: at most [`Fold::MAX_PIECES`] stretches.
    pub pieces: Vec<Interval>,
    /// How many of the spans in the row failed.
    pub failed: u64,
    /// How much of the critical path lies in them.
    pub path_ns: Duration,
    /// What they are charged with; absent where nothing is.
    pub cost_usd: Option<Money>,
}

impl Fold {
    /// How many names a fold tells at most.
    pub const MAX_NAMES: usize = 3;
    /// How many stretches of time a fold tells at most.
    pub const MAX_PIECES: usize = 24;
}

/// So many equal spans beside each other share a row.
const EQUAL_SIBLINGS: usize = 5;
/// So many rows of equal spans are there below one parent at most; further ones share another.
const MAX_ROWS_OF_EQUALS: usize = 4;
/// Shorter gaps get no row.
const LEAST_GAP: Duration = Duration::from_millis(100);
/// Gaps of less of the wall time get none either.
const LEAST_GAP_RATIO: f64 = 0.005;
/// So many gaps get rows at most, the longest.
const MAX_GAPS: usize = 20;

impl Waterfall {
    /// How many spans of a run get rows of their own, unless more are asked for: all of a small run, a small part of a
    /// large one.
    pub fn usual_rows(spans: usize) -> usize {
        140 + spans / 45
    }

    /// The rows of a run, with at most so many spans that have one of their own; `None` gives each span its own.
    ///
    /// O(n log n) for n spans; for each span that has a row, those below it share six more at most.
    pub fn of(timeline: &Timeline, max_spans: Option<usize>) -> Waterfall {
        let spans = &timeline.spans;
        let equals = if max_spans.is_some() { Equals::of(spans) } else { Equals::default() };
        let has_row = rows_of_their_own(spans, &equals, max_spans.unwrap_or(usize::MAX));
        let is_closed = closed(spans, &has_row, &equals);
        let mut waterfall = Waterfall::default();
        let mut gaps = gaps(timeline).into_iter().peekable();
        let mut folds: HashMap<(u32, Option<Arc<str>>), FoldBuilder> = HashMap::new();
        let mut at = 0;
        while let Some(span) = spans.get(at) {
            let here = at as u32;
            if span.depth == 1 {
                while let Some(gap) = gaps.next_if(|gap| gap.start < span.start_unix_ns) {
                    waterfall.rows.push(WaterfallRow::Gap(gap));
                }
            }
            let parent = span.parent.filter(|_| !has_row.get(at).copied().unwrap_or(true));
            let Some(parent) = parent else {
                let inside = if is_closed.get(at).copied().unwrap_or(false) { span.below } else { 0 };
                waterfall.rows.push(WaterfallRow::Span { at: here, inside: inside.into() });
                waterfall.folded_spans += u64::from(inside);
                at = (at + 1).saturating_add(inside as usize);
                continue;
            };
            let name = equals.has(parent, &span.name).then(|| span.name.clone());
            let fold = folds.entry((parent, name)).or_insert_with(|| {
                waterfall.rows.push(WaterfallRow::Fold(Box::new(Fold::empty(parent, span.depth))));
                FoldBuilder { row: waterfall.rows.len() - 1, ..FoldBuilder::default() }
            });
            let end = (at + 1).saturating_add(span.below as usize).min(spans.len());
            if let Some(WaterfallRow::Fold(row)) = waterfall.rows.get_mut(fold.row) {
                fold.add(row, span, spans.get(at..end).unwrap_or_default());
            }
            waterfall.folded_spans += (end - at) as u64;
            at = end;
        }
        waterfall.rows.extend(gaps.map(WaterfallRow::Gap));
        for fold in folds.into_values() {
            if let Some(WaterfallRow::Fold(row)) = waterfall.rows.get_mut(fold.row) {
                fold.settle(row);
            }
        }
        waterfall
    }
}

/// For each span whether it has a row of its own. What is above one that has also has.
fn rows_of_their_own(spans: &[TimelineSpan], equals: &Equals, most: usize) -> Vec<bool> {
    // What is worst in a span and everything below it: then what is above is never worth less.
    let worth = |span: &TimelineSpan| match span.is_on_path() {
        true => (true, span.path_ns),
        false => (is_trouble(span), span.duration().saturating_sub(span.queued_ns)),
    };
    let mut worth: Vec<(bool, Duration)> = spans.iter().map(worth).collect();
    for (at, span) in spans.iter().enumerate().rev() {
        if let Some((parent, own)) = span.parent.zip(worth.get(at).copied())
            && let Some(above) = worth.get_mut(parent as usize)
        {
            *above = (above.0 || own.0, above.1.max(own.1));
        }
    }
    let is_alone = |span: &TimelineSpan| !equals.is_one(span);
    let mut order: Vec<(Reverse<(bool, Duration)>, usize)> =
        worth.into_iter().zip(0..).map(|(worth, at)| (Reverse(worth), at)).collect();
    order.retain(|(_, at)| spans.get(*at).is_some_and(is_alone));
    order.sort_unstable();
    let mut has_row = vec![false; spans.len()];
    for (_, at) in order.into_iter().take(most.max(1)) {
        if let Some(it) = has_row.get_mut(at) {
            *it = true;
        }
    }
    has_row
}

/// For each span whether nothing below it has a row or shares one with equals.
fn closed(spans: &[TimelineSpan], has_row: &[bool], equals: &Equals) -> Vec<bool> {
    let mut is_closed = vec![true; spans.len()];
    for (span, has_row) in spans.iter().zip(has_row) {
        if let Some(parent) = span.parent
            && (*has_row || parent == 0 || equals.is_one(span))
            && let Some(above) = is_closed.get_mut(parent as usize)
        {
            *above = false;
        }
    }
    is_closed
}

fn is_trouble(span: &TimelineSpan) -> bool {
    span.failed() || span.state == SpanState::Open
}

/// Groups of equal spans beside each other.
#[derive(Default)]
struct Equals {
    groups: HashMap<(u32, Arc<str>), usize>,
}

impl Equals {
    fn of(spans: &[TimelineSpan]) -> Self {
        let mut groups: HashMap<(u32, Arc<str>), usize> = HashMap::new();
        for span in spans.iter().filter(|span| is_plain_leaf(span)) {
            if let Some(parent) = span.parent {
                *groups.entry((parent, span.name.clone())).or_default() += 1;
            }
        }
        groups.retain(|_, number| *number >= EQUAL_SIBLINGS);
        // A parent of very many different groups keeps the largest.
        let mut largest: Vec<(u32, Reverse<usize>, Arc<str>)> = Vec::with_capacity(groups.len());
        largest
            .extend(groups.iter().map(|((parent, name), number)| (*parent, Reverse(*number), name.clone())));
        largest.sort_unstable();
        for of_parent in largest.chunk_by(|a, b| a.0 == b.0) {
            for (parent, _, name) in of_parent.iter().skip(MAX_ROWS_OF_EQUALS) {
                groups.remove(&(*parent, name.clone()));
            }
        }
        Equals { groups }
    }

    fn has(&self, parent: u32, name: &Arc<str>) -> bool {
        !self.groups.is_empty() && self.groups.contains_key(&(parent, name.clone()))
    }

    fn is_one(&self, span: &TimelineSpan) -> bool {
        is_plain_leaf(span) && span.parent.is_some_and(|parent| self.has(parent, &span.name))
    }
}

fn is_plain_leaf(span: &TimelineSpan) -> bool {
    span.below == 0 && !span.is_on_path() && !is_trouble(span)
}

/// A fold under way.
#[derive(Default)]
struct FoldBuilder {
    row: usize,
    names: BTreeMap<Arc<str>, u64>,
    durations: Vec<Duration>,
    pieces: Vec<Interval>,
}

impl FoldBuilder {
    /// Adds a span and everything below it, which stands in `with_below`.
    fn add(&mut self, fold: &mut Fold, span: &TimelineSpan, with_below: &[TimelineSpan]) {
        *self.names.entry(span.name.clone()).or_default() += 1;
        self.durations.push(span.duration());
        self.pieces.push(Interval { start: span.start_unix_ns, end: span.end_unix_ns });
        fold.siblings += 1;
        fold.spans += with_below.len() as u64;
        fold.path_ns = fold.path_ns.saturating_add(span.path_ns);
        for span in with_below {
            fold.failed += u64::from(span.failed());
            if let Some(cost) = span.cost_usd {
                fold.cost_usd = Some(fold.cost_usd.unwrap_or_default().saturating_add(cost));
            }
        }
    }

    fn settle(mut self, fold: &mut Fold) {
        self.durations.sort_unstable();
        let middle = self.durations.len().saturating_sub(1) / 2;
        fold.min_ns = self.durations.first().copied().unwrap_or_default();
        fold.median_ns = self.durations.get(middle).copied().unwrap_or_default();
        fold.max_ns = self.durations.last().copied().unwrap_or_default();
        fold.names_total = self.names.len() as u64;
        fold.names = self.names.into_iter().collect();
        fold.names.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        fold.names.truncate(Fold::MAX_NAMES);
        self.pieces.sort_unstable_by_key(|piece| (piece.start, piece.end));
        let mut joined: Vec<Interval> = Vec::new();
        for piece in self.pieces {
            match joined.last_mut() {
                Some(last) if piece.start <= last.end => last.end = last.end.max(piece.end),
                _ => joined.push(piece),
            }
        }
        fold.covered_ns = joined.iter().map(|piece| piece.duration()).sum();
        fold.pieces = joined_up_to(joined, Fold::MAX_PIECES);
    }
}

impl Fold {
    fn empty(parent: u32, depth: u32) -> Fold {
        Fold {
            parent,
            depth,
            siblings: 0,
            spans: 0,
            names: Vec::new(),
            names_total: 0,
            min_ns: Duration::ZERO,
            median_ns: Duration::ZERO,
            max_ns: Duration::ZERO,
            covered_ns: Duration::ZERO,
            pieces: Vec::new(),
            failed: 0,
            path_ns: Duration::ZERO,
            cost_usd: None,
        }
    }
}

/// The gaps that are worth a row, in time order.
fn gaps(timeline: &Timeline) -> Vec<Interval> {
    let is_worth_a_row = |gap: &&Interval| {
        let length = gap.duration();
        length >= LEAST_GAP && length.ratio_of(timeline.wall_ns).is_some_and(|ratio| ratio >= LEAST_GAP_RATIO)
    };
    let of_root = timeline.path.iter().filter(|segment| segment.span == 0).map(|segment| &segment.interval);
    let mut gaps: Vec<Interval> = of_root.filter(is_worth_a_row).copied().collect();
    gaps.sort_by_key(|gap| (Reverse(gap.duration()), gap.start));
    gaps.truncate(MAX_GAPS);
    gaps.sort_unstable_by_key(|gap| gap.start);
    gaps
}
