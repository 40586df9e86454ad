//! A file of OTLP JSON lines, as the OpenTelemetry Collector's file exporter writes it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::otlp_json::append_traces_line;

/// Where lines of spans go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SpansOutput {
    File(PathBuf),
    Stdout,
}

/// An open spans file, or standard output.
#[derive(Debug)]
pub(super) struct SpansFile {
    output: SpansOutput,
    file: Option<File>,
    line: Vec<u8>,
    /// Whether the last write ended in the middle of a line.
    is_torn: bool,
}

/// Opens the file for appending, readable by its owner alone: spans may hold what is nobody else's business.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path)
}

/// Whether the file can be written to; creates it.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    open(path).map(drop)
}

impl SpansFile {
    pub(super) fn new(output: SpansOutput) -> Self {
        SpansFile { output, file: None, line: Vec::new(), is_torn: false }
    }

    /// Appends a request as one line. After an error the next call opens the file anew.
    pub(super) fn append(&mut self, request: &[u8]) -> io::Result<()> {
        self.line.clear();
        if self.is_torn {
            self.line.push(b'\n');
        }
        append_traces_line(request, &mut self.line).map_err(io::Error::other)?;
        let path = match &self.output {
            SpansOutput::File(path) => path,
            SpansOutput::Stdout => {
                let mut stdout = io::stdout().lock();
                return stdout.write_all(&self.line).and_then(|()| stdout.flush());
            }
        };
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(open(path)?),
        };
        let written = file.write_all(&self.line).and_then(|()| file.flush());
        self.is_torn = written.is_err();
        if written.is_err() {
            self.file = None;
        }
        written
    }
}
