//! What came to a sink: how often each span, and when which request.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;

use super::Answer;

/// The attribute that numbers a client's spans.
const SEQUENCE: &str = "seq";

/// What came so far.
#[derive(Debug, Default)]
pub struct Tally {
    /// How often each numbered span was taken.
    pub arrivals: HashMap<u64, u32>,
    /// Spans without a number, by name: no client made them.
    pub foreign: BTreeMap<String, u64>,
    /// All requests with spans, in the order in which they had been read.
    pub requests: Vec<Request>,
    /// Connections that were accepted.
    pub connections: u64,
    /// Bytes that clients have taken of answers that are too long.
    pub answer_bytes: u64,
}

/// One request with spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// When all of it had been read.
    pub at: Instant,
    /// Spans in it.
    pub spans: usize,
    /// Whether a backend would have kept the spans.
    pub is_taken: bool,
}

impl Tally {
    /// Distinct numbered spans.
    pub fn distinct(&self) -> u64 {
        self.arrivals.len() as u64
    }

    /// Arrivals beyond the first of each numbered span.
    pub fn duplicates(&self) -> u64 {
        self.arrivals.values().map(|times| u64::from(times.saturating_sub(1))).sum()
    }

    /// How often the span came that came most often.
    pub fn most_often(&self) -> u32 {
        self.arrivals.values().copied().max().unwrap_or(0)
    }

    fn add(&mut self, request: &ExportTraceServiceRequest, is_taken: bool) {
        let resources = request.resource_spans.iter();
        let spans = resources.flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans);
        let mut count = 0;
        for span in spans {
            count += 1;
            match sequence(span) {
                _ if !is_taken => {}
                Some(number) => *self.arrivals.entry(number).or_default() += 1,
                None => *self.foreign.entry(span.name.clone()).or_default() += 1,
            }
        }
        self.requests.push(Request { at: Instant::now(), spans: count, is_taken });
    }
}

fn sequence(span: &Span) -> Option<u64> {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == SEQUENCE)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::IntValue(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

/// What the sink's thread and its owner share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    tally: Mutex<Tally>,
    changed: Condvar,
    answers: Mutex<Answers>,
}

#[derive(Debug, Default)]
struct Answers {
    first: VecDeque<Answer>,
    then: Vec<Answer>,
    next: usize,
}

impl Shared {
    pub(super) fn answer(&self, first: Vec<Answer>, then: Vec<Answer>) {
        *locked(&self.answers) = Answers { first: first.into(), then, next: 0 };
    }

    pub(super) fn next_answer(&self) -> Answer {
        let mut answers = locked(&self.answers);
        if let Some(answer) = answers.first.pop_front() {
            return answer;
        }
        let count = answers.then.len();
        let Some(at) = answers.next.checked_rem(count) else { return Answer::Take };
        answers.next = at + 1;
        answers.then.get(at).cloned().unwrap_or(Answer::Take)
    }

    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        locked(&self.tally)
    }

    pub(super) fn note_request(&self, request: &ExportTraceServiceRequest, is_taken: bool) {
        self.tally().add(request, is_taken);
        self.changed.notify_all();
    }

    pub(super) fn note_connection(&self) {
        self.tally().connections += 1;
        self.changed.notify_all();
    }

    pub(super) fn note_answer_bytes(&self, bytes: u64) {
        self.tally().answer_bytes += bytes;
    }

    pub(super) fn wait_until(&self, deadline: Instant, is_there: impl Fn(&Tally) -> bool) -> bool {
        let mut tally = self.tally();
        while !is_there(&tally) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return false;
            }
            let waited = self.changed.wait_timeout(tally, left);
            tally = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
