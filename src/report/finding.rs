//! What to fix: a finding, its evidence in numbers, and what realistic changes would save.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::analysis::variability::Severity;
use crate::money::Money;
use crate::time::Duration;

/// One thing to fix.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// A stable code: `LP101`.
    pub code: String,
    /// What the code stands for, in a few words.
    pub title: Cow<'static, str>,
    /// How much of the run it could save.
    pub severity: Severity,
    /// The node it is about, or the run where it is about no node.
    pub subject: String,
    /// What the run would save at most.
    pub saves_max_ns: Duration,
    /// The same as a share of the wall time.
    pub wall_ratio: f64,
    /// What it would cost less at most; absent where no cost is known.
    pub saves_max_usd: Option<Money>,
    /// How sure it is.
    pub confidence: Confidence,
    /// The evidence, in numbers.
    pub why: Vec<Reason>,
    /// Realistic changes and what each alone would save.
    pub suggestions: Vec<Suggestion>,
    /// Why that is worth fixing.
    pub rationale: Cow<'static, str>,
    /// When it is not so.
    pub caveat: Cow<'static, str>,
    /// Some of the spans it rests on.
    pub spans: Vec<String>,
}

/// How sure a finding is.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Could be otherwise; look before acting.
    Guess,
    /// Rests on an order inferred from time.
    Likely,
    /// Follows from what was measured.
    Sure,
}

/// Evidence for a finding, with its numbers.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// It ran several times.
    Calls {
        /// How many times.
        calls: u64,
        /// How long one took on average, without queueing.
        average_ns: Duration,
        /// How many ran at once at most.
        peak_concurrency: u64,
    },
    /// Its executions were there before they were run.
    Queued {
        /// How long they waited together.
        queued_ns: Duration,
        /// The node that ran while they waited, where it is one.
        behind: Option<String>,
    },
    /// Once it saves `after_ns`, another node sets the pace.
    PaceSetBy {
        /// Its time on the path.
        on_path_ns: Duration,
        /// What can be saved before the other node decides.
        after_ns: Duration,
        /// The other node, where it is one.
        node: Option<String>,
    },
    /// No other node runs while it does.
    NothingBeside,
    /// Some executions failed or were tried again.
    Failed {
        /// How many failed.
        failures: u64,
        /// How many were second or later tries.
        retries: u64,
        /// How long the failed ones took on the path.
        on_path_ns: Duration,
    },
    /// It wrote tokens.
    Tokens {
        /// How many.
        output: u64,
        /// Per second of its time, where that is known.
        per_second: Option<f64>,
    },
    /// A thread ran inside it most of the time: it is not waiting.
    OwnCpu {
        /// Busy time as a share of its time, 0–1.
        busy_ratio: f64,
    },
    /// It takes longer than its owner allows.
    OverSla {
        /// How long it may take on average.
        sla_ns: Duration,
        /// How long it took on average.
        average_ns: Duration,
    },
    /// It took longer than in earlier runs.
    SlowerThanUsual {
        /// How long it took, without queueing.
        took_ns: Duration,
        /// The median of the earlier runs.
        usual_ns: Duration,
        /// How many earlier runs there were.
        runs: u64,
    },
    /// A measure that moved along with its time.
    MovedAlong {
        /// `calls`, `retries`, `queued_ms`, `input_tokens`, `output_tokens`, `input_bytes` or `output_bytes`.
        measure: String,
        /// What it was in this run.
        now: u64,
        /// The median of the earlier runs.
        usual: u64,
    },
    /// A model wrote slower than usual.
    SlowerOutput {
        /// The model.
        model: String,
        /// Output tokens per second.
        per_second: f64,
        /// What is usual: the median of the earlier runs, or of the calls of this run.
        usual: f64,
        /// Of how many calls of this run it is the median; absent where it is that of earlier runs.
        #[serde(default)]
        among_calls: Option<u64>,
    },
    /// Calls of a model took longer than usual: how much of that is its speed, and how much is that it wrote more.
    SlowerOrMore {
        /// What writing slower took.
        slower_ns: Duration,
        /// What writing more tokens than usual would have taken at the usual speed.
        wrote_more_ns: Duration,
    },
    /// More executions were there than ran at once.
    AtLimit {
        /// How many there were.
        calls: u64,
        /// How many ran at once at most.
        limit: u64,
        /// How long they waited together, where that was seen.
        queued_ns: Duration,
    },
    /// Steps ran one after the other and declared nothing.
    OneAfterAnother {
        /// How many.
        steps: u64,
        /// Their nodes in order, repeats left out.
        nodes: Vec<String>,
        /// How long they took together.
        together_ns: Duration,
        /// How long the longest took.
        longest_ns: Duration,
    },
    /// The same node ran many times for one caller.
    Repeated {
        /// How many times.
        calls: u64,
        /// For whom, where that is a node.
        caller: Option<String>,
    },
    /// It was called again with input it had got before.
    SameInput {
        /// How many calls repeat an earlier one.
        repeats: u64,
        /// How many calls there were.
        calls: u64,
    },
    /// One of several like it took much longer, and the rest waited for it.
    Straggler {
        /// How many there were.
        siblings: u64,
        /// The median of them.
        median_ns: Duration,
        /// The one that took longest.
        longest_ns: Duration,
    },
    /// Time went into tries that failed, and into waiting for the next.
    LostToRetries {
        /// How many failed.
        failures: u64,
        /// How many were second or later tries.
        retries: u64,
        /// How long the failed ones took together.
        lost_ns: Duration,
        /// How much of that, and of the waiting, is on the path.
        on_path_ns: Duration,
        /// What the failed ones cost; absent where that is not known.
        #[serde(default)]
        cost_usd: Option<Money>,
    },
    /// How long it takes varies much.
    Varies {
        /// The rule: `tail`, `cv`, `spread` or `p99_over_mean`.
        rule: String,
        /// The figure it looks at.
        value: f64,
        /// Above which it counts.
        limit: f64,
        /// How many executions it rests on.
        calls: u64,
    },
    /// It makes up much of the cost.
    CostShare {
        /// What it cost.
        cost_usd: Money,
        /// As a share of the run's cost.
        cost_ratio: f64,
        /// Its path time as a share of the wall time.
        time_ratio: f64,
    },
    /// A stretch of the path in which no span ran.
    Gap {
        /// When it starts, from the run's start.
        start_ns: Duration,
        /// How long it is.
        duration_ns: Duration,
        /// The span that ended before it.
        after: Option<String>,
        /// The span that started after it.
        before: Option<String>,
    },
    /// The graph allows more at once than ran at once, and work was waiting.
    RoomToSpread {
        /// What the graph allows.
        graph_bound_ns: Duration,
        /// From so many workers on it gets no shorter.
        useful_workers: u64,
        /// How many were busy at the peak.
        peak: u64,
    },
    /// The run failed.
    FailedOnPath {
        /// Path time spent in executions that failed.
        on_path_ns: Duration,
        /// How many.
        failures: u64,
    },
    /// Spans are missing or odd.
    TraceQuality {
        /// What, by the name reports use, and how many.
        counts: BTreeMap<String, u64>,
    },
    /// Spans started with no span around them while this run waited without one.
    LostContext {
        /// How many such roots.
        roots: u64,
        /// The name of the longest.
        span: String,
        /// How long they took together.
        duration_ns: Duration,
    },
}

