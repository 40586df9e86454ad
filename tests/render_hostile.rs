//! Whatever is in a report, its text is harmless: within its width, without control characters, ASCII if asked.

#![allow(missing_docs, unreachable_pub, dead_code, reason = "a test")]

#[path = "support/html_check.rs"]
mod html_check;
#[path = "support/sample_reports.rs"]
mod sample_reports;

use std::collections::BTreeMap;

use longpole::money::Money;
use longpole::render::{HtmlOptions, TextStyle, html, text};
use longpole::report::*;
use longpole::time::Duration;
use proptest::prelude::*;
use sample_reports::agent_with_queued_tools;
use unicode_width::UnicodeWidthStr;

fn at(width: usize) -> TextStyle {
    TextStyle { width, ..TextStyle::default() }
}

fn any_name() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        any::<String>(),
        "[a-z_.]{0,30}",
        Just("取得する".to_owned()),
        Just("\u{1b}[2J\u{1b}]8;;http://x\u{7}".to_owned()),
        Just("\0\r\n\t\u{9b}31m".to_owned()),
        Just("\u{202e}gnp\u{2069}\u{200b}\u{feff}\u{2028}".to_owned()),
        Just("👩\u{200d}👩\u{200d}👧👍🏽❤\u{fe0f}🇨🇭".to_owned()),
        Just("e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}".to_owned()),
        Just("x".repeat(10_000)),
        Just("\u{301}".repeat(300)),
    ];
    prop::collection::vec(part, 0..4).prop_map(|parts| parts.concat())
}

fn any_duration() -> impl Strategy<Value = Duration> {
    prop_oneof![any::<u64>(), 0..100_000_000_000u64, Just(0)].prop_map(Duration::from_nanos)
}

prop_compose! {
    fn any_path_row()(
        node in any_name(), kind in any_name(), executions in any::<u64>(), failed in 0..3u64,
        duration_ns in any_duration(), wall_ratio in any::<f64>(), queued_ns in any_duration(),
        cost in any::<Option<i128>>(), is_longest in any::<bool>(), is_inferred in any::<bool>(),
        pieces in prop::collection::vec((any_duration(), any_duration()), 0..4),
    ) -> PathRow {
        PathRow {
            node, kind, executions, failed, duration_ns, wall_ratio, queued_ns, is_longest, is_inferred,
            cost_usd: cost.map(Money::from_picodollars),
            pieces: pieces.into_iter().map(|(start_ns, duration_ns)| Piece { start_ns, duration_ns }).collect(),
        }
    }
}

/// Every kind of evidence, suggestion and row with foreign names and any figures in it.
fn put_evidence(
    report: &mut Report,
    name: &str,
    other: &str,
    times: &[Duration],
    counts: &[u64],
    ratio: f64,
) {
    let (name, other) = (name.to_owned(), other.to_owned());
    let (time, count) = (times[0], counts[0]);
    let why = vec![
        Reason::OverSla { sla_ns: time, average_ns: times[1] },
        Reason::SlowerThanUsual { took_ns: time, usual_ns: times[1], runs: count },
        Reason::MovedAlong { measure: name.clone(), now: count, usual: counts[1] },
        Reason::SlowerOutput {
            model: name.clone(),
            per_second: ratio,
            usual: -ratio,
            among_calls: Some(count),
        },
        Reason::SlowerOrMore { slower_ns: time, wrote_more_ns: times[1] },
        Reason::AtLimit { calls: count, limit: counts[1], queued_ns: time },
        Reason::OneAfterAnother {
            steps: count,
            nodes: vec![name.clone()],
            together_ns: time,
            longest_ns: times[1],
        },
        Reason::Repeated { calls: count, caller: Some(name.clone()) },
        Reason::SameInput { repeats: count, calls: counts[1] },
        Reason::Straggler { siblings: count, median_ns: time, longest_ns: times[1] },
        Reason::LostToRetries {
            failures: count,
            retries: counts[1],
            lost_ns: time,
            on_path_ns: times[1],
            cost_usd: Some(Money::from_picodollars(i128::MAX)),
        },
        Reason::Varies { rule: name.clone(), value: ratio, limit: ratio, calls: count },
        Reason::CostShare {
            cost_usd: Money::from_picodollars(i128::MIN),
            cost_ratio: ratio,
            time_ratio: ratio,
        },
        Reason::Gap {
            start_ns: time,
            duration_ns: times[1],
            after: Some(name.clone()),
            before: Some(other.clone()),
        },
        Reason::RoomToSpread { graph_bound_ns: time, useful_workers: count, peak: counts[1] },
        Reason::FailedOnPath { on_path_ns: time, failures: count },
        Reason::TraceQuality { counts: BTreeMap::from([(name.clone(), count)]) },
        Reason::LostContext { roots: count, span: name.clone(), duration_ns: time },
    ];
    report.findings[2].code = name.clone();
    report.findings[2].title = other.clone().into();
    report.findings[2].why = why;
    report.findings[2].suggestions = vec![
        Suggestion::AtOnce { limit: count, saves_ns: time },
        Suggestion::Cache { saves_ns: time, saves_usd: Some(Money::from_picodollars(i128::MAX)) },
    ];
    report.combined = Some(Combined {
        changes: vec![CombinedChange {
            subject: name.clone(),
            suggestion: Suggestion::Together { saves_ns: time },
        }],
        wall_ns: time,
        saves_ns: times[1],
    });
    report.saves_nothing = vec![name.clone(), other.clone()];
    report.run.baseline = Some(Baseline { runs: count, p50_ns: time, mad_ns: times[1] });
    report.bounds = vec![Bound { kind: name.clone(), duration_ns: time, wall_ratio: ratio }; 3];
    report.blocking = vec![BlockingRow {
        node: Some(name.clone()),
        span: other.clone(),
        span_id: String::new(),
        spans: count,
        longest_poll_ns: time,
    }];
    report.detached = vec![DetachedRow { name: name.clone(), spans: count, duration_ns: time }];
    report.totals.efficiency = Some(ratio);
    report.allowed_path.is_declared = true;
    report.allowed_path.rows = vec![AllowedRow { node: Some(name.clone()), duration_ns: time }; 6];
    report.quality.declared_edges = count;
    report.quality.not_claimed = vec![name];
}

