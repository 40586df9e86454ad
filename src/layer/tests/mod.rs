//! The layer as a program sees it: spans are made with `tracing`, what the layer left is decoded with prost.

#![allow(clippy::arithmetic_side_effects)]

mod attributes;
mod clock_jumps;
mod course;
mod events;
mod forgotten;
mod forked;
mod parents;
mod partial;
mod privacy;
mod programs;
mod shedding;
mod threads;
mod user_code;
mod wandering;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::SubscriberExt;

use super::LayerCore;
use super::config::LayerConfig;
use super::harness::Harness;
use crate::clock::Clock;
use crate::pipeline::shard::{FrameHead, Shards};

/// A finished span, decoded.
#[derive(Clone, Debug)]
struct Finished {
    span: Span,
    frame: FrameHead,
}

/// A layer with a clock that is moved by hand, and how to move it.
struct Bench {
    harness: Harness,
    now: Arc<AtomicU64>,
}

impl Bench {
    fn new(config: LayerConfig) -> Self {
        let now = Arc::new(AtomicU64::new(0));
        let core =
            LayerCore::with_clock(config, Arc::new(Shards::new(1, 64 << 20)), Clock::manual(now.clone()));
        Bench { harness: Harness::with_core(core), now }
    }

    /// Lets `program` run under the layer, with the clock to move; returns the spans in the order they closed.
    fn run(&mut self, program: impl FnOnce(&dyn Fn(u64))) -> Vec<Finished> {
        let now = self.now.clone();
        let subscriber = Registry::default().with(self.harness.layer());
        tracing::subscriber::with_default(subscriber, || program(&|at| now.store(at, Ordering::Relaxed)));
        self.finished()
    }

    fn finished(&mut self) -> Vec<Finished> {
        let mut finished = Vec::new();
        self.harness.drain(|message, frame| {
            finished.push(Finished { span: Span::decode(message).expect("a valid span message"), frame });
        });
        finished
    }

    fn core(&self) -> Arc<LayerCore> {
        self.harness.layer().core().clone()
    }

    fn counter(&self, name: &str) -> u64 {
        self.core().counters.snapshot()[name]
    }
}

/// The default configuration, except that spans of this crate are taken: these tests are part of it.
fn config() -> LayerConfig {
    let mut config = LayerConfig::default();
    config.ignored_targets.retain(|target| target != "longpole");
    config
}

/// Runs `program` under a layer with the default configuration.
fn measure(program: impl FnOnce()) -> Vec<Finished> {
    measure_with(config(), program)
}

fn measure_with(config: LayerConfig, program: impl FnOnce()) -> Vec<Finished> {
    Bench::new(config).run(|_| program())
}

impl Finished {
    /// What the program recorded: attributes without the timing ones.
    fn recorded(&self) -> BTreeMap<&str, any_value::Value> {
        let timing = ["longpole.busy_ns", "longpole.polls", "longpole.queued_ns", "longpole.first_enter_ns"];
        let mut attributes = by_key(&self.span.attributes);
        attributes.retain(|key, _| !timing.contains(key));
        attributes
    }

    fn attribute(&self, key: &str) -> Option<any_value::Value> {
        by_key(&self.span.attributes).remove(key)
    }

    fn int(&self, key: &str) -> Option<i64> {
        match self.attribute(key) {
            Some(any_value::Value::IntValue(value)) => Some(value),
            None => None,
            other => panic!("{key} is {other:?}"),
        }
    }

    fn text(&self, key: &str) -> Option<String> {
        match self.attribute(key) {
            Some(any_value::Value::StringValue(value)) => Some(value),
            None => None,
            other => panic!("{key} is {other:?}"),
        }
    }

    /// Start and end.
    fn times(&self) -> (u64, u64) {
        (self.span.start_time_unix_nano, self.span.end_time_unix_nano)
    }
}

/// Attributes by key; fails if a key is there twice.
fn by_key(attributes: &[KeyValue]) -> BTreeMap<&str, any_value::Value> {
    let mut map = BTreeMap::new();
    for KeyValue { key, value, .. } in attributes {
        let value = value.clone().and_then(|value| value.value).expect("a value");
        assert!(map.insert(key.as_str(), value).is_none(), "{key} is there twice");
    }
    map
}

fn string(text: &str) -> any_value::Value {
    any_value::Value::StringValue(text.to_owned())
}

fn int(value: i64) -> any_value::Value {
    any_value::Value::IntValue(value)
}

fn strings(texts: &[&str]) -> any_value::Value {
    let values = texts.iter().map(|text| AnyValue { value: Some(string(text)) }).collect();
    any_value::Value::ArrayValue(opentelemetry_proto::tonic::common::v1::ArrayValue { values })
}

fn named<'a>(finished: &'a [Finished], name: &str) -> &'a Finished {
    let mut found = finished.iter().filter(|finished| finished.span.name == name);
    let first = found.next().unwrap_or_else(|| panic!("no span {name}"));
    assert!(found.next().is_none(), "several spans {name}");
    first
}
