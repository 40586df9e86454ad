//! Reports made by hand, for tests of how reports are shown.

use std::collections::BTreeMap;

use longpole::money::Money;
use longpole::report::*;
use longpole::time::{Duration, Timestamp};

pub fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn usd(dollars: &str) -> Money {
    dollars.parse().unwrap()
}

/// A row of the critical path with one piece.
pub fn path_row(node: &str, kind: &str, start: u64, length: u64, cost: Option<&str>) -> PathRow {
    PathRow {
        node: node.to_owned(),
        kind: kind.to_owned(),
        executions: 1,
        failed: 0,
        duration_ns: ms(length),
        wall_ratio: 0.0,
        queued_ns: Duration::ZERO,
        is_inferred: false,
        cost_usd: cost.map(usd),
        pieces: vec![Piece { start_ns: ms(start), duration_ns: ms(length) }],
        is_longest: false,
    }
}

fn node_of(row: &PathRow) -> NodeReport {
    NodeReport {
        name: row.node.clone(),
        kind: row.kind.clone(),
        is_root: false,
        calls: row.executions,
        failures: row.failed,
        turns: None,
        retries: 0,
        duration: DurationSummary::default(),
        self_ns: row.duration_ns,
        busy_ns: None,
        queued_ns: row.queued_ns,
        on_path_ns: row.duration_ns,
        slack_ns: Some(Duration::ZERO),
        free_float_ns: Some(Duration::ZERO),
        save_max_ns: Some(row.duration_ns),
        failed_on_path_ns: Duration::ZERO,
        blocking: 0,
        model: None,
        baseline: None,
        sum_ratio: 0.1,
        wall_ratio: row.wall_ratio,
        critical_path_ratio: row.wall_ratio,
        peak_concurrency: 1,
        cost_usd: row.cost_usd,
        cost_with_nested_usd: row.cost_usd,
        tokens: None,
        phases: Vec::new(),
        untracked_ns: None,
    }
}

fn finding(subject: &str, severity: Severity, saves: u64) -> Finding {
    Finding {
        code: "LP101".to_owned(),
        title: "longest pole".into(),
        severity,
        subject: subject.to_owned(),
        saves_max_ns: ms(saves),
        wall_ratio: 0.0,
        saves_max_usd: None,
        confidence: Confidence::Sure,
        why: Vec::new(),
        suggestions: Vec::new(),
        rationale: "".into(),
        caveat: "".into(),
        spans: Vec::new(),
    }
}

/// A report with these rows and findings, in which everything that follows from them fits together.
pub fn report(workflow: &str, wall: u64, mut rows: Vec<PathRow>, mut findings: Vec<Finding>) -> Report {
    let wall = ms(wall);
    for row in &mut rows {
        row.wall_ratio = row.duration_ns.ratio_of(wall).unwrap_or_default();
    }
    let longest = rows.iter().map(|row| row.duration_ns).max();
    if let Some(row) = rows.iter_mut().find(|row| Some(row.duration_ns) == longest) {
        row.is_longest = true;
    }
    for finding in &mut findings {
        finding.wall_ratio = finding.saves_max_ns.ratio_of(wall).unwrap_or_default();
    }
    let length: Duration = rows.iter().map(|row| row.duration_ns).sum();
    let executions = rows.iter().map(|row| row.executions).sum();
    let trace_id = "7f3a9c2e5d6b4a1f8c0e2d4b6a8f1c3e";
    Report {
        budgets: Vec::new(),
        gates: Vec::new(),
        schema: SCHEMA.into(),
        generator: Generator { name: "longpole".into(), version: "0.1.0".into() },
        source: Source::Decoded,
        run: RunSummary {
            id: format!("{trace_id}-00f067aa0ba902b7"),
            trace_id: trace_id.to_owned(),
            root_span_id: Some("00f067aa0ba902b7".to_owned()),
            name: "run".to_owned(),
            workflow: Some(workflow.to_owned()),
            version: None,
            started_at: "2026-11-21T02:17:43.120Z".to_owned(),
            start_unix_ns: Timestamp::from_unix_nanos(1_795_227_463_120_000_000),
            status: RunStatus::Ok,
            wall_ns: wall,
            work_ns: length,
            spans: executions + 1,
            executions,
            errors: 0,
            retries: 0,
            baseline: None,
        },
        totals: Totals {
            parallelism_achieved: length.ratio_of(wall),
            parallelism_average: None,
            graph_bound_ns: None,
            efficiency: None,
            greedy_at_least_ns: None,
            greedy_at_most_ns: None,
            speed_up_room: None,
            parallelism_peak: 1,
            unattributed_ns: wall.saturating_sub(length),
            queued_ns: rows.iter().map(|row| row.queued_ns).sum(),
            cost_usd: None,
            tokens: None,
        },
        nodes: rows.iter().map(node_of).collect(),
        critical_path: CriticalPath {
            kind: PathKind::AsRun,
            length_ns: length,
            rows,
            beside: Vec::new(),
            segments: Vec::new(),
            segments_total: executions,
        },
        allowed_path: AllowedPath {
            kind: PathKind::AsTheGraphAllows,
            is_declared: false,
            wall_ns: wall,
            rows: Vec::new(),
        },
        bounds: Vec::new(),
        findings,
        combined: None,
        saves_nothing: Vec::new(),
        blocking: Vec::new(),
        detached: Vec::new(),
        cost: None,
        bottleneck_info: Summary::default(),
        quality: Quality {
            level: QualityLevel::High,
            closed_spans: executions + 1,
            open_spans: 0,
            missing_spans: 0,
            orphans: 0,
            left_out_spans: 0,
            declared_edges: 0,
            inferred_edges: 0,
            detached_spans: 0,
            warnings: BTreeMap::new(),
            open: Vec::new(),
            not_claimed: Vec::new(),
        },
        pipeline: None,
    }
}

