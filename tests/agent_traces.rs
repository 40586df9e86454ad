//! Traces recorded from real agents, with libraries that name things each in its own way.
//!
//! What is asserted follows from the script the model plays and from the tools, both in
//! `tests/data/agents/record/desk.py`: four answers of the model; two tools asked for at once, one of which takes
//! 250 ms and the other 50 ms; a booking that fails and is asked for again.

use std::path::Path;

use longpole::report::{NodeReport, RunStatus, Tokens};
use longpole::span_record::SpanRecord;
use longpole::time::Duration;
use longpole::{Report, ReportOptions, report_on};

/// Input 100 + 160 + 200 + 240, output 20 + 15 + 15 + 30.
const TOKENS: Tokens = Tokens { input: 700, output: 80 };
const CHAT: &str = "chat scripted-1";

fn spans_of(file: &str) -> Vec<SpanRecord> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/agents").join(file);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    longpole::decode::decode(&bytes).unwrap().spans
}

/// The one run in `file`.
fn report_of(file: &str) -> Report {
    let mut reports = report_on(spans_of(file), &ReportOptions::default());
    assert_eq!(reports.len(), 1, "{file}: runs");
    reports.remove(0)
}

fn node<'a>(report: &'a Report, name: &str) -> &'a NodeReport {
    let names: Vec<&str> = report.nodes.iter().map(|node| &*node.name).collect();
    report.nodes.iter().find(|node| node.name == name).unwrap_or_else(|| panic!("no {name} in {names:?}"))
}

fn names(report: &Report) -> Vec<&str> {
    let mut names: Vec<&str> = report.nodes.iter().map(|node| &*node.name).collect();
    names.sort_unstable();
    names
}

/// What is the same for every agent, since all of them play the same script. `bookings` of the two bookings were
/// recorded, `failures` of them failed.
fn check_the_script(report: &Report, bookings: u64, failures: u64) {
    assert_eq!(report.run.status, RunStatus::Ok);
    assert!(report.quality.warnings.is_empty(), "{:?}", report.quality.warnings);

    let chat = node(report, CHAT);
    assert_eq!((chat.calls, chat.failures, &*chat.kind), (4, 0, "llm"));
    assert_eq!(chat.tokens, Some(TOKENS));
    assert_eq!(report.totals.tokens, Some(TOKENS));
    // Three answers take 50 ms, the last 80 ms.
    assert!(chat.duration.sum_ns >= Duration::from_millis(3 * 50 + 80));
    assert_eq!(chat.peak_concurrency, 1);

    let booking = node(report, "execute_tool book_room");
    assert_eq!((booking.calls, booking.failures, &*booking.kind), (bookings, failures, "tool"));
    assert!(booking.duration.min_ns >= Duration::from_millis(20));
    assert_eq!(report.run.errors, failures);

    // Asked for at once, the run waits for the slower of the two.
    let (weather, news) = (node(report, "execute_tool weather"), node(report, "execute_tool news"));
    assert_eq!((weather.calls, news.calls), (1, 1));
    assert!(weather.on_path_ns >= Duration::from_millis(250));
    assert_eq!(news.on_path_ns, Duration::ZERO);
    assert!(news.slack_ns.unwrap() >= Duration::from_millis(150), "{:?}", news.slack_ns);
    assert_eq!(news.save_max_ns, None);
    // Everything but the other tool is done one after the other, so all of it is on the path.
    assert_eq!(chat.on_path_ns, chat.duration.sum_ns);
    assert_eq!(booking.on_path_ns, booking.duration.sum_ns);

    let agent = node(report, "invoke_agent travel_desk");
    assert_eq!((agent.calls, &*agent.kind, agent.tokens), (1, "agent", None));
}

