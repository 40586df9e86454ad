//! What must not leave the process is not written.

use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use proptest::prelude::*;
use tracing::field::Empty;
use tracing::{info, info_span};

use super::super::config::Limits;
use super::*;
use crate::privacy::{ContentCapture, Policy};
use crate::{SpanExt, Value};

fn capturing(content: ContentCapture) -> LayerConfig {
    LayerConfig { privacy: Policy::of(content, &[]), ..config() }
}

fn redacted() -> Any {
    string("[redacted]")
}

#[test]
fn content_is_left_out_and_counted_and_of_inputs_a_number_stays() {
    let mut bench = Bench::new(config());
    let finished = bench.run(|_| {
        let span = info_span!(
            "tool",
            gen_ai.operation.name = "execute_tool",
            gen_ai.tool.call.arguments = "{\"city\":\"Oslo\"}",
            gen_ai.tool.call.result = Empty,
            gen_ai.input.messages = ?vec!["hello"],
            llm.token_count.prompt = 3,
        );
        span.record("gen_ai.tool.call.result", "rain");
        span.set_attribute("output.value", "rain");
        span.set_attribute("gen_ai.prompt.0.content", vec!["a".to_owned()]);
        span.in_scope(|| info!(gen_ai.output.messages = "rain", gen_ai.prompt = %"hello", count = 1, "done"));
    });
    let [tool] = &finished[..] else { panic!() };
    let keys: Vec<&str> = tool.recorded().into_keys().collect();
    assert_eq!(keys, ["gen_ai.operation.name", "llm.token_count.prompt", "longpole.content.input_hash"]);
    let event_keys: Vec<&str> = tool.span.events[0].attributes.iter().map(|a| a.key.as_str()).collect();
    assert_eq!(event_keys, ["count", "level", "target"]);
    assert_eq!(bench.counter("content_left_out"), 7);
    assert_eq!(bench.counter("attributes_dropped"), 0);
}

#[test]
fn equal_inputs_have_equal_numbers_however_they_are_recorded_and_last_writes_win() {
    for export in [true, false] {
        let finished = measure_with(LayerConfig { export, ..config() }, || {
            let _text = info_span!("text", input.value = "Oslo");
            let _shown = info_span!("shown", input.value = %"Oslo");
            let _other = info_span!("other", input.value = "Rome");
            info_span!("set").set_attribute("traceloop.entity.input", "Oslo");
            let late = info_span!("late", gen_ai.tool.call.arguments = "Rome", input.value = Empty);
            late.record("input.value", "Oslo");
            let _number = info_span!("number", input.value = 7);
            let _again = info_span!("again", input.value = 7u64);
            let own = info_span!("own", input.value = "Oslo", node.input_hash = 5);
            own.set_attribute("input.value", "Rome");
            let _empty = info_span!("empty", input.value = "");
        });
        let hash = |name: &str| named(&finished, name).int("longpole.content.input_hash");
        let oslo = hash("text");
        assert!(oslo.is_some_and(|hash| (0..1 << 53).contains(&hash)));
        for name in ["shown", "set", "late"] {
            assert_eq!(hash(name), oslo, "{name}");
        }
        assert_ne!(hash("other"), oslo);
        assert_eq!(hash("number"), hash("again"));
        assert_eq!(hash("own"), hash("other"));
        assert_eq!(named(&finished, "own").int("longpole.node.input_hash"), Some(5));
        assert_eq!(hash("empty"), None);
        for one in &finished {
            assert_eq!(one.attribute("input.value"), None);
            assert_eq!(one.attribute("traceloop.entity.input"), None);
        }
    }
}

