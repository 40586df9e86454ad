//! `longpole-io`: empties the shards and passes chunks on. It does nothing else, so that it is never late.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use crate::delivery::record::{Record, SpanKey};
use crate::delivery::{Delivery, LossNews};
use crate::pipeline::outputs::Outputs;
use crate::pipeline::pricing::{PriceSettings, Pricing};
use crate::pipeline::run_thread::Batch;
use crate::pipeline::shard::{Chunk, FrameHead, Shards, flags};
use crate::pipeline::{IoRequest, POLL_INTERVAL};
use crate::report::PipelineLosses;
use crate::restarts::Restarts;

pub(crate) const NAME: &str = "longpole-io";
/// Without a span for this long the thread parks; the next span wakes it.
const IDLE_BEFORE_PARKING: Duration = Duration::from_millis(100);
/// How many spans may wait for the run thread. Past it they are exported and not analysed, and counted.
const MAX_WAITING_SPANS: u64 = 262_144;
/// Spans of which none may end a run wait so long for more, so that the run thread is not woken for every few.
const HOLD: Duration = Duration::from_millis(25);
/// Or until there are so many.
const MAX_HELD_SPANS: u64 = 1_024;
/// Between two looks at what was lost.
const LOOK_FOR_LOSSES: Duration = Duration::from_millis(250);

/// Takes what is in the shards and passes it on. The io thread does so, and where nothing may be lost that was
/// closed, every thread that closes a span.
pub(crate) struct Drain {
    shards: Arc<Shards>,
    to_run: Sender<Batch>,
    analyses: bool,
    outputs: Arc<Outputs>,
    delivery: Option<Arc<Delivery>>,
    /// Whether spans may wait a little on their way to the run thread.
    holds: bool,
    /// Locked while draining: whoever gets the lock after another finds that one's spans passed on.
    draining: Mutex<Draining>,
}

/// What is needed to take what is in the shards.
struct Draining {
    /// Emptied chunks come back here, so that a steady flow allocates nothing.
    empty: Chunk,
    pricing: Pricing,
    held: Held,
}

/// Chunks on their way to the run thread.
#[derive(Default)]
struct Held {
    chunks: Vec<Arc<Chunk>>,
    spans: u64,
    has_root: bool,
    since: Option<Instant>,
}

impl Held {
    fn is_due(&self) -> bool {
        self.has_root
            || self.spans >= MAX_HELD_SPANS
            || self.since.is_some_and(|since| since.elapsed() >= HOLD)
    }
}

/// How the user hears of losses on the way to the delivery.
pub(crate) struct LossTelling {
    /// Spans the layer lost so far, by reason.
    pub(crate) layer_losses: Box<dyn Fn() -> PipelineLosses + Send>,
    pub(crate) tell: Option<fn(&str)>,
}

pub(crate) fn spawn(
    drain: Arc<Drain>,
    requests: Receiver<IoRequest>,
    telling: LossTelling,
) -> std::io::Result<()> {
    super::spawn_untraced(NAME, move || {
        let mut io = Io { drain, telling, news: LossNews::default(), next_look: Instant::now() };
        let mut restarts = Restarts::default();
        while catch_unwind(AssertUnwindSafe(|| io.work(&requests))).is_err() {
            io.drain.outputs.note("longpole's io thread panicked and began anew".to_owned());
            if !restarts.may_restart(Instant::now()) {
                // Nobody takes spans any more: they are refused and counted.
                io.drain.hand_over();
                let left = io.drain.shards.close();
                return io.drain.outputs.lost("io_thread_panicked", left);
            }
        }
    })
}

struct Io {
    drain: Arc<Drain>,
    telling: LossTelling,
    news: LossNews,
    next_look: Instant,
}

impl Io {
    fn work(&mut self, requests: &Receiver<IoRequest>) {
        let shards = self.drain.shards.clone();
        shards.set_io_thread(std::thread::current());
        let mut last_span = Instant::now();
        loop {
            if self.drain.drain() {
                last_span = Instant::now();
            }
            while let Ok(request) = requests.try_recv() {
                // Whoever asked closed its spans before asking: they are in the shards now.
                self.drain.drain();
                self.tell_losses();
                let (batch, is_last) = match request {
                    IoRequest::Drain(done) => {
                        let _ = done.send(());
                        continue;
                    }
                    IoRequest::Flush(done) => (Batch::Flush(done), false),
                    IoRequest::Stop(done) => (Batch::Stop(done), true),
                };
                self.drain.hand_over();
                let _ = self.drain.to_run.send(batch);
                if is_last {
                    return;
                }
            }
            if Instant::now() >= self.next_look {
                self.tell_losses();
            }
            if last_span.elapsed() < IDLE_BEFORE_PARKING {
                std::thread::park_timeout(POLL_INTERVAL);
                continue;
            }
            shards.announce_parking();
            if !self.drain.drain() && requests.is_empty() {
                self.drain.hand_over();
                self.tell_losses();
                std::thread::park();
            }
            shards.unpark_self();
            last_span = Instant::now();
        }
    }

