//! How a report looks as text.

#![allow(missing_docs, unreachable_pub, dead_code, reason = "a test")]

#[path = "support/sample_reports.rs"]
mod sample_reports;
#[path = "support/traces.rs"]
mod traces;

use std::collections::BTreeMap;

use insta::assert_snapshot;
use longpole::render::{Block, Excerpt, TextStyle, text, text_excerpt};
use longpole::report::*;
use longpole::time::Duration;
use sample_reports::{agent_with_queued_tools, ms, path_row, report, research_agent};

fn at(width: usize) -> TextStyle {
    TextStyle { width, ..TextStyle::default() }
}

#[test]
fn at_80_columns_everything_is_shown() {
    assert_snapshot!(research_agent().to_text(), @r"
longpole  research-agent  run 7f3a9c2e  v1.8.2                       ok, 1 retry

  wall 22.8 s   work 30.0 s   parallel 1.3× (peak 3)   cost $0.0913   spans 19
  +9% against the median of the last 20 runs (20.9 s)

Critical path   as run: 22.65 s of 22.79 s (99%); the other 0.14 s has no span

  plan      llm  ███                             2.14 s    9%  $0.0081
  fetch ×6  http    █████                        3.77 s   17%
  embed     llm          █▌                      1.05 s    5%  $0.0006
  rerank    cpu           ▐                      380 ms    2%
  draft     llm            █████████             6.92 s   30%  $0.0412 ◀ longest
  critique  llm                     ████▌        3.31 s   15%  $0.0118
  revise    llm                         ▐█████▌  4.87 s   21%  $0.0296
  publish   io                                ▐  210 ms    1%
  beside it: fact_check 2.20 s (slack 1.11 s), search.web 1.60 s (slack 3.22 s)
  queueing:  fetch waited 7.46 s

As the graph allows  20.2 s: plan 2.14 s, fetch 1.31 s, embed 1.05 s,
                     draft 6.92 s

Fix first                                                     save at most

  1  CRITICAL  draft                                          6.92 s   30%
       why  wrote 1,840 tokens at 266 tokens/s; nothing runs beside it
       try  2× faster saves 3.46 s (15%)
       LP102 slower than usual: took 6.92 s, 38% more than the median of 20 runs
             (5.02 s); 1,840 output tokens, usually 1,310; back to its median
             saves 1.90 s (8%)
  2  HIGH      revise                                         4.87 s   21%
       why  nothing runs beside it
       try  2× faster saves 2.44 s (11%)
  3  HIGH      fetch                                          3.22 s   14%
       why  6 calls of about 1.22 s with at most 2 at once; 7.46 s spent
            queueing behind one another
       try  no queueing saves 2.46 s (11%); 2× faster saves 1.61 s (7%)
       LP103 queueing at a limit: 6 ready, 2 at once, 7.46 s spent waiting; 6 at
             once saves 2.46 s (11%); 3 at once saves 1.26 s (6%)
  4  MEDIUM    plan                                           2.14 s    9%
  5  LOW       critique                                       1.11 s    5%
       why  takes 3.31 s, but past 1.11 s fact_check sets the pace

  draft 2× faster and fetch 6 at once, together: 22.8 s → 16.9 s (−26%).
  Speeding up fact_check or search.web saves nothing.

Bounded by    model wait 80%, http wait 17%, own CPU 2%, io wait 1%, no span 1%
Parallelism   89% of the best this graph allows (20.2 s)
Cost          draft $0.0412 (45%), revise $0.0296 (32%), critique $0.0118 (13%)
Tokens        7,600 in, 3,600 out
Confidence    high: 19 of 19 spans closed, 0 orphans, 5 edges declared, no skew
");
}

#[test]
fn at_60_columns_in_ascii_the_bars_stay() {
    let style = TextStyle { width: 60, ascii: true, color: false };
    assert_snapshot!(text(&research_agent(), &style), @r"
longpole  research-agent  run 7f3a9c2e  v1.8.2   ok, 1 retry

  wall 22.8 s   work 30.0 s   parallel 1.3x (peak 3)
  cost $0.0913   spans 19
  +9% against the median of the last 20 runs (20.9 s)

Critical path   as run: 22.65 s of 22.79 s (99%); the other
                0.14 s has no span

  plan      ###                               2.14 s    9%
  fetch x6     ######                         3.77 s   17%
  embed             ##                        1.05 s    5%
  rerank              #                       380 ms    2%
  draft               ##########              6.92 s   30% *
  critique                      #####         3.31 s   15%
  revise                             #######  4.87 s   21%
  publish                                  #  210 ms    1%
  beside it: fact_check 2.20 s (slack 1.11 s),
             search.web 1.60 s (slack 3.22 s)
  queueing:  fetch waited 7.46 s

As the graph allows  20.2 s: plan 2.14 s, fetch 1.31 s,
                     embed 1.05 s, draft 6.92 s

Fix first                                 save at most

  1  CRITICAL  draft                      6.92 s   30%
       why  wrote 1,840 tokens at 266 tokens/s; nothing runs
            beside it
       try  2x faster saves 3.46 s (15%)
       LP102 slower than usual: took 6.92 s, 38% more than
             the median of 20 runs (5.02 s); 1,840
             output tokens, usually 1,310; back to its
             median saves 1.90 s (8%)
  2  HIGH      revise                     4.87 s   21%
       why  nothing runs beside it
       try  2x faster saves 2.44 s (11%)
  3  HIGH      fetch                      3.22 s   14%
       why  6 calls of about 1.22 s with at most 2 at once;
            7.46 s spent queueing behind one another
       try  no queueing saves 2.46 s (11%); 2x faster saves
            1.61 s (7%)
       LP103 queueing at a limit: 6 ready, 2 at once, 7.46 s
             spent waiting; 6 at once saves 2.46 s (11%); 3
             at once saves 1.26 s (6%)
  4  MEDIUM    plan                       2.14 s    9%
  5  LOW       critique                   1.11 s    5%
       why  takes 3.31 s, but past 1.11 s fact_check sets
            the pace

  draft 2x faster and fetch 6 at once, together: 22.8 s ->
  16.9 s (-26%).
  Speeding up fact_check or search.web saves nothing.

Bounded by    model wait 80%, http wait 17%, own CPU 2%,
              io wait 1%, no span 1%
Parallelism   89% of the best this graph allows (20.2 s)
Cost          draft $0.0412 (45%), revise $0.0296 (32%),
              critique $0.0118 (13%)
Tokens        7,600 in, 3,600 out
Confidence    high: 19 of 19 spans closed, 0 orphans,
              5 edges declared, no skew
");
}

#[test]
fn at_60_columns_long_names_are_cut_and_failures_are_not() {
    assert_snapshot!(text(&agent_with_queued_tools(), &at(60)), @r"
longpole  litera…review  run 7f3a9c2e  ok, 1 failed, 1 retry

  wall 3.30 s   work 3.27 s   parallel 1.0× (peak 1)
  spans 6

Critical path   3.27 s of 3.30 s (99%); the other 0.03 s has
                no span

  chat gp…-07-18 ×3 (1 failed)  ███   ▐█████  2.37 s   72% ◀
  execute_tool search_papers       █          301 ms    9%
  execute_tool word_count           ██▌       598 ms   18%
  queueing:  execute_tool word_count waited 301 ms

Fix first                                 save at most

  1  CRITICAL  chat gpt-4o-…-2024-07-18   2.37 s   72%
       why  3 calls of about 789 ms, one at a time; 1 call
            failed (655 ms of the path), 1 retry; nothing
            runs beside it
       try  2× faster saves 1.18 s (36%)
  2  HIGH      execute_tool word_count    598 ms   18%
       why  301 ms spent queueing behind
            execute_tool search_papers
       try  no queueing saves 301 ms (9%)
  3  MEDIUM    execute_…_papers (guess)   301 ms    9%
       why  a thread runs in it 94% of its time: it
            computes, it does not wait

Tokens        12.5k in, 911 out
Confidence    high: 6 of 6 spans closed, 0 orphans, no skew
");
}

#[test]
fn at_100_columns_the_bars_are_longer() {
    assert_snapshot!(path_lines(&text(&research_agent(), &at(100))), @r"
Critical path   as run: 22.65 s of 22.79 s (99%); the other 0.14 s has no span

  plan      llm  █████                                               2.14 s    9%  $0.0081
  fetch ×6  http      ████████                                       3.77 s   17%
  embed     llm               ██▌                                    1.05 s    5%  $0.0006
  rerank    cpu                 ▐▌                                   380 ms    2%
  draft     llm                  ▐██████████████▌                    6.92 s   30%  $0.0412 ◀ longest
  critique  llm                                 ▐███████             3.31 s   15%  $0.0118
  revise    llm                                         ██████████▌  4.87 s   21%  $0.0296
  publish   io                                                    ▐  210 ms    1%
  beside it: fact_check 2.20 s (slack 1.11 s), search.web 1.60 s (slack 3.22 s)
");
}

#[test]
fn at_200_columns_only_the_bars_have_grown() {
    assert_snapshot!(path_lines(&text(&research_agent(), &at(200))), @r"
Critical path   as run: 22.65 s of 22.79 s (99%); the other 0.14 s has no span

  plan      llm  █████▌                                                        2.14 s    9%  $0.0081
  fetch ×6  http       █████████▌                                              3.77 s   17%
  embed     llm                 ▐██▌                                           1.05 s    5%  $0.0006
  rerank    cpu                    ▐▌                                          380 ms    2%
  draft     llm                     ▐██████████████████                        6.92 s   30%  $0.0412 ◀ longest
  critique  llm                                        ████████▌               3.31 s   15%  $0.0118
  revise    llm                                                ▐████████████▌  4.87 s   21%  $0.0296
  publish   io                                                              ▐  210 ms    1%
  beside it: fact_check 2.20 s (slack 1.11 s), search.web 1.60 s (slack 3.22 s)
");
}

#[test]
fn queueing_of_tools_that_were_asked_for_at_once_is_said() {
    assert_snapshot!(agent_with_queued_tools().to_text(), @r"
longpole  literature-review  run 7f3a9c2e                  ok, 1 failed, 1 retry

  wall 3.30 s   work 3.27 s   parallel 1.0× (peak 1)   spans 6

Critical path   3.27 s of 3.30 s (99%); the other 0.03 s has no span

  chat gpt-4…2024-07-18 ×3 (1 failed)  llm  ███   ▐█████  2.37 s   72% ◀ longest
  execute_tool search_papers           tool    █          301 ms    9%
  execute_tool word_count              tool     ██▌       598 ms   18%
  queueing:  execute_tool word_count waited 301 ms

Fix first                                                     save at most

  1  CRITICAL  chat gpt-4o-mini-2024-07-18                    2.37 s   72%
       why  3 calls of about 789 ms, one at a time; 1 call failed (655 ms of the
            path), 1 retry; nothing runs beside it
       try  2× faster saves 1.18 s (36%)
  2  HIGH      execute_tool word_count                        598 ms   18%
       why  301 ms spent queueing behind execute_tool search_papers
       try  no queueing saves 301 ms (9%)
  3  MEDIUM    execute_tool search_papers (guess)             301 ms    9%
       why  a thread runs in it 94% of its time: it computes, it does not wait

Tokens        12.5k in, 911 out
Confidence    high: 6 of 6 spans closed, 0 orphans, no skew
");
}

#[test]
fn waits_that_every_scheduler_makes_are_not_called_queueing() {
    let mut report = agent_with_queued_tools();
    report.critical_path.rows[2].queued_ns = Duration::from_nanos(16_474_999);
    assert!(!report.to_text().contains("queueing:"));
    // Half a percent of 3.295 s.
    report.critical_path.rows[2].queued_ns = Duration::from_nanos(16_475_000);
    assert!(report.to_text().contains("\n  queueing:  execute_tool word_count waited 16.5 ms\n"));
}

#[test]
fn colour_marks_the_longest_node_severities_and_savings() {
    let style = TextStyle { color: true, ..TextStyle::default() };
    let text = text(&agent_with_queued_tools(), &style).replace('\x1b', "ESC");
    assert_snapshot!(text, @r"
longpole  literature-review  run 7f3a9c2e                  ok, 1 failed, 1 retry

  wall 3.30 s   work 3.27 s   parallel 1.0× (peak 1)   spans 6

Critical path   3.27 s of 3.30 s (99%); the other 0.03 s has no span

  ESC[1;35mchat gpt-4…2024-07-18 ×3 (1 failed)ESC[0m  ESC[2mllmESC[0m  ESC[1;35m███   ▐█████ESC[0m  2.37 s   72% ESC[1;35m◀ longestESC[0m
  execute_tool search_papers           ESC[2mtoolESC[0m    █          301 ms    9%
  execute_tool word_count              ESC[2mtoolESC[0m     ██▌       598 ms   18%
  ESC[2mqueueing:ESC[0m  execute_tool word_count waited 301 ms

Fix first                                                     save at most

  1  ESC[1;31mCRITICALESC[0m  chat gpt-4o-mini-2024-07-18                    2.37 s   72%
       ESC[2mwhyESC[0m  3 calls of about 789 ms, one at a time; 1 call failed (655 ms of the
            path), 1 retry; nothing runs beside it
       ESC[2mtryESC[0m  2× faster saves ESC[32m1.18 sESC[0m (36%)
  2  ESC[31mHIGHESC[0m      execute_tool word_count                        598 ms   18%
       ESC[2mwhyESC[0m  301 ms spent queueing behind execute_tool search_papers
       ESC[2mtryESC[0m  no queueing saves ESC[32m301 msESC[0m (9%)
  3  ESC[33mMEDIUMESC[0m    execute_tool search_papersESC[2m (guess)ESC[0m             301 ms    9%
       ESC[2mwhyESC[0m  a thread runs in it 94% of its time: it computes, it does not wait

Tokens        12.5k in, 911 out
Confidence    high: 6 of 6 spans closed, 0 orphans, no skew
");
}

#[test]
fn a_run_in_which_no_node_stands_out_says_so() {
    let rows =
        (0..21).map(|i| path_row(&format!("load.table_{i}"), "db", i * 20, 15 + i % 2, None)).collect();
    assert_snapshot!(report("etl-nightly", 1_100, rows, vec![]).to_text(), @r"
longpole  etl-nightly  run 7f3a9c2e                                           ok

  wall 1.10 s   work 325 ms   parallel 0.3× (peak 1)   spans 22

Critical path   0.33 s of 1.10 s (30%); the other 0.77 s has no span

  load.table_0   db ▌                                    15.0 ms    1%
  load.table_1   db ▐                                    16.0 ms    1% ◀ longest
  load.table_2   db  ▏                                   15.0 ms    1%
  load.table_3   db   ▌                                  16.0 ms    1%
  load.table_5   db    ▌                                 16.0 ms    1%
  load.table_7   db     ▐                                16.0 ms    1%
  load.table_9   db      ▐                               16.0 ms    1%
  load.table_11  db        ▌                             16.0 ms    1%
  load.table_13  db         ▐                            16.0 ms    1%
  load.table_15  db          ▐                           16.0 ms    1%
  load.table_17  db            ▌                         16.0 ms    1%
  load.table_19  db             ▌                        16.0 ms    1%
  … and 9 more on the path, 135 ms together

  No single node would save more than 2% of the run. The path is 21 nodes; the
  longest is load.table_1, 16.0 ms.

Confidence    high: 22 of 22 spans closed, 0 orphans, no skew
");
}

#[test]
fn a_single_span_has_nothing_to_compare() {
    let mut report = report("one", 1_200, vec![], vec![]);
    report.totals.parallelism_peak = 1;
    assert_snapshot!(report.to_text(), @r"
longpole  one  run 7f3a9c2e                                                   ok

  wall 1.20 s   work 0 s   spans 1

  This run is a single span: there is nothing to compare inside it.

Confidence    high: 1 of 1 spans closed, 0 orphans, no skew
");
}

#[test]
fn an_incomplete_run_claims_no_savings_and_says_what_is_odd() {
    let mut report = agent_with_queued_tools();
    report.run.status = RunStatus::Incomplete;
    report.quality = Quality {
        level: QualityLevel::Low,
        closed_spans: 12_480,
        open_spans: 3,
        orphans: 1,
        detached_spans: 1,
        warnings: BTreeMap::from([
            ("unfinished_span".to_owned(), 3),
            ("skew_corrected".to_owned(), 1),
            ("multiple_roots".to_owned(), 1),
            ("clock_went_backwards".to_owned(), 4),
        ]),
        ..report.quality
    };
    report.pipeline = Some(BTreeMap::from([("queue_full".to_owned(), 1), ("too_large".to_owned(), 0)]));
    assert_snapshot!(report.to_text(), @r"
longpole  literature-review  run 7f3a9c2e          incomplete, 1 failed, 1 retry

  wall ≥ 3.30 s   work ≥ 3.27 s   parallel 1.0× (peak 1)   spans 6
  3 spans never ended   1 has no parent

Critical path   3.27 s of 3.30 s (99%); the other 0.03 s has no span

  chat gpt-4…2024-07-18 ×3 (1 failed)  llm  ███   ▐█████  2.37 s   72% ◀ longest
  execute_tool search_papers           tool    █          301 ms    9%
  execute_tool word_count              tool     ██▌       598 ms   18%
  queueing:  execute_tool word_count waited 301 ms

  Spans are missing, so the path may be another one and savings are not shown.
  Usually the process exited before its spans were sent.

Tokens        12.5k in, 911 out
Confidence    low: 12,480 of 12,483 spans closed, 1 orphan,
              1 span nobody waited for, clock went backwards: 4, several roots,
              1 span moved for clock skew
Lost          1 span (queue full)
");
}

#[test]
fn spans_missing_off_the_path_do_not_hide_the_savings() {
    let mut report = agent_with_queued_tools();
    report.run.status = RunStatus::Incomplete;
    report.quality.level = QualityLevel::Medium;
    assert!(report.to_text().contains("\nFix first "));
}

#[test]
fn a_path_without_nodes_is_not_called_a_path() {
    let mut report = report("empty", 1_200, vec![], vec![]);
    report.run.spans = 2;
    assert!(report.to_text().contains("\nCritical path   no node is on it: 1.20 s has no span\n"));
    assert!(
        report.to_text().contains("\n  No node is on the path, so no node would make the run shorter.\n")
    );
    report.run.wall_ns = Duration::ZERO;
    assert!(report.to_text().contains("\nCritical path   empty: the run took no time\n"));
}

#[test]
fn kinds_are_shown_where_one_of_them_says_something() {
    let rows = |kind| vec![path_row("load", "other", 0, 50, None), path_row("store", kind, 50, 50, None)];
    assert!(!report("etl", 100, rows("other"), vec![]).to_text().contains("other"));
    assert!(report("etl", 100, rows("db"), vec![]).to_text().contains("\n  load   other ██"));
}

#[test]
fn of_many_findings_five_are_shown_and_the_rest_is_counted() {
    let mut report = research_agent();
    let last = report.findings[4].clone();
    let about = |subject: &str| Finding { subject: subject.to_owned(), ..last.clone() };
    report.findings.extend([about("sixth"), about("seventh")]);
    let text = report.to_text();
    assert!(text.contains("\n  … and 2 more\n"), "{text}");
    assert!(!text.contains("\n  6  "), "{text}");
}

#[test]
fn a_recorded_cost_of_nothing_is_not_unknown() {
    let mut report = research_agent();
    report.totals.cost_usd = Some(longpole::money::Money::ZERO);
    report.nodes.iter_mut().for_each(|node| node.cost_usd = None);
    assert!(report.to_text().contains("\nCost          $0\n"));
    report.totals.cost_usd = None;
    assert!(!report.to_text().contains("\nCost "));
}

#[test]
fn narrower_than_60_is_60_and_wider_than_200_is_200() {
    let report = agent_with_queued_tools();
    assert_eq!(text(&report, &at(0)), text(&report, &at(60)));
    assert_eq!(text(&report, &at(usize::MAX)), text(&report, &at(200)));
}

fn path_lines(text: &str) -> String {
    text.lines().skip(4).take(12).map(|line| line.to_owned() + "\n").collect()
}

#[test]
fn a_length_beyond_every_clock_is_drawn_too() {
    let rows = vec![path_row("long", "cpu", 0, u64::MAX / 1_000_000, None)];
    let text = report("long", u64::MAX / 1_000_000, rows, vec![]).to_text();
    assert!(text.contains("wall 5124095h 35m"), "{text}");
    assert_eq!(ms(u64::MAX), Duration::MAX);
}

/// The widest line of a text.
fn widest(text: &str) -> usize {
    text.lines().map(unicode_width::UnicodeWidthStr::width).max().unwrap()
}

#[test]
fn no_line_is_wider_than_asked_at_any_width_with_all_blocks() {
    for report in [research_agent(), agent_with_queued_tools()] {
        for width in [60, 80, 100, 200] {
            for ascii in [false, true] {
                let style = TextStyle { width, ascii, color: false };
                let all = Excerpt {
                    all: true,
                    more: Some("longpole show 7f3a9c2e --all".to_owned()),
                    ..Excerpt::default()
                };
                let page = text_excerpt(&report, &style, &all);
                assert!(widest(&page) <= width, "{width}: {page}");
                assert!(!ascii || page.is_ascii(), "{page}");
            }
        }
    }
}

#[test]
fn all_of_a_report_has_a_table_of_nodes() {
    let all = Excerpt { all: true, ..Excerpt::default() };
    assert_snapshot!("all_at_100_columns", text_excerpt(&research_agent(), &at(100), &all));
    let style = TextStyle { width: 60, ascii: true, color: false };
    assert_snapshot!("all_at_60_columns", text_excerpt(&research_agent(), &style, &all));
}

#[test]
fn one_block_stands_alone_below_the_line_that_says_which_run_it_is() {
    let shown = |block| {
        let only = Excerpt { only: Some(block), ..Excerpt::default() };
        text_excerpt(&research_agent(), &TextStyle::default(), &only)
    };
    for (block, heads) in [
        (Block::Path, ["Critical path", "Bounded by"].as_slice()),
        (Block::Fix, &["Fix first"]),
        (Block::Nodes, &["Nodes"]),
        (Block::Cost, &["Cost"]),
        (Block::Quality, &["Confidence"]),
    ] {
        let page = shown(block);
        assert!(page.starts_with("longpole  research-agent  run 7f3a9c2e  v1.8.2"), "{page}");
        for head in ["Critical path", "Bounded by", "Fix first", "Nodes", "Cost", "Confidence"] {
            let has = page.lines().any(|line| line.starts_with(head));
            assert_eq!(has, heads.contains(&head), "{head} in {page}");
        }
        assert!(!page.contains("\n\n\n"), "{page}");
    }
}

#[test]
fn lists_are_as_long_as_asked_and_say_what_is_left_out() {
    let top = |top, more: Option<&str>| {
        let excerpt = Excerpt { top: Some(top), more: more.map(str::to_owned), ..Excerpt::default() };
        text_excerpt(&research_agent(), &TextStyle::default(), &excerpt)
    };
    let page = top(2, Some("longpole show 7f3a9c2e --all"));
    assert!(page.contains("\n  2  HIGH      revise") && !page.contains("\n  3  HIGH"), "{page}");
    assert!(page.contains("  … and 3 more\n"), "{page}");
    // 22.65 s less 6.92 s and 4.87 s.
    assert!(
        page.contains("  … and 6 more on the path, 10.9 s together (longpole show 7f3a9c2e --all)\n"),
        "{page}"
    );
    assert!(page.ends_with("\n\n  more  longpole show 7f3a9c2e --all\n"), "{page}");
    assert!(top(2, None).contains("  … and 6 more on the path, 10.9 s together\n"));
    assert!(!top(20, None).contains("… and"), "{}", top(20, None));
}

#[test]
fn without_colour_the_text_says_the_same() {
    let style = TextStyle { color: true, ..TextStyle::default() };
    let coloured = text(&research_agent(), &style);
    assert!(coloured.contains("\x1b[1;35m"));
    let mut plain = String::new();
    for (index, piece) in coloured.split("\x1b[").enumerate() {
        plain += if index == 0 { piece } else { piece.split_once('m').unwrap().1 };
    }
    assert_eq!(plain, research_agent().to_text());
}

/// A length of time as it is written in text, in nanoseconds, and half of its last digit.
fn written_time(number: &str, unit: &str) -> (f64, f64) {
    let size = match unit {
        "s" => 1e9,
        "ms" => 1e6,
        "µs" => 1e3,
        "ns" => 1.0,
        other => panic!("{other:?}"),
    };
    let decimals = number.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    (number.parse::<f64>().unwrap() * size, 0.5 * size / 10f64.powi(decimals as i32) + 1.0)
}

#[test]
fn the_rows_of_the_path_read_back_to_the_report() {
    let mut reports = vec![research_agent(), agent_with_queued_tools()];
    reports.extend(traces::told_files().into_iter().map(|(report, _)| report));
    let mut read = 0;
    for report in reports {
        let only = Excerpt { only: Some(Block::Path), all: false, top: Some(1_000), more: None };
        let page = text_excerpt(&report, &at(200), &only);
        for row in report.critical_path.rows.iter().filter(|row| row.wall_ratio >= 0.005) {
            let line = page.lines().find(|line| line.trim_start().starts_with(&row.node)).unwrap();
            let cells: Vec<&str> = line.split_whitespace().collect();
            let share = cells.iter().rposition(|cell| cell.ends_with('%')).unwrap();
            let (value, tolerance) = written_time(cells[share - 2], cells[share - 1]);
            assert!((value - row.duration_ns.as_nanos() as f64).abs() <= tolerance, "{line}");
            let percent: f64 = cells[share].trim_end_matches('%').trim_start_matches('<').parse().unwrap();
            assert!((percent - row.wall_ratio * 100.0).abs() <= 1.0, "{line}");
            read += 1;
        }
    }
    assert!(read > 20, "{read}");
}

/// Time of the root in which a step was ready and did not run has no span either, but that is not what is to say.
#[test]
fn time_outside_nodes_in_which_a_step_waited_is_told_as_waiting() {
    let mut report = research_agent();
    let bound =
        |kind: &str, millis| Bound { kind: kind.to_owned(), duration_ns: ms(millis), wall_ratio: 0.0 };
    report.totals.unattributed_ns = ms(2_670);
    for (bounds, told) in [
        (vec![bound("queue", 2_520), bound("no_span", 150)], "is waiting (2.52 s) and no span (150 ms)"),
        (vec![bound("retry", 2_670)], "is waiting"),
        (vec![bound("no_span", 2_670)], "has no span"),
        // The queueing is in nodes: it is part of the path's length.
        (vec![bound("queue", 900), bound("no_span", 2_670)], "has no span"),
    ] {
        report.bounds = bounds;
        let text = text(&report, &TextStyle::default()).split_whitespace().collect::<Vec<_>>().join(" ");
        let told = format!("the other 0.14 s {told} plan");
        assert!(text.contains(&told), "{told}: {text}");
    }
}
