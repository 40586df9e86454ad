//! `longpole run` on a real Python program, traced by OpenTelemetry's own packages: `examples/python/agent.py`.
//!
//! Needs a Python with what `examples/python/requirements.txt` lists, as `LONGPOLE_TEST_PYTHON` or on the path.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The launcher of an instrumented Python that has all packages.
fn launcher() -> Option<(PathBuf, PathBuf)> {
    let python = std::env::var_os("LONGPOLE_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let script = "import sys, openai, opentelemetry.distro, opentelemetry.exporter.otlp.proto.grpc, \
                  opentelemetry.exporter.otlp.proto.http\n\
                  from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor\n\
                  print(sys.executable)";
    let output = Command::new(python).args(["-c", script]).output().ok()?;
    let python = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    let launcher = python.with_file_name("opentelemetry-instrument");
    (output.status.success() && launcher.exists()).then_some((launcher, python))
}

#[test]
fn an_instrumented_python_agent_is_reported_with_tokens_and_cost() {
    let Some((launcher, python)) = launcher() else {
        println!("SKIPPED: no python3 here with the packages of examples/python/requirements.txt");
        return;
    };
    let agent = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/python/agent.py");
    for protocol in [None, Some("grpc")] {
        let folder = tempfile::tempdir().unwrap();
        let json = folder.path().join("report.json");
        let mut command = Command::new(env!("CARGO_BIN_EXE_longpole"));
        command.args(["run", "-o"]).arg(&json).arg("--").arg(&launcher).arg(&python).arg(&agent);
        command.env("LONGPOLE_STORE", folder.path().join("runs.db")).env_remove("OPENAI_BASE_URL");
        if let Some(protocol) = protocol {
            command.env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol);
        }
        let output = command.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{protocol:?}: {told}");
        assert_eq!(output.stdout, b"Search the orders and the policy.\n");
        let report: longpole::Report = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
        assert_eq!(report.run.workflow.as_deref(), Some("support-desk"));
        let node = |name: &str| {
            report.nodes.iter().find(|node| node.name == name).unwrap_or_else(|| panic!("{name}: {told}"))
        };
        let model = node("chat gpt-4o-mini");
        assert_eq!((model.calls, model.tokens.unwrap().output), (2, 80));
        assert!(model.cost_usd.is_some() && report.totals.cost_usd == model.cost_usd);
        // They run at once; the longer one is on the path.
        assert!(!node("execute_tool orders").on_path_ns.is_zero());
        assert_eq!(node("execute_tool policy").kind, "tool");
        assert_eq!((report.quality.open_spans, report.quality.orphans), (0, 0));
    }
}
