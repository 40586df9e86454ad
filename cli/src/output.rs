//! Standard output, and what the terminal behind it can show.

use std::env;
use std::io::{self, Write};
use std::sync::atomic::Ordering;

use anstream::{AutoStream, ColorChoice};
use longpole::render::{Printable, TextStyle};

use crate::args::Color;
use crate::context::Context;
use crate::failure::Failure;

/// Puts `text` on standard output, without its colours where the terminal does not want them.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    print_with(text, ColorChoice::Auto)
}

/// Puts `text`, which has no colours, on standard output as it is.
pub(crate) fn print_plain(text: &str) -> Result<(), Failure> {
    print_with(text, ColorChoice::Never)
}

/// Puts `text` on standard output, with its colours if `choice` says so.
pub(crate) fn print_with(text: &str, choice: ColorChoice) -> Result<(), Failure> {
    let mut stdout = AutoStream::new(io::stdout().lock(), choice);
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Lines in which nothing acts on a terminal or hides, whatever names they hold.
pub(crate) fn printable_lines(lines: &str) -> String {
    lines.lines().map(|line| format!("{}\n", Printable::new(line))).collect()
}

/// Puts a document on standard output as it is.
pub(crate) fn write(document: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(document)?;
    stdout.flush()
}

/// Standard output, for texts one after the other, with their colours if `choice` says so.
pub(crate) fn open(choice: ColorChoice) -> AutoStream<io::StdoutLock<'static>> {
    AutoStream::new(io::stdout().lock(), choice)
}

/// The colour choice that was asked for, made with regard to the terminal and to `NO_COLOR`, `CLICOLOR_FORCE` and
/// `TERM`.
pub(crate) fn color_choice(color: Color) -> ColorChoice {
    match color {
        Color::Auto => AutoStream::choice(&io::stdout()),
        Color::Always => ColorChoice::Always,
        Color::Never => ColorChoice::Never,
    }
}

/// How text is drawn for this terminal and these options.
pub(crate) fn text_style(context: &Context) -> TextStyle {
    let ascii = context.ascii || !is_locale_utf8();
    if ascii && !context.ascii && !context.ascii_told.swap(true, Ordering::Relaxed) {
        context.warn(
            "note",
            "the locale is not UTF-8, so the report is drawn in ASCII; LC_ALL=C.UTF-8 changes that",
        );
    }
    let color = color_choice(context.color) != ColorChoice::Never;
    TextStyle { width: context.width.unwrap_or_else(terminal_width), color, ascii }
}

/// The terminal's width; `COLUMNS` or 80 where the output is none.
fn terminal_width() -> usize {
    let terminal = terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
    let columns = || env::var("COLUMNS").ok()?.parse().ok();
    terminal.or_else(columns).unwrap_or(TextStyle::default().width)
}

/// Whether text is UTF-8 in this environment: unless its locale says otherwise.
pub(crate) fn is_locale_utf8() -> bool {
    let locale =
        ["LC_ALL", "LC_CTYPE", "LANG"].map(env::var_os).into_iter().flatten().find(|it| !it.is_empty());
    locale.is_none_or(|locale| {
        let locale = locale.to_string_lossy().to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}
