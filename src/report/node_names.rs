//! The node each span of a run is, as a number, with every name made once.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::run::{Run, SpanIx};

/// Which node each span is.
pub(super) struct NodeNames {
    /// By number, in order of first appearance.
    pub(super) names: Vec<Arc<str>>,
    /// For each span its number; `None` for spans that are no nodes.
    pub(super) of_span: Vec<Option<usize>>,
}

impl NodeNames {
    /// Of the spans marked as nodes; of all spans by their own names if none is marked.
    pub(super) fn of(run: &Run) -> Self {
        let mut numbers = Numbers::default();
        let of_span: Vec<Option<usize>> = run
            .indices()
            .map(|ix| {
                let (name, subject) = run.span(ix).record.node_id_parts()?;
                Some(numbers.of(name, subject))
            })
            .collect();
        if !numbers.names.is_empty() {
            return NodeNames { names: numbers.names, of_span };
        }
        let own_name = |ix: SpanIx| {
            let span = run.span(ix);
            (!span.is_synthetic).then(|| numbers.of(&span.record.name, None))
        };
        let of_span = run.indices().map(own_name).collect();
        NodeNames { names: numbers.names, of_span }
    }
}

/// Names by number. Equal names mostly are one text in memory, and found by where it is, without reading it.
#[derive(Default)]
struct Numbers {
    names: Vec<Arc<str>>,
    by_name: BTreeMap<Arc<str>, usize>,
    /// The run keeps the texts, so that none of these places is used for another meanwhile.
    by_place: BTreeMap<(usize, usize), usize>,
    /// What was asked for lately: a node's executions often come one after the other, or by turns with others'.
    recent: Vec<Option<((usize, usize), usize)>>,
}

/// So many places are remembered.
const RECENT: usize = 64;

impl Numbers {
    fn of(&mut self, name: &Arc<str>, subject: Option<&Arc<str>>) -> usize {
        let place = (place_of(name), subject.map_or(0, place_of));
        // Texts lie 16 bytes apart at least.
        let slot = (place.0 >> 4 ^ place.1 >> 4 ^ place.0 >> 10) % RECENT;
        if let Some(Some((_, number))) =
            self.recent.get(slot).filter(|it| it.is_some_and(|(of, _)| of == place))
        {
            return *number;
        }
        let number = match self.by_place.get(&place) {
            Some(number) => *number,
            None => {
                let whole = subject.map_or_else(|| name.clone(), |it| format!("{name} {it}").into());
                let next = self.names.len();
                let number = *self.by_name.entry(whole.clone()).or_insert(next);
                if number == next {
                    self.names.push(whole);
                }
                self.by_place.insert(place, number);
                number
            }
        };
        self.recent.resize(RECENT, None);
        self.recent[slot] = Some((place, number));
        number
    }
}

fn place_of(text: &Arc<str>) -> usize {
    text.as_ptr().addr()
}
