//! Writing OTLP: what a closing span leaves for the wire and for the report.

#![warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

pub(crate) mod cost;
pub(crate) mod finished_span;
pub(crate) mod resource;
pub(crate) mod shedding;
pub(crate) mod span;
pub(crate) mod timing;
pub(crate) mod varint;
pub(crate) mod verdict;
