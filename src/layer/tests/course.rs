//! When spans waited, ran and ended, and how: times worked out by hand on a clock moved by hand.

use std::future::{Future, pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Waker};

use tracing::info_span;

use super::*;
use crate::FutureExt;

fn poll_once<F: Future>(future: F) {
    let mut future = pin!(future);
    let _ = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
}

#[test]
fn two_tools_opened_at_once_and_run_one_after_the_other_show_who_waited() {
    let finished = Bench::new(config()).run(|at| {
        at(100);
        let turn = info_span!("turn");
        let turn_inside = turn.enter();
        at(110);
        let (first, second) = (info_span!("first"), info_span!("second"));
        at(120);
        let first_inside = first.enter();
        at(320);
        drop(first_inside);
        drop(first);
        at(330);
        let second_inside = second.enter();
        at(400);
        drop(second_inside);
        drop(second);
        at(410);
        drop(turn_inside);
        drop(turn);
    });
    let (turn, first, second) =
        (named(&finished, "turn"), named(&finished, "first"), named(&finished, "second"));
    assert_eq!([turn.times(), first.times(), second.times()], [(100, 410), (110, 320), (110, 400)]);
    assert_eq!([turn, first, second].map(|span| span.int("longpole.queued_ns")), [None, Some(10), Some(220)]);
    assert_eq!(
        [turn, first, second].map(|span| span.int("longpole.busy_ns")),
        [Some(310), Some(200), Some(70)]
    );
    assert_eq!(turn.frame.children, 2);
}

#[test]
fn work_ends_at_the_last_exit_even_if_a_clone_holds_the_span_open() {
    let finished = Bench::new(config()).run(|at| {
        at(1_000_000);
        let span = info_span!("n");
        let clone = span.clone();
        span.in_scope(|| at(2_000_000));
        drop(span);
        at(3_000_001);
        drop(clone);
    });
    let n = named(&finished, "n");
    assert_eq!((n.times(), n.int("longpole.held_open_ns")), ((1_000_000, 2_000_000), Some(1_000_001)));
}

#[test]
fn work_ends_no_earlier_than_that_of_a_child_one_waits_for() {
    let run = |detached: bool| {
        let finished = Bench::new(config()).run(|at| {
            let parent = info_span!("parent");
            let child = parent.in_scope(|| {
                at(10);
                info_span!("child", node.detached = detached)
            });
            at(20);
            child.in_scope(|| at(50));
            at(60);
            drop(child);
            at(70);
        });
        named(&finished, "parent").times()
    };
    assert_eq!(run(false), (0, 50));
    assert_eq!(run(true), (0, 10));
}

#[test]
fn a_parent_that_only_waits_runs_when_its_child_first_runs() {
    let finished = Bench::new(config()).run(|at| {
        let parent = info_span!("parent");
        at(10);
        let child = info_span!(parent: &parent, "child");
        at(25);
        child.in_scope(|| at(30));
        drop(child);
        at(40);
        parent.in_scope(|| at(45));
    });
    let parent = named(&finished, "parent");
    assert_eq!(parent.int("longpole.queued_ns"), Some(25));
    assert_eq!(parent.int("longpole.first_enter_ns"), Some(40));
    assert_eq!(parent.times(), (0, 45));
}

#[test]
fn a_span_never_entered_lasts_from_creation_to_close_and_waited_for_nothing() {
    let finished = Bench::new(config()).run(|at| {
        let span = info_span!("n");
        at(9);
        drop(span);
    });
    let n = named(&finished, "n");
    assert_eq!(n.times(), (0, 9));
    assert!(n.span.attributes.is_empty(), "{:?}", n.span.attributes);
}

#[test]
fn polls_are_counted_and_the_longest_is_told_where_it_is_not_all() {
    let finished = Bench::new(config()).run(|at| {
        let span = info_span!("n");
        span.in_scope(|| at(5));
        at(20);
        span.in_scope(|| at(60));
        drop(span);
    });
    let n = named(&finished, "n");
    assert_eq!(n.int("longpole.polls"), Some(2));
    assert_eq!((n.int("longpole.busy_ns"), n.int("longpole.longest_poll_ns")), (Some(45), Some(40)));
}

