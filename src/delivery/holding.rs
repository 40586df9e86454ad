//! Spans that are not sent yet: roots that wait for their verdict, and, where runs are kept by their outcome, whole
//! traces that wait for the decision.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::record::SpanKey;
use super::waiting::{Place, Waiting};
use crate::encode::span::append_field;
use crate::ids::TraceId;

/// How many verdicts without a root are kept.
const MAX_EARLY: usize = 1_024;
/// How long a trace waits for its decision; then it is kept.
const MAX_UNDECIDED: Duration = Duration::from_secs(60);
/// How many bytes of traces wait for theirs; beyond, the oldest are kept.
pub(crate) const UNDECIDED_BYTES: usize = 64 << 20;
/// Decisions that are remembered for spans that come late.
const REMEMBERED: usize = 8_192;

/// What waits, see the module.
#[derive(Debug, Default)]
pub(super) struct Holding {
    held: HashMap<SpanKey, Held>,
    /// Verdicts that came before their root.
    early: HashMap<SpanKey, Vec<u8>>,
    undecided: BTreeMap<TraceId, Undecided>,
    undecided_bytes: usize,
    undecided_spans: u64,
    decided: HashMap<TraceId, bool>,
    /// The same, oldest first.
    decisions: VecDeque<TraceId>,
}

#[derive(Debug)]
struct Held {
    message: Vec<u8>,
    place: Place,
    since: Instant,
    /// It was read from disk, so whoever flushes waits for it.
    is_read: bool,
}

#[derive(Debug)]
struct Undecided {
    fields: Vec<u8>,
    places: VecDeque<Place>,
    spans: u64,
    since: Instant,
}

/// A root that is ready to go on.
#[derive(Debug)]
pub(super) struct Released {
    pub(super) message: Vec<u8>,
    pub(super) place: Place,
    /// Bytes that were counted before the verdict was added.
    pub(super) counted: usize,
}

/// What becomes of spans of a trace.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Send,
    Discard,
    Wait,
}

/// Traces that are decided on.
#[derive(Debug, Default)]
pub(super) struct Decided {
    pub(super) sent: Vec<Waiting>,
    /// Where the spans stand that are not.
    pub(super) discarded: Vec<Place>,
}

impl Holding {
    /// Holds a root until its verdict. Roots that go on at once are given back: its verdict is here already, or
    /// another one has the same ids.
    pub(super) fn hold(
        &mut self,
        key: SpanKey,
        message: Vec<u8>,
        place: Place,
        since: Instant,
        is_read: bool,
    ) -> Option<Released> {
        if let Some(attributes) = self.early.remove(&key) {
            return Some(released(Held { message, place, since, is_read }, &attributes));
        }
        // Ids are random; two roots of one id are a program's own doing, and both are sent.
        let same = self.held.insert(key, Held { message, place, since, is_read });
        same.map(|held| released(held, &[]))
    }

    pub(super) fn holds(&self, key: &SpanKey) -> bool {
        self.held.contains_key(key)
    }

    /// The root that a verdict is for, with it. Else the verdict waits for its root, if it `may_wait`.
    pub(super) fn verdict(&mut self, key: SpanKey, attributes: Vec<u8>, may_wait: bool) -> Option<Released> {
        match self.held.remove(&key) {
            Some(held) => Some(released(held, &attributes)),
            None if may_wait => {
                // Full of verdicts whose roots were refused: none of them will be asked for.
                if self.early.len() >= MAX_EARLY {
                    self.early.clear();
                }
                self.early.insert(key, attributes);
                None
            }
            None => None,
        }
    }

    /// Roots that go without a verdict, in the order of their ids.
    fn release(&mut self, is_due: impl Fn(&Held) -> bool) -> Vec<Released> {
        let due = self.held.iter().filter(|(_, held)| is_due(held)).map(|(key, _)| *key);
        let mut due: Vec<SpanKey> = due.collect();
        due.sort_unstable();
        due.into_iter().filter_map(|key| Some(released(self.held.remove(&key)?, &[]))).collect()
    }

