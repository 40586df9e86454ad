//! What it costs to have spans sent: a program with one pipeline, a sink in another process, and what both say.

pub mod client;
pub mod cost;
mod measured;
mod pipeline;
mod produce;
mod run;
mod setup;

pub use measured::Clocks;
pub use run::{Exported, by_callgrind, natively};
pub use setup::{Protocol, Setup};
