//! The short form, and where it stands in a page.

use anyhow::Context;

use crate::export::{Protocol, Setup};

use super::Figures;
use super::markdown::{decimal, median, table, whole};
use super::page::{Figure, WORKLOADS, first_loss, instructions, ratio, span_cell, sustained_of};

/// Where the short form begins in the README, and where it ends. What is between the two is written anew.
pub const BEGIN: &str = "<!-- speed: written by `cargo run --release -p longpole-benches --bin speed` -->";
/// See [`BEGIN`].
pub const END: &str = "<!-- speed ends -->";

/// Set-ups of the first table, with their names there.
const SPANS: [(&str, &str); 12] = [
    ("no-op", "a layer that does nothing"),
    ("longpole-analysis", "longpole, reports only"),
    ("longpole-lean", "longpole, exporting"),
    ("longpole-full", "longpole, exporting location, thread, target too"),
    ("longpole-otel-context", "longpole, OpenTelemetry's context active"),
    ("longpole-unsampled", "longpole, no trace sampled"),
    ("longpole-disabled", "longpole, `set_enabled(false)`"),
    ("longpole-switchable", "longpole, `switchable()`"),
    ("longpole-switched-off", "longpole, `switchable()`, switched off"),
    ("tro-leanest", "tracing-opentelemetry, leanest"),
    ("tro-defaults", "tracing-opentelemetry, defaults"),
    ("fastrace", "fastrace (its own spans, no layer)"),
];

/// The tables for the README.
pub fn short(figures: &Figures) -> String {
    let about = &figures.about;
    format!(
        "Instructions for one span on the thread that makes it (callgrind), and allocations for A. A: four attributes, \
         entered once; B: trees, two attributes; C: a future polled five times; D: A on two threads; then A with more in \
         it.\n\n{}\nA sent over OTLP to another process, which decodes it and counts that all arrived: instructions and \
         processor time of all threads for one span, until all had arrived; the first rate at which spans are lost, \
         queues as they come; peak memory for a million spans; what a span costs on one of two threads, by what it costs \
         on one alone. Behind the ÷: how many times less that is than tracing-opentelemetry's defaults where location, \
         thread and target are sent, else than its leanest; it keeps spans in memory only.\n\n{}\n{}\n{}, tracing-subscriber {}, tracing-opentelemetry {}, opentelemetry-otlp {}, fastrace \
         {}; {}; {}. Every figure: [docs/speed.md](docs/speed.md).\n",
        spans(figures),
        sent(figures),
        analysis(figures),
        about.rustc,
        about.version("tracing-subscriber"),
        about.version("tracing-opentelemetry"),
        about.version("opentelemetry-otlp"),
        about.version("fastrace"),
        about.machine,
        about.date,
    )
}

fn spans(figures: &Figures) -> String {
    let rows = SPANS.iter().map(|(setup, title)| {
        let cells =
            WORKLOADS.iter().map(|(workload, _)| span_cell(&figures.spans, setup, workload, Figure::Hot));
        let allocations = span_cell(&figures.spans, setup, "A", Figure::Allocations);
        std::iter::once((*title).to_owned()).chain(cells).chain([allocations]).collect()
    });
    let head = std::iter::once("").chain(WORKLOADS.iter().map(|(_, title)| *title)).chain(["allocations"]);
    table(&head.collect::<Vec<_>>(), &rows.collect::<Vec<_>>())
}

fn sent(figures: &Figures) -> String {
    let head = [
        "",
        "attributes",
        "instructions, gRPC",
        "CPU ns, gRPC",
        "CPU ns, HTTP",
        "first loss at, gRPC",
        "peak MiB",
        "two threads",
    ];
    let rows: Vec<Vec<String>> = Setup::SENDING.iter().map(|setup| sent_row(figures, *setup)).collect();
    table(&head, &rows)
}

fn sent_row(figures: &Figures, setup: Setup) -> Vec<String> {
    let (grpc, http) = (figures.cost(setup, Protocol::Grpc), figures.cost(setup, Protocol::Http));
    let peer = setup.peer();
    let against =
        |number: Option<f64>, of: fn(&crate::export::cost::Cost) -> Option<f64>, protocol: Protocol| {
            let theirs = peer.and_then(|peer| of(figures.cost(peer, protocol)?));
            match (number, theirs) {
                (Some(ours), Some(theirs)) => format!("{} (÷ {:.1})", whole(number), theirs / ours),
                (Some(_), None) => whole(number),
                (None, _) => "not measured".to_owned(),
            }
        };
    let total = |cost: &crate::export::cost::Cost| median(&cost.total_ns);
    let sustained = sustained_of(figures, setup, Protocol::Grpc);
    let memory = figures.memory.iter().find(|one| one.setup == setup && one.protocol == Protocol::Grpc);
    let scaling = figures.scaling.iter().find(|one| one.setup == setup);
    vec![
        setup.title().to_owned(),
        grpc.map_or_else(String::new, |cost| decimal(Some(cost.came.attributes_per_node()), 0)),
        against(grpc.and_then(instructions), instructions, Protocol::Grpc),
        against(grpc.and_then(total), total, Protocol::Grpc),
        against(http.and_then(total), total, Protocol::Http),
        sustained.map_or_else(|| "not measured".to_owned(), first_loss),
        memory.map_or_else(|| "not measured".to_owned(), |one| decimal(one.peak_mib, 0)),
        scaling.map_or_else(String::new, |one| ratio(&one.ratios())),
    ]
}