/// A change, and what it alone would save.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Suggestion {
    /// Make it so many times faster.
    Faster {
        /// How many times.
        times: u32,
        /// What that saves.
        saves_ns: Duration,
    },
    /// Run its executions as soon as they are there.
    NoQueueing {
        /// What that saves.
        saves_ns: Duration,
    },
    /// Run so many at once.
    AtOnce {
        /// How many.
        limit: u64,
        /// What that saves.
        saves_ns: Duration,
    },
    /// Run the steps together.
    Together {
        /// What that saves.
        saves_ns: Duration,
    },
    /// Make one call of all of them.
    Batch {
        /// What that saves.
        saves_ns: Duration,
    },
    /// Keep the answers.
    Cache {
        /// What that saves.
        saves_ns: Duration,
        /// What it costs less.
        saves_usd: Option<Money>,
    },
    /// Bring it back to what it usually takes.
    BackToUsual {
        /// What that saves.
        saves_ns: Duration,
    },
    /// Bring the slow ones down to the median.
    AsTheMedian {
        /// What that saves.
        saves_ns: Duration,
    },
    /// Succeed at the first try.
    FirstTry {
        /// What that saves.
        saves_ns: Duration,
    },
    /// Close the gap.
    NoGap {
        /// What that saves.
        saves_ns: Duration,
    },
}

impl Suggestion {
    /// What the change alone would save.
    pub fn saves(&self) -> Duration {
        match self {
            Suggestion::Faster { saves_ns, .. }
            | Suggestion::NoQueueing { saves_ns }
            | Suggestion::AtOnce { saves_ns, .. }
            | Suggestion::Together { saves_ns }
            | Suggestion::Batch { saves_ns }
            | Suggestion::Cache { saves_ns, .. }
            | Suggestion::BackToUsual { saves_ns }
            | Suggestion::AsTheMedian { saves_ns }
            | Suggestion::FirstTry { saves_ns }
            | Suggestion::NoGap { saves_ns } => *saves_ns,
        }
    }
}

/// Several changes, replayed together.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Combined {
    /// The changes: the first suggestions for the nodes to fix first.
    pub changes: Vec<CombinedChange>,
    /// The wall time with all of them.
    pub wall_ns: Duration,
    /// What they save together.
    pub saves_ns: Duration,
}

/// One of several changes.
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CombinedChange {
    /// What is changed.
    pub subject: String,
    /// How, and what it would save alone.
    pub suggestion: Suggestion,
}
