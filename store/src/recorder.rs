//! Recording the runs of a program that has the layer.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use longpole::Report;
use longpole::span_record::SpanRecord;
use longpole::time::Timestamp;

use crate::error::StoreError;
use crate::retention::Limits;
use crate::store::{Labels, Store};

/// Records every run of a program: `builder.on_run_spans(Recorder::at(path).into_callback())`.
///
/// It writes on longpole's own thread, so that what was recorded is there once `shutdown` has returned, and so that no
/// thread of the program ever waits. Another process that writes to the same file is waited for, at most
/// [`Recorder::WAIT`]; a run that could not be recorded is told to [`Recorder::on_problem`], counted, and lost to the
/// history only: it is reported and exported all the same. The file is opened with the first run, and again with the
/// next one after a problem.
pub struct Recorder {
    path: PathBuf,
    labels: Labels,
    limits: Limits,
    store: Option<Store>,
    counts: Arc<Mutex<RecorderCounts>>,
    on_problem: Box<dyn FnMut(&StoreError) + Send>,
}

/// What a recorder did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecorderCounts {
    /// Runs that were recorded.
    pub recorded: u64,
    /// Runs that could not be recorded.
    pub failed: u64,
    /// Old runs that were removed because the history is limited.
    pub removed: u64,
}

impl Recorder {
    /// How long a write waits for other processes.
    pub const WAIT: Duration = Duration::from_millis(250);

    /// Records to the history at `path`; [`default_path`](crate::default_path) is the one the command line looks at.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Recorder {
            path: path.into(),
            labels: Labels::new(),
            limits: Limits::default(),
            store: None,
            counts: Arc::default(),
            on_problem: Box::new(|_| ()),
        }
    }

    /// Labels the runs, such as `session` with an id: a history can be looked at by label.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// How much is kept.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Is told why a run could not be recorded, on longpole's thread.
    pub fn on_problem(mut self, tell: impl FnMut(&StoreError) + Send + 'static) -> Self {
        self.on_problem = Box::new(tell);
        self
    }

    /// What it has done so far, whenever that is asked.
    pub fn counts(&self) -> impl Fn() -> RecorderCounts + Send + Sync + 'static {
        let counts = self.counts.clone();
        move || *counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `longpole::Builder::on_run_spans` is to be given.
    pub fn into_callback(mut self) -> impl FnMut(&Report, &[SpanRecord]) + Send + 'static {
        move |report, spans| self.record(report, spans, Timestamp::from_system_time(SystemTime::now()))
    }

    fn record(&mut self, report: &Report, spans: &[SpanRecord], now: Timestamp) {
        let recorded = self.try_record(report, spans, now);
        if let Err(error) = &recorded {
            self.store = None;
            (self.on_problem)(error);
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match recorded {
            Ok(removed) => {
                counts.recorded = counts.recorded.saturating_add(1);
                counts.removed = counts.removed.saturating_add(removed);
            }
            Err(_) => counts.failed = counts.failed.saturating_add(1),
        }
    }

    fn try_record(
        &mut self,
        report: &Report,
        spans: &[SpanRecord],
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let store = match &mut self.store {
            Some(store) => store,
            none => {
                let mut store = Store::open_waiting(&self.path, Recorder::WAIT)?;
                store.limit(self.limits);
                none.insert(store)
            }
        };
        Ok(store.record(report, spans, &self.labels, now)?.removed)
    }
}
