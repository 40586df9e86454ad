//! What a program prints when its run ends is what `longpole show` prints of its spans file.

use std::process::Command;

use longpole::{FutureExt, SpanExt};
use tracing::info_span;
use tracing_subscriber::prelude::*;

#[test]
fn the_tool_prints_of_the_file_what_the_program_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spans.jsonl");
    let (layer, longpole) = longpole::builder().spans_file(&file).version("1.2").build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        for workflow in ["first", "second"] {
            let _run = info_span!("run", workflow.name = workflow).entered();
            let (one, two) = (info_span!("tool", node.id = "one"), info_span!("tool", node.id = "two"));
            one.record_cost(0.125);
            one.in_scope(|| info_span!("parse").in_scope(|| ()));
            two.in_scope(|| tracing::error!("out of ink"));
            drop(std::future::pending::<()>().in_node("dropped"));
        }
    });
    assert!(longpole.shutdown().flush.is_complete);
    let live: Vec<String> = longpole.runs().iter().map(|report| report.to_text()).collect();
    assert_eq!(live.len(), 2);

    let show = |format: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_longpole"))
            .args(["show", "--color", "never", "--width", "80", "--format", format])
            .arg(&file)
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(show("text"), live.join("\n"));
    let told: Vec<longpole::Report> = serde_json::from_str(&show("json")).unwrap();
    for (told, live) in told.iter().zip(longpole.runs()) {
        let live = longpole::Report { source: told.source, pipeline: None, ..longpole::Report::clone(&live) };
        assert_eq!(*told, live);
    }
}
