//! What is left out, in which order, while too much is on its way.

use proptest::prelude::*;
use tracing::{info, info_span};

use super::super::SpanExt;
use super::*;
use crate::ids::{SpanId, TraceId};
use crate::pipeline::pressure::Level;
use crate::pipeline::shard::flags;
use crate::sampler::{RootSampler, Sampler};

const SHED: [&str; 6] = [
    "payload_shed",
    "events_shed",
    "links_shed",
    "spans_internal_shed",
    "spans_internal_shed_in_shard",
    "spans_shard_full",
];

fn counts(bench: &Bench) -> [u64; 6] {
    SHED.map(|name| bench.counter(name))
}

/// A run of five spans, each with a long text, one that the analysis reads, an event, a link and a span it waited for:
/// two nodes, one of them below a span that is none, and one that is none without children.
fn program() {
    let first = info_span!("first");
    let run = info_span!(parent: None, "run", workflow.name = "w").entered();
    let outer = info_span!("outer").entered();
    let chat = info_span!("chat", gen_ai.operation.name = "chat");
    let leaf = info_span!("leaf");
    let node = info_span!(parent: &*run, "node", node.id = "n");
    for span in [&*run, &*outer, &chat, &leaf, &node] {
        span.set_attribute("prompt", "p".repeat(2000));
        span.set_attribute("error.type", "v".repeat(2000));
        span.add_link(TraceId::from_bytes([7; 16]), SpanId::from_bytes([7; 8]));
        span.follows_from(&first);
        info!(parent: span, "event");
    }
}

/// Runs the program under this much pressure from the delivery; without the span that is only waited for.
fn under(level: Level, config: LayerConfig) -> (Bench, Vec<Finished>) {
    let mut bench = Bench::new(config);
    bench.core().shards.pressure().raise_delivery(level);
    let mut finished = bench.run(|_| program());
    finished.retain(|finished| finished.span.name != "first");
    assert_eq!(finished.len(), 5);
    (bench, finished)
}

fn not_exported(finished: &[Finished]) -> Vec<&str> {
    let is_shed = |it: &&Finished| it.frame.flags & flags::ANALYSIS_ONLY != 0;
    for shed in finished.iter().filter(is_shed) {
        assert_eq!(shed.frame.flags & (flags::SHED | flags::SAMPLED), flags::SHED | flags::SAMPLED);
    }
    finished.iter().filter(is_shed).map(|finished| finished.span.name.as_str()).collect()
}

#[test]
fn without_pressure_everything_is_written() {
    let (bench, finished) = under(Level::Low, config());
    assert_eq!(counts(&bench), [0; 6]);
    for Finished { span, frame } in &finished {
        assert_eq!((span.events.len(), span.links.len(), frame.flags & flags::SHED), (1, 2, 0));
    }
    assert!(finished.iter().all(|it| it.text("prompt") == Some("p".repeat(2000))));
}

#[test]
fn half_full_long_texts_are_cut_and_events_and_links_left_out_but_nothing_the_analysis_reads() {
    let (bench, finished) = under(Level::Half, config());
    assert_eq!(counts(&bench), [5, 5, 5, 0, 0, 0]);
    assert_eq!(not_exported(&finished), [""; 0]);
    for it in &finished {
        assert_eq!(it.text("prompt"), Some("p".repeat(253) + "…"), "{}", it.span.name);
        assert_eq!(it.text("error.type"), Some("v".repeat(2000)));
        let span = &it.span;
        let left_out = (span.dropped_events_count, span.dropped_links_count, span.dropped_attributes_count);
        assert_eq!((span.events.len(), span.links.len(), left_out), (0, 1, (1, 1, 0)));
        assert_eq!(span.links[0].attributes[0].key, "longpole.edge");
    }
    assert_eq!(named(&finished, "node").text("longpole.node.id").as_deref(), Some("n"));
    assert!(named(&finished, "run").int("longpole.busy_ns").is_some());
}

#[test]
fn three_quarters_full_spans_that_are_no_nodes_and_have_no_children_are_for_the_report_only() {
    let (bench, finished) = under(Level::ThreeQuarters, config());
    assert_eq!(not_exported(&finished), ["leaf"]);
    // The span that is waited for is a root.
    assert_eq!(counts(&bench), [5, 5, 5, 1, 0, 0]);
    assert_eq!(bench.core().lost_spans(), BTreeMap::from([("internal_shed".to_owned(), 1)]));
    let shortened = ["events_shed", "links_shed", "payload_shed"].map(|name| (name.to_owned(), 5));
    assert_eq!(bench.core().counts(), BTreeMap::from(shortened));
}