#[test]
fn pydantic_ai_with_the_gen_ai_conventions() {
    let report = report_of("pydantic_ai.jsonl");
    check_the_script(&report, 2, 1);
    let tools = ["execute_tool book_room", "execute_tool news", "execute_tool weather"];
    assert_eq!(names(&report), [&[CHAT], &tools[..], &["invoke_agent travel_desk"]].concat());
    assert_eq!(report.run.name, "invoke_agent travel_desk");
    assert!(node(&report, "invoke_agent travel_desk").is_root);
    // The agent's span repeats the sum of its calls, which counts once.
    let agent = spans_of("pydantic_ai.jsonl").into_iter().find(|record| record.parent_id.is_none()).unwrap();
    assert_eq!(agent.facts.unwrap().tokens.input, Some(TOKENS.input));
    // Four answers and four tool calls; the root is the run.
    assert_eq!(report.run.executions, 8);
    check_details("pydantic_ai.jsonl", "openai", Some([460, 20]));
}

#[test]
fn the_openai_agents_sdk_with_openinference() {
    let report = report_of("openinference.jsonl");
    check_the_script(&report, 2, 1);
    let tools = ["execute_tool book_room", "execute_tool news", "execute_tool weather"];
    // The instrumentation makes the SDK's trace an agent without a name; its turns are chains, which contain steps.
    let agents = ["invoke_agent Agent workflow", "invoke_agent travel_desk"];
    assert_eq!(names(&report), [&[CHAT], &tools[..], &agents[..]].concat());
    assert!(node(&report, "invoke_agent Agent workflow").is_root);
    let turns: Vec<u64> = node(&report, "invoke_agent travel_desk")
        .phases
        .iter()
        .filter(|phase| phase.name == "turn")
        .map(|phase| phase.calls)
        .collect();
    assert_eq!(turns, [4], "one phase, as often as the model answers");
    assert_eq!(report.run.executions, 9);
    check_details("openinference.jsonl", "openai", None);
}

#[test]
fn an_agent_with_openllmetry() {
    let report = report_of("openllmetry.jsonl");
    check_the_script(&report, 2, 1);
    check_the_workflow(&report);
    // Four answers, four tool calls, the agent and the task; the workflow is the run.
    assert_eq!(report.run.executions, 10);
    check_details("openllmetry.jsonl", "openai", Some([460, 20]));
}

#[test]
fn an_agent_with_an_openllmetry_of_older_spellings() {
    let report = report_of("openllmetry_0_36.jsonl");
    // This version loses the span of a tool that raises.
    check_the_script(&report, 1, 0);
    check_the_workflow(&report);
    assert_eq!(report.run.executions, 9);
    check_details("openllmetry_0_36.jsonl", "OpenAI", None);
}

/// One run, named after the workflow although spans below carry a workflow's name too.
fn check_the_workflow(report: &Report) {
    assert_eq!(report.run.workflow.as_deref(), Some("plan_a_day"));
    assert_eq!(report.run.name, "plan_a_day.workflow");
    let tools = ["execute_tool book_room", "execute_tool news", "execute_tool weather"];
    let others = ["invoke_agent travel_desk", "plan_question"];
    assert_eq!(names(report), [&[CHAT], &tools[..], &others[..]].concat());
    let task = node(report, "plan_question");
    assert_eq!((task.calls, task.is_root), (1, false));
    assert!(task.on_path_ns >= Duration::from_millis(30));
}

/// Cached input tokens 0 + 100 + 160 + 200 and reasoning tokens 8 + 0 + 0 + 12, where the library records them, and
/// the provider of every answer.
fn check_details(file: &str, provider: &str, cached_and_reasoning: Option<[u64; 2]>) {
    let mut sums = None;
    let mut answers = 0;
    for record in spans_of(file) {
        if record.node_id().as_deref() != Some(CHAT) {
            continue;
        }
        let facts = record.facts.unwrap();
        assert_eq!(facts.provider.as_deref(), Some(provider), "{file}");
        answers += 1;
        let told = [facts.tokens.cache_read, facts.tokens.reasoning];
        if told.iter().any(Option::is_some) {
            let [cached, reasoning] = sums.get_or_insert([0, 0]);
            *cached += told[0].unwrap_or(0);
            *reasoning += told[1].unwrap_or(0);
        }
    }
    assert_eq!(answers, 4, "{file}");
    assert_eq!(sums, cached_and_reasoning, "{file}");
}
