//! Names that attack a terminal, a page, a spreadsheet or a shell are inert in whatever the tool prints.

#![allow(missing_docs, reason = "a test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Each stands in every field of a run of its own.
fn names() -> Vec<String> {
    let mut names: Vec<String> = [
        "\u{1b}[31mred\u{1b}[2J\u{1b}[1;1H",
        "\u{1b}]8;;http://evil.example\u{7}link\u{1b}]8;;\u{7}",
        "\u{1b}P1$r\u{1b}\\ \u{1b}_x\u{1b}\\ \u{9b}31m \u{9d}0;title\u{9c}",
        "nul\0 cr\r lf\n tab\t del\u{7f} bell\u{7} nel\u{85}",
        "\u{202e}gnp.exe\u{202c} \u{2066}x\u{2069} \u{200f}\u{61c}",
        "zero\u{200b}width\u{200d}join\u{feff}\u{2060}\u{ad}",
        "line\u{2028}paragraph\u{2029}end",
        "<script>window.__pwned=1</script>",
        "\"><img src=x onerror=alert(1)>",
        "'><svg/onload=alert(1)>",
        "</script><!--",
        "]]></style></title><b>",
        "&lt;b&gt;&amp;#60;",
        "=cmd|' /C calc'!A0",
        "+1+1",
        "-2+3",
        "@SUM(1+1)",
        "\t=1+1",
        "\r=1+1",
        " =1+1",
        "\"=1+1\"",
        "＝1+1",
        "＠SUM(1)",
        "a|b`c``d`[x](javascript:alert(1))![i](http://x)",
        "comma, \"quote\" and; semicolon",
        "frame;frame 5",
        "$(touch pwned)`touch pwned`${x}",
        "'; DROP TABLE runs; --",
        "../../../etc/passwd",
        "%s%n{}{{7*7}}",
        "--format",
        "取得する 👩\u{200d}👧 e\u{301}",
    ]
    .map(str::to_owned)
    .to_vec();
    names.push("x".repeat(10_000));
    names.push("\u{301}".repeat(300));
    names
}

/// A run whose every name is `name`: of the workflow, its version, spans, nodes, kinds, tools, models and errors.
fn trace(name: &str, number: usize) -> Value {
    // 2026-11-01 00:00 UTC, and a minute between runs.
    let start = 1_793_491_200_000 + number as u64 * 60_000;
    let text = |key: &str| json!({"key": key, "value": {"stringValue": name}});
    let span = |id: u64, from: u64, to: u64, attributes: Value| {
        let mut span = json!({
            "traceId": format!("{:032x}", number + 1), "spanId": format!("{id:016x}"), "name": name,
            "startTimeUnixNano": format!("{}000000", start + from),
            "endTimeUnixNano": format!("{}000000", start + to),
            "attributes": attributes, "status": {"code": 2, "message": name},
        });
        if id > 1 {
            span["parentSpanId"] = "0000000000000001".into();
        }
        span
    };
    let operation = |value: &str| json!({"key": "gen_ai.operation.name", "value": {"stringValue": value}});
    let tokens = json!({"key": "gen_ai.usage.output_tokens", "value": {"intValue": "500"}});
    let spans = [
        span(1, 0, 1_000, json!([text("longpole.workflow.name"), text("longpole.workflow.version")])),
        span(2, 0, 400, json!([text("longpole.node.id"), text("longpole.node.kind"), text("error.type")])),
        span(3, 400, 700, json!([operation("execute_tool"), text("gen_ai.tool.name")])),
        span(
            4,
            700,
            1_000,
            json!([operation("chat"), text("gen_ai.request.model"), text("gen_ai.provider.name"), tokens]),
        ),
    ];
    json!({"resourceSpans": [{
        "resource": {"attributes": [text("service.name"), text("service.version")]},
        "scopeSpans": [{"scope": {"name": name, "version": name}, "spans": spans}],
    }]})
}

struct Place {
    folder: TempDir,
}

