//! Events inside spans, and errors told by them.

use std::fmt;

use tracing::{error, info, info_span, warn};

use super::super::config::Limits;
use super::*;

#[derive(Debug)]
struct Failed(&'static str, Option<Box<Failed>>);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Failed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.1.as_deref().map(|source| source as _)
    }
}

fn failed() -> Failed {
    Failed("outer", Some(Box::new(Failed("middle", Some(Box::new(Failed("inner", None)))))))
}

/// The attributes of the span's only event, with its name under `""`.
fn event(finished: &Finished) -> BTreeMap<&str, opentelemetry_proto::tonic::common::v1::any_value::Value> {
    let [event] = &finished.span.events[..] else { panic!("{:?}", finished.span.events) };
    let mut attributes = by_key(&event.attributes);
    attributes.insert("", string(&event.name));
    attributes
}

#[test]
fn an_event_becomes_an_event_of_its_span_named_after_its_message() {
    let finished = Bench::new(config()).run(|at| {
        let _n = info_span!("n").entered();
        at(7);
        info!(target: "shop", count = 3, shown = ?Some(1), big = u64::MAX, "hello {}", "you");
    });
    let n = named(&finished, "n");
    let expected = BTreeMap::from([
        ("", string("hello you")),
        ("level", string("INFO")),
        ("target", string("shop")),
        ("count", int(3)),
        ("shown", string("Some(1)")),
        ("big", string("18446744073709551615")),
    ]);
    assert_eq!(event(n), expected);
    assert_eq!((n.span.events[0].time_unix_nano, n.span.status.is_none()), (7, true));
}

#[test]
fn an_event_without_message_is_named_after_its_place_and_keeps_its_own_target() {
    let finished = measure(|| info_span!("n").in_scope(|| info!(target = "mine", line = 1)));
    let attributes = event(&finished[0]);
    let Some(opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue(name)) =
        attributes.get("")
    else {
        panic!()
    };
    assert!(name.starts_with("event ") && name.contains("events.rs:"), "{name}");
    assert_eq!(attributes["target"], string("mine"));
}

#[test]
fn events_too_verbose_or_outside_any_span_are_not_kept() {
    let mut bench = Bench::new(config());
    let finished = bench.run(|_| {
        info!("outside");
        let n = info_span!("n").entered();
        tracing::debug!("verbose");
        info!(parent: None, "outside too");
        drop(n);
        let m = info_span!("m");
        info!(parent: &m, "explicit");
    });
    assert_eq!(bench.counter("events_outside_spans"), 2);
    assert!(named(&finished, "n").span.events.is_empty());
    assert_eq!(named(&finished, "m").span.events.len(), 1);
}

#[test]
fn the_first_events_and_their_first_attributes_are_kept_and_the_rest_counted() {
    let limits = Limits { events: 2, event_attributes: 3, ..Limits::default() };
    let finished = measure_with(LayerConfig { limits, ..config() }, || {
        let _n = info_span!("n").entered();
        for round in 0..5 {
            info!(a = round, b = 1, c = 2, "event {round}");
        }
    });
    let n = named(&finished, "n");
    let names: Vec<_> = n.span.events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!((names, n.span.dropped_events_count), (vec!["event 0", "event 1"], 3));
    let first = &n.span.events[0];
    assert_eq!((first.attributes.len(), first.dropped_attributes_count), (3, 2));
    assert_eq!(by_key(&first.attributes)["a"], int(0));
}

#[test]
fn an_event_with_an_empty_message_is_named_after_its_place() {
    let finished = measure(|| info_span!("n").in_scope(|| info!(name: "given", rows = 3, "")));
    assert_eq!(event(&finished[0])[""], string("given"));
}

