//! What a run's spans say about its length: which of them set it, and what changing one would do.
//!
//! Every function here reads a [`Run`](crate::run::Run) and returns plain numbers by
//! [`SpanIx`](crate::run::SpanIx). None reads a clock, fails, or recurses: stacks are on the heap, so a chain of
//! a hundred thousand spans takes memory but no stack. All are O(n log n).

pub mod critical_path;
pub mod declared_graph;
pub mod event_graph;
pub mod inferred_order;
pub mod list_schedule;
pub mod pool;
pub mod shares;
mod slack;
pub mod time_breakdown;