impl Place {
    /// With a file of all hostile runs, and all of them kept.
    fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().unwrap() };
        let lines: String =
            names().iter().enumerate().map(|(number, name)| format!("{}\n", trace(name, number))).collect();
        fs::write(place.folder.path().join("spans.jsonl"), lines).unwrap();
        let label = "label=\u{1b}[2J=cmd|'!A0<script>\u{202e}";
        let output = place.run(&["import", "spans.jsonl", "--label", label]);
        assert!(String::from_utf8_lossy(&output.stdout).contains(&format!("{} runs kept", names().len())));
        inert(&output, "import");
        place
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longpole"));
        command.args(args).env_clear().env("LC_ALL", "C.UTF-8").env("HOME", self.folder.path());
        command.current_dir(self.folder.path()).stdin(Stdio::null()).output().unwrap()
    }

    fn done(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {stderr}");
        is_inert(&stderr, &format!("{args:?} on standard error"));
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Whether a character acts on a terminal, cannot be seen, or turns the order of a line.
fn acts(character: char) -> bool {
    let is_hidden = matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}' | '\u{feff}');
    (character.is_control() && character != '\n') || is_hidden
}

#[track_caller]
fn is_inert(text: &str, what: &str) {
    if let Some((at, character)) = text.char_indices().find(|(_, character)| acts(*character)) {
        let from = text[..at].char_indices().rev().nth(40).map_or(0, |(index, _)| index);
        panic!("{what}: {character:?} after {:?}", &text[from..at]);
    }
}

#[track_caller]
fn inert(output: &Output, what: &str) {
    is_inert(std::str::from_utf8(&output.stdout).unwrap(), what);
    is_inert(std::str::from_utf8(&output.stderr).unwrap(), what);
}

/// The text without the colours of the tool's own.
fn without_colours(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        let codes = after.len() - after.trim_start_matches(|it: char| it.is_ascii_digit() || it == ';').len();
        assert!(after[codes..].starts_with('m'), "{:?}", after.chars().take(20).collect::<String>());
        plain += before;
        rest = &after[codes + 1..];
    }
    plain + rest
}

/// Marks that would be read as such if a name could make them.
#[track_caller]
fn no_markup(text: &str, what: &str) {
    for mark in ["<script>window", "<img src=x", "<svg/onload", "</script><!--", "</title><b>"] {
        assert!(!text.contains(mark), "{what}: {mark}");
    }
}

/// Markdown without what stands in code, where nothing is markup. There is no code in a line that begins with a tag of
/// HTML.
fn without_code(text: &str) -> String {
    let line = |line: &str| match line.trim_start().starts_with("<details") || line.starts_with("<summary") {
        true => line.to_owned(),
        false => {
            assert_eq!(line.matches('`').count() % 2, 0, "{line}");
            line.split('`').step_by(2).collect()
        }
    };
    text.lines().map(line).collect::<Vec<String>>().join("\n")
}

