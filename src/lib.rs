//! longpole

pub mod aggregate;
pub mod analysis;
pub mod conventions;
pub mod decode;
pub mod histogram;
pub mod ids;
pub mod money;
pub mod render;
pub mod report;
pub mod run;
pub mod run_assembler;
pub mod span_record;
pub mod time;

#[cfg(feature = "layer")]
mod builder;
#[cfg(feature = "layer")]
mod clock;
#[cfg(feature = "layer")]
mod delivery;
#[cfg(feature = "layer")]
mod encode;
#[cfg(feature = "layer")]
mod environment;
#[cfg(feature = "layer")]
mod handle;
#[cfg(feature = "layer")]
mod layer;
#[cfg(feature = "layer")]
mod pipeline;
#[cfg(feature = "layer")]
mod terminal;
#[cfg(feature = "layer")]
pub mod testing;

pub use report::Report;
pub use report::build::{ReportOptions, report_on, report_on_run};

#[cfg(feature = "layer")]
pub use builder::{BuildError, Builder, InitError, builder, init};
#[cfg(feature = "layer")]
pub use handle::{
    Destination, Diagnostics, FLUSH_TIMEOUT, FlushReport, Longpole, SHUTDOWN_TIMEOUT, ShutdownReport, State,
    current,
};
#[cfg(feature = "layer")]
#[doc(hidden)]
pub use layer::harness;
#[cfg(feature = "layer")]
pub use layer::{FutureExt, InNode, LongpoleLayer, SetParentError, SpanExt, Value};
