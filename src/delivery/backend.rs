//! The spans' backend: requests in flight, and those that wait to be tried again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::task::{Id, JoinSet};

use super::endpoint::Endpoint;
use super::queue::Queue;
use super::request::Envelope;
use super::retry::{Pace, Verdict};
use super::spool::{SpoolConfig, dead};
use super::state::Done;
use super::transport::{Answer, Body, Signal, Transport};
use super::waiting::Batch;
use super::{Protocol, SignalName};
use crate::otlp_json::append_traces_line;
use crate::random::random_share;

/// A request and its fate so far.
pub(super) struct Request {
    batch: Batch,
    /// `None`: to be made from the batch when it is sent.
    body: Option<Body>,
    failures: u32,
    is_half: bool,
    /// Somebody has begun to wait while it was under way: should it fail, it is tried again at once.
    is_hurried: bool,
}

/// The spans of a batch as they go into its request.
struct SharedFields(Arc<Vec<u8>>);

impl AsRef<[u8]> for SharedFields {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The sending side of one address.
pub(super) struct Backend {
    transport: Transport,
    in_flight: JoinSet<Answer>,
    /// What those are answers to.
    requests: HashMap<Id, Request>,
    max_in_flight: usize,
    retries: Vec<(Instant, Request)>,
    pace: Pace,
    envelope: Envelope,
    /// Where refused requests are kept.
    spool: Option<SpoolConfig>,
    queue: Arc<Queue>,
}

impl Backend {
    pub(super) fn new(
        endpoint: Endpoint,
        max_in_flight: usize,
        envelope: Envelope,
        spool: Option<SpoolConfig>,
        queue: Arc<Queue>,
    ) -> Self {
        Backend {
            pace: Pace::new(endpoint.max_backoff),
            transport: Transport::new(endpoint, Signal::Traces),
            in_flight: JoinSet::new(),
            requests: HashMap::new(),
            max_in_flight: max_in_flight.max(1),
            retries: Vec::new(),
            envelope,
            spool,
            queue,
        }
    }

    /// Sends a batch.
    pub(super) fn send_batch(&mut self, batch: Batch) {
        self.send(Request { batch, body: None, failures: 0, is_half: false, is_hurried: false });
    }

    fn body(&self, batch: &Batch) -> Body {
        if self.transport.protocol() != Protocol::HttpJson {
            let fields = Bytes::from_owner(SharedFields(batch.fields.clone()));
            return self.transport.body_behind(self.envelope.head(batch), fields);
        }
        let request = self.envelope.request(batch);
        let mut line = Vec::with_capacity(request.len().saturating_mul(2));
        // The request is of our own making; what could not be read would come back as a refusal.
        let _ = append_traces_line(&request, &mut line);
        self.transport.body(line)
    }

    /// Whether another request may be started. Those that wait for their next try count: past the limit spans are
    /// better kept in the queue. Nor is there room while the backend asks for time: the request it asked for is one
    /// of those that wait.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight.len().saturating_add(self.retries.len()) < self.max_in_flight
            && !self.pace.is_probing()
            && self.pace.not_before().is_none_or(|not_before| not_before <= Instant::now())
    }

    fn send(&mut self, mut request: Request) {
        self.queue.count_request(request.failures > 0);
        let body = request.body.take().unwrap_or_else(|| self.body(&request.batch));
        request.body = Some(body.clone());
        let answer = self.transport.clone().send(body);
        let id = self.in_flight.spawn(answer).id();
        self.requests.insert(id, request);
    }

    /// Tries again what is due; while probing, one request at a time.
    pub(super) fn start_due_retries(&mut self, now: Instant) {
        self.retries.sort_by_key(|(due, _)| *due);
        if self.pace.not_before().is_some_and(|not_before| now < not_before) {
            return;
        }
        while self.retries.first().is_some_and(|(due, _)| *due <= now) {
            if self.pace.is_probing() && !self.in_flight.is_empty() {
                return;
            }
            let (_, request) = self.retries.remove(0);
            self.send(request);
        }
    }

    /// Tries again now what waits, unless the backend itself asked for time: somebody flushes, or it is back.
    pub(super) fn hurry(&mut self, now: Instant) {
        if self.pace.asks_for_time(now) {
            return;
        }
        self.pace.hurry();
        for (due, _) in &mut self.retries {
            *due = now.min(*due);
        }
        self.requests.values_mut().for_each(|request| request.is_hurried = true);
    }

    pub(super) fn next_retry(&self) -> Option<Instant> {
        if self.pace.is_probing() && !self.in_flight.is_empty() {
            return None;
        }
        self.retries
            .iter()
            .map(|(due, _)| *due)
            .min()
            .map(|due| due.max(self.pace.not_before().unwrap_or(due)))
    }

    /// Waits for an answer and books it; never returns while nothing is in flight.
    pub(super) async fn answered(&mut self) {
        let (id, answer) = match self.in_flight.join_next_with_id().await {
            Some(Ok(answered)) => answered,
            Some(Err(error)) => (error.id(), Answer::failed("sending it panicked".to_owned())),
            None => std::future::pending().await,
        };
        if let Some(request) = self.requests.remove(&id) {
            self.book(request, answer);
        }
    }

    fn book(&mut self, request: Request, answer: Answer) {
        let Answer { verdict, error, rejected, .. } = answer;
        let spans = request.batch.spans();
        match verdict {
            Verdict::Accepted => {
                self.pace.settled();
                self.hurry(Instant::now());
                self.queue.is_back(SignalName::Spans);
                let rejected = rejected.min(spans);
                if let Some(error) = &error {
                    self.queue.tell(SignalName::Spans, error, "");
                }
                let outcomes = [(Done::Acked, spans.saturating_sub(rejected)), (Done::Rejected, rejected)];
                self.queue.done(&outcomes, request.batch, error);
            }
            Verdict::Retry(after) => {
                let failures = request.failures.saturating_add(1);
                let now = Instant::now();
                let mut due = self.pace.failed(after, now, random_share());
                if request.is_hurried && !self.pace.asks_for_time(now) {
                    self.pace.hurry();
                    due = now;
                }
                if let Some(error) = error {
                    self.queue.tell_away(SignalName::Spans, &error, "; they wait and are tried again");
                    self.queue.note_error(error);
                }
                self.retries.push((due, Request { failures, is_hurried: false, ..request }));
            }
            Verdict::TooLarge if !request.is_half => match request.batch.halves() {
                Some((first, second)) => {
                    for half in [first, second] {
                        // Its body is made when it is sent.
                        let half = Request {
                            batch: half,
                            body: None,
                            failures: 0,
                            is_half: true,
                            is_hurried: false,
                        };
                        self.retries.push((Instant::now(), half));
                    }
                }
                None => self.refuse(request.batch, error),
            },
            Verdict::TooLarge | Verdict::Rejected => {
                self.pace.settled();
                self.refuse(request.batch, error);
            }
        }
    }

    /// Books spans the backend will not take, and keeps them for a person to look at.
    fn refuse(&mut self, batch: Batch, error: Option<String>) {
        let request = self.envelope.request(&batch);
        let buried =
            self.spool.as_ref().and_then(|spool| dead::bury(&spool.root, &spool.service, &request).ok());
        let folder = buried.as_deref().and_then(std::path::Path::parent);
        let then = folder.map_or_else(
            || "; they are lost there".to_owned(),
            |folder| format!("; they are kept in {}", folder.display()),
        );
        if let Some(error) = &error {
            self.queue.tell(SignalName::Spans, error, &then);
        }
        self.queue.done(&[(Done::Rejected, batch.spans())], batch, error);
    }
}
