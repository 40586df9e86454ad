//! `longpole show`: the reports on the runs in a file.

use std::io::{self, Read, Write};
use std::path::Path;

use anstream::ColorChoice;
use anyhow::{Context, anyhow};
use longpole::render::text::{TextStyle, text};
use longpole::{Report, ReportOptions};

use crate::args::{Color, Format, Show};
use crate::outcome::{FAILED, Failure, NOTHING_FOUND};

pub(crate) fn show(args: &Show) -> Result<(), Failure> {
    let reports = read_reports(&args.file)?;
    let choice = match args.color {
        Color::Auto => anstream::AutoStream::choice(&io::stdout()),
        Color::Always => ColorChoice::Always,
        Color::Never => ColorChoice::Never,
    };
    let output = match args.format {
        Format::Json => json(&reports),
        Format::Text => {
            let ascii = args.ascii || !is_utf8_locale();
            if ascii && !args.ascii {
                let _ = writeln!(
                    anstream::stderr(),
                    "note: the locale is not UTF-8, so the report keeps to ASCII"
                );
            }
            let width = args.width.or_else(|| Some(usize::from(terminal_size::terminal_size()?.0.0)));
            let style = TextStyle { width: width.unwrap_or(80), color: choice != ColorChoice::Never, ascii };
            reports.iter().map(|report| text(report, &style)).collect::<Vec<_>>().join("\n")
        }
    };
    let mut stdout = anstream::AutoStream::new(io::stdout().lock(), choice);
    stdout.write_all(output.as_bytes()).and_then(|()| stdout.flush()).map_err(Failure::output)
}

fn read_reports(file: &Path) -> Result<Vec<Report>, Failure> {
    let name = if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
    let bytes = read(file).with_context(|| format!("cannot read {name}"));
    let bytes = bytes.map_err(|error| {
        Failure::new(error, FAILED).help("give a file of OTLP traces, or - for standard input")
    })?;
    let decoded = longpole::decode::decode(&bytes).map_err(|error| {
        Failure::new(anyhow::Error::new(error).context(format!("cannot read spans from {name}")), FAILED)
            .help("longpole reads OTLP traces as JSON, as JSON lines or as protobuf")
    })?;
    let mut stderr = anstream::stderr().lock();
    for problem in &decoded.problems {
        let _ = writeln!(stderr, "\x1b[33mwarning\x1b[0m: {name}: {problem}; the rest is reported");
    }
    let reports = longpole::report_on(decoded.spans, &ReportOptions::default());
    if reports.is_empty() {
        return Err(Failure::new(anyhow!("{name} holds no spans"), NOTHING_FOUND).help(
            "did the program flush before it ended? call shutdown() on its handle or tracer provider",
        ));
    }
    Ok(reports)
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    if file != Path::new("-") {
        return std::fs::read(file);
    }
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// One document for one run, an array for several.
fn json(reports: &[Report]) -> String {
    if let [report] = reports {
        return report.to_json();
    }
    let documents: Vec<String> =
        reports.iter().map(|report| report.to_json().trim_end().replace('\n', "\n  ")).collect();
    format!("[\n  {}\n]\n", documents.join(",\n  "))
}

/// Whether the locale's character set is UTF-8, as the C library decides it.
fn is_utf8_locale() -> bool {
    let set = |name: &&str| std::env::var(name).is_ok_and(|value| !value.is_empty());
    let locale =
        ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find(set).and_then(|name| std::env::var(name).ok());
    locale.is_none_or(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}
