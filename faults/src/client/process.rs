//! Starting clients, hearing what they say, and ending them.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::{ClientLine, ClientReport, ClientSpec};

/// A client that was started. It is killed when this is dropped.
#[derive(Debug)]
pub struct Client {
    child: Child,
    lines: Receiver<ClientLine>,
    log: PathBuf,
    started: Instant,
}

impl Client {
    /// Starts `program` with these variables and no others of OpenTelemetry's or longpole's.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(
        program: &Path,
        spec: &ClientSpec,
        variables: &[(String, String)],
    ) -> anyhow::Result<Client> {
        let spec_text = serde_json::to_string(spec)?;
        let mut command = Command::new(program);
        command.arg(spec_text).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        for (name, _) in std::env::vars() {
            if name.starts_with("OTEL_") || name.starts_with("LONGPOLE_") {
                command.env_remove(name);
            }
        }
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        let mut child =
            command.spawn().with_context(|| format!("cannot start the client {}", program.display()))?;
        let out = child.stdout.take().context("the client has no output")?;
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                // A line that a kill cut is none.
                let Ok(line) = serde_json::from_str(&line) else { continue };
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Client { child, lines, log: spec.log.clone(), started: Instant::now() })
    }

    /// Waits until the pipeline stands; how long that took since the process was started.
    ///
    /// # Errors
    /// If the client ends, or does not start in time.
    pub fn wait_for_start(&self, patience: Duration) -> anyhow::Result<Duration> {
        match self.lines.recv_timeout(patience) {
            Ok(ClientLine::Started) => Ok(self.started.elapsed()),
            other => bail!("the client did not start: {other:?}"),
        }
    }

    /// Waits until all spans are closed.
    ///
    /// # Errors
    /// If the client ends, or is not there in time.
    pub fn wait_for_spans(&self, patience: Duration) -> anyhow::Result<()> {
        match self.lines.recv_timeout(patience) {
            Ok(ClientLine::Produced) => Ok(()),
            other => bail!("the client made no end of its spans: {other:?}"),
        }
    }

    /// Lets a client go on that waits for a word.
    pub fn go_on(&mut self) {
        self.child.stdin = None;
    }

    /// Waits for the client's report and its end.
    ///
    /// # Errors
    /// If the client ends without one, or does not end in time.
    pub fn report(self, patience: Duration) -> anyhow::Result<ClientReport> {
        Ok(self.reports(patience)?.0)
    }

    /// The same with the report of the child it forked, if it did.
    ///
    /// # Errors
    /// As [`Client::report`].
    pub fn reports(mut self, patience: Duration) -> anyhow::Result<(ClientReport, Option<ClientReport>)> {
        self.go_on();
        let deadline = Instant::now() + patience;
        let mut child = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(ClientLine::Report(report)) => {
                    self.ended(deadline.saturating_duration_since(Instant::now()))?;
                    return Ok((report, child));
                }
                Ok(ClientLine::Child(report)) => child = Some(report),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => bail!("hang: no report after {patience:?}"),
                Err(RecvTimeoutError::Disconnected) => bail!("the client ended without a report"),
            }
        }
    }

    /// Waits for the client's end.
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn ended(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        // Its output ends with it; whatever it says until then is of no use here.
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => bail!("hang: the client did not end in {patience:?}"),
                Err(RecvTimeoutError::Disconnected) => return Ok(self.child.wait()?),
            }
        }
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// If there is no such process any more.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Ends it with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// If it is not gone in time.
    pub fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// The numbers of the spans whose close has returned so far.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn closed(&self) -> anyhow::Result<HashSet<u64>> {
        closed_in(&self.log)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The numbers of the spans in a log of a client.
///
/// # Errors
/// If the log cannot be read.
pub fn closed_in(log: &Path) -> anyhow::Result<HashSet<u64>> {
    let bytes = std::fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
    let (numbers, _torn) = bytes.as_chunks::<8>();
    Ok(numbers.iter().map(|number| u64::from_le_bytes(*number)).collect())
}
