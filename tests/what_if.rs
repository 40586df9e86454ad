//! What a run would have been with nodes changed, worked out by hand. One unit is 1 ms.

#[path = "support/spans.rs"]
mod spans;

use longpole::render::{TextStyle, what_if_json, what_if_text};
use longpole::report::what_if::{self, Change, WhatIf, WhatIfAnswer, WhatIfError, what_if};
use longpole::run::RunOptions;
use longpole::run_assembler::FinishedRun;
use longpole::runs_in;
use longpole::span_record::SpanRecord;
use longpole::time::Duration;

const MS: u64 = 1_000_000;

fn node(id: u64, parent: u64, name: &str, start: u64, end: u64) -> SpanRecord {
    let mut record = spans::span(id, Some(parent), "step", start * MS, end * MS);
    record.facts.get_or_insert_default().node_id = Some(name.into());
    record
}

fn queued(id: u64, name: &str, start: u64, end: u64) -> SpanRecord {
    let mut record = node(id, 1, name, 0, end);
    record.timing.queued = Duration::from_millis(start);
    record
}

/// ```text
///          0    10   20   30   40   50   60   70   80   90   100
/// run      ==================================================
/// plan     ==========
/// agent              ==============================            (its own: 20–25, 45–50, 70–80)
///  tool                   ==========     ==========            (25–45, 50–70)
/// check              ====================
/// publish                                          ==========  (80–100)
/// ```
fn desk() -> FinishedRun {
    let records = vec![
        spans::span(1, None, "run", 0, 100 * MS),
        node(2, 1, "plan", 0, 20),
        node(3, 1, "agent", 20, 80),
        node(4, 3, "tool", 25, 45),
        node(5, 3, "tool", 50, 70),
        node(6, 1, "check", 20, 60),
        node(7, 1, "publish", 80, 100),
    ];
    run(records)
}

fn run(records: Vec<SpanRecord>) -> FinishedRun {
    let mut runs = runs_in(records);
    assert_eq!(runs.len(), 1);
    runs.remove(0)
}

fn answer(run: FinishedRun, changes: &[Change]) -> WhatIf {
    what_if(run, changes, &RunOptions::default()).unwrap()
}

fn new_wall(run: FinishedRun, changes: &[Change]) -> f64 {
    answer(run, changes).new_wall_ns.as_millis_f64()
}

fn faster(node: &str, times: f64) -> Change {
    Change::Faster { node: node.to_owned(), times, with_below: false }
}

#[test]
fn nothing_changed_is_as_it_was() {
    let same = answer(desk(), &[]);
    assert_eq!((same.wall_ns, same.new_wall_ns, same.saves_ns.as_nanos()), (same.wall_ns, same.wall_ns, 0));
    let path: Vec<_> = same
        .path
        .iter()
        .map(|row| (row.node.as_deref().unwrap_or("-"), row.duration_ns.as_nanos() / MS))
        .collect();
    assert_eq!(path, [("plan", 20), ("agent", 20), ("tool", 40), ("publish", 20)]);
    assert_eq!(same.next.as_deref(), Some("tool"));
}

#[test]
fn a_node_is_made_faster_with_or_without_what_is_inside() {
    assert_eq!(new_wall(desk(), &[faster("plan", 2.0)]), 90.0);
    // The agent's own 20 become 10; its tools stay.
    assert_eq!(new_wall(desk(), &[faster("agent", 2.0)]), 90.0);
    let with_below = Change::Faster { node: "agent".to_owned(), times: 2.0, with_below: true };
    // All 60 become 30, but check takes 40.
    assert_eq!(new_wall(desk(), &[with_below]), 80.0);
    // Twice as slow: the own 20 become 40.
    assert_eq!(new_wall(desk(), &[faster("agent", 0.5)]), 120.0);
    assert_eq!(answer(desk(), &[faster("agent", 0.5)]).saves_ns, Duration::ZERO);
    assert_eq!(new_wall(desk(), &[faster("check", 100.0)]), 100.0, "off the path");
    // Two thirds of 60 off in parts of a millionth.
    let third = new_wall(desk(), &[faster("tool", 1.5)]);
    assert!((third - (60.0 + 40.0 / 1.5)).abs() < 1e-3, "{third}");
}

#[test]
fn a_node_is_taken_away_or_answered_from_a_cache() {
    let remove = |node: &str| Change::Remove { node: node.to_owned() };
    // Without the agent check sets the pace: plan 20, check 40, publish 20.
    assert_eq!(new_wall(desk(), &[remove("agent")]), 80.0);
    assert_eq!(new_wall(desk(), &[remove("plan")]), 80.0);
    let cache = |misses| Change::Cache { node: "tool".to_owned(), misses };
    // The first call still takes its 20; of none, 20 of 60 are left to the agent, and check takes 40.
    assert_eq!(new_wall(desk(), &[cache(1)]), 80.0);
    assert_eq!(new_wall(desk(), &[cache(0)]), 80.0);
    assert_eq!(new_wall(desk(), &[cache(2)]), 100.0);
}

#[test]
fn several_changes_are_replayed_together() {
    // Alone: plan 20, agent with all below 20 (check takes over). Together with a faster check more is to be had.
    let agent = Change::Faster { node: "agent".to_owned(), times: 2.0, with_below: true };
    assert_eq!(new_wall(desk(), &[agent.clone(), faster("plan", 2.0)]), 70.0);
    assert_eq!(new_wall(desk(), &[agent, faster("plan", 2.0), faster("check", 4.0)]), 60.0);
}

