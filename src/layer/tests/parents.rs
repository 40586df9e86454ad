//! Which span stands under which, within the process and across processes.

use tracing::{Span, info_span};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::filter_fn;

use super::*;
use crate::ids::{SpanId, TraceId};
use crate::pipeline::shard::flags::{ANALYSIS_ONLY, LOCAL_ROOT, SAMPLED};
use crate::{SetParentError, SpanExt};

/// Each span's name with its parent's, sorted.
fn tree(finished: &[Finished]) -> Vec<(String, String)> {
    let name_of = |id: &[u8]| {
        let parent = finished.iter().find(|other| other.span.span_id == id);
        parent.map_or(String::new(), |parent| parent.span.name.clone())
    };
    let mut tree: Vec<_> = finished
        .iter()
        .map(|Finished { span, .. }| (span.name.clone(), name_of(&span.parent_span_id)))
        .collect();
    tree.sort();
    tree
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.into_iter().map(|(child, parent)| (child.to_owned(), parent.to_owned())).collect()
}

#[test]
fn children_take_their_trace_from_the_span_they_were_made_in() {
    let finished = measure(|| {
        let a = info_span!("a").entered();
        drop(info_span!("b").entered());
        let c = info_span!("c").entered();
        drop(info_span!("d"));
        drop((c, a));
        drop(info_span!("e"));
    });
    assert_eq!(tree(&finished), pairs([("a", ""), ("b", "a"), ("c", "a"), ("d", "c"), ("e", "")]));
    let trace = |name| named(&finished, name).span.trace_id.clone();
    assert_eq!(trace("a"), trace("d"));
    assert_ne!(trace("a"), trace("e"));
    for Finished { span, frame } in &finished {
        assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
        assert_eq!(frame.flags & LOCAL_ROOT != 0, span.parent_span_id.is_empty(), "{}", span.name);
    }
    let children = ["a", "b", "c", "d", "e"].map(|name| named(&finished, name).frame.children);
    assert_eq!(children, [2, 0, 1, 0, 0]);
}

#[test]
fn explicit_parents_are_taken_at_their_word() {
    let finished = measure(|| {
        let a = info_span!("a");
        let _b = info_span!("b").entered();
        let _root = info_span!(parent: None, "root");
        let _under_a = info_span!(parent: &a, "under a");
        let _under_none = info_span!(parent: &Span::none(), "under a disabled span");
    });
    let expected = [("a", ""), ("b", ""), ("root", ""), ("under a", "a"), ("under a disabled span", "")];
    assert_eq!(tree(&finished), pairs(expected));
}

#[test]
fn a_span_between_that_is_not_measured_is_left_out() {
    let program = || {
        let _a = info_span!("a").entered();
        let _hidden = info_span!(target: "tower::service", "hidden").entered();
        let _b = info_span!("b").entered();
        tracing::info!("in b");
    };
    let ignored = measure(program);
    assert_eq!(tree(&ignored), pairs([("a", ""), ("b", "a")]));

    let mut bench = Bench::new(config());
    let filtered_layer = bench.harness.layer().with_filter(filter_fn(|metadata| metadata.name() != "hidden"));
    let subscriber = Registry::default().with(filtered_layer);
    tracing::subscriber::with_default(subscriber, program);
    let filtered = bench.finished();
    assert_eq!(tree(&filtered), pairs([("a", ""), ("b", "a")]));
    assert_eq!(named(&filtered, "b").span.events.len(), 1);
}

#[test]
fn spans_left_out_of_turn_do_not_confuse_who_is_current() {
    let finished = measure(|| {
        let (a, b, c) =
            (info_span!(parent: None, "a"), info_span!(parent: None, "b"), info_span!(parent: None, "c"));
        let a_inside = a.enter();
        let b_inside = b.enter();
        drop(a_inside);
        drop(info_span!("in b"));
        drop(b_inside);
        drop(info_span!("in nothing"));
        let c_inside = c.enter();
        {
            let _c_again = c.enter();
            drop(info_span!("in c"));
        }
        drop(info_span!("still in c"));
        drop(c_inside);
        drop(info_span!("in nothing again"));
    });
    let expected = [
        ("a", ""),
        ("b", ""),
        ("c", ""),
        ("in b", "b"),
        ("in c", "c"),
        ("in nothing", ""),
        ("in nothing again", ""),
        ("still in c", "c"),
    ];
    assert_eq!(tree(&finished), pairs(expected));
}

