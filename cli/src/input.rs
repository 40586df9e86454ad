//! Where spans come from: a file or standard input.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::Context;
use longpole::decode::{DecodeError, Limits, stream};
use longpole::span_record::SpanRecord;

use crate::failure::Failure;

/// What was read.
pub(crate) struct Input {
    /// What to call it in messages.
    pub(crate) name: String,
    pub(crate) spans: Vec<SpanRecord>,
    /// What could not be read. Everything else was.
    pub(crate) problems: Vec<DecodeError>,
}

/// Reads the spans in a file, or in standard input for `-`, with the attributes they were made of if these are to be
/// kept.
pub(crate) fn read(path: &Path, keeps_attributes: bool) -> Result<Input, Failure> {
    let is_stdin = path == Path::new("-");
    let name = if is_stdin { "standard input".to_owned() } else { path.to_string_lossy().into_owned() };
    let reader: Box<dyn Read> =
        if is_stdin {
            Box::new(io::stdin().lock())
        } else {
            let file = open(path).with_context(|| format!("cannot read {name}"));
            Box::new(file.map_err(|error| {
                Failure::could_not(error, "give a file with spans, or - for standard input")
            })?)
        };
    let mut spans = Vec::new();
    let limits = Limits { keeps_attributes, ..Limits::default() };
    let problems = stream(reader, &limits, &mut |span| spans.push(span))
        .with_context(|| format!("cannot make out spans in {name}"))
        .map_err(|error| {
            let help = "spans are read as OTLP (JSON, JSON lines, protobuf) or Jaeger's JSON, packed or not";
            Failure::could_not(error, help)
        })?;
    Ok(Input { name, spans, problems })
}

/// Opening a folder works on some systems; reading from it does not.
fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    Ok(file)
}
