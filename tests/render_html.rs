//! The HTML page: made of nothing but what it is meant to be, whatever names are in it, and as large as it may be.

#![allow(missing_docs, unreachable_pub, dead_code, reason = "a test")]

#[path = "support/html_check.rs"]
mod html_check;
#[path = "support/spans.rs"]
mod spans;

use html_check::tags;
use longpole::render::{HTML_END, HtmlOptions, html, html_article, html_start};
use longpole::report::timeline::Timeline;
use longpole::span_record::{NodeFacts, SpanRecord, Status};
use longpole::{Report, ReportOptions, report_with_timeline, runs_in};
use spans::span;

const MS: u64 = 1_000_000;

fn told(records: Vec<SpanRecord>) -> (Report, Timeline) {
    let run = runs_in(records).into_iter().next().unwrap();
    report_with_timeline(run, &ReportOptions::default()).unwrap()
}

fn page_of(records: Vec<SpanRecord>) -> String {
    let (report, timeline) = told(records);
    html(&report, Some(&timeline), &HtmlOptions::default())
}

fn from_file(path: &str) -> (Report, Timeline) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    told(longpole::decode::decode(&std::fs::read(path).unwrap()).unwrap().spans)
}

/// Names that would act if they were not made harmless.
const HOSTILE: &[&str] = &[
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "</style><style>*{background:url(//x)}",
    "</title><script>",
    "<!-- ",
    "]]>",
    "&lt;script&gt;",
    "\u{202e}gnp.exe\u{2069}",
    "line\u{2028}separator\r\n\0",
    "\u{1b}[31mred\u{1b}]8;;http://x\u{7}",
    "",
    "取得する",
];

#[test]
fn hostile_names_are_only_shown() {
    for hostile in HOSTILE {
        let named = |mut record: SpanRecord| {
            record.facts = Some(Box::new(NodeFacts {
                node_id: Some((*hostile).into()),
                node_kind: Some((*hostile).into()),
                request_model: Some((*hostile).into()),
                ..NodeFacts::default()
            }));
            record
        };
        let mut root = span(1, None, hostile, 0, 100 * MS);
        root.facts = Some(Box::new(NodeFacts {
            workflow_name: Some((*hostile).into()),
            workflow_version: Some((*hostile).into()),
            ..NodeFacts::default()
        }));
        let mut records = vec![root, named(span(2, Some(1), hostile, 0, 60 * MS))];
        records.extend((3..20).map(|id| span(id, Some(1), hostile, 0, (id + 10) * MS)));
        let mut failed = span(30, Some(1), hostile, 61 * MS, 90 * MS);
        failed.status = Status::Error;
        records.push(named(failed));

        let page = page_of(records);
        let tags = tags(&page);
        let texts: String = tags.iter().map(|tag| &*tag.text_after).collect();
        assert!(!texts.chars().any(|c| c.is_control() && c != '\n'), "{hostile:?}");
        assert!(!texts.contains(['\u{202e}', '\u{2028}', '\u{2069}']), "{hostile:?}");
        let shown = longpole::render::Printable::new(hostile).to_string();
        let shown = if hostile.is_empty() { "(unnamed)" } else { &*shown };
        assert!(texts.matches(shown).count() >= 5, "{shown:?} is shown in {texts}");
    }
}

#[test]
fn the_page_says_what_the_report_says() {
    let (report, timeline) = from_file("cli/tests/data/support_agent.otlp.json");
    let page = html(&report, Some(&timeline), &HtmlOptions::default());
    let texts: Vec<String> = tags(&page).into_iter().map(|tag| tag.text_after).collect();
    let has = |text: &str| texts.iter().any(|it| it.trim() == text);
    for text in
        ["support-agent", "3.02 s", "chat gpt-4o-mini", "1.90 s", "63%", "$0.0115", "CRITICAL", "600 ms"]
    {
        assert!(has(text), "{text} in {texts:?}");
    }
    assert_eq!(
        page,
        html(&report, Some(&timeline), &HtmlOptions::default()),
        "equal input gives equal bytes"
    );
    insta::assert_snapshot!("support_agent", page.split("</style>").nth(1).unwrap());
}

/// Rows of the table with this class, each as the texts of its cells.
fn rows(page: &str, table: &str) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut is_in = false;
    for tag in tags(page) {
        let class = tag.attributes.get("class").cloned().unwrap_or_default();
        match (&*tag.name, tag.is_end) {
            ("section", false) => is_in = class.split(' ').any(|it| it == table),
            ("section", true) => is_in = false,
            ("tr", false) if is_in => rows.push(vec![String::new()]),
            ("td" | "th", false) if is_in => rows.last_mut().unwrap().push(tag.text_after),
            _ if is_in => {
                if let Some(cell) = rows.last_mut().and_then(|row| row.last_mut()) {
                    cell.push_str(&tag.text_after);
                }
            }
            _ => {}
        }
    }
    rows
}

