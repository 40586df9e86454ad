//! What reports are written as: one table from formats and file name extensions to writers.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use longpole::render::{
    Excerpt, HTML_END, HtmlOptions, TextStyle, conexus, csv, csv_header, csv_run, csv_runs_header, csv_spans,
    csv_spans_header, html, html_article, html_start, json, json_line, lines, markdown, text_excerpt,
};
use longpole::report::timeline::Timeline;
use longpole::{Report, ReportOptions, report_with_timeline};

use crate::failure::Failure;
use crate::runs::{self, Found};

/// What reports can be written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Md,
    Csv,
    #[value(name = "csv:spans")]
    CsvSpans,
    #[value(name = "csv:runs")]
    CsvRuns,
    Json,
    Jsonl,
    Html,
    Folded,
    FoldedTail,
}

/// Whose layout a format has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Style {
    /// Its own
    #[default]
    Longpole,
    /// The Conexus profiler's report: text, csv and json
    Conexus,
    /// The same profiler's summary
    ConexusSummary,
    /// The same profiler's execution details, of every node
    ConexusDetails,
    /// The slowest node and those above half of the sum of node times, a line each
    Lines,
}

/// One run, ready to be written.
pub(crate) struct Told {
    pub(crate) report: Report,
    /// Where its spans lie; made for writers that draw them.
    pub(crate) timeline: Option<Timeline>,
    /// How many runs are in its document.
    pub(crate) runs: usize,
    pub(crate) html: HtmlOptions,
    /// How much of it text and Markdown show.
    pub(crate) excerpt: Excerpt,
}

/// How the reports on some runs become one document. Each run is written as soon as it is told, so a writer never
/// sees two of them at once.
pub(crate) struct Writer {
    pub(crate) format: Format,
    style: Style,
    /// The file names that ask for it, by their ends.
    extensions: &'static [&'static str],
    /// Whether it tells [`Told::timeline`] where that is known.
    pub(crate) draws_spans: bool,
    /// Whether it tells nothing else.
    needs_spans: bool,
    /// What stands around and between the runs, of which there are so many.
    pub(crate) frame: fn(usize) -> Frame,
    /// One run.
    pub(crate) run: fn(&Told, &TextStyle) -> String,
}

/// What stands around and between runs.
pub(crate) struct Frame {
    pub(crate) open: String,
    pub(crate) between: &'static str,
    pub(crate) close: &'static str,
}