/// Of the bench of the analysis: seconds of each step for one run, and of pricing: a call.
fn analysis(figures: &Figures) -> String {
    let Some(bench) = figures.benches.iter().find(|bench| bench.name == "analysis") else {
        return String::new();
    };
    if let Some(problem) = &bench.problem {
        return format!("Reading and analysing: not measured: {problem}\n");
    }
    let wanted = ["protobuf, one run", "JSON lines, one run", "protobuf, runs of 20"];
    let steps = ["decode", "assemble", "price", "report", "HTML"];
    let rows = bench.lines.iter().filter_map(|line| {
        let case = line.get("case")?.as_str().filter(|case| wanted.contains(case))?;
        let spans = line.get("spans")?.as_f64()?;
        let seconds = line.get("seconds")?;
        let cells =
            steps.iter().map(|step| decimal(seconds.get(step).and_then(serde_json::Value::as_f64), 3));
        let peak =
            line.get("peak_bytes").and_then(serde_json::Value::as_f64).map(|bytes| bytes / 1_048_576.0);
        let ends = [decimal(peak, 0)];
        Some(
            std::iter::once(format!("{case}, {} spans", whole(Some(spans))))
                .chain(cells)
                .chain(ends)
                .collect(),
        )
    });
    let head = ["from a file, seconds", "decode", "assemble", "price", "report", "HTML page", "peak MiB"];
    format!("{}{}", table(&head, &rows.collect::<Vec<_>>()), pricing(figures))
}

/// What a call costs to price, of the bench's own table.
fn pricing(figures: &Figures) -> String {
    let Some(bench) = figures.benches.iter().find(|bench| bench.name == "pricing") else {
        return String::new();
    };
    let row = bench.printed.lines().find(|line| line.contains("| later: a plain model |"));
    let cells: Vec<&str> = row.map(|row| row.split('|').map(str::trim).collect()).unwrap_or_default();
    match (&bench.problem, &cells[..]) {
        (None, [_, _, instructions, time, ..]) => {
            format!(
                "\nPricing a call of a model that was seen before: {time}, {instructions} instructions.\n"
            )
        }
        (problem, _) => {
            let problem = problem.as_deref().unwrap_or("the bench printed no such row");
            format!("\nPricing a call: not measured: {problem}\n")
        }
    }
}

/// A page with `short` between the marks.
///
/// # Errors
/// If the page does not have both marks in their order.
pub fn put_into(page: &str, short: &str) -> anyhow::Result<String> {
    let missing = || format!("the page has no {BEGIN:?} and after it {END:?}");
    let (before, rest) = page.split_once(BEGIN).with_context(missing)?;
    let (_, after) = rest.split_once(END).with_context(missing)?;
    Ok(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", short.trim()))
}

#[cfg(test)]
mod tests {
    use crate::export::cost::Cost;
    use crate::sink::Counts;
    use crate::tables::About;

    use super::*;

    fn cost(setup: Setup, total_ns: f64, problem: Option<&str>) -> Cost {
        Cost {
            setup,
            protocol: Protocol::Grpc,
            total_ns: vec![total_ns],
            hot_ns: vec![100.0],
            steady_ns: Vec::new(),
            instructions: if problem.is_some() { Vec::new() } else { vec![total_ns * 4.0, total_ns] },
            came: Counts { nodes: 10, node_attributes: 120, ..Counts::default() },
            problem: problem.map(str::to_owned),
        }
    }

    fn figures(costs: Vec<Cost>) -> Figures {
        let about = About {
            date: "2026-11-21".to_owned(),
            rustc: "rustc 1".to_owned(),
            valgrind: None,
            machine: "2 × something".to_owned(),
            crates: vec![("fastrace".to_owned(), "0.7".to_owned())],
        };
        Figures {
            about,
            spans: Vec::new(),
            costs,
            steady_rate: 1,
            sustained: Vec::new(),
            memory: Vec::new(),
            scaling: Vec::new(),
            benches: Vec::new(),
        }
    }

    #[test]
    fn a_pipeline_stands_beside_the_one_with_the_same_content() {
        let text = short(&figures(vec![
            cost(Setup::LongpoleFull, 1_000.0, None),
            cost(Setup::Sdk, 4_000.0, None),
            cost(Setup::SdkLeast, 2_000.0, None),
        ]));
        let row = text.lines().find(|line| line.contains(Setup::LongpoleFull.title())).unwrap();
        assert!(row.contains("| 12 | 5,000 (÷ 4.0) | 1,000 (÷ 4.0) | not measured |"), "{row}");
    }

    #[test]
    fn what_was_not_measured_is_told_in_its_row() {
        let mut failed = cost(Setup::Sdk, 4_000.0, Some("no such thing"));
        failed.total_ns.clear();
        let figures = figures(vec![failed]);
        let text = short(&figures);
        let row = text.lines().rfind(|line| line.contains(Setup::Sdk.title())).unwrap();
        assert_eq!(row.matches("not measured").count(), 5, "{row}");
        let page = crate::tables::page(&figures);
        assert!(page.contains("## Not measured") && page.contains("no such thing"), "{page}");
    }

    #[test]
    fn only_what_is_between_the_marks_is_written_anew() {
        let page = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let once = put_into(&page, "new\n").unwrap();
        assert_eq!(once, format!("before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"));
        assert_eq!(put_into(&once, "new").unwrap(), once);
        assert!(put_into("no marks", "new").is_err());
    }
}
