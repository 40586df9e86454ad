//! longpole beside what a program has already: a log on stderr with a filter of its own.
//!
//! Each layer has its filter, so `RUST_LOG=debug` makes the log longer and leaves the measurement alone. A callback
//! gets every run's report as data, and the handle answers questions about all runs so far.
//!
//! ```console
//! $ RUST_LOG=debug cargo run --example existing_subscriber
//! ```

#![allow(clippy::print_stdout, reason = "an example talks to who runs it")]

use std::error::Error;
use std::io;
use std::time::Duration;

use longpole::Report;
use tokio::time::sleep;
use tracing::{debug, info, instrument};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::prelude::*;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (measure, longpole) =
        longpole::builder().workflow("import").version("2.3.0").otlp_from_env().on_run(print_path).build()?;
    let log = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    tracing_subscriber::registry()
        .with(log.with_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"))))
        .with(measure.with_filter(LevelFilter::INFO))
        .try_init()?;

    for day in ["monday", "tuesday"] {
        import(day).await;
    }

    longpole.flush();
    if let Some(slowest) = longpole.slowest_node() {
        println!("slowest: {}, {:.0} ms on average", slowest.node_id, slowest.avg_duration_ms);
    }
    for bottleneck in longpole.bottlenecks(50.0) {
        println!(
            "bottleneck: {} takes {:.0} % of all node time",
            bottleneck.node_id, bottleneck.percent_of_total
        );
    }
    let summary = longpole.summary();
    println!("in all: {} nodes, {:.0} ms", summary.node_count, summary.total_time_ms);

    println!("{}", longpole.shutdown());
    Ok(())
}

/// Called when a run has ended, on a thread of longpole's.
fn print_path(report: &Report) {
    println!(
        "{} took {}, {} of it on nodes:",
        report.run.name, report.run.wall_ns, report.critical_path.length_ns
    );
    for row in &report.critical_path.rows {
        println!("  {:<10} {:>8}  {:>3.0} %", row.node, row.duration_ns.to_string(), row.wall_ratio * 100.0);
    }
}

#[instrument]
async fn import(day: &str) {
    let rows = extract(day).await;
    transform(rows).await;
    load(rows).await;
    info!(rows, "imported");
}

#[instrument(fields(node.id = "extract", node.kind = "io"))]
async fn extract(day: &str) -> u64 {
    debug!("reading");
    sleep(Duration::from_millis(80)).await;
    1_200
}

#[instrument(fields(node.id = "transform"))]
async fn transform(rows: u64) {
    sleep(Duration::from_millis(40)).await;
}

#[instrument(fields(node.id = "load", node.kind = "db"))]
async fn load(rows: u64) {
    debug!("writing");
    sleep(Duration::from_millis(220)).await;
}
