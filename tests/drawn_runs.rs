//! The defining cases of the analysis, drawn, with answers worked out by hand.

#[path = "support/drawing.rs"]
mod drawing;
#[path = "support/spans.rs"]
mod spans;

use drawing::check;

#[test]
fn in_a_sequence_every_step_is_on_the_path() {
    check(
        "
                |    5    10
        root    ==========
          fetch ===
          parse    =====
        ",
        "
        path  fetch 0-3, parse 3-8, root 8-10
        slack root 0, fetch 0, parse 0
        self  root 2, fetch 3, parse 5
        free  root 8, fetch 7, parse 5
        ",
    );
}

#[test]
fn at_a_join_the_last_branch_is_on_the_path_and_the_other_has_slack() {
    check(
        "
                |    5    10
        root    ============
          plan  ==
          left    ======
          right   ===
          join          ===
        ",
        "
        path  plan 0-2, left 2-8, join 8-11, root 11-12
        slack root 0, plan 0, left 0, right 3, join 0
        self  root 1, plan 2, left 6, right 3, join 3
        free  plan 10, left 9, right 12, join 9
        ",
    );
}

#[test]
fn what_queues_behind_a_permit_starts_where_the_permit_is_free() {
    check(
        "
                |    5    10
        root    ===========
          one   =====
          two   .....=====
        ",
        "
        path     one 0-5, two 5-10, root 10-11
        slack    root 0, one 0, two 0
        self     root 1, one 5, two 10
        free     one 6, two 6
        unqueued one 11, two 6
        ",
    );
}

#[test]
fn time_queued_behind_nobody_is_the_parents() {
    check(
        "
                |    5    10
        root    ==========
          one   ===
          two    ....===
        ",
        "
        path     one 0-3, root 3-5, two 5-8, root 8-10
        slack    root 0, one 0, two 0
        self     root 2, one 3, two 7
        free     one 7, two 7, root 6
        unqueued two 6
        ",
    );
}

#[test]
fn a_child_still_running_when_the_next_begins_did_not_hold_it_up() {
    check(
        "
                  |    5    10
        root      ==========
          outer    ========
            inner   =====
            late      =====
        ",
        "
        path  root 0-1, outer 1-4, late 4-9, root 9-10
        slack root 0, outer 0, inner 2, late 0
        self  root 2, outer 1, inner 5, late 5
        free  root 8, outer 7, inner 10, late 8
        ",
    );
}

#[test]
fn gaps_between_children_are_the_parents_own() {
    check(
        "
                |    5    10
        root    ==========
          one    ==
          two         ==
        ",
        "
        path  root 0-1, one 1-3, root 3-6, two 6-8, root 8-10
        slack root 0, one 0, two 0
        self  root 6, one 2, two 2
        free  root 4, one 8, two 8
        ",
    );
}

#[test]
fn the_queueing_of_the_root_is_part_of_the_run() {
    check(
        "
                |    5
        root    ..=====
          one     ==
        ",
        "
        path     root 0-2, one 2-4, root 4-7
        self     root 5, one 2
        unqueued root 7
        ",
    );
}

#[test]
fn what_never_ran_holds_nobody_up() {
    check(
        "
                |    5
        root    =======
          one    ==
          two   .....
        ",
        "
        path  root 0-1, one 1-3, root 3-7
        slack root 0, one 0
        self  root 2, one 2, two 5
        ",
    );
}

#[test]
fn a_parent_that_waits_takes_its_children_along_when_it_stops_waiting() {
    check(
        "
                  |    5    10
        root      ============
          one     ====
          two     ....======
            inner     ====
        ",
        "
        path     one 0-4, inner 4-8, two 8-10, root 10-12
        unqueued two 8
        ",
    );
}