#[test]
fn full_every_span_that_is_no_node_is_for_the_report_only() {
    let (bench, mut finished) = under(Level::Full, config());
    finished.sort_by(|a, b| a.span.name.cmp(&b.span.name));
    assert_eq!(not_exported(&finished), ["leaf", "outer"]);
    assert_eq!(counts(&bench), [5, 5, 5, 2, 0, 0]);
}

#[test]
fn a_selected_span_and_one_inside_a_run_that_names_a_workflow_are_not_shed() {
    let selector = super::super::config::Selector { name: Some("picked".to_owned()), ..Default::default() };
    let mut bench = Bench::new(LayerConfig { selectors: vec![selector], ..config() });
    bench.core().shards.pressure().raise_delivery(Level::Full);
    let finished = bench.run(|_| {
        let _run = info_span!("run", workflow.name = "w").entered();
        info_span!("picked").in_scope(|| ());
        info_span!("inner", workflow.name = "v").in_scope(|| ());
    });
    assert_eq!((finished.len(), not_exported(&finished)), (3, Vec::new()));
}

#[test]
fn what_is_not_exported_does_not_feel_the_delivery() {
    let unsampled = Sampler { is_parent_based: true, root: RootSampler::Ratio(0.0) };
    for config in [LayerConfig { export: false, ..config() }, LayerConfig { sampler: unsampled, ..config() }]
    {
        let (bench, finished) = under(Level::Full, config);
        assert_eq!(counts(&bench), [0; 6]);
        assert!(
            finished
                .iter()
                .all(|it| it.frame.flags & (flags::SHED | flags::ANALYSIS_ONLY) == flags::ANALYSIS_ONLY)
        );
    }
}

#[test]
fn a_span_of_too_many_bytes_keeps_the_links_that_say_what_it_waited_for() {
    let limits = super::super::config::Limits { span_bytes: 400, ..Default::default() };
    let finished = measure_with(LayerConfig { limits, ..config() }, || {
        let first = info_span!("first");
        let span = info_span!("n");
        span.follows_from(&first);
        (0..3).for_each(|_| span.add_link(TraceId::from_bytes([7; 16]), SpanId::from_bytes([7; 8])));
        span.set_attribute("text", "t".repeat(250));
    });
    let span = &named(&finished, "n").span;
    assert_eq!((span.links.len(), span.dropped_links_count, span.attributes.len()), (1, 3, 1));
    assert_eq!(span.links[0].attributes[0].key, "longpole.edge");
}

#[test]
fn pressure_that_is_over_leaves_no_trace() {
    let mut bench = Bench::new(config());
    let pressure = bench.core();
    pressure.shards.pressure().raise_delivery(Level::Full);
    pressure.shards.pressure().raise_delivery(Level::Low);
    assert_eq!(bench.run(|_| program()).len(), 6);
    assert_eq!(counts(&bench), [0; 6]);
}

