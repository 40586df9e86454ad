//! What a run's spans say about its length: which of them set it, and what changing one would do; and what many runs
//! say together: which of two sets is slower, where a history changed, how much durations vary.
//!
//! Most functions here read a [`Run`](crate::run::Run) and return plain numbers by
//! [`SpanIx`](crate::run::SpanIx). [`declared_graph`] and [`list_schedule`] read weights and edges instead,
//! [`inferred_order`] many runs. None reads a clock or recurses: stacks are on the heap, so a chain of a hundred
//! thousand spans takes memory but no stack. All are O(n log n) but where they say otherwise.

mod bootstrap;
pub mod change_points;
pub mod compare_samples;
pub mod critical_path;
pub mod declared_graph;
pub mod event_graph;
pub mod inferred_order;
pub mod list_schedule;
pub mod memory_trend;
pub mod pool;
pub mod probability;
mod removals;
pub mod replay;
pub mod shares;
mod slack;
pub mod time_breakdown;
pub mod variability;
