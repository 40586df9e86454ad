//! What longpole prints where it was asked to print: on stderr, and nowhere else.

use std::io::Write;

use crate::render::text::{TextStyle, text};
use crate::report::Report;

/// Prints a report as wide as the terminal. Colours are stripped where they are not wanted.
pub(crate) fn print_report(report: &Report) {
    let width = terminal_size::terminal_size_of(std::io::stderr()).map(|(width, _)| usize::from(width.0));
    let style = TextStyle { width: width.unwrap_or(80), color: true, ascii: !is_utf8_locale() };
    // A program whose stderr is closed has nobody to tell.
    let _ = write!(anstream::stderr().lock(), "\n{}", text(report, &style));
}

/// Prints what is wrong with the settings.
pub(crate) fn print_notes(notes: &[String]) {
    notes.iter().for_each(|note| print_note(note));
}

/// Prints something the user should know.
pub(crate) fn print_note(note: &str) {
    let _ = writeln!(anstream::stderr().lock(), "longpole: {note}");
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
