//! One case with an allocator that counts: started by the program that measures everything, to which it prints two
//! lines, what became of the spans and what was allocated on all threads from start to end.

#![allow(clippy::print_stdout, reason = "its output is read by a program")]

use std::alloc::System;

use longpole_benches::case::Case;
use longpole_benches::span_costs::Allocated;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(2).collect();
    let (case, surroundings) = Case::from_arguments(&arguments)?;
    let region = Region::new(ALLOCATOR);
    let told = case.run(&surroundings)?;
    let change = region.change();
    println!("{}", serde_json::to_string(&told)?);
    let grown = u64::try_from(change.bytes_reallocated).unwrap_or(0);
    let allocated = Allocated {
        times: (change.allocations + change.reallocations) as u64,
        bytes: (change.bytes_allocated as u64).saturating_add(grown),
    };
    println!("{}", serde_json::to_string(&allocated)?);
    Ok(())
}
