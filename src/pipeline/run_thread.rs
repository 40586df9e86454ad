//! `longpole-run`: decodes spans, assembles runs, analyses them and calls back.
//!
//! It reads the very bytes that are exported, with the decoder that reads files: what a program hears live and what
//! its file says later cannot differ. It is the only writer of the sums. Callbacks run here, under the program's
//! own subscriber, fenced so that what they trace is not measured.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use tracing::dispatcher::{self, Dispatch};

use crate::conventions::RUN_SPANS;
use crate::decode::otlp::decode_span;
use crate::delivery::Delivery;
use crate::delivery::record::{Record, SpanKey};
use crate::encode::verdict::{count_attributes, verdict_attributes};
use crate::layer::fence::Fence;
use crate::metrics::hub::{self, MetricHub};
use crate::otlp_bytes;
use crate::pipeline::budgets::{BudgetExceeded, BudgetWatch, OnBudget};
use crate::pipeline::keep_runs::KeepRuns;
use crate::pipeline::outputs::Outputs;
use crate::pipeline::shard::{Chunk, FrameHead, Shards, flags};
use crate::report::build::{ReportOptions, report_with_sums};
use crate::report::{History, OtherRoot, PipelineLosses, Report, RunStatus};
use crate::restarts::Restarts;
use crate::run_assembler::{AssemblerConfig, FinishedRun, RunAssembler};
use crate::span_record::{Interner, LocalFacts, Origin, SpanRecord};
use crate::time::Timestamp;

pub(crate) const NAME: &str = "longpole-run";

/// What to do with each report.
pub(crate) type OnRun = Box<dyn FnMut(&Report) + Send>;
/// The same with the spans it was made of.
pub(crate) type OnRunSpans = Box<dyn FnMut(&Report, &[SpanRecord]) + Send>;

pub(crate) struct RunThreadConfig {
    pub(crate) assembler: AssemblerConfig,
    pub(crate) report: ReportOptions,
    /// Whether a run is compared with those of its workflow that ended before it.
    pub(crate) compares_with_earlier_runs: bool,
    /// Which runs are sent, where that depends on how they ended.
    pub(crate) keep_runs: Option<KeepRuns>,
    /// Whether runs without a single marked node are left unreported.
    pub(crate) marked_only: bool,
    pub(crate) origin: Arc<Origin>,
    pub(crate) on_run: Vec<OnRun>,
    pub(crate) on_run_spans: Vec<OnRunSpans>,
    /// Who watches what runs use, where that is limited.
    pub(crate) budgets: Option<BudgetWatch>,
    pub(crate) on_budget: Vec<OnBudget>,
    pub(crate) metrics: Arc<MetricHub>,
    /// Where finished runs are logged.
    #[cfg(feature = "mlflow")]
    pub(crate) mlflow: Option<Arc<crate::mlflow::Mlflow>>,
    /// Whether the recorder of the `metrics` facade is told too.
    #[cfg(feature = "metrics")]
    pub(crate) uses_facade: bool,
    /// Spans the layer lost so far, by reason.
    pub(crate) layer_losses: Box<dyn Fn() -> PipelineLosses + Send>,
    /// Spans that have been open for a while, as far as they have come.
    pub(crate) open_spans: Box<dyn Fn() -> Vec<(SpanKey, Vec<u8>)> + Send>,
    /// The program's subscriber while it lives, for callbacks.
    pub(crate) host_dispatch: Box<dyn Fn() -> Option<Dispatch> + Send>,
}

/// What the io thread passes on.
pub(crate) enum Batch {
    Spans(Vec<Arc<Chunk>>),
    /// Report on every closed root, then answer.
    Flush(Sender<()>),
    /// Report on everything, answer and end.
    Stop(Sender<()>),
}

