//! Workloads, subscribers and counters for programs that compare what a span costs with longpole and with others.

pub mod workloads;
