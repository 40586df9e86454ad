//! `longpole show`: the report on every run in a file.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use anstream::ColorChoice;
use anyhow::Context;
use longpole::decode::{DecodeError, Decoded, decode};
use longpole::render::{json, text};
use longpole::{Report, ReportOptions};

use crate::args::{Format, ShowArgs};
use crate::failure::{Failure, warn};
use crate::output;

/// Reads the file, says on standard error what is odd about it, and prints the reports.
pub(crate) fn show(args: &ShowArgs) -> Result<(), Failure> {
    let name = if is_stdin(&args.run) { "standard input".into() } else { args.run.to_string_lossy() };
    let bytes = read(&args.run)
        .with_context(|| format!("cannot read {name}"))
        .map_err(|error| Failure::could_not(error, "give a file with spans, or - for standard input"))?;
    let (reports, problems) = reports_in(&bytes)
        .with_context(|| format!("cannot make out spans in {name}"))
        .map_err(|error| Failure::could_not(error, "spans are read as OTLP: JSON, JSON lines or protobuf"))?;
    for problem in problems {
        warn("warning", &format!("{name}: {problem}"));
    }
    if reports.is_empty() {
        let help = "check that the program was traced, and that it flushed its spans before it ended";
        return Err(Failure::nothing_there(anyhow::anyhow!("no spans in {name}"), help));
    }
    match args.format {
        Format::Text => {
            let style = output::text_style(args);
            let texts: Vec<_> = reports.iter().map(|report| text(report, &style)).collect();
            output::print_with(&texts.join("\n"), output::color_choice(args.color))
        }
        Format::Json => output::print_with(&documents(&reports), ColorChoice::Never),
    }
}

/// One run is one document; several are an array of them.
fn documents(reports: &[Report]) -> String {
    match reports {
        [report] => json(report),
        reports => {
            let documents: Vec<_> = reports.iter().map(|report| json(report).trim_end().to_owned()).collect();
            format!("[\n{}\n]\n", documents.join(",\n"))
        }
    }
}

fn is_stdin(run: &Path) -> bool {
    run == Path::new("-")
}

fn read(run: &Path) -> io::Result<Vec<u8>> {
    if !is_stdin(run) {
        return fs::read(run);
    }
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The runs whose spans these bytes hold, and what could not be read of them.
fn reports_in(bytes: &[u8]) -> anyhow::Result<(Vec<Report>, Vec<DecodeError>)> {
    let Decoded { spans, problems } = decode(bytes)?;
    Ok((longpole::report_on(spans, &ReportOptions::default()), problems))
}