thread_local! {
    static IS_RUN_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Whether this is a run thread: then a callback is asking.
pub(crate) fn is_current() -> bool {
    IS_RUN_THREAD.try_with(Cell::get).unwrap_or(false)
}

pub(crate) fn spawn(
    config: RunThreadConfig,
    batches: Receiver<Batch>,
    shards: Arc<Shards>,
    outputs: Arc<Outputs>,
    delivery: Option<Arc<Delivery>>,
) -> std::io::Result<()> {
    super::spawn_untraced(NAME, move || {
        IS_RUN_THREAD.set(true);
        let assembler = RunAssembler::new(config.assembler);
        let mut interner = Interner::default();
        interner.keeps_attributes = !config.on_run_spans.is_empty();
        let (earlier, started) = (EarlierRuns::default(), Instant::now());
        let mut thread = RunThread {
            config,
            shards,
            outputs,
            delivery,
            incoming: VecDeque::new(),
            assembler,
            interner,
            earlier,
            started,
            open_spans_kept: started,
            has_kept_open_spans: false,
        };
        let mut restarts = Restarts::default();
        while catch_unwind(AssertUnwindSafe(|| thread.work(&batches))).is_err() {
            thread.begin_anew();
            if !restarts.may_restart(Instant::now()) {
                return thread.outputs.note("longpole analyses no more runs".to_owned());
            }
        }
    })
}

struct RunThread {
    config: RunThreadConfig,
    shards: Arc<Shards>,
    outputs: Arc<Outputs>,
    delivery: Option<Arc<Delivery>>,
    /// Of the batch in hand, what has not been taken in.
    incoming: VecDeque<Arc<Chunk>>,
    assembler: RunAssembler,
    interner: Interner,
    earlier: EarlierRuns,
    started: Instant,
    /// When open spans were last written to disk, and whether there were any.
    open_spans_kept: Instant,
    has_kept_open_spans: bool,
}

/// Between two times that open spans are written to disk, and how long one must have been open.
pub(crate) const OPEN_SPANS_INTERVAL: Duration = Duration::from_secs(5);
/// How much is written of them.
pub(crate) const OPEN_SPANS_BYTES: usize = 4 << 20;

/// What was seen of earlier runs, as far as later ones need it.
#[derive(Default)]
struct EarlierRuns {
    /// By workflow, else by the name of the root.
    histories: HashMap<String, Arc<History>>,
    /// The roots of the last runs.
    roots: VecDeque<OtherRoot>,
}

/// How many workflows have a history of their own; those that come later have none.
const MAX_HISTORIES: usize = 64;

impl EarlierRuns {
    fn history(&self, run: &FinishedRun) -> Arc<History> {
        run.name().and_then(|name| self.histories.get(&**name).cloned()).unwrap_or_default()
    }

    fn take_report(&mut self, name: Option<Arc<str>>, report: &Report) {
        let Some(name) = name else { return };
        if self.histories.len() < MAX_HISTORIES || self.histories.contains_key(&*name) {
            Arc::make_mut(self.histories.entry(name.to_string()).or_default()).push(report);
        }
    }

    fn take_root(&mut self, root: OtherRoot) {
        if self.roots.len() >= OtherRoot::MAX {
            self.roots.pop_front();
        }
        self.roots.push_back(root);
    }
}

impl RunThread {
    /// After a panic: what was being put together is lost to reports, and counted. It is exported all the same.
    fn begin_anew(&mut self) {
        let lost = self.assembler.waiting_spans();
        self.assembler = RunAssembler::new(self.config.assembler);
        self.outputs.lost("analysis_panicked", lost);
        self.outputs.note("longpole's analysis panicked and began anew".to_owned());
    }

    fn work(&mut self, batches: &Receiver<Batch>) {
        // What a panic has left of a batch.
        self.take_all();
        loop {
            let open_spans = self.keep_open_spans();
            let due = self.assembler.next_deadline();
            let due = due.map(|deadline| deadline.saturating_since(self.now()).to_std());
            let batch = match [due, open_spans].into_iter().flatten().min() {
                Some(wait) => batches.recv_timeout(wait),
                None => batches.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match batch {
                Ok(Batch::Spans(chunks)) => {
                    self.incoming.extend(chunks);
                    self.take_all();
                }
                Ok(Batch::Flush(done)) => {
                    let closed = self.assembler.end_grace();
                    self.report(closed);
                    let _ = done.send(());
                }
                Ok(Batch::Stop(done)) => {
                    let all = self.assembler.finish();
                    self.report(all);
                    let _ = done.send(());
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {
                    let due = self.assembler.poll(self.now());
                    self.report(due);
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Writes spans that have been open for a while to disk, now and then, so that a process that dies tells of
    /// them. Gives how long until the next time.
    fn keep_open_spans(&mut self) -> Option<Duration> {
        let delivery = self.delivery.as_ref().filter(|delivery| delivery.has_spool())?;
        let since = self.open_spans_kept.elapsed();
        if since < OPEN_SPANS_INTERVAL {
            return Some(OPEN_SPANS_INTERVAL.saturating_sub(since));
        }
        let open = (self.config.open_spans)();
        if !open.is_empty() || self.has_kept_open_spans {
            delivery.write_open(&open);
        }
        self.has_kept_open_spans = !open.is_empty();
        self.open_spans_kept = Instant::now();
        Some(OPEN_SPANS_INTERVAL)
    }

    /// Time since the thread started: the assembler needs any clock that only goes forward.
    fn now(&self) -> Timestamp {
        Timestamp::EPOCH.saturating_add(self.started.elapsed().into())
    }

    fn take_all(&mut self) {
        while let Some(chunk) = self.incoming.pop_front() {
            self.outputs.waiting_spans.fetch_sub(chunk.heads.len() as u64, Ordering::AcqRel);
            self.take(&chunk);
            self.shards.pool.give(chunk);
        }
        let whole = self.assembler.poll(self.now());
        self.report(whole);
    }

    fn take(&mut self, chunk: &Chunk) {
        let now = self.now();
        let mut exceeded = Vec::new();
        for head in &chunk.heads {
            match decode_span(chunk.message(head), &self.config.origin, &mut self.interner) {
                Ok(record) => {
                    let record = SpanRecord { local: Some(local_facts(head)), ..record };
                    if let Some(watch) = &mut self.config.budgets {
                        exceeded.extend(watch.take(&record, self.config.report.prices.as_ref()));
                    }
                    if let Err(left_out) = self.assembler.push(record, now) {
                        self.config.metrics.of_runs().record_left_out(&left_out, hub::now());
                        self.outputs.state().aggregates.add_left_out(&left_out);
                    }
                }
                Err(_) => self.outputs.lost("unreadable", 1),
            }
        }
        self.tell_budgets(&exceeded);
    }

    /// Tells of runs that use more than they may.
    fn tell_budgets(&mut self, exceeded: &[BudgetExceeded]) {
        if exceeded.is_empty() {
            return;
        }
        self.outputs.budgets_exceeded.fetch_add(exceeded.len() as u64, Ordering::Relaxed);
        let dispatch = (self.config.host_dispatch)().unwrap_or_else(Dispatch::none);
        let _fence = Fence::raise();
        for exceeded in exceeded {
            for on_budget in &mut self.config.on_budget {
                let call = AssertUnwindSafe(|| dispatcher::with_default(&dispatch, || on_budget(exceeded)));
                if catch_unwind(call).is_err() {
                    self.outputs.note("an on_budget callback panicked".to_owned());
                }
            }
        }
    }

    fn report(&mut self, runs: Vec<FinishedRun>) {
        // All of them first: what a run has lost may come in the same batch.
        for root in runs.iter().filter_map(OtherRoot::of) {
            self.earlier.take_root(root);
        }
        for run in runs {
            self.report_on(run);
        }
        for around in self.assembler.take_dismissed() {
            // Whoever finds it inside a larger trace can tell whether that part is whole.
            if let Some(key) = key_of(&around) {
                self.send_verdict(key, count_attributes(&around));
                self.decide(key, true);
            }
        }
        for advice in self.assembler.take_advice() {
            self.outputs.note(format!(
                "trace {} has {} spans under a root that is still open; mark each run with workflow.name to \
                 have it reported when it ends",
                advice.trace_id, advice.spans
            ));
        }
    }

    fn report_on(&mut self, run: FinishedRun) {
        let key = key_of(&run);
        let mut attributes = count_attributes(&run);
        let is_unmarked = || run.records.iter().all(|record| record.node_id().is_none());
        if self.config.marked_only && is_unmarked() {
            self.forget_budgets(key);
            if let Some(key) = key {
                self.send_verdict(key, attributes);
                self.decide(key, true);
            }
            return;
        }
        let spans = run.records.len() as u64;
        let (root, workflow) = (OtherRoot::of(&run), run.name().cloned());
        if self.config.compares_with_earlier_runs {
            self.config.report.history = self.earlier.history(&run);
        }
        let around = root.as_ref().map(|root| root.those_within(self.earlier.roots.iter()));
        self.config.report.other_roots = around.unwrap_or_default();
        let spans_told = (!self.config.on_run_spans.is_empty()).then(|| records_as_exported(&run));
        let began = Instant::now();
        // A mistake of ours in the analysis costs one report, never the thread.
        let analysed = catch_unwind(AssertUnwindSafe(|| report_with_sums(run, &self.config.report)));
        let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.outputs.analysis_nanos.fetch_add(took, Ordering::Relaxed);
        if let Ok(Some((report, _))) = &analysed {
            attributes.extend(verdict_attributes(report));
        }
        if let Some(key) = key {
            self.send_verdict(key, attributes);
        }
        let Ok(Some((mut report, mut sums))) = analysed else {
            self.outputs.lost("analysis_failed", spans);
            self.forget_budgets(key);
            if let Some(key) = key {
                self.decide(key, true);
            }
            return;
        };
        if let Some(keep) = &self.config.keep_runs {
            let is_complete = report.run.status != RunStatus::Incomplete;
            let keeps = keep.keeps_by_chance(&sums, is_complete, &self.outputs.state().aggregates);
            // Nobody can look it up then.
            sums.is_sampled &= keeps;
            if let Some(key) = key {
                self.decide(key, keeps);
            }
        }
        if self.config.compares_with_earlier_runs {
            self.earlier.take_report(workflow, &report);
        }
        {
            let mut metrics = self.config.metrics.of_runs();
            metrics.record_run(&sums, hub::now());
            metrics.record_budgets(&report.budgets, sums.workflow.as_ref(), hub::now());
        }
        #[cfg(feature = "metrics")]
        if self.config.uses_facade {
            // The recorder is the program's.
            let _ =
                catch_unwind(AssertUnwindSafe(|| crate::metrics::facade::emit_run(&sums, &report.budgets)));
        }
        {
            let mut state = self.outputs.state();
            state.aggregates.add_run(report.run.wall_ns, sums.nodes);
            state.many_runs.add(&sums.profile);
        }
        report.pipeline = Some(self.losses());
        let report = Arc::new(report);
        self.outputs.keep(report.clone());
        if let Some(watch) = &mut self.config.budgets {
            let exceeded = watch.end(sums.trace_id, key.map(|key| key.span_id), &report);
            self.tell_budgets(&exceeded);
        }
        #[cfg(feature = "mlflow")]
        if let Some(mlflow) = &self.config.mlflow {
            mlflow.run_ended(report.clone());
        }
        self.call_back(&report, spans_told.as_deref().unwrap_or_default());
    }

    fn forget_budgets(&mut self, root: Option<SpanKey>) {
        if let (Some(watch), Some(root)) = (&mut self.config.budgets, root) {
            watch.forget(root.trace_id, root.span_id);
        }
    }

    /// Everything lost so far on the way from the layer to here and on to the backend.
    fn losses(&self) -> PipelineLosses {
        let mut losses = (self.config.layer_losses)();
        losses.extend(self.outputs.losses());
        losses.extend(self.delivery.iter().flat_map(|delivery| delivery.losses()));
        losses
    }

    fn send_verdict(&self, key: SpanKey, attributes: Vec<u8>) {
        if let Some(delivery) = &self.delivery {
            // Refusals are counted by the delivery; the root goes without its verdict then.
            let _ = delivery.offer(Record::RootAttributes { key, attributes });
        }
    }

    /// Says whether the spans of a root's trace are sent, where that is asked.
    fn decide(&self, root: SpanKey, keeps: bool) {
        if let Some(delivery) = self.delivery.as_ref().filter(|_| self.config.keep_runs.is_some()) {
            let _ = delivery.offer(Record::Decision { trace_id: root.trace_id, keeps });
        }
    }

    fn call_back(&mut self, report: &Report, spans: &[SpanRecord]) {
        let dispatch = (self.config.host_dispatch)().unwrap_or_else(Dispatch::none);
        let _fence = Fence::raise();
        let outputs = &self.outputs;
        let call = |on_run: &mut dyn FnMut()| {
            let call = AssertUnwindSafe(|| dispatcher::with_default(&dispatch, on_run));
            if catch_unwind(call).is_err() {
                outputs.note("an on_run callback panicked; its report is kept".to_owned());
            }
        };
        for on_run in &mut self.config.on_run {
            call(&mut || on_run(report));
        }
        for on_run in &mut self.config.on_run_spans {
            call(&mut || on_run(report, spans));
        }
    }
}

/// The spans of a run; its root says how many were started, as it does where it is exported.
fn records_as_exported(run: &FinishedRun) -> Vec<SpanRecord> {
    let mut records = run.records.clone();
    let root = records.iter_mut().find(|record| Some(record.span_id) == run.root);
    if let Some((root, started)) = root.zip(NonZeroU64::new(run.started)) {
        let facts = root.facts.get_or_insert_default();
        facts.run_spans = Some(started);
        let mut told = facts.told.take().unwrap_or_default().into_vec();
        otlp_bytes::append_count(&mut told, RUN_SPANS, started.get());
        facts.told = Some(told.into());
    }
    records
}

fn key_of(run: &FinishedRun) -> Option<SpanKey> {
    let trace_id = run.records.first()?.trace_id;
    run.root.map(|span_id| SpanKey { trace_id, span_id })
}

fn local_facts(head: &FrameHead) -> LocalFacts {
    LocalFacts {
        is_local_root: head.flags & flags::LOCAL_ROOT != 0,
        is_outermost_marked: head.flags & flags::OUTERMOST_MARKED != 0,
        is_sampled: head.flags & flags::SAMPLED != 0,
        is_shed: head.flags & flags::SHED != 0,
        children: head.children,
    }
}
