//! A backend, a folder for a spool, and clients that use the two.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use super::{Outcome, Plan};
use crate::client::process::{Client, closed_in};
use crate::client::{ClientReport, ClientSpec, Pipeline, Protocol};
use crate::sink::Sink;

/// Long enough for any machine: what takes longer hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// What a later start has left to send comes without such a pause, unless it waits to try again.
const QUIET: Duration = Duration::from_secs(2);

/// One case of a row.
pub(super) struct Trial {
    pub(super) pipeline: Pipeline,
    pub(super) protocol: Protocol,
    pub(super) sink: Sink,
    /// Where longpole keeps what it cannot send.
    pub(super) spool: PathBuf,
    program: PathBuf,
    log: PathBuf,
    variables: Vec<(String, String)>,
    clients: AtomicU32,
    _folder: TempDir,
}

impl Trial {
    pub(super) fn new(plan: &Plan, protocol: Protocol) -> anyhow::Result<Trial> {
        let (sink, folder) = (Sink::start()?, TempDir::with_prefix("faults-")?);
        let spool = folder.path().join("spool");
        let log = folder.path().join("closed");
        std::fs::File::create(&log)?;
        let protocol_name = match protocol {
            Protocol::Http => "http/protobuf",
            Protocol::Grpc => "grpc",
        };
        let mut trial = Trial {
            pipeline: plan.pipeline(),
            protocol,
            spool: spool.clone(),
            program: plan.client.clone(),
            log,
            variables: Vec::new(),
            clients: AtomicU32::new(0),
            sink,
            _folder: folder,
        };
        let url = trial.sink.url();
        trial.set("OTEL_EXPORTER_OTLP_ENDPOINT", url);
        trial.set("OTEL_EXPORTER_OTLP_PROTOCOL", protocol_name);
        trial.set("OTEL_METRICS_EXPORTER", "none");
        trial.set("OTEL_SERVICE_NAME", "faults");
        trial.set("LONGPOLE_SPOOL_DIR", spool.display().to_string());
        Ok(trial)
    }

    /// Sets a variable of the clients to come.
    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.into()));
    }

    /// So many spans a second for so long, under a number of their own.
    pub(super) fn spec(&self, rate: u32, ms: u64) -> ClientSpec {
        // A client that forks uses three.
        let client = self.clients.fetch_add(3, Ordering::Relaxed);
        let log = self.log.clone();
        ClientSpec { client, log, ..ClientSpec::new(self.pipeline, self.protocol, rate, ms) }
    }

    /// Starts a client and waits until its pipeline stands.
    pub(super) fn start(&self, spec: &ClientSpec) -> anyhow::Result<Client> {
        let client = Client::start(&self.program, spec, &self.variables)?;
        client.wait_for_start(PATIENCE)?;
        Ok(client)
    }

    /// A later start of the program, which makes no span: sends what earlier ones have left, until there is nothing
    /// more or it does not get on.
    pub(super) fn start_again(&self) -> anyhow::Result<ClientReport> {
        self.start_again_with(self.pipeline)
    }

    fn start_again_with(&self, pipeline: Pipeline) -> anyhow::Result<ClientReport> {
        let spec = ClientSpec { waits_for_word: true, pipeline, ..self.spec(0, 0) };
        let client = self.start(&spec)?;
        let made = closed_in(&self.log)?;
        self.sink.wait_for_quiet(QUIET, PATIENCE, |tally| {
            made.len() <= tally.arrivals.len() && made.iter().all(|span| tally.arrivals.contains_key(span))
        });
        client.report(PATIENCE)
    }

    /// Starts the program again if there is something to be sent that it may have left.
    pub(super) fn settle(&self) -> anyhow::Result<bool> {
        let is_needed = self.pipeline == Pipeline::Longpole && self.missing()? > 0;
        if is_needed {
            self.start_again()?;
        }
        Ok(is_needed)
    }

    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    fn missing(&self) -> anyhow::Result<usize> {
        let made = closed_in(&self.log)?;
        Ok(self.sink.tally(|tally| made.iter().filter(|span| !tally.arrivals.contains_key(span)).count()))
    }

    /// What was made and what has come.
    pub(super) fn outcome(&self, case: impl Into<String>) -> anyhow::Result<Outcome> {
        let made = closed_in(&self.log)?;
        let mut outcome = Outcome::new(case, self.pipeline);
        outcome.produced = made.len() as u64;
        self.sink.tally(|tally| {
            let received = made.iter().filter(|span| tally.arrivals.contains_key(span)).count();
            outcome.received = received as u64;
            outcome.lost = outcome.produced - outcome.received;
            outcome.duplicates = tally.duplicates();
        });
        Ok(outcome)
    }
}

/// A protocol's name in a case.
pub(super) fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http => "HTTP",
        Protocol::Grpc => "gRPC",
    }
}