#[test]
fn content_is_written_where_it_is_asked_for_cut_at_its_own_limit_with_its_length() {
    let content = "für".repeat(100);
    for (in_spans, in_events) in [(true, true), (true, false), (false, true)] {
        let limits = Limits { value_bytes: 20, content_bytes: 50, ..Limits::default() };
        let mut bench =
            Bench::new(LayerConfig { limits, ..capturing(ContentCapture { in_spans, in_events }) });
        let finished = bench.run(|_| {
            let span = info_span!("n", gen_ai.prompt = &*content, gen_ai.completion = %content, short = "s");
            span.set_attribute("output.value", content.clone());
            span.set_attribute("llm.prompts", vec!["a".to_owned(), "b".to_owned()]);
            span.set_attribute("input.value", 7u64);
            span.in_scope(|| info!(gen_ai.prompt = %content, input.value = "short"));
        });
        let [n] = &finished[..] else { panic!() };
        let cut = format!("{}fü…", "für".repeat(11));
        for key in ["gen_ai.prompt", "gen_ai.completion", "output.value"] {
            let length = format!("longpole.content.bytes.{key}");
            let expected = (in_spans.then(|| cut.clone()), in_spans.then_some(400));
            assert_eq!((n.text(key), n.int(&length)), expected, "{key}");
        }
        assert_eq!(n.attribute("llm.prompts"), in_spans.then(|| strings(&["a", "b"])));
        assert_eq!(n.int("input.value"), in_spans.then_some(7));
        let event = by_key(&n.span.events[0].attributes);
        assert_eq!(event.contains_key("gen_ai.prompt"), in_events);
        assert_eq!(event.get("input.value"), in_events.then(|| string("short")).as_ref());
        assert_eq!(event.get("longpole.content.bytes.gen_ai.prompt"), in_events.then(|| int(400)).as_ref());
        assert_eq!(bench.counter("content_cut"), u64::from(in_spans) * 3 + u64::from(in_events));
    }
}

#[test]
fn values_of_keys_of_secrets_are_redacted_whatever_their_type() {
    let mut bench = Bench::new(LayerConfig {
        privacy: Policy::of(ContentCapture::NONE, &["customer.*".to_owned()]),
        ..config()
    });
    let finished = bench.run(|_| {
        let span = info_span!(
            "n",
            api_key = "k",
            password = 5,
            auth.token = 0.5,
            client_secret = true,
            http.request.header.authorization = ?"Basic x",
            customer.name = "Ann",
            cookie = Empty,
            gen_ai.usage.input_tokens = 7,
        );
        span.record("cookie", u64::MAX);
        span.set_attribute("x-goog-key", vec!["a".to_owned()]);
        span.set_attribute("Set-Cookie", 1.5);
        span.in_scope(|| info!(password = 1, secret = ?"x", token = "t", tokens = 3, "login"));
    });
    let [n] = &finished[..] else { panic!() };
    let mut expected: BTreeMap<&str, Any> = [
        "api_key",
        "password",
        "auth.token",
        "client_secret",
        "http.request.header.authorization",
        "customer.name",
        "cookie",
        "x-goog-key",
        "Set-Cookie",
    ]
    .into_iter()
    .map(|key| (key, redacted()))
    .collect();
    expected.insert("gen_ai.usage.input_tokens", int(7));
    assert_eq!(n.recorded(), expected);
    let event = by_key(&n.span.events[0].attributes);
    for key in ["password", "secret", "token"] {
        assert_eq!(event[key], redacted(), "{key}");
    }
    assert_eq!(event["tokens"], int(3));
    assert_eq!(bench.counter("redacted_values"), 12);
}

#[test]
fn keys_the_layer_works_with_can_be_redacted_and_still_do_their_work() {
    let keys = ["workflow.name", "otel.name", "node.id", "message"].map(str::to_owned);
    let mut bench = Bench::new(LayerConfig { privacy: Policy::of(ContentCapture::NONE, &keys), ..config() });
    let finished = bench.run(|_| {
        let run = info_span!("run", workflow.name = "secret plan", otel.name = "renamed", node.id = 3);
        run.in_scope(|| info!("a message"));
    });
    let [run] = &finished[..] else { panic!() };
    assert_eq!(run.span.name, "[redacted]");
    assert_eq!(run.attribute("longpole.workflow.name"), Some(redacted()));
    assert_eq!(run.attribute("longpole.node.id"), Some(redacted()));
    assert_eq!(run.span.events[0].name, "[redacted]");
    assert!(
        run.frame.flags & crate::pipeline::shard::flags::OUTERMOST_MARKED != 0,
        "it is marked all the same"
    );
}

#[test]
fn what_will_not_be_written_is_not_formatted() {
    struct Loud;
    impl std::fmt::Debug for Loud {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("formatted")
        }
    }
    let mut bench = Bench::new(config());
    bench.run(|_| {
        let span = info_span!("n", password = ?Loud, gen_ai.output.messages = ?Loud);
        span.in_scope(|| info!(password = ?Loud, gen_ai.output.messages = ?Loud));
    });
    assert_eq!(bench.counter("formatting_panics"), 0);
    assert_eq!((bench.counter("redacted_values"), bench.counter("content_left_out")), (2, 2));
}

