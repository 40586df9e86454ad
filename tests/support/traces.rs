//! Reports on the traces that come with the tests.

use std::path::Path;

use longpole::report::timeline::Timeline;
use longpole::{Report, ReportOptions, report_with_timeline, runs_in};

/// Every run in a few recorded files: agents of several frameworks with models, tools, costs, failures.
pub fn told_files() -> Vec<(Report, Timeline)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = [
        "cli/tests/data/support_agent.otlp.json",
        "tests/data/agents/openinference.jsonl",
        "tests/data/agents/openllmetry.jsonl",
        "tests/data/agents/pydantic_ai.jsonl",
        "tests/data/oracles/traces/12_retries.otlp.json",
        "tests/data/oracles/traces/27_pool_of_two.otlp.json",
    ];
    let told: Vec<_> = files
        .into_iter()
        .flat_map(|file| {
            runs_in(longpole::decode::decode(&std::fs::read(root.join(file)).unwrap()).unwrap().spans)
        })
        .map(|run| report_with_timeline(run, &ReportOptions::default()).unwrap())
        .collect();
    assert!(told.len() >= files.len());
    told
}
