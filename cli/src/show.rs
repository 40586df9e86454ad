//! `longpole show`: the report on every run in a file.

use std::error::Error;

use anstream::ColorChoice;
use longpole::render::{json, text};
use longpole::{Report, ReportOptions};

use crate::args::{Format, ShowArgs};
use crate::failure::{Failure, warn};
use crate::input::{self, Input};
use crate::output;

/// Reads the file, says on standard error what is odd about it, and prints the reports.
pub(crate) fn show(args: &ShowArgs) -> Result<(), Failure> {
    let Input { name, spans, problems } = input::read(&args.run)?;
    let reports = longpole::report_on(spans, &ReportOptions::default());
    for problem in problems {
        let cause = problem.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        warn("warning", &format!("{name}: {problem}{cause}"));
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
