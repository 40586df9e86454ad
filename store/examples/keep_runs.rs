//! A program that keeps its runs: `cargo run -p longpole-store --example keep_runs`, then `longpole show last`.

#![allow(clippy::print_stderr, reason = "an example")]

use longpole_store::{Recorder, default_path};
use tracing::info_span;
use tracing_subscriber::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Every run is there once `shutdown` has returned. A session of its own is compared with itself only:
    // `longpole show last --label session=7`.
    let recorder = Recorder::at(default_path()?)
        .label("session", "7")
        .on_problem(|problem| eprintln!("the run is not kept: {problem}; {}", problem.remedy()));
    let counts = recorder.counts();
    let (layer, longpole) = longpole::builder()
        .workflow("research-agent")
        .version("1.0")
        .on_run_spans(recorder.into_callback())
        .build()?;
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let _run = info_span!("run").entered();
        info_span!("step", node.id = "fetch").in_scope(|| ());
        info_span!("step", node.id = "draft").in_scope(|| ());
    });
    longpole.shutdown();
    eprintln!("{} run kept: longpole show last", counts().recorded);
    Ok(())
}
