//! `longpole-io`: empties the shards and passes chunks on. It does nothing else, so that it is never late.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use crate::decode::otlp::span_ids;
use crate::delivery::Delivery;
use crate::delivery::record::{Record, RootKey};
use crate::pipeline::outputs::Outputs;
use crate::pipeline::run_thread::Batch;
use crate::pipeline::shard::{Chunk, Shards, flags};
use crate::pipeline::{IoRequest, POLL_INTERVAL};

pub(crate) const NAME: &str = "longpole-io";
/// Without a span for this long the thread parks; the next span wakes it.
const IDLE_BEFORE_PARKING: Duration = Duration::from_millis(100);
/// How many spans may wait for the run thread. Past it they are exported and not analysed, and counted.
const MAX_WAITING_SPANS: u64 = 262_144;

struct Io {
    shards: Arc<Shards>,
    to_run: Sender<Batch>,
    outputs: Arc<Outputs>,
    delivery: Option<Arc<Delivery>>,
    /// Emptied chunks come back here, so that a steady flow allocates nothing.
    empty: Chunk,
}

pub(crate) fn spawn(
    shards: Arc<Shards>,
    requests: Receiver<IoRequest>,
    to_run: Sender<Batch>,
    outputs: Arc<Outputs>,
    delivery: Option<Arc<Delivery>>,
) -> std::io::Result<()> {
    let mut io = Io { shards, to_run, outputs, delivery, empty: Chunk::default() };
    super::spawn_untraced(NAME, move || io.work(&requests))
}

impl Io {
    fn work(&mut self, requests: &Receiver<IoRequest>) {
        self.shards.set_io_thread(std::thread::current());
        let mut last_span = Instant::now();
        loop {
            if self.drain() {
                last_span = Instant::now();
            }
            while let Ok(request) = requests.try_recv() {
                // Whoever asked closed its spans before asking: they are in the shards now.
                self.drain();
                let (batch, is_last) = match request {
                    IoRequest::Flush(done) => (Batch::Flush(done), false),
                    IoRequest::Stop(done) => (Batch::Stop(done), true),
                };
                let _ = self.to_run.send(batch);
                if is_last {
                    return;
                }
            }
            if last_span.elapsed() < IDLE_BEFORE_PARKING {
                std::thread::park_timeout(POLL_INTERVAL);
                continue;
            }
            self.shards.announce_parking();
            if !self.drain() && requests.is_empty() {
                std::thread::park();
            }
            self.shards.unpark_self();
            last_span = Instant::now();
        }
    }

    /// Takes what is in the shards; says whether there was anything.
    fn drain(&mut self) -> bool {
        let mut found = false;
        for shard in 0..self.shards.count() {
            if let Some(chunk) = self.shards.take(shard, &mut self.empty) {
                found = true;
                self.empty = self.shards.pool.take();
                self.pass_on(chunk);
            }
        }
        found
    }

    fn pass_on(&self, chunk: Chunk) {
        let spans = chunk.heads.len() as u64;
        let chunk = Arc::new(chunk);
        self.outputs.closed_spans.fetch_add(spans, Ordering::Relaxed);
        if let Some(delivery) = &self.delivery {
            self.offer(delivery, &chunk);
        }
        let waiting = self.outputs.waiting_spans.fetch_add(spans, Ordering::AcqRel);
        if waiting.saturating_add(spans) > MAX_WAITING_SPANS {
            self.outputs.waiting_spans.fetch_sub(spans, Ordering::AcqRel);
            self.outputs.lost("analysis_queue_full", spans);
            self.shards.pool.give(chunk);
        } else if let Err(unsent) = self.to_run.send(Batch::Spans(chunk))
            && let Batch::Spans(chunk) = unsent.into_inner()
        {
            self.outputs.lost("analysis_ended", spans);
            self.shards.pool.give(chunk);
        }
    }

    /// Roots wait for their verdict, so they go by themselves, and before the verdict can.
    fn offer(&self, delivery: &Delivery, chunk: &Arc<Chunk>) {
        let is_exported = |head: &&crate::pipeline::shard::FrameHead| head.flags & flags::ANALYSIS_ONLY == 0;
        let mut has_others = false;
        for head in chunk.heads.iter().filter(is_exported) {
            if head.flags & (flags::LOCAL_ROOT | flags::OUTERMOST_MARKED) == 0 {
                has_others = true;
                continue;
            }
            let message = chunk.message(head);
            if let Some((trace_id, span_id)) = span_ids(message) {
                let key = RootKey { trace_id, span_id };
                // Refusals are counted by the delivery.
                let _ = delivery.offer(Record::HeldRoot { key, message: message.to_vec() });
            }
        }
        if has_others {
            let _ = delivery.offer(Record::Traces(chunk.clone()));
        }
    }
}