/// One row per format and layout of single runs; new formats are added here and in [`Format`].
const WRITERS: &[Writer] = &[
    Writer {
        format: Format::Text,
        style: Style::Longpole,
        extensions: &["txt", "text"],
        draws_spans: false,
        needs_spans: false,
        frame: |_| Frame { open: String::new(), between: "\n", close: "" },
        run: |told, style| text_excerpt(&told.report, style, &told.excerpt),
    },
    Writer {
        format: Format::Md,
        style: Style::Longpole,
        extensions: &["md", "markdown"],
        draws_spans: false,
        needs_spans: false,
        frame: |_| Frame { open: String::new(), between: "\n", close: "" },
        run: |told, _| markdown(&told.report, &told.excerpt),
    },
    Writer {
        format: Format::Csv,
        style: Style::Longpole,
        extensions: &["csv"],
        draws_spans: false,
        needs_spans: false,
        frame: |_| Frame { open: csv_header(), between: "", close: "" },
        run: |told, _| csv(&told.report),
    },
    Writer {
        format: Format::CsvSpans,
        style: Style::Longpole,
        extensions: &["spans.csv"],
        draws_spans: true,
        needs_spans: true,
        frame: |_| Frame { open: csv_spans_header(), between: "", close: "" },
        run: |told, _| told.timeline.as_ref().map(|it| csv_spans(&told.report, it)).unwrap_or_default(),
    },
    Writer {
        format: Format::CsvRuns,
        style: Style::Longpole,
        extensions: &["runs.csv"],
        draws_spans: false,
        needs_spans: false,
        frame: |_| Frame { open: csv_runs_header(), between: "", close: "" },
        run: |told, _| csv_run(&told.report),
    },
    Writer {
        format: Format::Json,
        style: Style::Longpole,
        extensions: &["json"],
        draws_spans: false,
        needs_spans: false,
        frame: |runs| match runs {
            ..=1 => Frame { open: String::new(), between: "", close: "\n" },
            _ => Frame { open: "[\n".to_owned(), between: ",\n", close: "\n]\n" },
        },
        run: |told, _| json(&told.report).trim_end().to_owned(),
    },
    Writer {
        format: Format::Jsonl,
        style: Style::Longpole,
        extensions: &["jsonl", "ndjson"],
        draws_spans: false,
        needs_spans: false,
        frame: |_| Frame { open: String::new(), between: "", close: "" },
        run: |told, _| json_line(&told.report),
    },
    Writer {
        format: Format::Html,
        style: Style::Longpole,
        extensions: &["html", "htm"],
        draws_spans: true,
        needs_spans: false,
        frame: |runs| match runs {
            ..=1 => Frame { open: String::new(), between: "", close: "" },
            _ => Frame { open: html_start(), between: "", close: HTML_END },
        },
        run: |told, _| match told.runs {
            ..=1 => html(&told.report, told.timeline.as_ref(), &told.html),
            _ => html_article(&told.report, told.timeline.as_ref(), &told.html),
        },
    },
    Writer {
        format: Format::Text,
        style: Style::Conexus,
        extensions: &["txt", "text"],
        draws_spans: false,
        needs_spans: false,
        frame: |_| Frame { open: String::new(), between: "\n", close: "" },
        run: |told, _| conexus::text(&told.report),
    },
    Writer {
        format: Format::Csv,
        style: Style::Conexus,
        extensions: &["csv"],
        draws_spans: false,
        needs_spans: false,
        frame: |_| Frame { open: conexus::csv_header(), between: "", close: "" },
        run: |told, _| conexus::csv(&told.report),
    },
    Writer {
        format: Format::Json,
        style: Style::Conexus,
        extensions: &["json"],
        draws_spans: false,
        needs_spans: false,
        frame: |runs| match runs {
            ..=1 => Frame { open: String::new(), between: "", close: "\n" },
            _ => Frame { open: "[\n".to_owned(), between: ",\n", close: "\n]\n" },
        },
        run: |told, _| conexus::json(&told.report).trim_end().to_owned(),
    },
    Writer {
        format: Format::Text,
        style: Style::ConexusSummary,
        extensions: &["txt", "text"],
        draws_spans: false,
        needs_spans: false,
        frame: |_| Frame { open: String::new(), between: "\n", close: "" },
        run: |told, _| conexus::summary(&told.report, conexus::SLOW_EXECUTION),
    },
    Writer {
        format: Format::Text,
        style: Style::ConexusDetails,
        extensions: &["txt", "text"],
        draws_spans: true,
        needs_spans: true,
        frame: |_| Frame { open: String::new(), between: "\n", close: "" },
        run: |told, _| conexus_details(told),
    },
    Writer {
        format: Format::Text,
        style: Style::Lines,
        extensions: &["txt", "text"],
        draws_spans: false,
        needs_spans: false,
        frame: |_| Frame { open: String::new(), between: "\n", close: "" },
        run: |told, _| lines(&told.report, ReportOptions::default().bottleneck_threshold_percent),
    },
];

/// The execution details of every node that has any, with a blank line between nodes.
fn conexus_details(told: &Told) -> String {
    let Some(timeline) = &told.timeline else { return String::new() };
    let nodes = told.report.nodes.iter().map(|node| conexus::execution_details(timeline, &node.name));
    nodes.filter(|details| !details.is_empty()).collect::<Vec<_>>().join("\n")
}

impl Format {
    /// Its writer in some layout.
    ///
    /// # Errors
    /// A wrong use of the tool: the format has no such layout.
    pub(crate) fn writer_in(self, style: Style) -> Result<&'static Writer, Failure> {
        let found = WRITERS.iter().find(|writer| writer.format == self && writer.style == style);
        found.ok_or_else(|| {
            let value = style.to_possible_value().map(|it| it.get_name().to_owned()).unwrap_or_default();
            let of_style = WRITERS.iter().filter(|writer| writer.style == style);
            let known: Vec<String> = of_style
                .filter_map(|writer| Some(writer.format.to_possible_value()?.get_name().to_owned()))
                .collect();
            let error = anyhow::anyhow!("--style {value} has no such format");
            Failure::wrong_use(error, format!("it is there as --format {}", known.join(", ")))
        })
    }
}

/// The format that the name of a file asks for.
///
/// # Errors
/// A wrong use of the tool: nothing is written under such a name.
pub(crate) fn format_for(file: &Path) -> Result<Format, Failure> {
    let name = file.file_name().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase();
    let asks_for = |extension: &str| {
        let stem = name.strip_suffix(extension).and_then(|rest| rest.strip_suffix('.'));
        stem.is_some_and(|stem| !stem.is_empty())
    };
    // The longest wins: run.spans.csv holds spans.
    let extensions =
        WRITERS.iter().flat_map(|writer| writer.extensions.iter().map(move |it| (*it, writer.format)));
    let found =
        extensions.filter(|(extension, _)| asks_for(extension)).max_by_key(|(extension, _)| extension.len());
    found.map(|(_, format)| format).ok_or_else(|| {
        let own = WRITERS.iter().filter(|writer| writer.style == Style::default());
        let known: Vec<&str> = own.filter_map(|writer| writer.extensions.first().copied()).collect();
        let error = anyhow::anyhow!("cannot tell from its name what to write to {}", file.display());
        Failure::wrong_use(error, format!("use a name that ends in .{}", known.join(", .")))
    })
}

