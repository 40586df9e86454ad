//! Reports and comparisons as Markdown.

#![allow(missing_docs, unreachable_pub, dead_code, reason = "a test")]

#[path = "support/sample_reports.rs"]
mod sample_reports;
#[path = "support/traces.rs"]
mod traces;

use insta::assert_snapshot;
use longpole::compare::{CompareOptions, Comparison, compare_runs};
use longpole::render::{Block, Excerpt, MARKDOWN_LIMIT, comparison_markdown, markdown};
use longpole::report::*;
use sample_reports::{agent_with_queued_tools, ms, path_row, report, research_agent};
use traces::told_files;

/// The cells of the tables of a document. No bar may stand for anything but the end of a cell.
fn tables(text: &str) -> Vec<Vec<Vec<String>>> {
    let mut tables: Vec<Vec<Vec<String>>> = Vec::new();
    let mut is_inside = false;
    for line in text.lines() {
        let Some(cells) = line.strip_prefix('|').and_then(|rest| rest.strip_suffix('|')) else {
            is_inside = false;
            continue;
        };
        if !std::mem::replace(&mut is_inside, true) {
            tables.push(Vec::new());
        }
        if !cells.chars().all(|c| matches!(c, ':' | '-' | '|')) {
            let cells = cells.split('|').map(|cell| cell.trim().to_owned());
            tables.last_mut().unwrap().push(cells.collect());
        }
    }
    tables
}

/// A length of time as it is written for people: in nanoseconds, and half of its last digit.
fn written_time(text: &str) -> (f64, f64) {
    let (text, sign) = match text.strip_prefix(['-', '+', '−']) {
        Some(rest) if text.starts_with('+') => (rest, 1.0),
        Some(rest) => (rest, -1.0),
        None => (text, 1.0),
    };
    let (number, unit) = text.split_once(' ').unwrap_or_else(|| panic!("{text:?} is no length of time"));
    let size = match unit {
        "s" => 1e9,
        "ms" => 1e6,
        "µs" => 1e3,
        "ns" => 1.0,
        other => panic!("{other:?}"),
    };
    let decimals = number.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let value: f64 = number.parse().unwrap();
    (sign * value * size, 0.5 * size / 10f64.powi(decimals as i32) + 1.0)
}

fn is_written_as(text: &str, nanos: f64) -> bool {
    let (value, tolerance) = written_time(text);
    (value - nanos).abs() <= tolerance
}

#[test]
fn a_run_begins_with_the_verdict() {
    assert_snapshot!(markdown(&research_agent(), &Excerpt::default()));
}

#[test]
fn all_of_a_run_has_its_nodes_too() {
    let all = Excerpt { all: true, ..Excerpt::default() };
    let text = markdown(&research_agent(), &all);
    assert!(text.contains("\n**Nodes**\n"));
    assert!(text.contains("| `publish` | io | 1 |"));
}

#[test]
fn only_what_was_asked_for_is_shown() {
    for (block, has, has_not) in [
        (Block::Fix, "**Fix first**", "**Critical path**"),
        (Block::Path, "**Critical path**", "**Fix first**"),
        (Block::Nodes, "**Nodes**", "**Fix first**"),
        (Block::Cost, "- **Cost**", "**Fix first**"),
        (Block::Quality, "- **Confidence**", "- **Cost**"),
    ] {
        let text = markdown(&research_agent(), &Excerpt { only: Some(block), ..Excerpt::default() });
        assert!(text.contains(has) && !text.contains(has_not), "{text}");
        assert!(text.starts_with("<!-- longpole:research-agent -->\n### `research-agent` took 22.8 s"));
    }
    let top = Excerpt { only: Some(Block::Fix), top: Some(1), ..Excerpt::default() };
    let text = markdown(&research_agent(), &top);
    assert_eq!(tables(&text)[0].len(), 2, "the head and one row");
    assert!(text.contains("… and 4 more"));
}