#[test]
fn every_span_of_a_small_run_has_a_row_with_its_start_and_time_in_figures() {
    let (report, timeline) = from_file("cli/tests/data/support_agent.otlp.json");
    let page = html(&report, Some(&timeline), &HtmlOptions::default());
    let rows: Vec<_> = rows(&page, "waterfall").into_iter().skip(1).collect();
    let cells = |row: &Vec<String>| row[1..4].iter().map(|it| it.trim().to_owned()).collect::<Vec<_>>();
    assert_eq!(rows.len(), timeline.spans.len());
    assert_eq!(cells(&rows[0]), ["answer_ticket", "0 s", "3.02 s"]);
    assert_eq!(cells(&rows[4]), ["chat gpt-4o-mini llm", "1.91 s", "1.10 s"]);
}

/// A loop over 40 fetches at once with three spans inside each.
fn large(spans: u64) -> Vec<SpanRecord> {
    let mut records = vec![span(1, None, "index", 0, spans / 160 * 1_000 * MS)];
    let mut id = 1;
    for round in 0..spans / 162 {
        let start = round * 1_000 * MS;
        let batch = id + 1;
        records.push(span(batch, Some(1), "batch", start, start + 990 * MS));
        id = batch;
        for fetch in 0..40 {
            let (this, end) = (id + 1, start + (200 + (fetch * 7919 + round * 31) % 700) * MS);
            records.push(span(this, Some(batch), "fetch", start, end));
            for (part, name) in ["dns", "http.get", "parse"].into_iter().enumerate() {
                let from = start + part as u64 * (end - start) / 3;
                records.push(span(this + 1 + part as u64, Some(this), name, from, from + (end - start) / 3));
            }
            id = this + 3;
        }
        records.push(span(id + 1, Some(batch), "embed", start + 910 * MS, start + 980 * MS));
        id += 1;
    }
    records
}

#[test]
fn a_page_is_no_larger_than_it_may_be_and_says_what_it_folded() {
    for spans in [1_000, 5_000, 20_000] {
        let (report, timeline) = told(large(spans));
        let page = html(&report, Some(&timeline), &HtmlOptions::default());
        let limit = 60_000 + 10 * report.run.spans as usize;
        assert!(page.len() <= limit, "{} of {limit} bytes for {spans} spans", page.len());
        assert!(page.contains("spans are folded into rows that count them"), "{spans}");
        let own_rows = rows(&page, "waterfall").len() - 1;
        assert!(own_rows > 100, "{own_rows}");
    }
}

#[test]
fn all_spans_have_rows_if_that_is_asked_for() {
    let (report, timeline) = told(large(1_000));
    let page = html(&report, Some(&timeline), &HtmlOptions { all_spans: true });
    assert_eq!(rows(&page, "waterfall").len() - 1, timeline.spans.len());
    assert!(!page.contains("folded"));
}

#[test]
fn odd_runs_are_shown_too() {
    // One span; a run without length; a span that never ended, one that is beside the run, one that starts before it.
    let mut open = span(2, Some(1), "open", 10 * MS, 0);
    open.end = longpole::time::Timestamp::EPOCH;
    let late = span(3, Some(1), "late", 400 * MS, 900 * MS);
    let early = span(4, Some(1), "early", 0, 20 * MS);
    let runs = [
        vec![span(1, None, "alone", 0, 5)],
        vec![span(1, None, "empty", 5, 5), span(2, Some(1), "inside", 5, 5)],
        vec![span(1, None, "odd", 5 * MS, 100 * MS), open, late, early],
    ];
    for records in runs {
        tags(&page_of(records));
    }
}

#[test]
fn a_page_may_hold_several_runs() {
    let told = [told(large(400)), told(vec![span(1, None, "alone", 0, 5)])];
    let articles: String = told
        .iter()
        .map(|(report, timeline)| html_article(report, Some(timeline), &HtmlOptions::default()))
        .collect();
    let page = html_start() + &articles + HTML_END;
    let headings = tags(&page).into_iter().filter(|tag| tag.name == "h1" && !tag.is_end);
    assert_eq!(headings.map(|tag| tag.text_after).collect::<Vec<_>>(), ["index", "alone"]);
}

#[test]
fn without_its_spans_a_report_is_shown_without_a_waterfall() {
    let (report, _) = told(large(400));
    let page = html(&report, None, &HtmlOptions::default());
    assert!(rows(&page, "waterfall").is_empty() && rows(&page, "nodes").len() > 3);
}
