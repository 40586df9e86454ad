//! What a program records comes out as it was meant.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use tracing::field::Empty;
use tracing::{Span, info_span};

use super::super::config::{Limits, Selector};
use super::*;
use crate::SpanExt;
use crate::prices::Usage;

#[test]
fn every_type_of_value_is_written_as_its_own() {
    let finished = measure(|| {
        let _span = info_span!(
            "all",
            text = "für",
            small = -5i32,
            large = u64::MAX,
            larger = i128::MIN,
            fits = 7u64,
            ratio = 0.25,
            truth = true,
            shown = %"a b",
            debugged = ?Some(1),
            bytes = &b"\x01\xff"[..],
            never = Empty,
        );
    });
    let [all] = &finished[..] else { panic!() };
    let expected = BTreeMap::from([
        ("text", string("für")),
        ("small", int(-5)),
        ("large", string("18446744073709551615")),
        ("larger", string("-170141183460469231731687303715884105728")),
        ("fits", int(7)),
        ("ratio", Any::DoubleValue(0.25)),
        ("truth", Any::BoolValue(true)),
        ("shown", string("a b")),
        ("debugged", string("Some(1)")),
        ("bytes", string("[01 ff]")),
    ]);
    assert_eq!(all.recorded(), expected);
    assert_eq!((all.span.name.as_str(), all.span.kind, all.span.flags), ("all", 1, 0x101));
    assert_eq!(all.span.status, None);
}

#[test]
fn short_forms_are_exported_under_their_full_keys() {
    let finished = measure(|| {
        let span = info_span!("n", node.id = "fetch", node.depends_on = "a, b,", node.cost_usd = Empty);
        span.record("node.cost_usd", 0.5);
        let _listed = info_span!("listed", node.depends_on = ?["x", "y"]);
    });
    let expected = BTreeMap::from([
        ("longpole.node.id", string("fetch")),
        ("longpole.node.depends_on", strings(&["a", "b"])),
        ("longpole.cost.usd", Any::DoubleValue(0.5)),
    ]);
    assert_eq!(named(&finished, "n").recorded(), expected);
    let listed = named(&finished, "listed").attribute("longpole.node.depends_on");
    assert_eq!(listed, Some(strings(&["x", "y"])));
}

#[test]
fn the_last_value_of_a_key_wins_whatever_its_spelling() {
    let finished = measure(|| {
        let span = info_span!("n", node.attempt = 1, longpole.node.attempt = Empty, other = "x", again = 1);
        span.record("longpole.node.attempt", 2);
        span.record("again", "two");
        span.set_attribute("node.attempt", 3i64);
        span.set_attribute("other", "y");
        span.record("other", "z");
        let _both = info_span!("both", node.attempt = 1, longpole.node.attempt = 2);
    });
    let expected =
        BTreeMap::from([("longpole.node.attempt", int(3)), ("other", string("z")), ("again", string("two"))]);
    assert_eq!(named(&finished, "n").recorded(), expected);
    assert_eq!(named(&finished, "both").recorded(), BTreeMap::from([("longpole.node.attempt", int(2))]));
}

#[test]
fn long_values_are_cut_between_characters_and_say_so() {
    let limits = Limits { value_bytes: 10, ..Limits::default() };
    let finished = measure_with(LayerConfig { limits, ..config() }, || {
        let _span = info_span!("n", fits = "0123456789", long = "0123456789a", wide = "ääääää", shown = ?"0123456789");
    });
    let [n] = &finished[..] else { panic!() };
    // Seven bytes are left before the three of the ellipsis; the fourth ä would need eight.
    let expected = BTreeMap::from([
        ("fits", string("0123456789")),
        ("long", string("0123456…")),
        ("wide", string("äää…")),
        ("shown", string("\"012345…")),
    ]);
    assert_eq!(n.recorded(), expected);
}

#[test]
fn past_the_limit_of_attributes_new_ones_are_counted_and_old_ones_can_still_change() {
    let limits = Limits { attributes: 2, ..Limits::default() };
    let mut bench = Bench::new(LayerConfig { limits, ..config() });
    let finished = bench.run(|_| {
        let span = info_span!("n", a = 1, b = 2, c = Empty);
        span.record("c", 3);
        span.record("a", 4);
        span.set_attribute("d", 5i64);
    });
    let [n] = &finished[..] else { panic!() };
    assert_eq!(n.recorded(), BTreeMap::from([("a", int(4)), ("b", int(2))]));
    assert_eq!(n.span.dropped_attributes_count, 2);
    assert_eq!(bench.counter("attributes_dropped"), 2);
}