/// A section about cost in which every name is one of these, and every amount and count as large as can be.
fn any_cost(names: &[String], counts: &[u64]) -> CostSection {
    let (name, other, most) = (&names[0], &names[1], Some(Money::from_picodollars(i128::MAX)));
    let tokens = TokenSums {
        input: Some(counts[0]),
        output: Some(counts[1]),
        cache_read: Some(counts[2]),
        cache_write: Some(counts[3]),
        reasoning: Some(counts[4]),
    };
    CostSection {
        total_usd: most,
        is_lower_bound: true,
        sources: ["estimated", "provider", name]
            .map(|source| CostSourceRow {
                source: source.to_owned(),
                key: (source != "estimated").then(|| other.clone()),
                table: Some(other.clone()),
                charges: counts[0],
                cost_usd: Money::from_picodollars(i128::MIN),
            })
            .to_vec(),
        price_tables: vec![name.clone(), other.clone()],
        calls: counts[1],
        covered_calls: counts[2],
        unpriced_calls: counts[3],
        partly_priced_calls: counts[4],
        without_price: BTreeMap::from([(name.clone(), counts[5]), (other.clone(), 1)]),
        warnings: BTreeMap::from([(name.clone(), counts[5]), (other.clone(), 1)]),
        unpriced: vec![
            UnpricedRow {
                reason: name.clone(),
                provider: Some(other.clone()),
                model: Some(name.clone()),
                calls: counts[4],
                failed: counts[5],
                covered: counts[0],
                tokens,
                hint: Some(other.clone()),
            };
            4
        ],
        off_path_usd: most,
        retries_usd: most,
        failed_usd: most,
        tokens,
        models: vec![
            ModelCost {
                provider: Some(other.clone()),
                model: Some(name.clone()),
                calls: counts[0],
                unpriced_calls: counts[1],
                failed_calls: counts[2],
                cost_usd: most,
                is_lower_bound: true,
                cost_ratio: Some(f64::NAN),
                tokens,
                timed_calls: counts[3],
                output_time_ns: Duration::MAX,
                timed_output_tokens: counts[4],
            };
            4
        ],
        nodes: vec![NodeCost {
            node: name.clone(),
            calls: counts[0],
            unpriced_calls: counts[1],
            cost_usd: most,
            with_nested_usd: most,
            is_lower_bound: false,
            cost_ratio: None,
            path_ratio: f64::INFINITY,
            on_path_usd: most,
            off_path_usd: most,
            retries_usd: most,
            tokens,
        }],
        outside_nodes_usd: most,
        roll_ups: ["cost", "output_tokens", other]
            .map(|measure| RollUpDifference {
                node: Some(name.clone()),
                span: other.clone(),
                span_id: String::new(),
                measure: measure.to_owned(),
                says: other.clone(),
                calls_say: counts[0].to_string(),
                calls: counts[1],
            })
            .to_vec(),
        roll_ups_total: counts[2],
        ..CostSection::default()
    }
}