/// A document under way, on a file or on a stream.
pub(crate) struct Document<W> {
    frame: Frame,
    sink: W,
    is_first: bool,
}

impl<W: Write> Document<W> {
    /// Begins a document of so many runs.
    pub(crate) fn begin(writer: &Writer, runs: usize, mut sink: W) -> io::Result<Self> {
        let frame = (writer.frame)(runs);
        sink.write_all(frame.open.as_bytes())?;
        Ok(Document { frame, sink, is_first: true })
    }

    /// Writes the next run, as its writer made it.
    pub(crate) fn put(&mut self, run: &str) -> io::Result<()> {
        if !std::mem::take(&mut self.is_first) {
            self.sink.write_all(self.frame.between.as_bytes())?;
        }
        self.sink.write_all(run.as_bytes())
    }

    /// Writes what stands at the end.
    pub(crate) fn end(mut self) -> io::Result<()> {
        self.sink.write_all(self.frame.close.as_bytes())?;
        self.sink.flush()
    }
}

/// The files that were asked for with `-o`, each in the format of its extension.
pub(crate) struct Files {
    writers: Vec<&'static Writer>,
    open: Vec<(PathBuf, Document<BufWriter<File>>)>,
}

impl Files {
    /// Makes the files for documents of so many runs, each format in the layout that `style` says.
    ///
    /// # Errors
    /// A name that says no format, a format that has no such layout, or a file that cannot be made.
    pub(crate) fn begin(
        paths: &[PathBuf],
        runs: usize,
        style: impl Fn(Format) -> Style,
    ) -> Result<Files, Failure> {
        // No file is made before all names are known to be good.
        let writer = |path: &PathBuf| {
            let format = format_for(path)?;
            format.writer_in(style(format))
        };
        let writers: Vec<_> = paths.iter().map(writer).collect::<Result<_, Failure>>()?;
        let document = |(path, writer): (&PathBuf, &&'static Writer)| {
            let file = File::create(path).map(BufWriter::new);
            let document = file.and_then(|file| Document::begin(writer, runs, file));
            Ok((path.clone(), document.map_err(|error| cannot_write(path, error))?))
        };
        let open = paths.iter().zip(&writers).map(document).collect::<Result<_, Failure>>()?;
        Ok(Files { writers, open })
    }

    /// What makes the texts that [`Files::put`] takes.
    pub(crate) fn writers(&self) -> Vec<&'static Writer> {
        self.writers.clone()
    }

    /// Writes the next run, told by each of the writers in turn.
    pub(crate) fn put(&mut self, texts: &[String]) -> Result<(), Failure> {
        for ((path, document), text) in self.open.iter_mut().zip(texts) {
            document.put(text).map_err(|error| cannot_write(path, error))?;
        }
        Ok(())
    }

    /// Ends each file.
    pub(crate) fn end(self) -> Result<(), Failure> {
        for (path, document) in self.open {
            document.end().map_err(|error| cannot_write(&path, error))?;
        }
        Ok(())
    }
}

impl Told {
    /// Tells one of `runs` runs for these writers. Without its spans it is told as it was when it was recorded.
    pub(crate) fn of(found: Found, writers: &[&'static Writer], runs: usize) -> Result<Told, Failure> {
        let (html, excerpt) = (HtmlOptions::default(), Excerpt::default());
        // Only some writers tell spans, and a timeline of a large run is large.
        let (needed, drawn) = (
            writers.iter().any(|writer| writer.needs_spans),
            writers.iter().any(|writer| writer.draws_spans),
        );
        if needed || (drawn && found.has_spans()?) {
            let (run, options) = found.finished()?;
            let told = report_with_timeline(run, &options);
            let (report, timeline) = told.ok_or_else(runs::no_spans)?;
            return Ok(Told { report, timeline: Some(timeline), runs, html, excerpt });
        }
        Ok(Told { report: found.report()?, timeline: None, runs, html, excerpt })
    }
}

/// What each writer makes of one run.
pub(crate) fn texts(writers: &[&'static Writer], told: &Told, style: &TextStyle) -> Vec<String> {
    writers.iter().map(|writer| (writer.run)(told, style)).collect()
}

fn cannot_write(path: &Path, error: io::Error) -> Failure {
    let error = anyhow::Error::new(error).context(format!("cannot write {}", path.display()));
    Failure::could_not(error, "check the folder and the room on its disk")
}
