//! What it costs to have spans sent: a program with one pipeline, a sink in another process, and what both say.

pub mod client;
pub mod cost;
mod measured;
pub mod memory;
mod pipeline;
mod produce;
mod run;
pub mod scaling;
mod setup;
pub mod sustained;

pub use measured::Clocks;
pub use pipeline::Left;
pub use run::{Exported, by_callgrind, natively};
pub use setup::{Protocol, Setup};
