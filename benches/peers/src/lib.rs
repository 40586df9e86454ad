//! Workloads, subscribers and counters for programs that compare what a span costs with longpole and with others.

pub mod acknowledger;
pub mod baseline;
pub mod case;
pub mod everything;
pub mod export;
pub mod instructions;
pub mod results;
pub mod setups;
pub mod sink;
pub mod span_costs;
pub mod tables;
pub mod trace_file;
pub mod workloads;
