//! Runs the program, alone or under callgrind, and asks the sink what came of it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use crate::sink::{Counts, Reading, SinkProcess};

use super::Setup;
use super::client::{ClientReport, ClientSpec};

/// Switches counting on where spans are made and sent, on the thread that makes them.
const MEASURED: &str = "--toggle-collect=longpole_benches::export::client::make";
/// And on every other thread from its start.
const OTHER_THREADS: &str = "--toggle-collect=*thread_start*";

/// What a program said, and what came to the sink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exported {
    /// The program's own words.
    pub client: ClientReport,
    /// What came, warm-up included.
    pub came: Counts,
    /// Nodes that did not come.
    pub missing: u64,
}

/// Runs the program on its own.
///
/// # Errors
/// If it does not end well, or the sink does not answer.
pub fn natively(spec: &ClientSpec, sink: &SinkProcess, reading: Reading) -> anyhow::Result<Exported> {
    exported(Command::new(std::env::current_exe()?), spec, sink, reading)
}

/// Runs it under callgrind twice, with `spec.nodes` nodes and four times as many; instructions of each of its threads
/// for one node, those of the thread that makes the nodes first.
///
/// # Errors
/// As [`natively`], or if there is no callgrind.
pub fn by_callgrind(spec: &ClientSpec, sink: &SinkProcess) -> anyhow::Result<Vec<f64>> {
    let sizes = [spec.nodes, spec.nodes * 4];
    let mut totals = Vec::new();
    for nodes in sizes {
        let folder = tempfile::tempdir()?;
        let spec = ClientSpec { nodes, ..spec.clone() };
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--separate-threads=yes", "--fair-sched=try", "-q"]);
        // Not what stands before `main`: clocks that are set by spinning take any number of instructions.
        command.args(["--collect-atstart=no", MEASURED, OTHER_THREADS]);
        command.arg(format!("--callgrind-out-file={}", folder.path().join("out").display()));
        command.arg(std::env::current_exe()?);
        let exported = exported(command, &spec, sink, Reading::Whole)?;
        ensure!(exported.missing == 0, "{} of {nodes} nodes are missing under callgrind", exported.missing);
        totals.push(thread_totals(folder.path())?);
    }
    let [few, many] = &totals[..] else { unreachable!("there are two sizes") };
    let more = (sizes[1] - sizes[0]) as f64;
    let of = |totals: &[u64], at: usize| totals.get(at).copied().unwrap_or(0) as f64;
    Ok((0..few.len().max(many.len())).map(|at| (of(many, at) - of(few, at)) / more).collect())
}

fn exported(
    mut command: Command,
    spec: &ClientSpec,
    sink: &SinkProcess,
    reading: Reading,
) -> anyhow::Result<Exported> {
    sink.forget(reading)?;
    for (name, _) in std::env::vars() {
        if name.starts_with("OTEL_") || name.starts_with("LONGPOLE_") {
            command.env_remove(name);
        }
    }
    let output = command.arg("client").arg(serde_json::to_string(spec)?).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} ended with {}: {said}", spec.setup.name(), output.status);
    let client: ClientReport = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{} said no report, but: {said}", spec.setup.name()))?;
    let came = sink.counts()?;
    ensure!(came.broken == 0, "the sink could not read {} of {} requests", came.broken, came.requests);
    let made = if spec.setup == Setup::Nothing { 0 } else { (spec.nodes + spec.warm_up) * spec.threads };
    ensure!(came.nodes <= made as u64, "{} nodes came, {made} were made", came.nodes);
    Ok(Exported { client, came, missing: made as u64 - came.nodes })
}

/// Instructions of each thread, by its number.
fn thread_totals(folder: &Path) -> anyhow::Result<Vec<u64>> {
    let mut totals = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let thread = path.extension().and_then(|end| end.to_str()?.rsplit('-').next()?.parse::<usize>().ok());
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let thread = thread.or_else(|| name.rsplit_once('-')?.1.parse().ok());
        let text = std::fs::read_to_string(&path)?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals:")?.trim().parse::<u64>().ok());
        let (Some(thread), Some(total)) = (thread, total) else { continue };
        totals.resize(totals.len().max(thread), 0);
        let at = thread.checked_sub(1).context("callgrind numbers threads from one")?;
        totals[at] += total;
    }
    ensure!(totals.first().is_some_and(|total| *total > 0), "callgrind counted nothing where spans are made");
    Ok(totals)
}
