//! A backend in a process of its own: takes OTLP over gRPC and HTTP on one port, reads every request to the last
//! attribute, counts, and tells its counts to whoever asks.

mod count;
mod process;
mod serve;

pub use count::{Counts, Reading};
pub use process::SinkProcess;
pub use serve::serve;
