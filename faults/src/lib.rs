//! What becomes of spans when a backend, a disk or a host fails: a backend that fails on request, a client in a process
//! of its own, and the rows of a table that put the two together and count.
//!
//! Nothing here is part of the published crates; see the README beside this crate for the commands.

#[cfg(not(unix))]
compile_error!("the faults are those of unix: signals, forks and mounts");

pub mod client;
pub mod rows;
pub mod sink;
pub mod table;
