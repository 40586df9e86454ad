//! What was measured with: versions, machine, date.

use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, ensure};
use longpole::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Whose versions matter.
const CRATES: [&str; 14] = [
    "longpole",
    "tracing",
    "tracing-core",
    "tracing-subscriber",
    "tracing-opentelemetry",
    "opentelemetry",
    "opentelemetry_sdk",
    "opentelemetry-otlp",
    "tonic",
    "reqwest",
    "hyper",
    "tokio",
    "fastrace",
    "fastrace-opentelemetry",
];

/// What was measured with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The day, `2026-11-21`.
    pub date: String,
    /// What `rustc --version` says.
    pub rustc: String,
    /// What `valgrind --version` says, if it is there.
    pub valgrind: Option<String>,
    /// The processor's name, how many there are, and the system.
    pub machine: String,
    /// Crates and their versions.
    pub crates: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
}

impl About {
    /// Of this machine, and of the workspace `root`.
    ///
    /// # Errors
    /// If cargo or rustc cannot be asked.
    pub fn here(root: &Path) -> anyhow::Result<About> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["metadata", "--format-version", "1", "--locked"]).current_dir(root);
        let metadata: Metadata = serde_json::from_str(&said(&mut command)?)?;
        let version = |name: &str| {
            let package = metadata.packages.iter().rfind(|package| package.name == name);
            package.map(|package| (package.name.clone(), package.version.clone()))
        };
        let date = Timestamp::from_system_time(SystemTime::now()).to_rfc3339();
        Ok(About {
            date: date.split('T').next().unwrap_or_default().to_owned(),
            rustc: said(Command::new("rustc").arg("--version"))?,
            valgrind: crate::instructions::valgrind_version(),
            machine: machine(),
            crates: CRATES.into_iter().filter_map(version).collect(),
        })
    }

    /// The version of a crate.
    pub fn version(&self, name: &str) -> &str {
        let known = self.crates.iter().find(|(known, _)| known == name);
        known.map_or("?", |(_, version)| version)
    }
}

fn said(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {error}");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let name = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let name = name.map_or("an unknown processor", |(_, name)| name.trim());
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{count} × {name}, {} {}", std::env::consts::OS, read("/proc/sys/kernel/osrelease").trim())
}