/// A research agent: eight nodes on the path, two beside it, costs, queueing at a limit, a retry.
pub fn research_agent() -> Report {
    let rows = vec![
        path_row("plan", "llm", 30, 2_140, Some("0.0081")),
        PathRow { executions: 6, queued_ns: ms(7_460), ..path_row("fetch", "http", 2_190, 3_770, None) },
        path_row("embed", "llm", 5_980, 1_050, Some("0.0006")),
        path_row("rerank", "cpu", 7_040, 380, None),
        path_row("draft", "llm", 7_430, 6_920, Some("0.0412")),
        path_row("critique", "llm", 14_370, 3_310, Some("0.0118")),
        path_row("revise", "llm", 17_700, 4_870, Some("0.0296")),
        path_row("publish", "io", 22_570, 210, None),
    ];
    let twice = |saves| Suggestion::Faster { times: 2, saves_ns: ms(saves) };
    let findings = vec![
        Finding {
            why: vec![Reason::Tokens { output: 1_840, per_second: Some(265.9) }, Reason::NothingBeside],
            suggestions: vec![twice(3_460)],
            ..finding("draft", Severity::Critical, 6_920)
        },
        Finding {
            code: "LP102".to_owned(),
            title: "slower than usual".into(),
            why: vec![
                Reason::SlowerThanUsual { took_ns: ms(6_920), usual_ns: ms(5_020), runs: 20 },
                Reason::MovedAlong { measure: "output_tokens".to_owned(), now: 1_840, usual: 1_310 },
            ],
            suggestions: vec![Suggestion::BackToUsual { saves_ns: ms(1_900) }],
            ..finding("draft", Severity::Medium, 1_900)
        },
        Finding {
            why: vec![Reason::NothingBeside],
            suggestions: vec![twice(2_435)],
            ..finding("revise", Severity::High, 4_870)
        },
        Finding {
            why: vec![
                Reason::Calls { calls: 6, average_ns: ms(1_220), peak_concurrency: 2 },
                Reason::Queued { queued_ns: ms(7_460), behind: Some("fetch".to_owned()) },
            ],
            suggestions: vec![Suggestion::NoQueueing { saves_ns: ms(2_460) }, twice(1_610)],
            ..finding("fetch", Severity::High, 3_220)
        },
        Finding {
            code: "LP103".to_owned(),
            title: "queueing at a limit".into(),
            why: vec![Reason::AtLimit { calls: 6, limit: 2, queued_ns: ms(7_460) }],
            suggestions: vec![
                Suggestion::AtOnce { limit: 6, saves_ns: ms(2_460) },
                Suggestion::AtOnce { limit: 3, saves_ns: ms(1_260) },
            ],
            ..finding("fetch", Severity::High, 2_460)
        },
        finding("plan", Severity::Medium, 2_140),
        Finding {
            why: vec![Reason::PaceSetBy {
                on_path_ns: ms(3_310),
                after_ns: ms(1_110),
                node: Some("fact_check".to_owned()),
            }],
            ..finding("critique", Severity::Low, 1_110)
        },
    ];
    let mut report = report("research-agent", 22_790, rows, findings);
    report.run.version = Some("1.8.2".to_owned());
    report.run.retries = 1;
    report.run.work_ns = ms(30_000);
    report.run.spans = 19;
    report.totals.parallelism_achieved = Some(1.316);
    report.totals.parallelism_peak = 3;
    report.totals.cost_usd = Some(usd("0.0913"));
    report.totals.tokens = Some(Tokens { input: 7_600, output: 3_600 });
    report.quality.closed_spans = 19;
    report.quality.declared_edges = 5;
    report.run.baseline = Some(Baseline { runs: 20, p50_ns: ms(20_900), mad_ns: ms(180) });
    report.totals.graph_bound_ns = Some(ms(20_190));
    report.totals.efficiency = Some(0.886);
    report.allowed_path.is_declared = true;
    report.allowed_path.wall_ns = ms(20_190);
    report.allowed_path.rows = [("plan", 2_140), ("fetch", 1_310), ("embed", 1_050), ("draft", 6_920)]
        .map(|(node, length)| AllowedRow { node: Some(node.to_owned()), duration_ns: ms(length) })
        .to_vec();
    report.bounds =
        [("model_wait", 18_290), ("wait_http", 3_770), ("own_cpu", 380), ("wait_io", 210), ("no_span", 140)]
            .map(|(kind, length)| Bound {
                kind: kind.to_owned(),
                duration_ns: ms(length),
                wall_ratio: length as f64 / 22_790.0,
            })
            .to_vec();
    report.combined = Some(Combined {
        changes: vec![
            CombinedChange { subject: "draft".to_owned(), suggestion: twice(3_460) },
            CombinedChange {
                subject: "fetch".to_owned(),
                suggestion: Suggestion::AtOnce { limit: 6, saves_ns: ms(2_460) },
            },
        ],
        wall_ns: ms(16_870),
        saves_ns: ms(5_920),
    });
    report.saves_nothing = vec!["fact_check".to_owned(), "search.web".to_owned()];
    report.critical_path.beside = vec![
        BesideRow { node: "fact_check".to_owned(), duration_ns: ms(2_200), slack_ns: Some(ms(1_110)) },
        BesideRow { node: "search.web".to_owned(), duration_ns: ms(1_600), slack_ns: Some(ms(3_220)) },
    ];
    report
}