#[test]
fn a_shard_that_fills_takes_less_of_each_span_then_no_internal_ones_then_no_nodes_and_roots_last() {
    // Two shards; one thread leaves all it has in one of them.
    const SHARD: usize = 64 << 10;
    let shards = Arc::new(Shards::new(1, 2 * SHARD));
    let core = LayerCore::new(config(), shards.clone());
    let mut bench = Bench { harness: Harness::with_core(core), now: Arc::default() };
    // How much the shard held behind each span that was taken.
    let mut held: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut before = 0;
    let mut note = |name| {
        let now = shards.held();
        if now > before {
            held.entry(name).or_default().push(now);
        }
        before = now;
    };
    let finished = bench.run(|_| {
        let run = info_span!("run").entered();
        for _ in 0..300 {
            let outer = info_span!("outer").entered();
            info_span!("leaf").in_scope(|| info!("event"));
            note("leaf");
            info_span!("node", node.id = "n").in_scope(|| info!("event"));
            note("node");
            drop(outer);
            note("outer");
        }
        drop(run);
        note("run");
    });
    let with_events = |name: &str| -> Vec<bool> {
        let those = finished.iter().filter(|it| it.span.name == name);
        those.map(|it| !it.span.events.is_empty()).collect()
    };
    let count = |name: &str| finished.iter().filter(|it| it.span.name == name).count();
    for name in ["leaf", "node"] {
        assert_eq!(held[name].len(), count(name));
        for (held, has_event) in held[name].iter().zip(with_events(name)) {
            // An event takes less than that.
            assert!(if has_event { *held <= SHARD / 2 } else { *held > SHARD / 2 - 100 }, "{held}");
        }
    }
    let last = |name: &str| *held[name].last().unwrap();
    assert!((SHARD / 4 * 3 - 1000..=SHARD / 4 * 3).contains(&last("leaf")), "up to its mark");
    assert!((SHARD - 1000..=SHARD).contains(&last("node").max(last("outer"))), "up to its mark");
    assert!(last("run") > last("node").max(last("outer")), "the root came last and was taken");
    let [payload, events, links, internal, internal_in_shard, shard_full] = counts(&bench);
    assert_eq!((payload, links, internal), (0, 0, 0));
    assert_eq!(count("leaf") as u64 + internal_in_shard, 300);
    assert_eq!((count("node") + count("outer")) as u64 + shard_full, 600);
    let without_events = finished.iter().filter(|it| it.span.dropped_events_count == 1).count() as u64;
    assert!(without_events > 0 && events >= without_events, "those that were then refused count too");
}

proptest! {
    #[test]
    fn under_any_pressure_what_is_left_decodes_and_says_what_it_left_out(
        level in prop_oneof![
            Just(Level::Low), Just(Level::Half), Just(Level::ThreeQuarters), Just(Level::Full)
        ],
        shard in 0usize..40_000,
        spans in prop::collection::vec((any::<bool>(), 0usize..1000, 0u32..4, 0u32..4, any::<char>()), 1..30),
    ) {
        let core = LayerCore::new(config(), Arc::new(Shards::new(1, 2 * shard)));
        core.shards.pressure().raise_delivery(level);
        let mut bench = Bench { harness: Harness::with_core(core), now: Arc::default() };
        let finished = bench.run(|_| {
            let run = info_span!("run").entered();
            for (is_node, text, events, links, letter) in &spans {
                let span = if *is_node { info_span!("n", node.id = "n") } else { info_span!("i") };
                span.set_attribute("text", letter.to_string().repeat(*text));
                span.follows_from(&*run);
                (0..*events).for_each(|_| info!(parent: &span, "event {letter}"));
                (0..*links).for_each(|n| span.add_link(TraceId::from_bytes([9; 16]), SpanId::from_bytes([n as u8 + 1; 8])));
                span.set_attribute("bytes", i64::try_from(*text * letter.len_utf8()).unwrap());
                span.set_attribute("events", i64::from(*events));
                span.set_attribute("links", i64::from(*links));
            }
        });
        let [payload, events, links, internal, internal_in_shard, shard_full] = counts(&bench);
        prop_assert_eq!(finished.len() as u64 + internal_in_shard + shard_full, spans.len() as u64 + 1);
        prop_assert_eq!(not_exported(&finished).len() as u64, internal);
        let (mut cut, mut dropped_events, mut dropped_links) = (0, 0, 0);
        for it in finished.iter().filter(|it| it.span.name != "run") {
            let span = &it.span;
            let int = |key| it.int(key).unwrap() as u32;
            prop_assert_eq!(span.events.len() as u32 + span.dropped_events_count, int("events"));
            prop_assert_eq!(span.links.len() as u32 - 1 + span.dropped_links_count, int("links"));
            let text = it.text("text").unwrap();
            let is_cut = text.len() as u32 != int("bytes");
            prop_assert!(!is_cut || text.len() <= 256 && int("bytes") > 1024);
            cut += u64::from(is_cut);
            dropped_events += u64::from(span.dropped_events_count);
            dropped_links += u64::from(span.dropped_links_count);
        }
        prop_assert!(cut <= payload && dropped_events <= events && dropped_links <= links);
        if internal_in_shard + shard_full == 0 {
            prop_assert_eq!((cut, dropped_events, dropped_links), (payload, events, links));
        }
    }
}
