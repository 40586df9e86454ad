//! The sink as seen by whoever started it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};

use super::{Counts, Reading};

/// A sink that was started as a process. It is ended when this is dropped.
#[derive(Debug)]
pub struct SinkProcess {
    child: Child,
    address: SocketAddr,
}

impl SinkProcess {
    /// Starts this very program with the argument `sink`; it is to call [`super::serve`] and print the address.
    ///
    /// # Errors
    /// What the system says, or if it prints none.
    pub fn start() -> anyhow::Result<SinkProcess> {
        let program = std::env::current_exe()?;
        let mut child = Command::new(program).arg("sink").stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().context("the sink has no output")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        match line.trim().parse() {
            Ok(address) => Ok(SinkProcess { child, address }),
            Err(_) => {
                let _ = child.kill();
                bail!("the sink did not start: it said {line:?}")
            }
        }
    }

    /// `http://127.0.0.1:port`, for both protocols.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Forgets what came so far.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn forget(&self, reading: Reading) -> anyhow::Result<()> {
        let path = match reading {
            Reading::Whole => "/forget/whole",
            Reading::Fields => "/forget/fields",
        };
        self.ask(path).map(drop)
    }

    /// What came so far.
    ///
    /// # Errors
    /// If it does not answer.
    pub fn counts(&self) -> anyhow::Result<Counts> {
        self.ask("/counts")
    }

    fn ask(&self, path: &str) -> anyhow::Result<Counts> {
        let mut stream = TcpStream::connect(self.address).context("the sink is gone")?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: sink\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").context("the sink's answer is none")?;
        serde_json::from_str(body).with_context(|| format!("the sink said {body:?}"))
    }
}

impl Drop for SinkProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