prop_compose! {
    /// A report in which everything that comes from outside is anything.
    fn any_report()(
        names in prop::collection::vec(any_name(), 8),
        rows in prop::collection::vec(any_path_row(), 0..15),
        times in prop::collection::vec(any_duration(), 6),
        counts in prop::collection::vec(any::<u64>(), 6),
        ratio in any::<f64>(),
        has_cost: bool,
        status in prop::sample::select(vec![RunStatus::Ok, RunStatus::Cancelled, RunStatus::Incomplete]),
        level in prop::sample::select(vec![QualityLevel::Low, QualityLevel::Medium, QualityLevel::High]),
    ) -> Report {
        let mut report = agent_with_queued_tools();
        report.run.workflow = Some(names[0].clone());
        report.run.version = Some(names[1].clone());
        report.run.trace_id = names[2].clone();
        report.run.status = status;
        report.run.wall_ns = times[0];
        report.run.errors = counts[0];
        report.run.spans = counts[1];
        report.totals.unattributed_ns = times[1];
        report.totals.parallelism_achieved = Some(ratio);
        report.critical_path.rows = rows;
        report.critical_path.length_ns = times[2];
        report.critical_path.beside =
            vec![BesideRow { node: names[3].clone(), duration_ns: times[3], slack_ns: Some(times[4]) }; 6];
        report.findings[0].subject = names[4].clone();
        report.findings[0].saves_max_ns = times[5];
        report.findings[0].wall_ratio = ratio;
        report.findings[0].why.push(Reason::Tokens { output: counts[2], per_second: Some(ratio) });
        report.findings[1].why = vec![
            Reason::Queued { queued_ns: times[0], behind: Some(names[5].clone()) },
            Reason::PaceSetBy { on_path_ns: times[1], after_ns: times[2], node: Some(names[5].clone()) },
        ];
        put_evidence(&mut report, &names[5], &names[4], &times, &counts, ratio);
        report.nodes[0].name = names[6].clone();
        report.nodes[0].cost_usd = Some(Money::from_picodollars(i128::MAX));
        report.totals.cost_usd = Some(Money::from_picodollars(1));
        report.cost = has_cost.then(|| any_cost(&names[6..], &counts));
        report.quality.level = level;
        report.quality.open_spans = counts[3];
        report.quality.closed_spans = counts[4];
        report.quality.warnings.insert(names[7].clone(), counts[5]);
        report.pipeline = Some(BTreeMap::from([(names[7].clone(), counts[5])]));
        report
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn no_line_is_wider_than_asked_for(report in any_report(), width in 50usize..220, ascii: bool) {
        for line in text(&report, &TextStyle { width, ascii, color: false }).lines() {
            prop_assert!(line.width() <= width.clamp(60, 200), "{} columns: {line}", line.width());
        }
    }

    #[test]
    fn nothing_in_a_report_acts_on_the_terminal(report in any_report(), width in 60usize..200) {
        let text = text(&report, &at(width));
        let acts = |c: char| c != '\n' && (c.is_control() || ('\u{200b}'..='\u{200f}').contains(&c)
            || ('\u{2028}'..='\u{202e}').contains(&c) || ('\u{2060}'..='\u{206f}').contains(&c) || c == '\u{feff}');
        prop_assert_eq!(text.chars().find(|c| acts(*c)), None);
    }

    #[test]
    fn nothing_in_a_report_acts_in_a_page(report in any_report()) {
        let page = html(&report, None, &HtmlOptions::default());
        let texts: String = html_check::tags(&page).iter().map(|tag| &*tag.text_after).collect();
        let acts = |c: char| c != '\n' && (c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c));
        prop_assert_eq!(texts.chars().find(|c| acts(*c)), None);
    }

    #[test]
    fn in_ascii_every_byte_is_ascii(report in any_report(), width in 60usize..200) {
        let text = text(&report, &TextStyle { width, ascii: true, color: false });
        prop_assert!(text.is_ascii());
    }

    #[test]
    fn colour_only_adds_escapes(report in any_report(), width in 60usize..200, ascii: bool) {
        let colored = text(&report, &TextStyle { width, ascii, color: true });
        let mut plain = colored.clone();
        for code in ["1;35", "1;31", "31", "33", "32", "2", "0"] {
            plain = plain.replace(&format!("\x1b[{code}m"), "");
        }
        prop_assert_eq!(plain, text(&report, &TextStyle { width, ascii, color: false }));
    }

    #[test]
    fn no_line_ends_with_a_space(report in any_report(), width in 60usize..200) {
        for line in text(&report, &at(width)).lines() {
            prop_assert!(!line.ends_with(' '), "{line:?}");
        }
    }
}
