//! What the pipeline's threads leave for whoever asks: sums, reports, losses.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::aggregate::Aggregates;
use crate::many_runs::ManyRuns;
use crate::report::Report;

/// Shared by the threads of one pipeline and its handle. Locks are held for a look or a push, never across foreign
/// code.
#[derive(Default)]
pub(crate) struct Outputs {
    /// Spans that passed the io thread.
    pub(crate) closed_spans: AtomicU64,
    /// Spans on their way to the run thread.
    pub(crate) waiting_spans: AtomicU64,
    /// Time spent on analysing runs.
    pub(crate) analysis_nanos: AtomicU64,
    /// Runs reported on.
    pub(crate) runs: AtomicU64,
    /// How often a run used more than it may.
    pub(crate) budgets_exceeded: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) aggregates: Aggregates,
    pub(crate) many_runs: ManyRuns,
    /// The last reports, oldest first.
    pub(crate) reports: VecDeque<Arc<Report>>,
    pub(crate) losses: BTreeMap<&'static str, u64>,
    /// Sentences for the user, each told once.
    pub(crate) notes: Vec<String>,
}

/// How many reports are kept for [`crate::Longpole::runs`].
pub(crate) const KEPT_REPORTS: usize = 64;
/// How many notes are kept.
const KEPT_NOTES: usize = 64;

impl Outputs {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts spans the pipeline lost.
    pub(crate) fn lost(&self, reason: &'static str, spans: u64) {
        let mut state = self.state();
        let count = state.losses.entry(reason).or_default();
        *count = count.saturating_add(spans);
    }

    /// Spans the pipeline lost so far, by reason.
    pub(crate) fn losses(&self) -> BTreeMap<String, u64> {
        self.state().losses.iter().map(|(reason, spans)| ((*reason).to_owned(), *spans)).collect()
    }

    pub(crate) fn note(&self, sentence: String) {
        let mut state = self.state();
        if state.notes.len() < KEPT_NOTES && !state.notes.contains(&sentence) {
            state.notes.push(sentence);
        }
    }

    pub(crate) fn keep(&self, report: Arc<Report>) {
        self.runs.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state();
        if state.reports.len() == KEPT_REPORTS {
            state.reports.pop_front();
        }
        state.reports.push_back(report);
    }
}
