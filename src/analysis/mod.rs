//! What a run's spans say about its time: pure functions from a [`Run`](crate::run::Run) to numbers.
//!
//! All of it is iterative, so the depth of a trace costs heap and never stack.

pub mod critical_path;
pub mod event_graph;
pub mod shares;
mod slack;
pub mod time_breakdown;
