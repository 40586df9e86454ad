//! Open spans written as far as they have come.

use opentelemetry_proto::tonic::trace::v1::Span as OtlpSpan;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use tracing::{Span, info, info_span};

use super::super::SpanExt;
use super::*;
use crate::decode::otlp::decode_span;
use crate::ids::{SpanId, TraceId};
use crate::pipeline::shard::flags;
use crate::report::RunStatus;
use crate::report::build::{ReportOptions, report_on};
use crate::sampler::{RootSampler, Sampler};
use crate::span_record::Interner;
use crate::time::Duration;

struct Partial {
    finished: Finished,
    is_local_root: bool,
}

/// The open spans of this age, decoded, and how many did not fit.
fn write(core: &LayerCore, older_than: u64, max_bytes: usize) -> (Vec<Partial>, u64) {
    let mut partials = Vec::new();
    let left_out = core.write_open_spans(Duration::from_nanos(older_than), max_bytes, &mut |open| {
        let span = OtlpSpan::decode(open.message).unwrap();
        assert_eq!(span.trace_id, open.trace_id.to_bytes());
        assert_eq!(span.span_id, open.span_id.to_bytes());
        let finished = Finished { span, frame: FrameHead::default() };
        partials.push(Partial { finished, is_local_root: open.is_local_root });
    });
    (partials, left_out)
}

fn names(partials: &[Partial]) -> Vec<&str> {
    partials.iter().map(|partial| partial.finished.span.name.as_str()).collect()
}

#[test]
fn an_open_span_is_written_with_everything_known_so_far_and_goes_on() {
    let mut bench = Bench::new(LayerConfig { workflow: Some("w".to_owned()), ..config() });
    let core = bench.core();
    let mut partials = Vec::new();
    let finished = bench.run(|at| {
        let root = info_span!("root").entered();
        at(10);
        let n = info_span!(
            "n",
            node.id = "n",
            otel.name = "renamed",
            otel.kind = "client",
            late = tracing::field::Empty
        );
        n.add_link(TraceId::from_bytes([7; 16]), SpanId::from_bytes([7; 8]));
        at(30);
        let inside = n.clone().entered();
        info!("event");
        tracing::error!("failed");
        at(50);
        partials = write(&core, 0, usize::MAX).0;
        at(70);
        n.record("late", 1);
        drop(inside);
        drop((n, root));
    });

    assert_eq!(names(&partials), ["root", "renamed"], "roots first");
    assert_eq!(partials.iter().map(|it| it.is_local_root).collect::<Vec<_>>(), [true, false]);
    let root = &partials[0].finished;
    assert_eq!(root.times(), (0, 50));
    assert_eq!(
        (root.text("longpole.workflow.name").as_deref(), root.int("longpole.polls")),
        (Some("w"), Some(1))
    );
    let n = &partials[1].finished;
    assert_eq!((n.times(), n.span.kind), ((10, 50), SpanKind::Client as i32));
    let expected =
        BTreeMap::from([("longpole.node.id", string("n")), ("longpole.outcome", string("partial"))]);
    assert_eq!(n.recorded(), expected);
    assert_eq!((n.int("longpole.queued_ns"), n.int("longpole.busy_ns")), (Some(20), Some(20)));
    assert_eq!((n.span.events.len(), n.span.links.len()), (2, 1));
    assert_eq!(n.span.status.as_ref().unwrap().code, 2);
    assert_eq!(n.span.parent_span_id, root.span.span_id);
    assert_eq!(n.span.flags, 0x101);

    // What closes later is what it would have been.
    let closed = named(&finished, "renamed");
    assert_eq!((closed.times(), closed.int("longpole.busy_ns")), ((10, 70), Some(40)));
    assert_eq!((closed.int("longpole.polls"), closed.text("longpole.outcome")), (Some(1), None));
    assert_eq!((closed.int("late"), closed.span.events.len(), closed.span.links.len()), (Some(1), 2, 1));
    assert_eq!(closed.span.span_id, n.span.span_id);
    assert!(finished.iter().all(|it| it.frame.flags & flags::HAD_PARTIAL != 0));
    assert!(write(&core, 0, usize::MAX).0.is_empty());
}

