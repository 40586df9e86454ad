//! Faces that other profilers have, over the same measurements: for programs that move to longpole, and for dashboards
//! that know certain names.

pub mod profiler;

pub mod subagent;
pub mod subagent_batch;
