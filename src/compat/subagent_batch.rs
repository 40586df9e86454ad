//! A batch of subagents that run side by side, and what they used together.
//!
//! ```
//! use longpole::compat::subagent_batch::{BatchStatus, Part, SubagentBatch};
//!
//! let mut batch = SubagentBatch::new("research", 1);
//! batch.add(Part { succeeded: true, turns: 3, tokens: 1_200, cost: "0.0120".parse().ok() });
//! batch.add(Part { succeeded: false, turns: 1, tokens: 300, cost: "0.0030".parse().ok() });
//! let record = batch.finish();
//! assert_eq!(record.status, BatchStatus::Partial);
//! assert_eq!((record.successful, record.failed, record.turns, record.tokens), (1, 1, 4, 1_500));
//! assert_eq!(record.cost.expect("told").to_string(), "0.015");
//! ```

use std::time::Duration;

use tracing::Span;

use super::subagent::{SubagentMetrics, batch_status};
use crate::conventions as keys;
use crate::handle::Longpole;
use crate::layer::SpanExt;
use crate::money::Money;

/// A batch that is under way. Counted as active until it is finished or dropped.
#[derive(Debug)]
pub struct SubagentBatch {
    metrics: SubagentMetrics,
    successful: u64,
    failed: u64,
    turns: u64,
    tokens: u64,
    cost: Option<Money>,
    unpriced: u64,
}

/// What became of one subagent of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Whether it did what it was asked for.
    pub succeeded: bool,
    /// Conversation turns it took.
    pub turns: u64,
    /// Tokens it used.
    pub tokens: u64,
    /// What it cost; `None` if that is not known.
    pub cost: Option<Money>,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchRecord {
    /// `Complete` if no part failed, `Failed` if none succeeded, else `Partial`.
    pub status: BatchStatus,
    /// How many parts succeeded.
    pub successful: u64,
    /// How many failed.
    pub failed: u64,
    /// Conversation turns of all parts.
    pub turns: u64,
    /// Tokens of all parts, failed ones included.
    pub tokens: u64,
    /// What all parts cost whose cost is known; `None` if none is.
    pub cost: Option<Money>,
    /// Parts whose cost is not known: with any, the cost is a lower bound.
    pub unpriced: u64,
    /// How long it took.
    pub took: Duration,
}

/// See [`BatchRecord::status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum BatchStatus {
    Complete,
    Partial,
    Failed,
}

impl BatchStatus {
    /// `complete`, `partial` or `failed`.
    pub const fn as_str(self) -> &'static str {
        match self {
            BatchStatus::Complete => "complete",
            BatchStatus::Partial => "partial",
            BatchStatus::Failed => "failed",
        }
    }
}

impl SubagentBatch {
    /// Begins a batch; see [`SubagentMetrics::new`].
    pub fn new(label: impl Into<String>, depth: usize) -> Self {
        Self::with(SubagentMetrics::new(label, depth))
    }

    /// The same for a given layer, where the current subscriber is not it.
    pub fn of(longpole: &Longpole, label: impl Into<String>, depth: usize) -> Self {
        Self::with(SubagentMetrics::of(longpole, label, depth))
    }

    fn with(metrics: SubagentMetrics) -> Self {
        SubagentBatch { metrics, successful: 0, failed: 0, turns: 0, tokens: 0, cost: None, unpriced: 0 }
    }

    /// Adds what became of one subagent.
    pub fn add(&mut self, part: Part) {
        let count = if part.succeeded { &mut self.successful } else { &mut self.failed };
        *count = count.saturating_add(1);
        self.turns = self.turns.saturating_add(part.turns);
        self.tokens = self.tokens.saturating_add(part.tokens);
        match part.cost {
            Some(cost) => self.cost = Some(self.cost.unwrap_or_default().saturating_add(cost)),
            None => self.unpriced = self.unpriced.saturating_add(1),
        }
    }

    /// Ends it: it counts in the `subagent_` metrics, like a subagent that took the turns and tokens of all parts and
    /// ended with the status, and the current span gets `longpole.batch.*` and the turns as attributes. No cost is
    /// charged by it: that is the calls' in the parts.
    pub fn finish(self) -> BatchRecord {
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let status = match batch_status(count(self.successful), count(self.failed)) {
            "complete" => BatchStatus::Complete,
            "partial" => BatchStatus::Partial,
            _ => BatchStatus::Failed,
        };
        let took = self.metrics.elapsed();
        self.metrics.record_completion(count(self.turns), count(self.tokens), status.as_str());
        let span = Span::current();
        span.set_attribute(keys::BATCH_STATUS, status.as_str());
        span.set_attribute(keys::BATCH_SUCCESSFUL, self.successful);
        span.set_attribute(keys::BATCH_FAILED, self.failed);
        span.set_attribute(keys::BATCH_TOKENS, self.tokens);
        span.set_attribute(keys::NODE_TURNS, self.turns);
        if let Some(cost) = self.cost {
            span.set_attribute(keys::BATCH_COST_USD, cost.as_usd());
        }
        BatchRecord {
            status,
            successful: self.successful,
            failed: self.failed,
            turns: self.turns,
            tokens: self.tokens,
            cost: self.cost,
            unpriced: self.unpriced,
            took,
        }
    }
}
