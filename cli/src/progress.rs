//! How far reading has got, on standard error: a bar on a terminal, else a line now and then.

use std::cell::{Cell, RefCell};
use std::env;
use std::io::{self, IsTerminal, Read, Write};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use longpole::render::Printable;

use crate::context::Context;

/// What is read sooner gets no bar: it would only flicker.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often a line is written where nothing can be drawn.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Counts what is read of one input, and shows it.
pub(crate) struct Progress {
    name: String,
    total: Option<u64>,
    bytes: Cell<u64>,
    spans: Cell<u64>,
    start: Instant,
    shown: Shown,
}

enum Shown {
    Nothing,
    /// Drawn once [`PATIENCE`] has passed.
    Bar {
        bar: ProgressBar,
        is_drawn: Cell<bool>,
    },
    Lines(RefCell<Lines>),
}

impl Progress {
    /// Of an input that holds so many bytes, if that is known.
    pub(crate) fn of(name: &str, total: Option<u64>, context: &Context) -> Progress {
        let is_animated = io::stderr().is_terminal() && env::var_os("CI").is_none_or(|it| it.is_empty());
        let shown = match (context.quiet, is_animated) {
            (true, _) => Shown::Nothing,
            (false, true) => Shown::Bar { bar: hidden_bar(name, total), is_drawn: Cell::new(false) },
            (false, false) => Shown::Lines(RefCell::default()),
        };
        let (bytes, spans) = (Cell::new(0), Cell::new(0));
        Progress { name: name.to_owned(), total, bytes, spans, start: Instant::now(), shown }
    }

    /// Of nothing that is worth telling.
    pub(crate) fn untold() -> Progress {
        let (bytes, spans) = (Cell::new(0), Cell::new(0));
        let shown = Shown::Nothing;
        Progress { name: String::new(), total: None, bytes, spans, start: Instant::now(), shown }
    }

    /// The same bytes, counted.
    pub(crate) fn reading<'a>(&'a self, reader: impl Read + 'a) -> impl Read + 'a {
        Counted { reader, progress: self }
    }

    /// One span more.
    pub(crate) fn span(&self) {
        self.spans.set(self.spans.get().saturating_add(1));
    }

    fn read(&self, bytes: usize) {
        self.bytes.set(self.bytes.get().saturating_add(bytes as u64));
        match &self.shown {
            Shown::Nothing => {}
            Shown::Bar { bar, is_drawn } => {
                let elapsed = self.start.elapsed();
                if elapsed >= PATIENCE {
                    bar.set_message(spans_text(self.spans.get(), elapsed));
                    bar.set_position(self.bytes.get());
                    if !is_drawn.replace(true) {
                        bar.set_draw_target(ProgressDrawTarget::stderr());
                    }
                }
            }
            Shown::Lines(lines) => {
                let text = lines.borrow_mut().due(self.start.elapsed(), || self.line());
                if let Some(text) = text {
                    // With standard error gone there is nobody left to tell.
                    let _ = writeln!(anstream::stderr(), "{text}");
                }
            }
        }
    }

    fn line(&self) -> String {
        let name = Printable::new(&self.name);
        let of = self.total.map(|total| format!(" of {}", HumanBytes(total))).unwrap_or_default();
        let spans = spans_text(self.spans.get(), self.start.elapsed());
        format!("reading {name}: {}{of}, {spans}", HumanBytes(self.bytes.get()))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Shown::Bar { bar, .. } = &self.shown {
            bar.finish_and_clear();
        }
    }
}

fn hidden_bar(name: &str, total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
    let template = match total {
        Some(_) => "{prefix} {bar:30} {bytes}/{total_bytes}  {msg}  {eta}",
        None => "{prefix} {bytes}  {msg}",
    };
    let style = ProgressStyle::with_template(template);
    bar.set_prefix(Printable::new(name).to_string());
    if let Ok(style) = style {
        bar.set_style(style.progress_chars("#> "));
    }
    bar
}

fn spans_text(spans: u64, elapsed: Duration) -> String {
    let rate = (spans as f64 / elapsed.as_secs_f64().max(1e-3)).round() as u64;
    format!("{} spans, {} spans/s", HumanCount(spans), HumanCount(rate))
}

/// When the next line is due.
#[derive(Default)]
struct Lines {
    last: Duration,
}

impl Lines {
    /// The line, if one is due after so long.
    fn due(&mut self, elapsed: Duration, line: impl FnOnce() -> String) -> Option<String> {
        if elapsed.saturating_sub(self.last) < LINE_EVERY {
            return None;
        }
        self.last = elapsed;
        Some(line())
    }
}

struct Counted<'a, R> {
    reader: R,
    progress: &'a Progress,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.reader.read(buffer)?;
        self.progress.read(bytes);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_written_every_ten_seconds_and_no_sooner() {
        let mut lines = Lines::default();
        let at = |seconds: f64| Duration::from_secs_f64(seconds);
        let told: Vec<f64> = [0.0, 5.0, 9.9, 10.0, 12.0, 19.9, 20.5, 47.0, 56.9, 57.0]
            .into_iter()
            .filter(|seconds| lines.due(at(*seconds), String::new).is_some())
            .collect();
        assert_eq!(told, [10.0, 20.5, 47.0, 57.0]);
    }

    #[test]
    fn what_is_read_is_counted_and_left_as_it_is() {
        let mut progress = Progress::untold();
        progress.name = "spans\u{1b}[2J.jsonl".to_owned();
        progress.total = Some(3_000_000);
        let text = vec![b'x'; 1_500_000];
        let mut read = Vec::new();
        progress.reading(&*text).read_to_end(&mut read).unwrap();
        assert_eq!(read, text);
        (0..4_000).for_each(|_| progress.span());
        let line = progress.line();
        assert!(
            line.starts_with("reading spans\\u{1b}[2J.jsonl: 1.43 MiB of 2.86 MiB, 4,000 spans, "),
            "{line}"
        );
        assert_eq!(spans_text(4_000, Duration::from_secs(2)), "4,000 spans, 2,000 spans/s");
    }
}