#[test]
fn a_program_that_dies_leaves_a_run_that_says_what_was_open() {
    let mut bench = Bench::new(config());
    let core = bench.core();
    let mut spans = Vec::new();
    let mut take = |message: &[u8]| {
        spans.push(decode_span(message, &Arc::default(), &mut Interner::default()).unwrap());
    };
    let finished = bench.run(|at| {
        let _run = info_span!("run", workflow.name = "w").entered();
        at(10);
        info_span!("first", node.id = "first").in_scope(|| at(30));
        let _second = info_span!("second", node.id = "second").entered();
        at(90);
        core.write_open_spans(Duration::ZERO, usize::MAX, &mut |open| take(open.message));
    });
    take(&named(&finished, "first").span.encode_to_vec());
    let reports = report_on(spans, &ReportOptions::default());
    assert_eq!(reports.len(), 1);
    let report = &reports[0];
    assert_eq!((report.run.status, report.run.workflow.as_deref()), (RunStatus::Incomplete, Some("w")));
    assert_eq!((report.run.wall_ns.as_nanos(), report.run.spans), (90, 3));
    let open: Vec<_> =
        report.quality.open.iter().map(|it| (it.node.as_deref(), it.start_ns.as_nanos())).collect();
    assert_eq!(open, [(None, 0), (Some("second"), 30)]);
    assert_eq!((report.quality.closed_spans, report.quality.open_spans), (1, 2));
}

#[test]
fn a_span_never_entered_is_told_as_queued_no_longer_than_it_is_open() {
    let mut bench = Bench::new(config());
    let core = bench.core();
    let mut partials = Vec::new();
    bench.run(|at| {
        let root = info_span!("root");
        at(20);
        let child = info_span!(parent: &root, "child").entered();
        at(50);
        partials = write(&core, 0, usize::MAX).0;
        drop(child);
    });
    let root = &partials[0].finished;
    assert_eq!(root.times(), (0, 50));
    assert_eq!(
        (root.int("longpole.queued_ns"), root.int("longpole.polls")),
        (None, None),
        "no child has told it yet"
    );
}

#[test]
fn a_root_below_another_process_keeps_what_came_with_it() {
    let origin =
        super::super::config::ForeignContext { trace_state: "vendor=1".to_owned(), ..Default::default() };
    let parent = super::super::config::RemoteParent {
        trace_id: [1, 2],
        span_id: 3,
        is_sampled: true,
        is_remote: true,
        origin,
    };
    let mut bench = Bench::new(LayerConfig { process_parent: Some(parent), ..config() });
    let core = bench.core();
    let mut partials = Vec::new();
    let finished = bench.run(|_| {
        let _root = info_span!("root").entered();
        let _child = info_span!("child").entered();
        partials = write(&core, 0, usize::MAX).0;
    });
    for Partial { finished: partial, is_local_root } in &partials {
        let closed = named(&finished, &partial.span.name);
        assert_eq!((partial.span.trace_state.as_str(), partial.span.flags), ("vendor=1", closed.span.flags));
        assert_eq!(partial.span.parent_span_id, closed.span.parent_span_id);
        assert_eq!(partial.span.parent_span_id == 3u64.to_be_bytes(), *is_local_root);
    }
    assert_eq!(names(&partials), ["root", "child"]);
}

