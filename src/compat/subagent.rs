//! Seven metrics of nested agents, by recursion depth.
//!
//! | metric | kind | labels |
//! |---|---|---|
//! | `subagent_executions_total` | counter | `depth` |
//! | `subagent_duration_seconds` | histogram | `depth`, `status` |
//! | `subagent_turns_used` | histogram | `depth` |
//! | `subagent_tokens_consumed` | histogram | `depth` |
//! | `subagent_completions_total` | counter | `depth`, `status` |
//! | `subagent_errors_total` | counter | `depth`, `error_type` |
//! | `subagent_active_count` | gauge | `depth` |
//!
//! They go wherever the metrics of the current subscriber's longpole layer go. Without one they go nowhere.
//!
//! ```
//! use longpole::compat::subagent::SubagentMetrics;
//!
//! fn subagent(depth: usize) -> Result<String, String> {
//!     let metrics = SubagentMetrics::new("summarise", depth);
//!     if depth > 3 {
//!         metrics.record_error("depth_limit");
//!         return Err("too deep".to_owned());
//!     }
//!     // … three turns, 1,200 tokens …
//!     metrics.record_completion(3, 1_200, "complete");
//!     Ok("done".to_owned())
//! }
//! # let _ = subagent(1);
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::conventions::error_class;
use crate::handle::{Longpole, WeakLongpole, current};
use crate::metrics::instrument::Instrument;
use crate::metrics::store::{LabelValue, Labels};

/// One execution of a subagent. Counted as active until it is dropped, whatever happens to it.
#[derive(Debug)]
pub struct SubagentMetrics {
    label: String,
    depth: usize,
    started: Instant,
    is_recorded: AtomicBool,
    longpole: WeakLongpole,
}

impl SubagentMetrics {
    /// Begins an execution: it counts as started and as active. `label` names the task; it is no label of the metrics,
    /// since tasks are too many for that.
    pub fn new(label: impl Into<String>, depth: usize) -> Self {
        Self::with(label, depth, current().map(|longpole| longpole.downgrade()).unwrap_or_default())
    }

    /// The same for a given layer, where the current subscriber is not it.
    pub fn of(longpole: &Longpole, label: impl Into<String>, depth: usize) -> Self {
        Self::with(label, depth, longpole.downgrade())
    }

    fn with(label: impl Into<String>, depth: usize, longpole: WeakLongpole) -> Self {
        let metrics = SubagentMetrics {
            label: label.into(),
            depth,
            started: Instant::now(),
            is_recorded: AtomicBool::new(false),
            longpole,
        };
        if metrics.longpole.is_alive() {
            metrics.count(Instrument::SubagentExecutions, metrics.labels(&[]));
            metrics.change_active(1);
        }
        metrics
    }

    /// The task.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// How deep the agent is nested.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Time since it began.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Says how it ended: `complete` or `incomplete` for an agent, `complete`, `partial` or `failed` for a batch (see
    /// [`batch_status`]). Only the first word about an execution counts.
    pub fn record_completion(&self, turns: usize, tokens: usize, status: &str) {
        if self.is_recorded.swap(true, Ordering::AcqRel) {
            return;
        }
        if !self.longpole.is_alive() {
            return;
        }
        let took = u64::try_from(self.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let by_status = self.labels(&[("status", status)]);
        self.record(Instrument::SubagentDuration, by_status.clone(), took);
        self.record(Instrument::SubagentTurns, self.labels(&[]), turns as u64);
        self.record(Instrument::SubagentTokens, self.labels(&[]), tokens as u64);
        self.count(Instrument::SubagentCompletions, by_status);
    }

    /// Says that it failed: `quota_exceeded`, `depth_limit`, `invalid_input`, `initialization_failed` or
    /// `execution_failed`. `max_depth_reached` counts as `depth_limit`. Only the first word about an execution counts.
    pub fn record_error(&self, error_type: &str) {
        if self.is_recorded.swap(true, Ordering::AcqRel) {
            return;
        }
        self.count(Instrument::SubagentErrors, self.labels(&[("error_type", error_class(error_type))]));
    }

    fn labels(&self, others: &[(&'static str, &str)]) -> Labels {
        let depth = i64::try_from(self.depth).unwrap_or(i64::MAX);
        let mut labels: Labels = vec![("depth", LabelValue::Int(depth))];
        labels.extend(others.iter().map(|(key, value)| (*key, LabelValue::Text(Arc::from(*value)))));
        labels
    }

    fn count(&self, of: Instrument, labels: Labels) {
        self.longpole.count_metric(of, labels);
    }

    fn record(&self, of: Instrument, labels: Labels, value: u64) {
        self.longpole.record_metric(of, labels, value);
    }

    fn change_active(&self, by: i64) {
        self.longpole.change_metric(Instrument::SubagentActive, self.labels(&[]), by);
    }
}

impl Drop for SubagentMetrics {
    fn drop(&mut self) {
        // Once for each `new`, also while a panic unwinds.
        if self.longpole.is_alive() {
            self.change_active(-1);
        }
    }
}

/// What became of a batch of subagents: `complete` if none failed, `failed` if none succeeded, else `partial`.
pub fn batch_status(successful: usize, failed: usize) -> &'static str {
    match (successful, failed) {
        (0, _) => "failed",
        (_, 0) => "complete",
        _ => "partial",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_partial_only_if_some_of_it_succeeded() {
        assert_eq!(batch_status(3, 0), "complete");
        assert_eq!(batch_status(3, 1), "partial");
        assert_eq!(batch_status(0, 1), "failed");
        assert_eq!(batch_status(0, 0), "failed");
    }
}