#[test]
fn limits_are_lifted_or_set() {
    let limited = || {
        let pairs = [(0, 100), (0, 100), (100, 200), (100, 200), (200, 300), (200, 300)];
        let tasks = (2..).zip(pairs).map(|(id, (start, end))| queued(id, "fetch", start, end));
        run([spans::span(1, None, "run", 0, 300 * MS)].into_iter().chain(tasks).collect())
    };
    let at_once = |limit| Change::AtOnce { node: "fetch".to_owned(), limit };
    let walls = [1, 2, 3, 4, 6, 100].map(|limit| new_wall(limited(), &[at_once(limit)]));
    assert_eq!(walls, [600.0, 300.0, 200.0, 200.0, 100.0, 100.0]);
    assert_eq!(new_wall(limited(), &[at_once(0)]), 600.0, "one always runs");
    assert_eq!(new_wall(limited(), &[Change::NoQueueing { node: "fetch".to_owned() }]), 100.0);
    // Twice as fast and three at once: two rounds of 50.
    assert_eq!(new_wall(limited(), &[at_once(3), faster("fetch", 2.0)]), 100.0);
}

#[test]
fn a_limit_nobody_was_seen_to_wait_for_can_be_lifted_too() {
    let starts = [0, 0, 100, 100, 200, 200];
    let tasks = (2..).zip(starts).map(|(id, start)| node(id, 1, "fetch", start, start + 100));
    let records: Vec<_> = [spans::span(1, None, "run", 0, 300 * MS)].into_iter().chain(tasks).collect();
    let at_once = |limit| [Change::AtOnce { node: "fetch".to_owned(), limit }];
    assert_eq!(new_wall(run(records.clone()), &at_once(2)), 300.0);
    assert_eq!(new_wall(run(records.clone()), &at_once(3)), 200.0);
    assert_eq!(new_wall(run(records), &at_once(6)), 100.0);
}

#[test]
fn a_limit_goes_for_each_parent_by_itself() {
    // Two callers one after the other, each with two calls in a row.
    let mut records =
        vec![spans::span(1, None, "run", 0, 400 * MS), node(2, 1, "a", 0, 200), node(3, 1, "b", 200, 400)];
    for (id, parent, start) in [(4, 2, 0), (5, 2, 100), (6, 3, 200), (7, 3, 300)] {
        records.push(node(id, parent, "call", start, start + 100));
    }
    let both = Change::AtOnce { node: "call".to_owned(), limit: 2 };
    assert_eq!(new_wall(run(records), &[both]), 200.0);
}

#[test]
fn steps_can_run_together() {
    let records = vec![
        spans::span(1, None, "run", 0, 300 * MS),
        node(2, 1, "a", 0, 100),
        node(3, 1, "b", 100, 250),
        node(4, 1, "c", 250, 300),
    ];
    let together =
        |nodes: &[&str]| [Change::Together { nodes: nodes.iter().map(|it| (*it).to_owned()).collect() }];
    // b moves to 0; c comes after whichever ends last.
    assert_eq!(new_wall(run(records.clone()), &together(&["a", "b"])), 200.0);
    assert_eq!(new_wall(run(records.clone()), &together(&["a", "b", "c"])), 150.0);
    assert_eq!(new_wall(run(records), &together(&["c"])), 300.0);
}

#[test]
fn what_cannot_be_changed_is_said() {
    let error = |change: Change| what_if(desk(), &[change], &RunOptions::default()).unwrap_err();
    let unknown = error(faster("pubish", 2.0));
    assert_eq!(
        unknown,
        WhatIfError::NoSuchNode { name: "pubish".to_owned(), near: vec!["publish".to_owned()] }
    );
    assert_eq!(unknown.to_string(), r#"no node "pubish" in this run; did you mean publish?"#);
    assert_eq!(
        error(Change::Remove { node: "quarterly".to_owned() }).to_string(),
        r#"no node "quarterly" in this run"#
    );
    for times in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(error(faster("plan", times)), WhatIfError::NoFactor { .. }), "{times}");
    }
    let nothing = what_if(FinishedRun::default(), &[], &RunOptions::default());
    assert_eq!(nothing, Err(WhatIfError::NoSpans));
}

#[test]
fn an_answer_is_one_line() {
    let ask = |changes: &[Change]| {
        let told = what_if::answer(desk(), changes, None, &longpole::ReportOptions::default()).unwrap();
        let read: WhatIfAnswer = serde_json::from_str(&what_if_json(&told)).unwrap();
        assert_eq!(read, told);
        assert_eq!(told.run, longpole::report_on_run(desk(), &Default::default()).unwrap().run.id);
        told
    };
    let told = |changes: &[Change]| what_if_text(&ask(changes), &TextStyle::default());
    assert_eq!(
        told(&[faster("tool", 2.0)]),
        "100 ms → 80.0 ms  (−20.0 ms, −20%)   next longest pole: check, 40.0 ms\n"
    );
    assert_eq!(
        told(&[faster("agent", 0.5)]),
        "100 ms → 120 ms  (+20.0 ms, +20%)   next longest pole: agent, 40.0 ms\n"
    );
    assert_eq!(told(&[]), "");
    let same = told(&[faster("check", 100.0)]);
    assert!(same.starts_with("100 ms → 100 ms  (±0)"), "{same}");
    let ascii = TextStyle { ascii: true, ..TextStyle::default() };
    let text = what_if_text(&ask(&[faster("tool", 2.0)]), &ascii);
    assert!(text.starts_with("100 ms -> 80.0 ms  (-20.0 ms, -20%)"), "{text}");
}