#[test]
fn the_outcome_a_program_wrote_itself_makes_way() {
    let mut bench = Bench::new(config());
    let core = bench.core();
    let mut partials = Vec::new();
    let finished = bench.run(|_| {
        let span = info_span!("n", longpole.outcome = "cancelled", longpole.polls = 7);
        partials = write(&core, 0, usize::MAX).0;
        drop(span);
    });
    assert_eq!(partials[0].finished.text("longpole.outcome").as_deref(), Some("partial"));
    assert_eq!(partials[0].finished.int("longpole.polls"), Some(7));
    assert_eq!(finished[0].text("longpole.outcome").as_deref(), Some("cancelled"));
}

#[test]
fn only_those_old_enough_and_exported_are_written() {
    let mut bench = Bench::new(config());
    let core = bench.core();
    let finished = bench.run(|at| {
        let _old = info_span!("old");
        at(100);
        let _young = info_span!("young");
        at(150);
        assert_eq!(names(&write(&core, 51, usize::MAX).0), ["old"]);
        assert_eq!(write(&core, 150, usize::MAX).0.len(), 1);
        assert_eq!(write(&core, 151, usize::MAX).0.len(), 0);
    });
    let had_partial = |name| named(&finished, name).frame.flags & flags::HAD_PARTIAL != 0;
    assert!(had_partial("old") && !had_partial("young"));

    let unsampled = Sampler { is_parent_based: true, root: RootSampler::Ratio(0.0) };
    for config in [LayerConfig { export: false, ..config() }, LayerConfig { sampler: unsampled, ..config() }]
    {
        let mut bench = Bench::new(config);
        let core = bench.core();
        bench.run(|_| {
            let _n = info_span!("n");
            assert_eq!((write(&core, 0, usize::MAX).0.len(), core.open_spans()), (0, 1));
        });
    }
}

#[test]
fn a_hundred_thousand_open_spans_are_written_as_far_as_they_fit_roots_first() {
    const SPANS: usize = 100_000;
    let mut bench = Bench::new(LayerConfig { max_open_spans: 2 * SPANS, ..config() });
    let core = bench.core();
    bench.run(|_| {
        let root = info_span!("first");
        let children: Vec<Span> = (1..SPANS - 1).map(|n| info_span!(parent: &root, "n", n)).collect();
        let last = info_span!("last");
        let sum = |max_bytes: usize| {
            let (mut bytes, mut written, mut roots) = (0, 0, 0);
            let left_out = core.write_open_spans(Duration::ZERO, max_bytes, &mut |open| {
                bytes += open.message.len();
                written += 1;
                roots += u64::from(open.is_local_root);
            });
            assert!(bytes <= max_bytes);
            (bytes, written, roots, left_out)
        };
        let (_, written, roots, left_out) = sum(usize::MAX);
        assert_eq!((written, roots, left_out), (SPANS as u64, 2, 0));
        let (bytes, written, roots, left_out) = sum(1 << 20);
        assert!(bytes > (1 << 20) - 200);
        assert_eq!((roots, written + left_out), (2, SPANS as u64));
        assert_eq!(sum(0), (0, 0, 0, SPANS as u64));
        drop((children, last));
    });
}

#[test]
fn spans_that_open_and_close_meanwhile_are_whole_or_not_there() {
    let bench = Bench::new(config());
    let core = bench.core();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let subscriber = Registry::default().with(bench.harness.layer());
    let dispatch = tracing::Dispatch::new(subscriber);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                tracing::dispatcher::with_default(&dispatch, || {
                    while !stop.load(Ordering::Relaxed) {
                        let outer = info_span!("outer", word = "outer").entered();
                        info_span!("inner", word = "inner").in_scope(|| info!("event"));
                        drop(outer);
                    }
                });
            });
        }
        let mut seen = 0;
        while seen < 2_000 {
            for Partial { finished, is_local_root } in write(&core, 0, usize::MAX).0 {
                seen += 1;
                assert_eq!(finished.text("word"), Some(finished.span.name.clone()));
                assert_eq!(finished.span.parent_span_id.is_empty(), is_local_root);
                assert_eq!(is_local_root, finished.span.name == "outer");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}
