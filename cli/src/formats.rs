//! What reports are written as: one table from formats and file name extensions to writers.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use longpole::render::{HTML_END, HtmlOptions, TextStyle, html, html_article, html_start, json, text};
use longpole::report::timeline::Timeline;
use longpole::{Report, report_with_timeline};

use crate::failure::Failure;
use crate::runs::{self, Found};

/// What reports can be written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
    Html,
    Folded,
    FoldedTail,
}

/// One run, ready to be written.
pub(crate) struct Told {
    pub(crate) report: Report,
    /// Where its spans lie; made for writers that draw them.
    pub(crate) timeline: Option<Timeline>,
    /// How many runs are in its document.
    pub(crate) runs: usize,
    pub(crate) html: HtmlOptions,
}

/// How the reports on some runs become one document. Each run is written as soon as it is told, so a writer never
/// sees two of them at once.
pub(crate) struct Writer {
    pub(crate) format: Format,
    /// The file names that ask for it, by their ends.
    extensions: &'static [&'static str],
    /// Whether it needs [`Told::timeline`].
    draws_spans: bool,
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

/// One row per format of single runs; new formats are added here and in [`Format`].
const WRITERS: &[Writer] = &[
    Writer {
        format: Format::Text,
        extensions: &["txt", "text"],
        draws_spans: false,
        frame: |_| Frame { open: String::new(), between: "\n", close: "" },
        run: |told, style| text(&told.report, style),
    },
    Writer {
        format: Format::Json,
        extensions: &["json"],
        draws_spans: false,
        frame: |runs| match runs {
            ..=1 => Frame { open: String::new(), between: "", close: "\n" },
            _ => Frame { open: "[\n".to_owned(), between: ",\n", close: "\n]\n" },
        },
        run: |told, _| json(&told.report).trim_end().to_owned(),
    },
    Writer {
        format: Format::Html,
        extensions: &["html", "htm"],
        draws_spans: true,
        frame: |runs| match runs {
            ..=1 => Frame { open: String::new(), between: "", close: "" },
            _ => Frame { open: html_start(), between: "", close: HTML_END },
        },
        run: |told, _| match told.runs {
            ..=1 => html(&told.report, told.timeline.as_ref(), &told.html),
            _ => html_article(&told.report, told.timeline.as_ref(), &told.html),
        },
    },
];

impl Format {
    /// Its writer; `None` for formats that only many runs together have.
    pub(crate) fn writer(self) -> Option<&'static Writer> {
        WRITERS.iter().find(|writer| writer.format == self)
    }
}

/// The writer that the name of a file asks for.
///
/// # Errors
/// A wrong use of the tool: nothing is written under such a name.
pub(crate) fn writer_for(file: &Path) -> Result<&'static Writer, Failure> {
    let extension = file.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase();
    let writer = WRITERS.iter().find(|writer| writer.extensions.contains(&extension.as_str()));
    writer.ok_or_else(|| {
        let known: Vec<&str> = WRITERS.iter().filter_map(|it| it.extensions.first().copied()).collect();
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
    /// Makes the files for documents of so many runs.
    ///
    /// # Errors
    /// A name that says no format, or a file that cannot be made.
    pub(crate) fn begin(paths: &[PathBuf], runs: usize) -> Result<Files, Failure> {
        // No file is made before all names are known to be good.
        let writers: Vec<_> = paths.iter().map(|path| writer_for(path)).collect::<Result<_, _>>()?;
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
        // Only some writers draw spans, and a timeline of a large run is large.
        if writers.iter().any(|writer| writer.draws_spans) && found.has_spans()? {
            let (run, options) = found.finished()?;
            let told = report_with_timeline(run, &options);
            let (report, timeline) = told.ok_or_else(runs::no_spans)?;
            return Ok(Told { report, timeline: Some(timeline), runs, html: HtmlOptions::default() });
        }
        Ok(Told { report: found.report()?, timeline: None, runs, html: HtmlOptions::default() })
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
