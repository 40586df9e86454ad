//! longpole

pub mod conventions;
pub mod ids;
pub mod money;
pub mod render;
pub mod report;
pub mod span_record;
pub mod time;

#[cfg(feature = "layer")]
mod pipeline;