    pub(super) fn release_all(&mut self) -> Vec<Released> {
        self.release(|_| true)
    }

    /// Those that have waited for `hold`; with `read`, those that were read from disk too.
    pub(super) fn release_due(&mut self, now: Instant, hold: Duration, read: bool) -> Vec<Released> {
        self.release(|held| now.saturating_duration_since(held.since) >= hold || (read && held.is_read))
    }

    /// When the next root has waited long enough.
    pub(super) fn next_release(&self, hold: Duration) -> Option<Instant> {
        let roots = self.held.values().filter_map(|held| held.since.checked_add(hold));
        let traces = self.undecided.values().filter_map(|trace| trace.since.checked_add(MAX_UNDECIDED));
        roots.chain(traces).min()
    }

    /// Whether anything waits here.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.undecided.is_empty()
    }

    pub(super) fn roots(&self) -> u64 {
        self.held.len() as u64
    }

    pub(super) fn undecided_spans(&self) -> u64 {
        self.undecided_spans
    }

    /// What becomes of a span of `trace`, as far as is known.
    pub(super) fn fate(&self, trace: &TraceId) -> Fate {
        match self.decided.get(trace) {
            Some(true) => Fate::Send,
            Some(false) => Fate::Discard,
            None => Fate::Wait,
        }
    }

    /// Lets a span wait for the decision on its trace.
    pub(super) fn wait(&mut self, trace: TraceId, message: &[u8], place: Place, now: Instant) {
        let undecided = self.undecided.entry(trace).or_insert_with(|| Undecided {
            fields: Vec::new(),
            places: VecDeque::new(),
            spans: 0,
            since: now,
        });
        let before = undecided.fields.len();
        append_field(&mut undecided.fields, 0x12, message);
        undecided.places.push_back(Place { spans: 1, ..place });
        undecided.spans = undecided.spans.saturating_add(1);
        self.undecided_spans = self.undecided_spans.saturating_add(1);
        let grown = undecided.fields.len().saturating_sub(before);
        self.undecided_bytes = self.undecided_bytes.saturating_add(grown);
    }

    /// Decides on a trace.
    pub(super) fn decide(&mut self, trace: TraceId, keeps: bool, decided: &mut Decided) {
        // Of several runs in one trace, one that is kept keeps all.
        let keeps = keeps || self.decided.get(&trace) == Some(&true);
        if self.decided.insert(trace, keeps).is_none() {
            self.decisions.push_back(trace);
            if self.decisions.len() > REMEMBERED
                && let Some(oldest) = self.decisions.pop_front()
            {
                self.decided.remove(&oldest);
            }
        }
        let Some(waiting) = self.undecided.remove(&trace) else { return };
        self.undecided_bytes = self.undecided_bytes.saturating_sub(waiting.fields.len());
        self.undecided_spans = self.undecided_spans.saturating_sub(waiting.spans);
        if keeps {
            decided.sent.push(Waiting::fields(waiting.fields, waiting.places));
        } else {
            decided.discarded.extend(waiting.places);
        }
    }

    /// Keeps the traces that have waited too long, or for which there is no room.
    pub(super) fn keep_overdue(&mut self, now: Instant, all: bool) -> Decided {
        let mut decided = Decided::default();
        loop {
            let oldest = self.undecided.iter().min_by_key(|(_, trace)| trace.since);
            let Some((trace, since)) = oldest.map(|(trace, undecided)| (*trace, undecided.since)) else {
                break;
            };
            let is_overdue = now.saturating_duration_since(since) >= MAX_UNDECIDED;
            if !(all || is_overdue || self.undecided_bytes > UNDECIDED_BYTES) {
                break;
            }
            self.decide(trace, true, &mut decided);
        }
        decided
    }
}

fn released(held: Held, attributes: &[u8]) -> Released {
    let Held { mut message, place, .. } = held;
    let counted = message.len();
    message.extend_from_slice(attributes);
    Released { message, place, counted }
}