#[test]
fn the_keys_of_an_event_are_unique_and_the_programs_word_stands() {
    let (one, other) = (failed(), Failed("other", None));
    let finished = Bench::new(LayerConfig { location: true, ..config() }).run(|at| {
        info_span!("n").in_scope(|| {
            info!(
                one = &one as &(dyn std::error::Error + 'static),
                other = &other as &(dyn std::error::Error + 'static),
                code.line.number = 7,
                twice = 1,
                twice = 2,
                "done"
            );
        });
        at(1);
    });
    let event = event(&finished[0]);
    assert_eq!(event["exception.message"], string("other"));
    assert_eq!((&event["code.line.number"], &event["twice"]), (&int(7), &int(2)));
    assert_eq!(event["code.file.path"], string(file!()));
}

#[test]
fn an_event_fails_its_span_the_same_whether_it_is_exported_or_not() {
    for export in [true, false] {
        let finished = Bench::new(LayerConfig { export, ..config() }).run(|at| {
            info_span!("named").in_scope(|| warn!(error = %failed(), "careful"));
            info_span!("unnamed").in_scope(|| warn!(error = %failed()));
            info_span!("empty").in_scope(|| warn!(error = %failed(), ""));
            at(1);
        });
        let codes: BTreeMap<_, _> = finished
            .iter()
            .map(|finished| (&*finished.span.name, finished.span.status.as_ref().map_or(0, |s| s.code)))
            .collect();
        assert_eq!(codes, BTreeMap::from([("named", 0), ("unnamed", 2), ("empty", 2)]), "{export}");
    }
}

/// The cases tracing-opentelemetry 0.34 distinguishes, with what it exports for each under its defaults.
#[test]
fn errors_are_told_as_tracing_opentelemetry_tells_them() {
    let status = |finished: &Finished| {
        finished.span.status.as_ref().map(|status| (status.code, status.message.clone()))
    };
    let chain = strings(&["middle", "inner"]);
    let error = failed();
    let error: &(dyn std::error::Error + 'static) = &error;

    // What `#[instrument(err)]` logs: no message, a field `error`.
    let finished = measure(|| info_span!("n").in_scope(|| error!(error = %error)));
    let n = &finished[0];
    assert_eq!(status(n), Some((2, "outer".into())));
    let expected = BTreeMap::from([
        ("", string("exception")),
        ("level", string("ERROR")),
        ("target", string(module_path!())),
        ("exception.message", string("outer")),
    ]);
    assert_eq!(event(n), expected);
    assert!(!n.recorded().contains_key("exception.message"));

    // At another level too, and text in its debug form.
    let finished = measure(|| info_span!("n").in_scope(|| warn!(error = "gone")));
    assert_eq!(status(&finished[0]), Some((2, "\"gone\"".into())));

    // With a message, the field is one like any other.
    let finished = measure(|| info_span!("n").in_scope(|| warn!(error = %error, "careful")));
    assert_eq!(status(&finished[0]), None);
    assert_eq!(
        (&event(&finished[0])[""], &event(&finished[0])["error"]),
        (&string("careful"), &string("outer"))
    );

    // An error value: its texts on the event and on the span; only the level sets the status.
    for (finished, code) in [
        (measure(|| info_span!("n").in_scope(|| error!(cause = error, "boom"))), Some((2, String::new()))),
        (measure(|| info_span!("n").in_scope(|| warn!(cause = error, "boom"))), None),
    ] {
        let n = &finished[0];
        assert_eq!(status(n), code);
        let on_event = event(n);
        for (key, value) in [
            ("cause", string("outer")),
            ("cause.chain", chain.clone()),
            ("exception.message", string("outer")),
            ("exception.stacktrace", chain.clone()),
        ] {
            assert_eq!(on_event.get(key), Some(&value), "{key}");
        }
        let expected =
            BTreeMap::from([("exception.message", string("outer")), ("exception.stacktrace", chain.clone())]);
        assert_eq!(n.recorded(), expected);
    }

    // An error value as a field of the span itself.
    let finished = measure(|| drop(info_span!("n", cause = error)));
    let expected = BTreeMap::from([
        ("cause", string("outer")),
        ("cause.chain", chain.clone()),
        ("exception.message", string("outer")),
        ("exception.stacktrace", chain.clone()),
    ]);
    assert_eq!((finished[0].recorded(), status(&finished[0])), (expected, None));
}
