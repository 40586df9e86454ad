//! How a report about many runs looks.

use std::io::Read;
use std::path::Path;

use insta::assert_snapshot;
use longpole::analysis::critical_path::critical_path;
use longpole::many_runs::{ManyRuns, ManyRunsReport, RunProfile};
use longpole::render::TextStyle;
use longpole::render::many_runs::text;
use longpole::run::Run;
use longpole::span_record::SpanRecord;
use longpole::time::Duration;
use unicode_width::UnicodeWidthStr;

#[path = "support/spans.rs"]
mod spans;
use spans::span;

fn two_hundred_runs() -> ManyRuns {
    let path = "tests/data/oracles/many_runs/40_aggregate_200_runs.otlp.json.gz";
    let packed = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
    let mut spans = longpole::decode::decode(&bytes).unwrap().spans;
    spans.sort_by_key(|record| record.trace_id);
    let mut runs = ManyRuns::default();
    for records in spans.chunk_by(|one, other| one.trace_id == other.trace_id) {
        add(&mut runs, records.to_vec());
    }
    runs
}

fn add(runs: &mut ManyRuns, records: Vec<SpanRecord>) {
    let run = Run::from_records(records).unwrap();
    runs.add(&RunProfile::of(&run, &critical_path(&run).segments));
}