/// The rows of a CSV document (RFC 4180).
fn rows(text: &str) -> Vec<Vec<String>> {
    let mut rows = vec![vec![String::new()]];
    let (mut is_quoted, mut characters) = (false, text.chars().peekable());
    while let Some(character) = characters.next() {
        let row = rows.last_mut().unwrap();
        match character {
            '"' if is_quoted && characters.peek() == Some(&'"') => {
                characters.next();
                row.last_mut().unwrap().push('"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => row.push(String::new()),
            '\n' if !is_quoted => rows.push(vec![String::new()]),
            other => row.last_mut().unwrap().push(other),
        }
    }
    assert!(!is_quoted && rows.pop() == Some(vec![String::new()]), "ends within a row");
    rows
}

/// No cell is a formula, and no name makes cells or rows.
#[track_caller]
fn no_formulas(text: &str, count: Option<usize>, what: &str) {
    let rows = rows(text);
    if let Some(count) = count {
        assert_eq!(rows.len(), count + 1, "{what}");
    }
    for row in &rows {
        assert_eq!(row.len(), rows[0].len(), "{what}: {row:?}");
        for cell in row.iter().filter(|cell| cell.parse::<f64>().is_err()) {
            let begins = cell.trim_start_matches([' ', '"']);
            assert!(
                !begins.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']),
                "{what}: {cell:?}"
            );
        }
    }
}

/// What is printed as each of the formats a command has.
#[track_caller]
fn check(format: &str, text: &str, count: usize) {
    match format {
        "json" => {
            let document: Value = serde_json::from_str(text).unwrap();
            assert!(document.is_array() || document.is_object());
        }
        "jsonl" => text.lines().for_each(|line| drop(serde_json::from_str::<Value>(line).unwrap())),
        "csv" | "csv:spans" | "csv:runs" => {
            is_inert(text, format);
            no_formulas(text, None, format);
        }
        "html" => {
            is_inert(text, format);
            no_markup(text, format);
        }
        "md" => {
            is_inert(text, format);
            let text = without_code(text);
            no_markup(&text, format);
            for mark in ["](javascript:", "![i]", "jndi", "DROP TABLE"] {
                assert!(!text.contains(mark), "{format}: {mark}");
            }
        }
        "folded" | "folded-tail" => {
            is_inert(text, format);
            for line in text.lines() {
                let (frames, weight) = line.rsplit_once(' ').unwrap();
                assert!(weight.parse::<u64>().is_ok(), "{line}");
                assert!(frames.split(';').count() <= 4, "a name made frames: {line}");
            }
        }
        _ => {
            is_inert(text, format);
            assert!(text.lines().count() > count, "{format}");
        }
    }
}

/// The values an option can have, as wrong usage tells them.
fn values(place: &Place, args: &[&str], option: &str) -> Vec<String> {
    let output = place.run(&[args, &[option, "?"]].concat());
    let told = String::from_utf8(output.stderr).unwrap();
    let list = told.split_once("[possible values: ").and_then(|(_, rest)| rest.split_once(']')).unwrap().0;
    list.split(", ").map(str::to_owned).collect()
}

#[test]
fn names_are_inert_in_every_format_of_reports_and_lists() {
    let (place, count) = (Place::new(), names().len());
    for format in values(&place, &["show"], "--format") {
        check(&format, &place.done(&["show", "spans.jsonl", "--each", "--format", &format]), count);
    }
    for format in values(&place, &["ls"], "--format") {
        let text = place.done(&["ls", "--limit", "1000", "--format", &format]);
        check(&format, &text, count);
        if format == "csv" {
            no_formulas(&text, Some(count), "ls");
        }
    }
    for name in names().iter().filter(|name| !name.contains('\0') && !name.starts_with('-')) {
        check("text", &place.done(&["trend", name]), 1);
        no_formulas(&place.done(&["trend", name, "--format", "csv"]), None, "trend");
    }
    is_inert(&place.done(&["show", "spans.jsonl", "--summary"]), "--summary");
}

#[test]
fn names_are_inert_in_comparisons_replays_and_gates() {
    let place = Place::new();
    for format in values(&place, &["compare"], "--format") {
        check(&format, &place.done(&["compare", "last~1", "last", "--format", &format]), 1);
    }
    for name in names().iter().filter(|name| !name.contains('\0') && name.len() < 5_000) {
        let replayed = format!("{name}=2x");
        // No such node is told by what is near to it, which is foreign too.
        for args in [
            &["whatif", "last~3", "--set", &replayed][..],
            &["whatif", "spans.jsonl", "--remove", name],
            &["check", "spans.jsonl", "--fail-if", &format!("node({name}).p95>1ms")],
            &["check", "last", "--fail-if", &format!("node({name}).p95<1ns"), "--format", "json"],
            &["compare", "spans.jsonl", name],
            &["explain", name],
        ] {
            let output = place.run(args);
            assert!(matches!(output.status.code(), Some(0..=4)), "{args:?}: {:?}", output.status);
            let (stdout, stderr) =
                (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
            is_inert(&stderr, &format!("{args:?}"));
            match args.last() {
                Some(&"json") if !stdout.is_empty() => check("json", &stdout, 1),
                _ => is_inert(&stdout, &format!("{args:?}")),
            }
        }
    }
}

#[test]
fn text_keeps_its_width_and_its_colours_are_its_own() {
    let place = Place::new();
    for width in [60, 80, 200] {
        let width_text = width.to_string();
        let text = place.done(&["show", "spans.jsonl", "--each", "--width", &width_text]);
        let ascii = place.done(&["show", "spans.jsonl", "--each", "--ascii", "--width", &width_text]);
        assert!(ascii.is_ascii());
        // Wide letters take two columns, so this is the most there can be.
        let longest = ascii.lines().map(str::len).max().unwrap();
        assert!(longest <= width, "{longest}");
        assert!(text.lines().all(|line| line.chars().count() <= 5 * width));
    }
    let coloured = place.done(&["show", "spans.jsonl", "--each", "--color", "always"]);
    assert_eq!(
        without_colours(&coloured),
        place.done(&["show", "spans.jsonl", "--each", "--color", "never"])
    );
    is_inert(&without_colours(&coloured), "coloured");
    let list = without_colours(&place.done(&["ls", "--color", "always"]));
    is_inert(&list, "ls in colour");
}

#[test]
fn files_and_exports_are_inert_and_keep_names_as_they_are() {
    let (place, count) = (Place::new(), names().len());
    let (text, json, html) = ("all.txt", "all.json", "all.html");
    place.done(&["show", "spans.jsonl", "--each", "-o", text, "-o", json, "-o", html]);
    let read = |file: &str| fs::read_to_string(place.folder.path().join(file)).unwrap();
    check("text", &read(text), count);
    check("html", &read(html), count);
    let reports: Vec<Value> = serde_json::from_str(&read(json)).unwrap();
    let mut told: Vec<&str> =
        reports.iter().filter_map(|report| report["run"]["workflow"].as_str()).collect();
    let all = names();
    let mut wanted: Vec<&str> = all.iter().map(String::as_str).collect();
    told.sort_unstable();
    wanted.sort_unstable();
    // Programs get names as they are, cut where they are longer than any name has to be.
    assert!(told.iter().zip(&wanted).all(|(told, wanted)| wanted.starts_with(told.trim_end_matches('…'))));
    assert_eq!(told.len(), wanted.len());

    for target in values(&place, &["export"], "--to") {
        let document = place.done(&["export", "spans.jsonl", "--to", &target]);
        match target.as_str() {
            "flamegraph" => {
                is_inert(&document, "flamegraph");
                no_markup(&document, "flamegraph");
            }
            "folded" => check("folded", &document, count),
            "otlp" => check("jsonl", &document, count),
            _ => check("json", &document, count),
        }
    }
}

#[test]
fn what_cannot_be_found_or_read_is_told_without_harm() {
    let place = Place::new();
    for name in
        names().iter().filter(|name| !name.contains('\0') && !name.starts_with('-') && name.len() < 5_000)
    {
        let unknown = format!("no{name}");
        for args in [
            &["show", &unknown][..],
            &["export", &unknown, "--to", "otlp"],
            &["trend", &unknown],
            &["import", &unknown],
            &["show", "spans.jsonl", "--sla", &unknown],
            &["ls", "--since", &unknown],
            &["show", "--width", &unknown],
            &["show", "spans.jsonl", "-o", &unknown],
            &[&unknown],
        ] {
            let output = place.run(args);
            assert!(matches!(output.status.code(), Some(1 | 2 | 4)), "{args:?}");
            inert(&output, &format!("{args:?}"));
            assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: "), "{args:?}");
        }
    }
    let leftover: BTreeMap<_, _> = fs::read_dir(place.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .map(|name| (name.to_string_lossy().into_owned(), ()))
        .collect();
    assert_eq!(leftover.keys().map(String::as_str).collect::<Vec<_>>(), [".local", "spans.jsonl"]);
}

#[test]
fn no_name_that_is_offered_to_a_shell_is_more_than_a_word_to_it() {
    let place = Place::new();
    let offered = |shell: &str, words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_longpole"));
        command.args(["--", "longpole"]).args(words).env_clear().env("HOME", place.folder.path());
        command.env("LONGPOLE_COMPLETE", shell).env("_CLAP_COMPLETE_INDEX", words.len().to_string());
        command.env("_CLAP_IFS", "\n").current_dir(Path::new("/"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    for words in [&["trend", ""][..], &["show", "--sla", ""], &["show", "l"]] {
        let values: String = offered("bash", words);
        is_inert(&values, "completion");
        assert!(!values.contains(['$', '`', ';', '|', '<', '>', '&', '\'', '"', '(', '*']), "{values}");
        let with_hints = offered("fish", words);
        is_inert(&with_hints.replace('\t', " "), "completion with hints");
    }
    assert!(offered("bash", &["show", "--sla", ""]).contains("chat\\ "));
}