#[test]
fn secrets_in_any_text_are_masked_unless_that_is_switched_off() {
    let secret = "AKIAIOSFODNN7EXAMPLE";
    let program = || {
        let span = info_span!("n", plain = secret, shown = %secret, node.id = secret, otel.name = Empty);
        span.record("otel.name", format!("call with {secret}"));
        span.set_attribute("set", format!("<{secret}>"));
        span.set_attribute("list", vec![secret.to_owned(), "b".to_owned()]);
        span.set_attribute("otel.status_description", secret.to_owned());
        span.set_attribute("node.depends_on", Value::from(secret));
        let error = std::io::Error::other(std::io::Error::other(secret));
        span.in_scope(|| {
            info!(text = secret, debug = ?secret, "got {secret}");
            tracing::error!(error = &error as &(dyn std::error::Error + 'static), "failed");
        });
        let caught = info_span!("caught");
        caught.in_scope(|| tracing::error!(error = %secret));
        let _errors = info_span!("errors", cause = &error as &(dyn std::error::Error + 'static));
    };
    let mut masking = Bench::new(config());
    let masked = masking.run(|_| program());
    let text = format!("{masked:?}");
    assert!(!text.contains(secret) && text.contains("call with [redacted]"), "{text}");
    assert!(text.contains("got [redacted]") && text.contains("<[redacted]>"), "{text}");
    assert_eq!(named(&masked, "caught").span.status.as_ref().unwrap().message, "[redacted]");
    assert!(masking.counter("redacted_values") > 12);

    let limits = Limits { masked_from: usize::MAX, ..Limits::default() };
    let mut open = Bench::new(LayerConfig { limits, ..config() });
    let text = format!("{:?}", open.run(|_| program()));
    assert!(text.matches(secret).count() >= 15 && !text.contains("[redacted]"), "{text}");
    assert_eq!(open.counter("redacted_values"), 0);
}

#[test]
fn errors_under_keys_of_secrets_say_nothing() {
    let error = std::io::Error::other("hunter2");
    let error = &error as &(dyn std::error::Error + 'static);
    let finished = measure(|| {
        let span = info_span!("n", secret_error = error, output.value = error);
        span.in_scope(|| info!(password_error = error, "login"));
    });
    let text = format!("{finished:?}");
    assert!(!text.contains("hunter2") && text.contains("[redacted]"), "{text}");
}

#[test]
fn a_value_that_is_cut_inside_a_secret_keeps_nothing_of_it() {
    let long = format!("{} AKIAIOSFODNN7EXAMPLE", "x".repeat(40));
    for value_bytes in 46..61 {
        let limits = Limits { value_bytes, ..Limits::default() };
        let finished = measure_with(LayerConfig { limits, ..config() }, || {
            let _span = info_span!("n", text = &*long, shown = %long);
        });
        for key in ["text", "shown"] {
            let value = finished[0].text(key).unwrap();
            assert!(!value.contains("AKI") && value.len() <= value_bytes, "{value_bytes}: {value}");
        }
    }
}

proptest! {
    #[test]
    fn a_value_that_is_cut_is_no_longer_than_its_limit_and_cutting_it_again_changes_nothing(
        text in "(.{0,20}(eyJhbGciOiJIUzI1NiJ9\\.[a-z]{12}|sk-[a-z0-9]{20}|ä€)?){0,3}",
        limit in 0usize..80,
    ) {
        let limits = Limits { value_bytes: limit, content_bytes: limit, name_bytes: limit, ..Limits::default() };
        let config = LayerConfig { limits, ..capturing(ContentCapture::ALL) };
        let written = |text: &str| {
            let finished = measure_with(config.clone(), || {
                let span = info_span!("n", text, shown = %text, gen_ai.prompt = text, otel.name = text);
                span.set_attribute("set", text.to_owned());
                span.set_attribute("otel.status_description", text.to_owned());
            });
            let span = &finished[0];
            let mut values: Vec<String> =
                ["text", "shown", "gen_ai.prompt", "set"].iter().map(|key| span.text(key).unwrap()).collect();
            values.push(span.span.name.clone());
            values.push(span.span.status.clone().unwrap().message);
            values
        };
        // An empty name is that of the macro.
        for value in written(&text).into_iter().filter(|value| value != "n") {
            prop_assert!(value.len() <= limit, "{value:?} of {text:?}");
            let again = written(&value);
            prop_assert_eq!(&again[0], &value);
            prop_assert_eq!(&again[2], &value);
        }
    }
}
