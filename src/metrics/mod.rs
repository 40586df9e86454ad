//! Metrics of nodes, runs and of longpole itself: sums kept here, exact and bounded, read by whoever exports them.
//!
//! Everything is kept cumulative since a series began, in one store that the run thread writes once per run. Each
//! reader (OTLP, a Prometheus scrape) takes a snapshot; one that wants deltas keeps what its backend has taken last
//! and subtracts. So readers do not disturb each other, and what could not be sent is in the next delta by itself.

#![cfg_attr(not(feature = "otlp"), allow(dead_code, reason = "what only an exporter reads"))]

pub(crate) mod cost;
pub(crate) mod distribution;
#[cfg(feature = "metrics")]
pub(crate) mod facade;
pub(crate) mod gen_ai;
pub(crate) mod hub;
pub(crate) mod instrument;
#[cfg(feature = "otlp")]
pub(crate) mod instruments;
#[cfg(feature = "otlp")]
pub(crate) mod otlp;
#[cfg(feature = "prometheus")]
pub(crate) mod prometheus_text;
pub(crate) mod store;