#[test]
fn a_span_too_large_loses_events_first_then_its_longest_attributes_and_never_facts() {
    let limits = Limits { span_bytes: 300, ..Limits::default() };
    let finished = measure_with(LayerConfig { limits, ..config() }, || {
        let long = "x".repeat(150);
        let span = info_span!("n", node.id = "y".repeat(60), long, short = Empty, late = Empty);
        let _inside = span.enter();
        tracing::info!("an event");
        span.record("short", "s".repeat(40).as_str());
        span.record("late", "l".repeat(60).as_str());
    });
    let [n] = &finished[..] else { panic!() };
    assert_eq!(n.recorded().keys().collect::<Vec<_>>(), [&"late", &"longpole.node.id", &"short"]);
    assert_eq!((n.span.events.len(), n.span.dropped_events_count), (0, 1));
    assert_eq!(n.span.dropped_attributes_count, 1);
}

#[test]
fn otel_fields_are_properties_and_may_come_late() {
    let finished = measure(|| {
        let span = info_span!("macro", otel.name = Empty, otel.kind = "Server", otel.status_code = Empty);
        span.record("otel.name", "GET /");
        span.record("otel.status_code", "OK");
        let _unknown = info_span!("unknown", otel.kind = "sideways", otel.name = 5);
        let set = info_span!("set");
        set.set_attribute("otel.kind", "client");
        set.set_attribute("otel.status_description", "no");
    });
    let get = named(&finished, "GET /");
    assert_eq!((get.span.kind, get.span.status.as_ref().unwrap().code), (2, 1));
    assert!(get.recorded().is_empty());
    let unknown = named(&finished, "unknown");
    assert_eq!((unknown.span.kind, unknown.recorded()), (1, BTreeMap::from([("otel.name", int(5))])));
    let set = named(&finished, "set");
    assert_eq!(set.span.kind, 3);
    assert_eq!(
        set.span.status.as_ref().map(|status| (status.code, status.message.as_str())),
        Some((2, "no"))
    );
}

#[test]
fn status_ok_stays_and_an_error_keeps_its_text() {
    let status_of = |program: fn(&Span)| {
        let finished = measure(|| {
            let span = info_span!("n", otel.status_code = Empty, otel.status_description = Empty);
            program(&span);
        });
        named(&finished, "n").span.status.as_ref().map(|status| (status.code, status.message.clone()))
    };
    let described = |message: &str| Some((2, message.to_owned()));
    assert_eq!(status_of(|_| ()), None);
    let case = |span: &Span| {
        span.record("otel.status_code", "error");
    };
    assert_eq!(status_of(case), described(""));
    let case = |span: &Span| {
        span.in_scope(|| {
            drop(info_span!("before", otel.status_description = "of another span"));
            span.record("otel.status_code", "error");
        });
    };
    assert_eq!(status_of(case), described(""));
    let case = |span: &Span| {
        span.record("otel.status_code", "whatever");
    };
    assert_eq!(status_of(case), None);
    let case = |span: &Span| {
        span.record("otel.status_description", "first");
        span.record("otel.status_description", "second");
        span.record("otel.status_code", "ERROR");
    };
    assert_eq!(status_of(case), described("second"));
    let case = |span: &Span| {
        span.record("otel.status_code", "ok");
        span.record("otel.status_description", "too late");
        span.in_scope(|| tracing::error!("too late as well"));
    };
    assert_eq!(status_of(case), Some((1, String::new())));
    let case = |span: &Span| {
        span.in_scope(|| tracing::error!("boom"));
    };
    assert_eq!(status_of(case), described(""));
    let case = |span: &Span| {
        span.record("otel.status_description", "known");
        span.in_scope(|| tracing::error!("boom"));
    };
    assert_eq!(status_of(case), described("known"));
}

#[test]
fn what_the_program_writes_under_our_keys_stands() {
    let finished = measure(|| {
        let _entered = info_span!("n", longpole.busy_ns = 5, thread.id = 1, target = "mine").entered();
    });
    let n = named(&finished, "n");
    assert_eq!((n.int("longpole.busy_ns"), n.int("longpole.polls")), (Some(5), Some(1)));
    assert_eq!((n.int("thread.id"), n.text("target").as_deref()), (Some(1), Some("mine")));
}

#[test]
fn origin_is_written_when_asked_for() {
    let config = LayerConfig { location: true, threads: true, target: true, ..config() };
    let mut finished = Vec::new();
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().name("worker-7".into());
        let measured = worker.spawn_scoped(scope, || {
            measure_with(config, || {
                let _span = info_span!(target: "shop::cart", "n", thread.name = Empty);
                let _own = info_span!("own", thread.name = "mine");
            })
        });
        finished = measured.unwrap().join().unwrap();
    });
    let n = named(&finished, "n");
    assert_eq!(n.text("thread.name").as_deref(), Some("worker-7"));
    assert_eq!(n.text("target").as_deref(), Some("shop::cart"));
    assert!(n.text("code.file.path").unwrap().ends_with("attributes.rs"));
    assert_eq!(n.text("code.module.name").as_deref(), Some(module_path!()));
    assert!(n.int("code.line.number").unwrap() > 0 && n.int("thread.id").unwrap() > 0);
    assert_eq!(named(&finished, "own").text("thread.name").as_deref(), Some("mine"));
}

