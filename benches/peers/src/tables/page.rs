//! The long form: every figure.

use crate::export::cost::Cost;
use crate::export::sustained::Sustained;
use crate::export::{Protocol, Setup};
use crate::results::SpanCost;

use super::markdown::{decimal, greatest, least, median, table, whole};
use super::{About, Bench, Figures};

/// The workloads in the order of columns, with what they are called there.
pub(super) const WORKLOADS: [(&str, &str); 9] = [
    ("A", "A"),
    ("B", "B"),
    ("C", "C"),
    ("D", "D"),
    ("text-1k", "1 KiB text"),
    ("text-16k", "16 KiB text"),
    ("events", "3 events"),
    ("links", "2 links"),
    ("trace", "level off"),
];

/// The whole page.
pub fn page(figures: &Figures) -> String {
    let mut page = String::from(
        "# Speed\n\nWhat longpole costs, beside what else measures spans, and how fast it reads what was measured. \
         Made by\n\n```console\n$ cargo run --release -p longpole-benches --bin speed\n```\n\nwhich measures everything \
         anew and writes this page and the table in the README. Instructions repeat to a few in a thousand, processor \
         times to a fifth on a shared machine: they are medians of rounds in which all take turns, the least in \
         brackets.\n\n",
    );
    page.push_str(&about(&figures.about));
    section(&mut page, "On the thread that makes the span", ON_THE_THREAD, &spans(figures, Figure::Hot));
    section(
        &mut page,
        "Allocations",
        "Calls of the allocator for a span, on the same thread.",
        &spans(figures, Figure::Allocations),
    );
    section(&mut page, "All threads", ALL_THREADS, &all_threads(figures));
    section(&mut page, "All threads, sent", &sent_text(figures), &sent(figures));
    section(&mut page, "Spans a second", SUSTAINED, &sustained(figures));
    section(&mut page, "Memory", MEMORY, &memory(figures));
    section(&mut page, "Two threads", THREADS, &threads(figures));
    for bench in &figures.benches {
        section(&mut page, &format!("`cargo bench --bench {}`", bench.name), "", &printed(bench));
    }
    let problems = figures.problems();
    if !problems.is_empty() {
        let list: Vec<String> =
            problems.iter().map(|problem| format!("- {}", problem.replace('\n', " "))).collect();
        section(&mut page, "Not measured", "", &format!("{}\n", list.join("\n")));
    }
    page
}

const ON_THE_THREAD: &str = "\
Instructions for one span, by callgrind. A: a span with four attributes below a run's, entered once, one attribute \
recorded late. B: trees of 121 spans with two attributes. C: a future that is polled five times. D: A on two threads. Then \
A with a text of 1 KiB or 16 KiB, with three events, with two links; and A in spans of a level that is filtered out. \
Every row says what it is; fastrace is no layer, its spans are made with its own functions. longpole cuts texts at 4 KiB \
unless told otherwise, so there is a row in which it does not.";
const ALL_THREADS: &str = "\
A on all threads of the program, until every span was exported: longpole's to a server that takes them, the others' \
to an exporter that does nothing. longpole's contain the analysis of each run.";
const SUSTAINED: &str = "\
Every millisecond the spans of that millisecond at once, with queues as they come, up to the first rate at which a span was \
lost; and as fast as they can be made. The sink has a process of its own on the same machine and reads every field. What \
longpole keeps on disk for the next start is not lost.";
const MEMORY: &str = "\
Peak of resident memory for a million spans, beyond what the program had when its pipeline stood, where all of them \
arrive.";
const THREADS: &str = "\
Processor time of a span on each of two threads that make spans at the same time, by that on one thread alone: 1 if they do \
not hinder each other. Median of the rounds, and their range.";

fn section(page: &mut String, title: &str, text: &str, content: &str) {
    page.push_str(&format!("## {title}\n\n"));
    if !text.is_empty() {
        page.push_str(&format!("{text}\n\n"));
    }
    page.push_str(content);
    page.push('\n');
}

fn about(about: &About) -> String {
    let crates: Vec<String> =
        about.crates.iter().map(|(name, version)| format!("{name} {version}")).collect();
    format!(
        "{}. {}. {}, {}. {}.\n\n",
        about.date,
        about.machine,
        about.rustc,
        about.valgrind.as_deref().unwrap_or("no valgrind, so nothing was counted"),
        crates.join(", ")
    )
}

#[derive(Clone, Copy)]
pub(super) enum Figure {
    Hot,
    Allocations,
}

/// A table of set-ups by workloads.
fn spans(figures: &Figures, figure: Figure) -> String {
    let mut setups: Vec<(&str, &str)> = Vec::new();
    for cost in &figures.spans {
        if !setups.contains(&(&cost.setup, &cost.what)) {
            setups.push((&cost.setup, &cost.what));
        }
    }
    let rows = setups.iter().map(|(setup, what)| {
        let cells = WORKLOADS.iter().map(|(workload, _)| span_cell(&figures.spans, setup, workload, figure));
        std::iter::once((*what).to_owned()).chain(cells).collect()
    });
    let head = std::iter::once("").chain(WORKLOADS.iter().map(|(_, title)| *title));
    table(&head.collect::<Vec<_>>(), &rows.collect::<Vec<_>>())
}

pub(super) fn span_cell(costs: &[SpanCost], setup: &str, workload: &str, figure: Figure) -> String {
    let Some(cost) = costs.iter().find(|cost| cost.setup == setup && cost.workload == workload) else {
        return String::new();
    };
    let number = match figure {
        Figure::Hot => cost.hot_instructions,
        Figure::Allocations => cost.hot_allocations,
    };
    match (number, figure, &cost.problem) {
        (None, _, Some(_)) => "not measured".to_owned(),
        (number, Figure::Allocations, _) => decimal(number, 1),
        (number, ..) => whole(number),
    }
}