#[test]
fn at_80_columns() {
    let text = two_hundred_runs().report(95).to_text();
    assert_snapshot!(text, @r"
longpole  run  of svc-host-a                                            200 runs

  wall P50 615 ms   P95 701 ms   P99 1.82 s   total 2m 13s

On the path                   in runs     mean      P50      P95      P99  share
  llm          ██████▌           100%   341 ms   337 ms   397 ms   404 ms    51%
  retrieve     ██                 38%   268 ms   144 ms   1.09 s   1.42 s    15%
  plan         ██                100%  99.0 ms  99.0 ms   117 ms   120 ms    15%
  web          █▌                 62%   141 ms   144 ms   167 ms   170 ms    13%
  answer       ▌                 100%  15.0 ms  15.0 ms  15.0 ms  15.0 ms     2%
  run          ▌                 100%  14.0 ms  14.0 ms  14.0 ms  15.0 ms     2%
  retry        ▏                   3%   256 ms   263 ms   278 ms   278 ms     1%

Who owns the tail  11 runs from 701 ms on (P95) take 980 ms longer than 42
                   ordinary ones (P40 to P60)

  retrieve   +971 ms    99%  more often +94.5 ms, longer +877 ms
  retry      +117 ms    12%  on the path of 5 long runs and of no ordinary one
  llm       -12.2 ms    -1%  shorter -12.2 ms
  web       -97.4 ms   -10%  on the path of no long run
  (others)  +2.19 ms    <1%

Ways through  mean wall
    62%          609 ms  plan > web > answer > llm
    36%          687 ms  plan > retrieve > answer > llm
     3%          1.75 s  plan > retrieve > retry > answer > llm
");
}

#[test]
fn at_60_columns_in_ascii() {
    let style = TextStyle { width: 60, ascii: true, color: false };
    let text = text(&two_hundred_runs().report(95), &style);
    assert_snapshot!(text, @r"
longpole  run  of svc-host-a                        200 runs

  wall P50 615 ms   P95 701 ms   P99 1.82 s   total 2m 13s

On the path    in runs     mean      P95  share
  llm             100%   341 ms   397 ms    51%
  retrieve         38%   268 ms   1.09 s    15%
  plan            100%  99.0 ms   117 ms    15%
  web              62%   141 ms   167 ms    13%
  answer          100%  15.0 ms  15.0 ms     2%
  run             100%  14.0 ms  14.0 ms     2%
  retry             3%   256 ms   278 ms     1%

Who owns the tail  11 runs from 701 ms on (P95) take 980 ms
                   longer than 42 ordinary ones (P40 to P60)

  retrieve   +971 ms    99%  more often +94.5 ms,
                             longer +877 ms
  retry      +117 ms    12%  on the path of 5 long runs and
                             of no ordinary one
  llm       -12.2 ms    -1%  shorter -12.2 ms
  web       -97.4 ms   -10%  on the path of no long run
  (others)  +2.19 ms    <1%

Ways through  mean wall
    62%          609 ms  plan > web > answer > llm
    36%          687 ms  plan > retrieve > answer > llm
     3%          1.75 s  plan > retrieve > retry > answer >
                         llm
");
}

#[test]
fn few_runs_some_of_them_partial() {
    let mut runs = ManyRuns::default();
    add(&mut runs, vec![span(1, None, "etl", 0, 9_000_000), span(2, Some(1), "load", 1_000_000, 8_000_000)]);
    add(&mut runs, vec![span(1, None, "etl", 0, 3_000_000), span(2, Some(7), "load", 1_000_000, 3_000_000)]);
    assert_snapshot!(runs.report(95).to_text(), @r"
longpole  etl                                                  2 runs, 1 partial

  wall P50 9.00 ms   P95 9.00 ms   P99 9.00 ms   total 12.0 ms

On the path                   in runs     mean      P50      P95      P99  share
  load         █████████▌        100%  4.50 ms  7.00 ms  7.00 ms  7.00 ms    75%
  etl          ███               100%  1.50 ms  2.00 ms  2.00 ms  2.00 ms    25%

Who owns the tail  takes 10 long runs and as many ordinary ones to tell; there
                   are 1 and 1

Ways through  mean wall
   100%         6.00 ms  load

1 run misses spans: counted in shares and means, not in P50 to P99 nor in the
tail.
");
}

#[test]
fn nothing() {
    assert_eq!(ManyRuns::default().report(95).to_text(), "No runs.\n");
}

#[test]
fn no_line_is_too_wide_whatever_the_names_are() {
    let hostile = ["\x1b[2J", "名前がとても長いノードの名前です", "a b;c\nd", "", "x"];
    let mut runs = ManyRuns::default();
    for n in 0..60u64 {
        let end = 1_000 + n * n * 1_000_000;
        let long = hostile[n as usize % 5].repeat(1 + n as usize % 40);
        let mut records = vec![span(1, None, &long, 0, end), span(2, Some(1), &long, 10, end / 2)];
        records.push(span(3, Some(1), hostile[n as usize % 4], end / 2, end - 5));
        let run = Run::from_records(records).unwrap();
        let mut profile = RunProfile::of(&run, &critical_path(&run).segments);
        profile.group.workflow = "w\u{202e}".repeat(50).into();
        profile.set_drags(|_| Some(Duration::from_nanos(end / 3)));
        profile.group.service = Some(hostile[1].repeat(9).into());
        runs.add(&profile);
    }
    // So that there are ten long runs and ten ordinary ones.
    let report = runs.report(80);
    assert!(report.groups[0].tail.ownership.is_some());
    for width in 60..=200 {
        for ascii in [false, true] {
            let text = text(&report, &TextStyle { width, ascii, color: false });
            for line in text.lines() {
                assert!(line.width() <= width, "{width}: {line:?}");
                assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
                assert!(!ascii || line.is_ascii(), "{line:?}");
                assert!(!line.ends_with(' '), "{line:?}");
            }
        }
    }
}

#[test]
fn json_reads_back_equal_and_has_its_keys_in_order() {
    let report = two_hundred_runs().report(95);
    let json = report.to_json();
    assert_eq!(serde_json::from_str::<ManyRunsReport>(&json).unwrap(), report);
    assert!(json.ends_with("}\n"));
    let keys: Vec<&str> = json
        .lines()
        .filter(|line| line.starts_with("  \""))
        .filter_map(|line| line.split('"').nth(1))
        .collect();
    assert_eq!(keys, ["groups", "runs", "runs_left_out", "schema"]);
    assert!(json.contains(r#""schema": "longpole.runs/1""#));
}
