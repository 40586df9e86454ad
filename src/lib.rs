//! longpole

pub mod conventions;
pub mod ids;
pub mod money;
pub mod report;
pub mod span_record;
pub mod time;

#[cfg(feature = "layer")]
mod clock;
#[cfg(feature = "layer")]
mod encode;
#[cfg(feature = "layer")]
mod layer;
#[cfg(feature = "layer")]
mod pipeline;

#[cfg(feature = "layer")]
#[doc(hidden)]
pub use layer::harness;
#[cfg(feature = "layer")]
pub use layer::{FutureExt, InNode, LongpoleLayer, SetParentError, SpanExt, Value};