#[test]
fn two_layers_in_one_subscriber_see_the_same_tree() {
    let (mut one, mut two) = (Bench::new(config()), Bench::new(config()));
    let subscriber = Registry::default().with(one.harness.layer()).with(two.harness.layer());
    tracing::subscriber::with_default(subscriber, || {
        let _a = info_span!("a").entered();
        let _b = info_span!("b").entered();
        let _c = info_span!("c");
    });
    let expected = pairs([("a", ""), ("b", "a"), ("c", "b")]);
    assert_eq!((tree(&one.finished()), tree(&two.finished())), (expected.clone(), expected));
}

#[test]
fn a_parent_in_another_process_gives_trace_and_sampling_to_all_below() {
    let trace = TraceId::from_hex("0af7651916cd43dd8448eb211c80319c").unwrap();
    let caller = SpanId::from_hex("b7ad6b7169203331").unwrap();
    let program = |sampled| {
        measure(move || {
            let request = info_span!("request");
            assert_eq!(request.set_parent(trace, caller, sampled), Ok(()));
            assert_eq!(request.span_context().unwrap().0, trace);
            let _child = info_span!(parent: &request, "child");
        })
    };
    let finished = program(true);
    let (request, child) = (named(&finished, "request"), named(&finished, "child"));
    assert_eq!(request.span.parent_span_id, caller.to_bytes());
    assert_eq!([&request.span.trace_id, &child.span.trace_id], [&trace.to_bytes(), &trace.to_bytes()]);
    assert_eq!((request.span.flags, child.span.flags), (0x301, 0x101));
    assert_eq!(request.frame.flags, LOCAL_ROOT | SAMPLED);

    let unsampled = program(false);
    assert_eq!(named(&unsampled, "child").span.flags, 0x100);
    assert!(unsampled.iter().all(|finished| finished.frame.flags & ANALYSIS_ONLY != 0));
}

#[test]
fn a_parent_cannot_be_set_once_the_ids_are_in_use() {
    let (trace, caller) = (TraceId::from_bytes([1; 16]), SpanId::from_bytes([2; 8]));
    let finished = measure(|| {
        let parent = info_span!("parent");
        let child = info_span!(parent: &parent, "child");
        assert_eq!(parent.set_parent(trace, caller, true), Err(SetParentError::InUse));
        assert!(child.span_context().is_some());
        assert_eq!(child.set_parent(trace, caller, true), Err(SetParentError::InUse));
        let moved = info_span!(parent: &parent, "moved");
        assert_eq!(moved.set_parent(TraceId::default(), caller, true), Err(SetParentError::InvalidParent));
        assert_eq!(moved.set_parent(trace, caller, true), Ok(()));
        assert_eq!(Span::none().set_parent(trace, caller, true), Err(SetParentError::NotMeasured));
        assert_eq!(Span::none().span_context(), None);
    });
    assert_eq!(named(&finished, "moved").span.parent_span_id, caller.to_bytes());
    assert_eq!(named(&finished, "moved").frame.flags, LOCAL_ROOT | SAMPLED);
    assert_eq!(named(&finished, "parent").frame.children, 1);
}

#[test]
fn following_a_span_links_to_it() {
    let finished = measure(|| {
        let (a, b) = (info_span!("a"), info_span!("b"));
        b.follows_from(&a);
        b.follows_from(Span::none());
        let closed = info_span!("closed").id();
        b.follows_from(closed);
    });
    let (a, b) = (named(&finished, "a"), named(&finished, "b"));
    let [link] = &b.span.links[..] else { panic!("{:?}", b.span.links) };
    assert_eq!((&link.trace_id, &link.span_id), (&a.span.trace_id, &a.span.span_id));
}
