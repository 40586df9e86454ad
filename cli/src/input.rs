//! Where spans come from: a file or standard input.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::Context as _;
use longpole::decode::{DecodeError, Limits, stream};
use longpole::span_record::SpanRecord;

use crate::context::Context;
use crate::failure::Failure;
use crate::progress::Progress;

/// What was read.
pub(crate) struct Input {
    /// What to call it in messages.
    pub(crate) name: String,
    pub(crate) spans: Vec<SpanRecord>,
    /// What could not be read. Everything else was.
    pub(crate) problems: Vec<DecodeError>,
}

/// Reads the spans in a file, or in standard input for `-`, with the attributes they were made of if these are to be
/// kept; how far it got is told on standard error if that takes long.
pub(crate) fn read(path: &Path, context: &Context) -> Result<Input, Failure> {
    let limits = Limits { keeps_attributes: context.keeps_attributes, ..Limits::default() };
    read_within(path, &limits, |name, bytes| Progress::of(name, bytes, context))
}

/// The same without a word about how far it got, and without attributes.
pub(crate) fn read_quietly(path: &Path) -> Result<Input, Failure> {
    read_within(path, &Limits::default(), |_, _| Progress::untold())
}

fn read_within(
    path: &Path,
    limits: &Limits,
    progress: impl FnOnce(&str, Option<u64>) -> Progress,
) -> Result<Input, Failure> {
    let is_stdin = path == Path::new("-");
    let name = if is_stdin { "standard input".to_owned() } else { path.to_string_lossy().into_owned() };
    let (reader, bytes): (Box<dyn Read>, _) = if is_stdin {
        (Box::new(io::stdin().lock()), None)
    } else {
        let file = open(path).with_context(|| format!("cannot read {name}"));
        let file = file
            .map_err(|error| Failure::could_not(error, "give a file with spans, or - for standard input"))?;
        let bytes = file.metadata().ok().filter(|about| about.is_file()).map(|about| about.len());
        (Box::new(file), bytes)
    };
    let progress = progress(&name, bytes);
    let mut spans = Vec::new();
    let mut keep = |span| {
        progress.span();
        spans.push(span);
    };
    let problems = stream(progress.reading(reader), limits, &mut keep)
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