#[test]
fn the_tables_of_a_run_read_back_to_the_report() {
    let mut reports = vec![research_agent(), agent_with_queued_tools()];
    reports.extend(told_files().into_iter().map(|(report, _)| report));
    let mut findings = 0;
    for report in reports {
        let text = markdown(&report, &Excerpt { all: true, ..Excerpt::default() });
        for table in tables(&text) {
            let (head, rows) = table.split_first().unwrap();
            match head.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                ["node", "kind", ..] => {
                    assert_eq!(rows.len(), report.nodes.len());
                    for (row, node) in rows.iter().zip(&report.nodes) {
                        assert_eq!(row[0], format!("`{}`", node.name));
                        assert_eq!(row[2].replace(',', ""), node.calls.to_string());
                        for (cell, length) in [
                            (4, node.duration.sum_ns),
                            (5, node.self_ns),
                            (6, node.on_path_ns),
                            (8, node.duration.p95_ns),
                        ] {
                            assert!(is_written_as(&row[cell], length.as_nanos() as f64), "{row:?}");
                        }
                        if let Some(saves) = node.save_max_ns {
                            assert!(is_written_as(&row[7], saves.as_nanos() as f64), "{row:?}");
                        }
                    }
                }
                ["#", "severity", ..] => {
                    let mut subjects: Vec<&Finding> = Vec::new();
                    for finding in &report.findings {
                        if !subjects.iter().any(|it| it.subject == finding.subject) {
                            subjects.push(finding);
                        }
                    }
                    assert_eq!(rows.len(), subjects.len());
                    for (row, finding) in rows.iter().zip(subjects) {
                        findings += 1;
                        assert_eq!(row[2], format!("`{}`", finding.subject));
                        if !finding.saves_max_ns.is_zero() {
                            let saves = row[3].split(" (").next().unwrap();
                            assert!(is_written_as(saves, finding.saves_max_ns.as_nanos() as f64), "{row:?}");
                        }
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        for row in &report.critical_path.rows {
            assert!(text.contains(&format!("`{}`", row.node)), "{}", row.node);
        }
    }
    assert!(findings > 10, "{findings}");
}

/// Twelve runs before and after: draft takes longer and writes more.
fn comparison() -> Comparison {
    let runs = |draft: u64, version: &str| -> Vec<Report> {
        let run = |jitter: u64| {
            let rows = vec![
                path_row("plan", "llm", 0, 2_000 + jitter, None),
                path_row("draft", "llm", 2_000, draft + jitter, Some("0.05")),
            ];
            let mut report = report("research-agent", 2_100 + draft + 2 * jitter, rows, Vec::new());
            report.run.version = Some(version.to_owned());
            for (node, length) in report.nodes.iter_mut().zip([2_000 + jitter, draft + jitter]) {
                node.duration.avg_ns = ms(length);
                node.duration.sum_ns = ms(length);
            }
            report
        };
        (0..12).map(run).collect()
    };
    compare_runs(&runs(5_000, "1.8.1"), &runs(6_900, "1.8.2"), &CompareOptions::default())
}

#[test]
fn a_comparison_says_where_the_change_comes_from() {
    assert_snapshot!(comparison_markdown(&comparison()));
}

#[test]
fn gates_stand_in_a_table() {
    let mut report = research_agent();
    let gate = |expr: &str, verdict, actual| GateResult {
        expr: expr.to_owned(),
        verdict,
        actual: Some(actual),
        limit: None,
        reason: None,
    };
    report.gates = vec![
        gate("wall>25s", GateVerdict::Passed, Amount::Time(report.run.wall_ns)),
        gate("node(draft|x).p95>6s", GateVerdict::Failed, Amount::Time(ms(6_920))),
    ];
    let text = markdown(&report, &Excerpt::default());
    assert!(text.contains("| `wall>25s` | passed | 22.8 s |\n"), "{text}");
    assert!(text.contains("| **failed** | 6.92 s |\n"), "{text}");
}

#[test]
fn the_rows_of_a_comparison_add_up_to_its_change() {
    let comparison = comparison();
    let text = comparison_markdown(&comparison);
    let tables = tables(&text);
    let changes = tables.iter().find(|table| table[0][0] == "node").unwrap();
    let sum: f64 = changes[1..]
        .iter()
        .map(|row| &row[3])
        .filter(|change| !change.starts_with('±'))
        .map(|change| written_time(change).0)
        .sum();
    assert!((sum - comparison.wall.change_ns as f64).abs() <= 1e7, "{sum}");
    let wall = text.lines().find(|line| line.starts_with("| wall, median of 12 |")).unwrap();
    let cells: Vec<&str> = wall.split(" | ").collect();
    let told = &comparison.wall.comparison;
    assert!(is_written_as(cells[1], told.base_median_ns.unwrap().as_nanos() as f64));
    assert!(is_written_as(cells[2], told.new_median_ns.unwrap().as_nanos() as f64));
}

/// Names that would act if they were not made harmless.
const HOSTILE: &[&str] = &[
    "<script>alert(1)</script>",
    "@octocat",
    "[click](https://evil.example)",
    "![x](https://evil.example/x.png)",
    "https://evil.example",
    "a|b|c",
    "a\\|b",
    "`code` and ``more``",
    "--> <b>",
    "</details>",
    "# heading\n- list",
    "\u{202e}reversed",
    "\0nul",
    "$x^2$ **bold**",
];

/// What is left of a document without its code, its own comment and its own tags.
fn outside_code(text: &str) -> String {
    let mut rest = String::new();
    for line in text.lines().skip(1) {
        let mut line = line.to_owned();
        while let Some(start) = line.find("<code>") {
            let end = line.find("</code>").unwrap();
            line.replace_range(start..end + "</code>".len(), "");
        }
        rest.extend(line.split('`').step_by(2));
        assert!(line.matches('`').count() % 2 == 0, "{line}");
        rest.push('\n');
    }
    for own in ["<sub>", "</sub>", "<details>", "</details>", "<summary>", "</summary>"] {
        rest = rest.replace(own, "");
    }
    rest
}

#[test]
fn hostile_names_are_code_and_nothing_else() {
    for hostile in HOSTILE {
        let mut report = research_agent();
        report.run.workflow = Some((*hostile).to_owned());
        report.run.version = Some((*hostile).to_owned());
        for finding in &mut report.findings {
            finding.subject = (*hostile).to_owned();
        }
        report.critical_path.rows[0].node = (*hostile).to_owned();
        report.nodes[0].name = (*hostile).to_owned();
        report.nodes[0].kind = (*hostile).to_owned();
        report.saves_nothing = vec![(*hostile).to_owned()];
        report.generator.version = (*hostile).to_owned().into();
        let mut other = report.clone();
        other.run.wall_ns = ms(20_000);
        let compared = compare_runs(&[report.clone()], &[other], &CompareOptions::default());
        let all = Excerpt { all: true, ..Excerpt::default() };
        for text in [markdown(&report, &all), comparison_markdown(&compared)] {
            let first = text.lines().next().unwrap();
            assert!(first.starts_with("<!-- longpole:") && first.ends_with(" -->"), "{first}");
            assert_eq!(first.matches('>').count(), 1);
            assert!(!text.contains(['\0', '\u{202e}']));
            let rest = outside_code(&text);
            for acting in ["<script", "@octocat", "](", "https:", "<b>", "# heading", "^2", "**bold**", "``"]
            {
                assert!(!rest.contains(acting), "{hostile:?}: {acting} in {rest}");
            }
            for table in tables(&text) {
                let columns = table[0].len();
                let is_even = table.iter().all(|row| row.len() == columns);
                assert!(is_even, "{hostile:?}: {table:#?}");
            }
        }
    }
}

#[test]
fn a_document_never_exceeds_what_a_comment_may_hold() {
    let rows = (0..3_000)
        .map(|index| path_row(&format!("node {index} {}", "x".repeat(60)), "tool", index * 10, 10, None));
    let huge = report("huge", 30_000, rows.collect(), Vec::new());
    let text = markdown(&huge, &Excerpt { all: true, ..Excerpt::default() });
    assert!(text.chars().count() <= MARKDOWN_LIMIT, "{}", text.chars().count());
    assert!(text.ends_with("**Cut here**: the rest is beyond 60,000 characters.\n"));
    let short = markdown(&huge, &Excerpt { top: Some(3), ..Excerpt::default() });
    assert!(short.len() < 4_000 && !short.contains("Cut here"), "{}", short.len());
}
