//! Somebody sets the system's clock while spans are open, or it says a year that cannot be.

use tracing::info_span;

use super::*;

const SECOND: u64 = 1_000_000_000;
const HOUR: u64 = 3600 * SECOND;
/// In the year 2026.
const TODAY: u64 = 1_795_000_000 * SECOND;

/// Runs `program` on a clock it moves with the first function, beside a system's clock it sets with the second: to
/// what that would have shown at the first one's zero.
fn run_at(wall: u64, program: impl FnOnce(&dyn Fn(u64), &dyn Fn(u64))) -> Vec<Finished> {
    let (now, anchor) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(wall)));
    let clock = Clock::manual_anchored(now.clone(), anchor.clone());
    let core = LayerCore::with_clock(config(), Arc::new(Shards::new(1, 64 << 20)), clock);
    let mut bench = Bench { harness: Harness::with_core(core), now };
    bench.run(|at| program(at, &|wall| anchor.store(wall, Ordering::Relaxed)))
}

#[test]
fn a_jump_of_an_hour_changes_no_duration_and_no_order_within_a_run() {
    for jumped in [TODAY + HOUR, TODAY - HOUR] {
        let finished = run_at(TODAY, |at, set_wall| {
            let root = info_span!("root").entered();
            at(SECOND);
            let open = info_span!("open").entered();
            at(2 * SECOND);
            set_wall(jumped);
            let late = info_span!("late").entered();
            at(5 * SECOND);
            drop(late);
            at(6 * SECOND);
            drop(open);
            at(7 * SECOND);
            drop(root);
            at(8 * SECOND);
            let next = info_span!("next").entered();
            at(9 * SECOND);
            drop(next);
        });
        let times = |name| named(&finished, name).times();
        assert_eq!(times("root"), (TODAY, TODAY + 7 * SECOND));
        assert_eq!(times("open"), (TODAY + SECOND, TODAY + 6 * SECOND));
        assert_eq!(times("late"), (TODAY + 2 * SECOND, TODAY + 5 * SECOND));
        assert_eq!(named(&finished, "late").int("longpole.busy_ns"), Some(3 * SECOND as i64));
        // The next run goes by the clock as it is set now.
        assert_eq!(times("next"), (jumped + 8 * SECOND, jumped + 9 * SECOND));
    }
}

#[test]
fn a_child_counts_by_its_parents_clock_whichever_thread_opens_it() {
    let finished = run_at(TODAY, |at, set_wall| {
        let root = info_span!("root");
        set_wall(TODAY - HOUR);
        at(SECOND);
        let child = info_span!(parent: &root, "child");
        drop(root);
        at(3 * SECOND);
        child.in_scope(|| at(4 * SECOND));
        let grandchild = info_span!(parent: &child, "grandchild");
        at(5 * SECOND);
        drop(grandchild);
    });
    let times = |name| named(&finished, name).times();
    assert_eq!(times("child"), (TODAY + SECOND, TODAY + 5 * SECOND), "it waited for its child");
    assert_eq!(times("grandchild"), (TODAY + 4 * SECOND, TODAY + 5 * SECOND));
    assert_eq!(times("root"), (TODAY, TODAY + 5 * SECOND));
}

#[test]
fn years_far_off_are_as_good_as_any_and_times_that_cannot_be_said_are_the_last_ones_that_can() {
    let year_2262 = i64::MAX as u64;
    for wall in [0, 1, TODAY, year_2262 - 10, year_2262, u64::MAX - 20, u64::MAX - 2, u64::MAX] {
        let finished = run_at(wall, |at, set_wall| {
            let root = info_span!("root", node.id = "n").entered();
            at(3);
            let child = info_span!("child").entered();
            tracing::info!("event");
            set_wall(0);
            at(8);
            drop(child);
            at(10);
            drop(root);
        });
        let said = |nanos| wall.saturating_add(nanos);
        assert_eq!(named(&finished, "root").times(), (wall, said(10)), "{wall}");
        let child = named(&finished, "child");
        assert_eq!(child.times(), (said(3), said(8)), "{wall}");
        assert_eq!(child.span.events[0].time_unix_nano, said(3));
        if wall < u64::MAX - 20 {
            assert_eq!(child.int("longpole.busy_ns"), Some(5), "{wall}");
        }
    }
}