/// An agent that asks for two tools at once, which then run one after the other; one of its calls failed.
pub fn agent_with_queued_tools() -> Report {
    let pieces = |pieces: &[(u64, u64)]| {
        let piece = |&(start, length)| Piece { start_ns: ms(start), duration_ns: ms(length) };
        pieces.iter().map(piece).collect()
    };
    let chat = pieces(&[(4, 812), (1_720, 655), (2_390, 901)]);
    let rows = vec![
        PathRow {
            executions: 3,
            failed: 1,
            pieces: chat,
            ..path_row("chat gpt-4o-mini-2024-07-18", "llm", 0, 2_368, None)
        },
        path_row("execute_tool search_papers", "tool", 820, 301, None),
        PathRow { queued_ns: ms(301), ..path_row("execute_tool word_count", "tool", 1_121, 598, None) },
    ];
    let findings = vec![
        Finding {
            why: vec![
                Reason::Calls {
                    calls: 3,
                    average_ns: Duration::from_nanos(789_333_333),
                    peak_concurrency: 1,
                },
                Reason::Failed { failures: 1, retries: 1, on_path_ns: ms(655) },
                Reason::NothingBeside,
            ],
            suggestions: vec![Suggestion::Faster { times: 2, saves_ns: ms(1_184) }],
            ..finding("chat gpt-4o-mini-2024-07-18", Severity::Critical, 2_368)
        },
        Finding {
            confidence: Confidence::Likely,
            why: vec![Reason::Queued {
                queued_ns: ms(301),
                behind: Some("execute_tool search_papers".to_owned()),
            }],
            suggestions: vec![Suggestion::NoQueueing { saves_ns: ms(301) }],
            ..finding("execute_tool word_count", Severity::High, 598)
        },
        Finding {
            confidence: Confidence::Guess,
            why: vec![Reason::OwnCpu { busy_ratio: 0.94 }],
            ..finding("execute_tool search_papers", Severity::Medium, 301)
        },
    ];
    let mut report = report("literature-review", 3_295, rows, findings);
    report.run.errors = 1;
    report.run.retries = 1;
    report.totals.tokens = Some(Tokens { input: 12_480, output: 911 });
    report
}