#[test]
fn a_panic_marks_the_spans_it_unwinds_through_and_no_other() {
    let finished = measure(|| {
        let outer = info_span!("outer");
        let _outer = outer.enter();
        let held = info_span!("held by the caller");
        let _ = catch_unwind(|| {
            struct Cleanup;
            impl Drop for Cleanup {
                fn drop(&mut self) {
                    drop(info_span!("cleanup").entered());
                    drop(info_span!("cleanup without entering"));
                }
            }
            let _entered = info_span!("entered").entered();
            let _cleanup = Cleanup;
            let _never_entered = info_span!("never entered");
            std::panic::resume_unwind(Box::new("quietly"));
        });
        drop(held);
    });
    let outcome = |name| named(&finished, name).text("longpole.outcome");
    assert_eq!(outcome("entered").as_deref(), Some("panicked"));
    assert_eq!(outcome("never entered").as_deref(), Some("panicked"));
    for fine in ["outer", "held by the caller", "cleanup", "cleanup without entering"] {
        assert_eq!(outcome(fine), None, "{fine}");
    }
}

#[test]
fn a_future_dropped_before_it_is_ready_is_cancelled() {
    let finished = measure(|| {
        poll_once(pending::<()>().in_node("waiting"));
        drop(pending::<()>().in_node("never polled"));
        poll_once(ready(()).in_node("ready"));
        poll_once(pending::<()>().in_node_span(info_span!("given", node.id = "mine")));
        let panicking = async { std::panic::resume_unwind(Box::new("quietly")) }.in_node("panicking");
        let _ = catch_unwind(AssertUnwindSafe(|| poll_once(panicking)));
    });
    let outcome = |name| named(&finished, name).text("longpole.outcome");
    assert_eq!(outcome("waiting").as_deref(), Some("cancelled"));
    assert_eq!(outcome("never polled").as_deref(), Some("cancelled"));
    assert_eq!(outcome("given").as_deref(), Some("cancelled"));
    assert_eq!(outcome("ready"), None);
    assert_eq!(outcome("panicking").as_deref(), Some("panicked"));
    assert_eq!(named(&finished, "waiting").text("longpole.node.id").as_deref(), Some("waiting"));
}

#[test]
fn a_wrapped_future_keeps_the_span_it_was_made_in_wherever_it_runs() {
    let finished = measure(|| {
        let step = info_span!("step").in_scope(|| ready(()).in_node("inner"));
        let _elsewhere = info_span!("elsewhere").entered();
        poll_once(step);
    });
    assert_eq!(named(&finished, "inner").span.parent_span_id, named(&finished, "step").span.span_id);
}

#[test]
fn the_root_is_named_after_the_configured_workflow_unless_it_is_marked() {
    use crate::pipeline::shard::flags::{LOCAL_ROOT, OUTERMOST_MARKED};
    let program = || {
        let _root = info_span!("root").entered();
        let _marked = info_span!("marked", workflow.name = "mine").entered();
        let _within = info_span!("within", workflow.name = "deeper").entered();
    };
    let plain = measure(program);
    let flags =
        |finished: &[Finished], name| named(finished, name).frame.flags & (LOCAL_ROOT | OUTERMOST_MARKED);
    assert_eq!(
        ["root", "marked", "within"].map(|name| flags(&plain, name)),
        [LOCAL_ROOT, OUTERMOST_MARKED, 0]
    );
    assert_eq!(named(&plain, "root").text("longpole.workflow.name"), None);

    let config =
        LayerConfig { workflow: Some("agent".into()), workflow_version: Some("1.2".into()), ..config() };
    let named_by_config = measure_with(config.clone(), program);
    let all = LOCAL_ROOT | OUTERMOST_MARKED;
    assert_eq!(["root", "marked", "within"].map(|name| flags(&named_by_config, name)), [all, 0, 0]);
    let root = named(&named_by_config, "root");
    assert_eq!(root.text("longpole.workflow.name").as_deref(), Some("agent"));
    assert_eq!(root.text("longpole.workflow.version").as_deref(), Some("1.2"));

    let marked_root = measure_with(config, || drop(info_span!("root", gen_ai.workflow.name = "own")));
    assert_eq!(flags(&marked_root, "root"), all);
    assert_eq!(named(&marked_root, "root").text("longpole.workflow.name"), None);
}