#[test]
fn for_the_report_alone_only_facts_are_written() {
    let config = LayerConfig { export: false, location: true, target: true, ..config() };
    let finished = measure_with(config, || {
        let span = info_span!("n", node.id = "fetch", prompt = "secret", shown = %"x", http.method = "GET");
        span.set_attribute("answer", "secret");
        span.record_usage(&Usage::tokens(10, 20));
        span.record_cost(0.5);
        span.in_scope(|| tracing::error!("boom"));
    });
    let n = named(&finished, "n");
    let expected = BTreeMap::from([
        ("longpole.node.id", string("fetch")),
        ("http.method", string("GET")),
        ("gen_ai.usage.input_tokens", int(10)),
        ("gen_ai.usage.output_tokens", int(20)),
        ("longpole.cost.usd", Any::DoubleValue(0.5)),
    ]);
    assert_eq!(n.recorded(), expected);
    assert_eq!((n.span.events.len(), n.span.status.as_ref().unwrap().code), (0, 2));
    assert_eq!(n.frame.flags & crate::pipeline::shard::flags::ANALYSIS_ONLY, 4);
}

#[test]
fn selected_spans_are_nodes_under_their_names_unless_they_say_more() {
    let by_name = Selector { name: Some("step".into()), ..Selector::default() };
    let by_target =
        Selector { target: Some("shop".into()), level: Some(tracing::Level::INFO), ..Selector::default() };
    let config = LayerConfig { selectors: vec![by_name, by_target], ..config() };
    let finished = measure_with(config, || {
        let _a = info_span!("step");
        let _b = info_span!(target: "shop::cart", "renamed", otel.name = "pay");
        let _c = info_span!(target: "shop", "own", node.id = "mine");
        let _d = info_span!(target: "shop", "model", gen_ai.operation.name = "chat");
        let _e = tracing::debug_span!(target: "shop", "verbose");
        let _f = info_span!(target: "shopping", "elsewhere");
    });
    let id = |name| named(&finished, name).text("longpole.node.id");
    assert_eq!(id("step").as_deref(), Some("step"));
    assert_eq!(id("pay").as_deref(), Some("pay"));
    assert_eq!(id("own").as_deref(), Some("mine"));
    assert_eq!([id("model"), id("verbose"), id("elsewhere")], [None, None, None]);
}

#[test]
fn values_set_from_outside_the_macro_take_every_type() {
    let finished = measure(|| {
        let span = info_span!("n");
        span.set_attribute("text", String::from("t"));
        span.set_attribute("large", u64::MAX);
        span.set_attribute("size", 3usize);
        span.set_attribute("ratio", 0.5f32);
        span.set_attribute("truth", false);
        span.set_attribute("list", vec!["a", "b"]);
        span.set_attribute("node.depends_on", "a,b");
        Span::none().set_attribute("nowhere", 1i64);
    });
    let expected = BTreeMap::from([
        ("text", string("t")),
        ("large", string("18446744073709551615")),
        ("size", int(3)),
        ("ratio", Any::DoubleValue(0.5)),
        ("truth", Any::BoolValue(false)),
        ("list", strings(&["a", "b"])),
        ("longpole.node.depends_on", strings(&["a", "b"])),
    ]);
    assert_eq!(named(&finished, "n").recorded(), expected);
}

#[test]
fn switched_off_nothing_new_is_taken_and_open_spans_are_finished() {
    let mut bench = Bench::new(config());
    let core = bench.core();
    let finished = bench.run(|_| {
        let before = info_span!("before", late = Empty);
        core.enabled.store(false, Ordering::Relaxed);
        let _off = info_span!("off").entered();
        before.record("late", 1);
        before.in_scope(|| tracing::info!("lost"));
        drop(before);
    });
    let [before] = &finished[..] else { panic!() };
    assert_eq!(
        (before.recorded().len(), before.span.events.len(), before.int("longpole.polls")),
        (0, 0, Some(1))
    );
}

#[test]
fn many_keys_set_from_outside_stay_unique() {
    let finished = measure(|| {
        let span = info_span!("n", key.seven = 0);
        for round in 1..3i64 {
            for number in 0..100 {
                span.set_attribute(&format!("key.{number}"), round);
            }
            span.set_attribute("key.seven", round);
        }
    });
    let recorded = named(&finished, "n").recorded();
    assert_eq!(recorded.len(), 101);
    assert!(recorded.values().all(|value| *value == int(2)));
}
