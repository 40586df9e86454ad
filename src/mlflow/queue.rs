//! Reports that wait to be logged, and what became of those before.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::report::Report;

/// How many reports may wait; further ones are not logged, and counted.
pub(crate) const MAX_WAITING: usize = 64;

/// A report to be logged.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) report: Arc<Report>,
    /// Whether the program asked for it: the run may be there already then.
    pub(super) is_asked_for: bool,
}

/// Why a report was not logged. The names are those of [`Diagnostics::counts`](crate::Diagnostics::counts).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    QueueFull,
    Away,
    Refused,
    ShutDown,
    Panicked,
}

impl Loss {
    fn name(self) -> &'static str {
        match self {
            Loss::QueueFull => "mlflow_queue_full",
            Loss::Away => "mlflow_away",
            Loss::Refused => "mlflow_refused",
            Loss::ShutDown => "mlflow_shut_down",
            Loss::Panicked => "mlflow_panicked",
        }
    }
}

/// Counted where a run was logged but something that belongs to it was not.
const PARTS: &str = "mlflow_parts";

/// What the user is told, once each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum News {
    Away,
    Unusable,
    Refused,
    QueueFull,
    NoArtifact,
    NoLink,
    Panicked,
}

/// Counts at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MlflowStatus {
    pub(crate) logged: u64,
    /// By reason.
    pub(crate) lost: BTreeMap<&'static str, u64>,
    pub(crate) last_error: Option<String>,
    pub(crate) notes: Vec<String>,
}

/// Shared by whoever hands over reports and the thread that logs them.
pub(super) struct Queue {
    state: Mutex<State>,
    settled: Condvar,
    /// There is something to do.
    pub(super) wake: Notify,
    /// Somebody waits: try at once.
    pub(super) hurry: Notify,
    /// The end.
    pub(super) stop: Notify,
    tell: Option<fn(&str)>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    is_logging: bool,
    /// Reports that were taken, and those of them that are done with.
    taken: u64,
    done: u64,
    is_stopped: bool,
    told: BTreeSet<News>,
    status: MlflowStatus,
}

impl State {
    fn lose(&mut self, why: &'static str, reports: u64) {
        let count = self.status.lost.entry(why).or_default();
        *count = count.saturating_add(reports);
    }
}

impl Queue {
    /// `tell` prints what the user should know at once.
    pub(super) fn new(tell: Option<fn(&str)>) -> Self {
        Queue {
            state: Mutex::default(),
            settled: Condvar::new(),
            wake: Notify::new(),
            hurry: Notify::new(),
            stop: Notify::new(),
            tell,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a report, or says why not. Never waits.
    pub(super) fn offer(&self, job: Job) -> Result<(), Loss> {
        {
            let mut state = self.state();
            if state.is_stopped {
                state.lose(Loss::ShutDown.name(), 1);
                return Err(Loss::ShutDown);
            }
            if state.waiting.len() < MAX_WAITING {
                state.taken = state.taken.saturating_add(1);
                state.waiting.push_back(job);
                drop(state);
                self.wake.notify_one();
                return Ok(());
            }
            state.lose(Loss::QueueFull.name(), 1);
        }
        let told = format!("{MAX_WAITING} wait for MLflow already; those that come now are not logged");
        self.tell(News::QueueFull, &told);
        Err(Loss::QueueFull)
    }

    /// The next report, which is being logged from now on.
    pub(super) fn next(&self) -> Option<Job> {
        let mut state = self.state();
        let job = state.waiting.pop_front();
        state.is_logging = job.is_some();
        job
    }

    /// What became of that report.
    pub(super) fn settle(&self, outcome: Result<(), Loss>) {
        let mut state = self.state();
        // Those that were being logged at the end are counted already.
        if state.is_logging && !state.is_stopped {
            state.is_logging = false;
            state.done = state.done.saturating_add(1);
            match outcome {
                Ok(()) => state.status.logged = state.status.logged.saturating_add(1),
                Err(loss) => state.lose(loss.name(), 1),
            }
        }
        drop(state);
        self.settled.notify_all();
    }

    /// Something that belongs to a run could not be logged.
    pub(super) fn part_lost(&self, news: News, error: &str) {
        self.state().lose(PARTS, 1);
        self.failed(error);
        self.tell(news, error);
    }

    /// What went wrong last.
    pub(super) fn failed(&self, error: &str) {
        self.state().status.last_error = Some(error.to_owned());
    }

    /// Tells the user, once of each kind.
    pub(super) fn tell(&self, news: News, sentence: &str) {
        let sentence = format!("runs: {sentence}");
        {
            let mut state = self.state();
            if !state.told.insert(news) {
                return;
            }
            state.status.notes.push(sentence.clone());
        }
        if let Some(tell) = self.tell {
            tell(&sentence);
        }
    }

    /// Waits until every report taken before this call is done with, or `deadline`. Says whether it was in time.
    pub(super) fn flush(&self, deadline: Instant) -> bool {
        let mut state = self.state();
        let target = state.taken;
        self.hurry.notify_one();
        while state.done < target && !state.is_stopped {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.settled.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.done >= target
    }

    /// Ends the thread. What is not logged by now never is.
    pub(super) fn stop(&self) {
        {
            let mut state = self.state();
            if !state.is_stopped {
                state.is_stopped = true;
                let left = (state.waiting.len() as u64).saturating_add(u64::from(state.is_logging));
                state.waiting.clear();
                if left > 0 {
                    state.lose(Loss::ShutDown.name(), left);
                }
            }
        }
        self.settled.notify_all();
        self.stop.notify_one();
    }

    pub(super) fn status(&self) -> MlflowStatus {
        self.state().status.clone()
    }
}
