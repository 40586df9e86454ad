//! What a running program hears about its runs, beyond a single report.

#![cfg(feature = "layer")]
#![allow(missing_docs, reason = "a test")]

use std::time::Duration;

use longpole::report::{PathEdge, Reason};
use longpole::{Builder, Longpole};
use tracing::info_span;
use tracing_subscriber::prelude::*;

/// Runs a program under a layer and gives the handle, with every report made.
fn measured(builder: Builder, program: impl FnOnce()) -> Longpole {
    let (layer, longpole) = builder.build().unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), program);
    assert!(longpole.flush().is_complete);
    longpole
}

#[test]
fn a_span_that_follows_from_another_waited_for_it_also_without_export() {
    let longpole = measured(longpole::builder(), || {
        let _run = info_span!("run", workflow.name = "desk").entered();
        let spin = || std::hint::black_box((0..20_000u64).sum::<u64>());
        let fetch = info_span!("fetch", node.id = "fetch");
        fetch.in_scope(spin);
        info_span!("other", node.id = "other").in_scope(spin);
        let draft = info_span!("draft", node.id = "draft");
        draft.follows_from(&fetch);
        draft.in_scope(spin);
        // Closed before it was followed, it could not be linked to.
        drop(fetch);
    });
    let report = longpole.last_run().unwrap();
    assert_eq!(report.quality.declared_edges, 1);
    assert_eq!(report.quality.warnings.get("edge_contradicted"), None);
    let segments = &report.critical_path.segments;
    let draft = segments.iter().find(|segment| segment.node.as_deref() == Some("draft")).unwrap();
    assert_eq!(draft.edge, PathEdge::Declared);
    let nodes: Vec<_> = report.critical_path.rows.iter().map(|row| row.node.as_str()).collect();
    assert_eq!(nodes, ["fetch", "draft"], "other ran in between, and draft did not wait for it");
}

#[test]
fn nodes_named_in_depends_on_are_what_a_node_waited_for() {
    let report_on = |steps: &[(&str, &str)]| {
        let longpole = measured(longpole::builder(), || {
            let _run = info_span!("run", workflow.name = "desk").entered();
            for (id, depends_on) in steps {
                info_span!("step", node.id = id, node.depends_on = depends_on).in_scope(|| ());
            }
        });
        longpole.last_run().unwrap()
    };
    let declared = report_on(&[("a", ""), ("b", ""), ("c", "a")]);
    assert_eq!(declared.quality.declared_edges, 1);
    assert!(declared.allowed_path.is_declared && declared.totals.efficiency.is_some());
    let mistyped = report_on(&[("a", ""), ("b", ""), ("c", "a"), ("d", "nobody")]);
    assert_eq!(mistyped.quality.warnings.get("unknown_dependency"), Some(&1));
    assert!(!mistyped.allowed_path.is_declared, "nobody knows what d waited for");
    assert_eq!(mistyped.totals.efficiency, None);
}

#[test]
fn limits_and_timeouts_rest_on_what_nodes_took() {
    let builder =
        longpole::builder().sla("quick", Duration::from_millis(20)).slow_threshold(Duration::from_millis(5));
    let longpole = measured(builder, || {
        let _run = info_span!("run", workflow.name = "desk").entered();
    });
    assert_eq!(longpole.suggest_timeout("quick"), Duration::from_secs(5), "before its first execution");
    assert_eq!(longpole.check_sla("quick"), None);
    for millis in [10, 20, 30] {
        longpole.record_node("quick", Duration::from_millis(millis));
    }
    longpole.record_node("slow", Duration::from_millis(8));
    longpole.flush();
    let quick = longpole.check_sla("quick").unwrap();
    assert!(quick.is_met, "20 ms on average is at most 20 ms");
    assert_eq!((quick.average_ns.as_nanos(), quick.p95_ns.as_nanos()), (20_000_000, 30_000_000));
    assert!(!longpole.check_sla("slow").unwrap().is_met, "the limit for all nodes is 5 ms");
    assert_eq!(longpole.suggest_timeout("quick"), Duration::from_millis(60));

    let slow = longpole.slow_nodes(Duration::from_millis(5)).unwrap();
    let told: Vec<_> = slow.iter().map(|node| (node.name.as_str(), format!("{:?}", node.severity))).collect();
    // 20 ms are 4 times 5 ms, 8 ms are 1.6 times.
    assert_eq!(told, [("quick", "Some(Critical)".to_owned()), ("slow", "Some(Medium)".to_owned())]);
    assert!(longpole.slow_nodes(Duration::ZERO).is_err());
    assert!(longpole.slow_nodes(Duration::from_secs(1)).unwrap().is_empty());
}

#[test]
fn runs_are_compared_with_those_before_them_if_asked_to() {
    let run = || drop(info_span!("run", workflow.name = "desk").entered());
    let other = || drop(info_span!("run", workflow.name = "other").entered());
    let longpole = measured(longpole::builder().compare_with_earlier_runs(), || {
        run();
        other();
        run();
        run();
    });
    let earlier: Vec<_> =
        longpole.runs().iter().map(|report| report.run.baseline.map(|it| it.runs)).collect();
    assert_eq!(earlier, [None, None, Some(1), Some(2)]);
    let longpole = measured(longpole::builder(), || {
        run();
        run();
    });
    assert!(longpole.runs().iter().all(|report| report.run.baseline.is_none()));
}

#[test]
fn all_runs_together_are_told_by_workflow() {
    let longpole = measured(longpole::builder(), || {
        for name in ["desk", "desk", "lab"] {
            let _run = info_span!("run", workflow.name = name).entered();
            info_span!("step", node.id = "fetch").in_scope(|| ());
        }
    });
    let together = longpole.many_runs();
    let groups: Vec<_> = together.groups.iter().map(|group| (group.workflow.as_str(), group.runs)).collect();
    assert_eq!(groups, [("desk", 2), ("lab", 1)]);
    longpole.clear();
    assert_eq!(longpole.many_runs().runs, 0);
}

/// Keeps the thread busy for 5 ms.
fn spin() {
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_millis(5) {
        std::hint::spin_loop();
    }
}

#[test]
fn work_spawned_without_its_span_is_found_out() {
    let longpole = measured(longpole::builder(), || {
        let run = info_span!("run", workflow.name = "desk").entered();
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        // The new thread has no current span, so `lost` becomes a root of its own while the run waits for it.
        let lost = std::thread::spawn(move || {
            tracing::dispatcher::with_default(&dispatch, || {
                info_span!("lost").in_scope(spin);
            });
        });
        lost.join().unwrap();
        // Long enough for the lost root to be seen before the run ends.
        spin();
        drop(run);
    });
    let reports = longpole.runs();
    let desk = reports.iter().find(|report| report.run.workflow.as_deref() == Some("desk")).unwrap();
    let lost = desk.findings.iter().flat_map(|finding| &finding.why).find_map(|reason| match reason {
        Reason::LostContext { roots, span, .. } => Some((*roots, span.as_str())),
        _ => None,
    });
    assert_eq!(lost, Some((1, "lost")));
}