/// Everything about A.
fn all_threads(figures: &Figures) -> String {
    let rows = figures.spans.iter().filter(|cost| cost.workload == "A").map(|cost| {
        let (allocations, bytes) = (decimal(cost.all_allocations, 1), whole(cost.all_bytes));
        vec![cost.what.clone(), whole(cost.all_instructions), allocations, bytes]
    });
    table(&["", "instructions", "allocations", "bytes allocated"], &rows.collect::<Vec<_>>())
}

fn sent_text(figures: &Figures) -> String {
    format!(
        "A sent to another process over OTLP: processor time of all threads of the program for one span, until all had \
         arrived and the pipeline was shut down, 2,000 spans at a time, then all of them sent, so that nobody loses any; \
         the same at {} spans a second; and instructions, by callgrind. The sink decodes every request and finds as many \
         spans as were made, with as many attributes as stand here.",
        whole(Some(figures.steady_rate as f64))
    )
}

fn sent(figures: &Figures) -> String {
    let head = [
        "",
        "by",
        "instructions",
        "of them on the span's thread",
        "all threads, ns",
        "the span's thread, ns",
        "all threads at a steady rate, ns",
        "attributes",
        "bytes",
    ];
    let rows: Vec<Vec<String>> = figures.costs.iter().map(sent_row).collect();
    table(&head, &rows)
}

fn sent_row(cost: &Cost) -> Vec<String> {
    let mut row = vec![cost.setup.title().to_owned(), cost.protocol.title().to_owned()];
    if cost.problem.is_some() && cost.total_ns.is_empty() {
        row.extend(std::iter::repeat_n("not measured".to_owned(), 7));
        return row;
    }
    let spans = (cost.came.nodes + cost.came.others) as f64;
    row.extend([
        whole(instructions(cost)),
        whole(cost.instructions.first().copied()),
        format!("{} ({})", whole(median(&cost.total_ns)), whole(least(&cost.total_ns))),
        whole(median(&cost.hot_ns)),
        whole(median(&cost.steady_ns)),
        decimal(Some(cost.came.attributes_per_node()), 0),
        whole(Some(cost.came.bytes as f64 / spans)),
    ]);
    row
}

/// Of all threads, if they were counted.
pub(super) fn instructions(cost: &Cost) -> Option<f64> {
    (!cost.instructions.is_empty()).then(|| cost.instructions.iter().sum())
}

fn sustained(figures: &Figures) -> String {
    let head = [
        "",
        "by",
        "all arrived at",
        "first loss at",
        "made at full speed",
        "arrived",
        "lost",
        "left on disk",
        "all threads, ns for one that arrived",
        "peak MiB",
    ];
    let rows: Vec<Vec<String>> = figures.sustained.iter().map(sustained_row).collect();
    table(&head, &rows)
}

fn sustained_row(one: &Sustained) -> Vec<String> {
    let mut row = vec![one.setup.title().to_owned(), one.protocol.title().to_owned()];
    row.push(one.whole_at.map_or_else(|| "–".to_owned(), |rate| whole(Some(rate as f64))));
    row.push(first_loss(one));
    let Some(full) = one.full else {
        row.extend(std::iter::repeat_n("not measured".to_owned(), 6));
        return row;
    };
    row.extend([
        whole(Some(full.made_per_second)),
        whole(Some(full.arrived_per_second)),
        percent(full.lost_ratio),
        percent(full.on_disk_ratio),
        whole(Some(full.total_ns)),
        decimal(full.peak_mib, 0),
    ]);
    row
}

/// At which rate what share was lost.
pub(super) fn first_loss(one: &Sustained) -> String {
    match (one.lost_at, &one.problem) {
        (Some((rate, share)), _) => format!("{} ({})", whole(Some(rate as f64)), percent(share)),
        (None, Some(_)) => "not measured".to_owned(),
        (None, None) => "none".to_owned(),
    }
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "none".to_owned(),
        share if share < 0.1 => "< 0.1 %".to_owned(),
        share => format!("{share:.1} %"),
    }
}

fn memory(figures: &Figures) -> String {
    let rows = figures.memory.iter().map(|one| {
        let title = format!("{}, {}", one.setup.title(), one.protocol.title());
        let peak = if one.problem.is_some() { "not measured".to_owned() } else { decimal(one.peak_mib, 1) };
        vec![title, whole(Some(one.nodes as f64)), peak]
    });
    table(&["", "spans", "peak MiB"], &rows.collect::<Vec<_>>())
}

fn threads(figures: &Figures) -> String {
    let rows = figures.scaling.iter().map(|one| {
        let alone = whole(median(&one.alone_ns));
        vec![one.setup.title().to_owned(), alone, whole(median(&one.with_another_ns)), ratio(&one.ratios())]
    });
    table(&["", "alone, ns", "each of two, ns", "ratio"], &rows.collect::<Vec<_>>())
}

/// The median, and from where to where.
pub(super) fn ratio(ratios: &[f64]) -> String {
    if ratios.is_empty() {
        return "not measured".to_owned();
    }
    let [middle, low, high] = [median(ratios), least(ratios), greatest(ratios)];
    format!("{} ({}–{})", decimal(middle, 2), decimal(low, 2), decimal(high, 2))
}

fn printed(bench: &Bench) -> String {
    match &bench.problem {
        Some(problem) => format!("Not measured: {problem}\n"),
        None => format!("{}\n", bench.printed.trim()),
    }
}

/// The rate at which one pipeline loses spans.
pub(super) fn sustained_of(figures: &Figures, setup: Setup, protocol: Protocol) -> Option<&Sustained> {
    figures.sustained.iter().find(|one| one.setup == setup && one.protocol == protocol)
}