    /// Tells of spans lost before the delivery, which tells of its own.
    fn tell_losses(&mut self) {
        let now = Instant::now();
        self.next_look = now.checked_add(LOOK_FOR_LOSSES).unwrap_or(now);
        let mut losses = (self.telling.layer_losses)();
        losses.extend(self.drain.outputs.losses());
        let losses = losses.iter().map(|(reason, spans)| (reason.as_str(), *spans));
        for sentence in self.news.due(losses, now) {
            if let Some(tell) = self.telling.tell {
                tell(&sentence);
            }
            self.drain.outputs.note(sentence);
        }
    }
}

impl Drain {
    pub(crate) fn new(
        shards: Arc<Shards>,
        to_run: Sender<Batch>,
        outputs: Arc<Outputs>,
        delivery: Option<Arc<Delivery>>,
        prices: PriceSettings,
        holds: bool,
    ) -> Self {
        let (empty, pricing, held) = (Chunk::default(), Pricing::new(prices), Held::default());
        let draining = Mutex::new(Draining { empty, pricing, held });
        Drain { shards, to_run, analyses: true, outputs, delivery, holds, draining }
    }

    /// Delivers only.
    pub(crate) fn without_analysis(self) -> Self {
        Drain { analyses: false, ..self }
    }

    /// Takes what is in the shards; says whether there was anything. When it returns, every span that was closed
    /// before the call has been passed on: to the delivery, and sooner or later to the run thread.
    pub(crate) fn drain(&self) -> bool {
        let mut draining = self.draining.lock().unwrap_or_else(PoisonError::into_inner);
        let Draining { empty, pricing, held } = &mut *draining;
        let mut found = false;
        for shard in 0..self.shards.count() {
            if let Some(mut chunk) = self.shards.take(shard, empty) {
                found = true;
                *empty = self.shards.pool.take();
                // A mistake of ours in pricing costs prices, never spans.
                if catch_unwind(AssertUnwindSafe(|| pricing.add_costs(&mut chunk))).is_err() {
                    self.outputs.note("longpole's pricing panicked; some calls carry no cost".to_owned());
                }
                self.pass_on(chunk, held);
            }
        }
        if !self.holds || held.is_due() {
            self.send(held);
        }
        found
    }

    /// Lets no span wait on its way to the run thread any longer.
    fn hand_over(&self) {
        let mut draining = self.draining.lock().unwrap_or_else(PoisonError::into_inner);
        self.send(&mut draining.held);
    }

    fn send(&self, held: &mut Held) {
        let Held { chunks, spans, .. } = std::mem::take(held);
        if chunks.is_empty() {
            return;
        }
        if let Err(unsent) = self.to_run.send(Batch::Spans(chunks))
            && let Batch::Spans(chunks) = unsent.into_inner()
        {
            self.outputs.lost("analysis_ended", spans);
            chunks.into_iter().for_each(|chunk| self.shards.pool.give(chunk));
        }
    }

    fn pass_on(&self, mut chunk: Chunk, held: &mut Held) {
        if !self.analyses {
            // Nobody will have a verdict for roots to wait for.
            for head in &mut chunk.heads {
                head.flags &= !(flags::LOCAL_ROOT | flags::OUTERMOST_MARKED);
            }
        }
        let spans = chunk.heads.len() as u64;
        let chunk = Arc::new(chunk);
        self.outputs.closed_spans.fetch_add(spans, Ordering::Relaxed);
        if let Some(delivery) = &self.delivery {
            self.offer(delivery, &chunk);
        }
        if !self.analyses {
            return self.shards.pool.give(chunk);
        }
        let waiting = self.outputs.waiting_spans.fetch_add(spans, Ordering::AcqRel);
        if waiting.saturating_add(spans) > MAX_WAITING_SPANS {
            self.outputs.waiting_spans.fetch_sub(spans, Ordering::AcqRel);
            self.outputs.lost("analysis_queue_full", spans);
            return self.shards.pool.give(chunk);
        }
        held.has_root |= chunk.heads.iter().any(is_root);
        held.spans = held.spans.saturating_add(spans);
        held.since.get_or_insert_with(Instant::now);
        held.chunks.push(chunk);
    }

    /// Roots wait for their verdict, so they go by themselves, and before the verdict can.
    fn offer(&self, delivery: &Delivery, chunk: &Arc<Chunk>) {
        let is_exported = |head: &&FrameHead| head.flags & flags::ANALYSIS_ONLY == 0;
        let mut has_others = false;
        for head in chunk.heads.iter().filter(is_exported) {
            if !is_root(head) {
                has_others = true;
                continue;
            }
            let message = chunk.message(head);
            if let Some(key) = SpanKey::of(message) {
                // Refusals are counted by the delivery.
                let _ = delivery.offer(Record::HeldRoot { key, message: message.to_vec() });
            }
        }
        if has_others {
            let _ = delivery.offer(Record::Traces(chunk.clone()));
        }
        // Behind its end: a process that dies between the two tells of the span twice, rather than not at all.
        let had_partial = chunk.heads.iter().filter(|head| head.flags & flags::HAD_PARTIAL != 0);
        let ended: Vec<SpanKey> = had_partial.filter_map(|head| SpanKey::of(chunk.message(head))).collect();
        if !ended.is_empty() {
            delivery.strike_open(&ended);
        }
    }
}

/// Whether a run may end with this span.
fn is_root(head: &FrameHead) -> bool {
    head.flags & (flags::LOCAL_ROOT | flags::OUTERMOST_MARKED) != 0
}
