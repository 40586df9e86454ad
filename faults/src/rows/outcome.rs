//! What came of one fault for one pipeline.

use std::time::Duration;

use crate::client::{ClientReport, Latencies, Pipeline, Told};

/// Figures of one case of a row.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The row's name.
    pub row: &'static str,
    /// Which of the row's cases.
    pub case: String,
    /// Whose spans.
    pub pipeline: Pipeline,
    /// Spans whose close had returned.
    pub produced: u64,
    /// Of those, how many the backend has.
    pub received: u64,
    /// Produced, and the backend does not have them.
    pub lost: u64,
    /// Arrivals of spans that the backend had already.
    pub duplicates: u64,
    /// What the pipeline said about it.
    pub told: String,
    /// How long closing a span took.
    pub closes: Option<Latencies>,
    /// Processor time, in ms.
    pub cpu_ms: Option<f64>,
    /// Peak of resident memory, in KiB.
    pub peak_rss_kib: Option<u64>,
    /// Other figures.
    pub more: Vec<String>,
    /// What did not hold that should. Looked for with longpole only.
    pub failures: Vec<String>,
    /// Why this could not be tried here.
    pub skipped: Option<String>,
    /// How long all cases of the row took.
    pub row_took: Duration,
}

impl Outcome {
    /// Nothing yet.
    pub fn new(case: impl Into<String>, pipeline: Pipeline) -> Outcome {
        Outcome {
            row: "",
            case: case.into(),
            pipeline,
            produced: 0,
            received: 0,
            lost: 0,
            duplicates: 0,
            told: String::new(),
            closes: None,
            cpu_ms: None,
            peak_rss_kib: None,
            more: Vec::new(),
            failures: Vec::new(),
            skipped: None,
            row_took: Duration::ZERO,
        }
    }

    /// A case that cannot be tried here.
    pub fn skipped(case: impl Into<String>, pipeline: Pipeline, why: impl Into<String>) -> Outcome {
        Outcome { skipped: Some(why.into()), ..Outcome::new(case, pipeline) }
    }

    /// What longpole promises; of the SDK nothing is asked.
    pub(super) fn must(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if self.pipeline == Pipeline::Longpole && !holds {
            self.failures.push(what());
        }
    }

    /// No span may be lost.
    pub(super) fn must_lose_nothing(&mut self) {
        let (lost, produced) = (self.lost, self.produced);
        self.must(produced > 0, || "no span was made".to_owned());
        self.must(lost == 0, || format!("{lost} of {produced} spans lost"));
    }

    /// Takes over what a client said, and checks that its numbers add up.
    pub(super) fn report(&mut self, report: &ClientReport) {
        self.told = said(report);
        self.closes = Some(report.closes.clone());
        self.cpu_ms = Some(report.cpu_ms);
        self.peak_rss_kib = Some(report.peak_rss_kib);
        for (what, told) in [("flush", &report.flush), ("shutdown", &report.shutdown)] {
            let Some(counts) = &told.counts else { continue };
            self.must(counts.add_up(), || format!("the numbers of the {what} do not add up: {counts:?}"));
        }
        let Some(counts) = &report.shutdown.counts else { return };
        self.must(counts.closed == report.produced, || {
            format!("{} spans were closed, the shutdown says {}", report.produced, counts.closed)
        });
    }

    /// A shutdown may take two seconds, and a little for a busy machine.
    pub(super) fn must_end_in_time(&mut self, report: &ClientReport) {
        let took = report.shutdown.took_ms;
        self.must(took <= 2_500.0, || format!("the shutdown took {took:.0} ms"));
    }
}

fn said(report: &ClientReport) -> String {
    let one = |told: &Told| match &told.counts {
        None => format!("{}, {:.1} s", told.text, told.took_ms / 1e3),
        Some(counts) => {
            let parts = [
                (counts.acknowledged, "acknowledged"),
                (counts.rejected, "rejected"),
                (counts.pending, "pending"),
                (counts.spooled, "of them on disk"),
                (counts.lost, "lost"),
            ];
            let parts = parts.iter().filter(|(count, _)| *count > 0);
            let parts: Vec<String> = parts.map(|(count, what)| format!("{count} {what}")).collect();
            format!("{}, {:.1} s", parts.join(", "), told.took_ms / 1e3)
        }
    };
    format!("flush: {}; shutdown: {}", one(&report.flush), one(&report.shutdown))
}
