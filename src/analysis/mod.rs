//! What a run's spans say about its length: which of them set it, and what changing one would do; and what many runs
//! say together: which of two sets is slower, where a history changed, how much durations vary.
//!
//! A function about one run reads a [`Run`](crate::run::Run) and returns plain numbers by
//! [`SpanIx`](crate::run::SpanIx). None reads a clock, fails, or recurses: stacks are on the heap, so a chain of
//! a hundred thousand spans takes memory but no stack. All are O(n log n).

mod bootstrap;
pub mod change_points;
pub mod compare_samples;
pub mod critical_path;
pub mod event_graph;
pub mod replay;
pub mod memory_trend;
pub mod probability;
pub mod shares;
mod slack;
pub mod time_breakdown;
pub mod variability;
