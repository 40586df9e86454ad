//! What is known of a span macro once and for all, and how to find it fast.
//!
//! Facts about a callsite follow from its metadata and from what is withheld, so they are kept for the whole process;
//! what else one layer's configuration says about it stands beside them in a small cache per thread.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing_core::Metadata;

use crate::conventions::{CONTENT_INPUT_HASH, Fact, exported_key, fact_of};
use crate::encode::span::{self, EVENT_ATTRIBUTE, EncodedKey, EncodedName, SPAN_ATTRIBUTE};
use crate::pipeline::shard::flags as frame_flags;
use crate::privacy::{Carrier, Policy, Treatment};

use super::config::{LayerConfig, Limits, Verdict};

/// One span or event macro.
#[derive(Debug)]
pub(crate) struct Callsite {
    pub(crate) name: &'static str,
    pub(crate) encoded_name: EncodedName,
    /// `code.*` attributes of a span, encoded.
    pub(crate) location: Box<[u8]>,
    /// The `target` attribute of a span, encoded.
    pub(crate) target: Box<[u8]>,
    /// By field index.
    pub(crate) fields: Box<[FieldInfo]>,
    /// Some field has a key the layer writes too: whoever writes must look for it first.
    pub(crate) shadows_layer_keys: bool,
    /// What a frame says of every span of it: whether some field may say that the span is a call of a model. See
    /// [`frame_flags`].
    pub(crate) frame_flags: u8,
    /// `level` and `target` of an event, encoded.
    pub(crate) event_attributes: Box<[u8]>,
    /// Some field of an event has one of those keys.
    pub(crate) shadows_event_keys: bool,
    /// Two fields have the same key.
    pub(crate) repeats_keys: bool,
}

/// One field of a callsite.
#[derive(Debug)]
pub(crate) struct FieldInfo {
    pub(crate) role: Role,
    pub(crate) key: EncodedKey,
    /// The field's bit in the set of recorded keys; the same for two spellings of one key, and for all fields from
    /// the 64th on.
    pub(crate) bit: u64,
    /// What must not leave the process.
    pub(crate) treatment: Treatment,
    /// Text is written as it is: it has no other role, and nothing is withheld.
    pub(crate) is_plain: bool,
    /// In which modes text is written as it is.
    pub(crate) plain_in: u8,
    /// In which modes a value is written, not regarding its treatment.
    pub(crate) written_in: u8,
    /// In which modes a value that is no text is written as it is.
    pub(crate) kept_in: u8,
}

/// What a layer writes, as bits of [`FieldInfo::written_in`].
pub(crate) mod mode {
    /// Everything.
    pub(crate) const EXPORT: u8 = 1;
    /// Only what the analysis reads.
    pub(crate) const ANALYSIS: u8 = 2;

    #[inline]
    pub(crate) fn of(exports: bool) -> u8 {
        if exports { EXPORT } else { ANALYSIS }
    }

    /// In which modes an attribute is written that the analysis reads, or not.
    pub(crate) fn writing(is_fact: bool) -> u8 {
        if is_fact { EXPORT | ANALYSIS } else { EXPORT }
    }
}

/// What a field is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// An attribute like any other.
    Attribute,
    /// An attribute that marks the root of a run.
    WorkflowName,
    /// An attribute that says nobody waits for the span.
    Detached,
    /// A list of names, written with commas between them.
    DependsOn,
    /// `otel.name`: the span's name.
    SpanName,
    /// `otel.kind`.
    SpanKind,
    /// `otel.status_code`.
    StatusCode,
    /// `otel.status_description`.
    StatusDescription,
    /// Where a record of the crate `log` was made, as an attribute.
    LogLocation,
}

impl Role {
    /// Whether it tells a property of the span and is no attribute, if it is text.
    pub(crate) fn is_property(self) -> bool {
        matches!(self, Role::SpanName | Role::SpanKind | Role::StatusCode | Role::StatusDescription)
    }
}

/// Keys under which the layer writes of its own accord.
const LAYER_KEYS: [&str; 6] =
    ["code.file.path", "code.module.name", "code.line.number", "thread.id", "thread.name", "target"];

impl Callsite {
    fn new(metadata: &'static Metadata<'static>, privacy: &Policy) -> Self {
        let name = span::cut(metadata.name(), Limits::default().name_bytes);
        let is_log_record = metadata.name() == "log event" && metadata.target() == "log";
        let key_of = if is_log_record { log_key } else { exported_key };
        let carrier = if metadata.is_event() { Carrier::Event } else { Carrier::Span };
        let (keys, treatments): (Vec<&'static str>, Vec<Treatment>) = metadata
            .fields()
            .iter()
            .map(|field| treated(key_of(field.name()), field.name(), privacy, carrier))
            .unzip();
        let first_spelling = |key| keys.iter().position(|other| *other == key).unwrap_or_default();
        let fields = keys.iter().zip(treatments).map(|(key, treatment)| {
            let first_spelling = first_spelling(*key);
            let is_log_location = is_log_record && key.starts_with("code.");
            let role = if is_log_location { Role::LogLocation } else { role_of(key) };
            let written_in = mode::writing(fact_of(key).is_some());
            let is_kept = matches!(treatment, Treatment::Plain | Treatment::Content);
            let is_plain = role == Role::Attribute && treatment == Treatment::Plain;
            FieldInfo {
                role,
                key: EncodedKey::new(key),
                bit: 1u64.wrapping_shl(first_spelling.min(63) as u32),
                treatment,
                is_plain,
                plain_in: if is_plain { written_in } else { 0 },
                written_in,
                kept_in: if is_kept { written_in } else { 0 },
            }
        });
        Callsite {
            name,
            encoded_name: EncodedName::new(name),
            location: location_of(metadata).into(),
            target: target_of(metadata).into(),
            fields: fields.collect(),
            frame_flags: if keys.iter().any(|key| may_tell_call(key)) { frame_flags::MAY_BE_CALL } else { 0 },
            event_attributes: event_attributes_of(metadata).into(),
            shadows_event_keys: keys.iter().any(|key| EVENT_KEYS.contains(key)),
            shadows_layer_keys: keys.iter().any(|key| is_layer_key(key)),
            repeats_keys: keys.iter().enumerate().any(|(index, key)| first_spelling(*key) != index),
        }
    }
}

fn may_tell_call(key: &str) -> bool {
    matches!(fact_of(key), Some(Fact::Operation | Fact::SpanKind))
}

/// What becomes of the attribute `key`, given as `spelling`, and the key under which something of it is written.
pub(crate) fn treated<'k>(
    key: &'k str,
    spelling: &str,
    privacy: &Policy,
    carrier: Carrier,
) -> (&'k str, Treatment) {
    let treatment = match privacy.treatment(key, carrier) {
        Treatment::Plain if spelling != key => privacy.treatment(spelling, carrier),
        treatment => treatment,
    };
    (if treatment == Treatment::LeftOutButHashed { CONTENT_INPUT_HASH } else { key }, treatment)
}

/// The key of a field that the crate `tracing-log` gives a record of the crate `log`.
fn log_key(field: &str) -> &str {
    match field {
        "log.target" => "target",
        "log.module_path" => "code.module.name",
        "log.file" => "code.file.path",
        "log.line" => "code.line.number",
        other => other,
    }
}

/// Whether the layer writes `key` of its own accord.
pub(crate) fn is_layer_key(key: &str) -> bool {
    LAYER_KEYS.contains(&key)
        || matches!(
            fact_of(key),
            Some(
                Fact::Queued
                    | Fact::Busy
                    | Fact::Polls
                    | Fact::LongestPoll
                    | Fact::FirstEnter
                    | Fact::HeldOpen
                    | Fact::Outcome
            )
        )
}

/// What the field exported as `key` is for.
pub(crate) fn role_of(key: &str) -> Role {
    match key {
        "otel.name" => Role::SpanName,
        "otel.kind" => Role::SpanKind,
        "otel.status_code" => Role::StatusCode,
        "otel.status_description" => Role::StatusDescription,
        _ => match fact_of(key) {
            Some(Fact::WorkflowName) => Role::WorkflowName,
            Some(Fact::Detached) => Role::Detached,
            Some(Fact::DependsOn) => Role::DependsOn,
            _ => Role::Attribute,
        },
    }
}

/// Where in the source `metadata` stands.
fn location_of(metadata: &Metadata<'_>) -> Vec<u8> {
    let mut fields = Vec::new();
    let tag = if metadata.is_event() { EVENT_ATTRIBUTE } else { SPAN_ATTRIBUTE };
    let texts = [("code.file.path", metadata.file()), ("code.module.name", metadata.module_path())];
    for (key, value) in texts {
        if let Some(value) = value {
            span::append_str(&mut fields, tag, &EncodedKey::new(key), value, Limits::default().value_bytes);
        }
    }
    if let Some(line) = metadata.line() {
        span::append_int(&mut fields, tag, &EncodedKey::new("code.line.number"), i64::from(line));
    }
    fields
}

/// The keys of what an event tells of its macro.
pub(crate) const EVENT_KEYS: [&str; 2] = ["level", "target"];

fn event_attributes_of(metadata: &Metadata<'_>) -> Vec<u8> {
    let mut fields = Vec::new();
    if metadata.is_event() {
        for (key, value) in EVENT_KEYS.iter().zip([metadata.level().as_str(), metadata.target()]) {
            span::append_str(&mut fields, EVENT_ATTRIBUTE, &EncodedKey::new(key), value, value.len());
        }
    }
    fields
}

fn target_of(metadata: &Metadata<'_>) -> Vec<u8> {
    let mut field = Vec::new();
    let key = EncodedKey::new("target");
    span::append_str(&mut field, SPAN_ATTRIBUTE, &key, metadata.target(), Limits::default().value_bytes);
    field
}

/// The facts about `metadata` under a policy; made at the first call, never freed: a program has so many macros and
/// no more, and one policy or a few.
fn intern(metadata: &'static Metadata<'static>, privacy: &Policy) -> &'static Callsite {
    type Interned = HashMap<(usize, u32), &'static Callsite>;
    static CALLSITES: OnceLock<Mutex<Interned>> = OnceLock::new();
    let callsites = CALLSITES.get_or_init(Mutex::default);
    let mut callsites = callsites.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (address_of(metadata), privacy.number);
    callsites.entry(key).or_insert_with(|| Box::leak(Box::new(Callsite::new(metadata, privacy))))
}

/// A callsite is its metadata's place in memory: statics never move and are never freed.
#[inline]
fn address_of(metadata: &'static Metadata<'static>) -> usize {
    std::ptr::from_ref(metadata) as usize
}

/// Names one layer of the process in the per-thread cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LayerNumber(u32);

impl LayerNumber {
    /// The number of no layer.
    pub(crate) const NONE: LayerNumber = LayerNumber(0);

    pub(crate) fn next() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        LayerNumber(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Entries of the per-thread cache; a power of two.
const CACHED: usize = 64;

#[derive(Clone, Copy)]
struct Cached {
    /// `None`: nothing is cached here.
    callsite: Option<&'static Callsite>,
    address: usize,
    layer: LayerNumber,
    verdict: Verdict,
}

impl Cached {
    const NOTHING: Cached =
        Cached { callsite: None, address: 0, layer: LayerNumber::NONE, verdict: Verdict::TAKEN };
}

thread_local! {
    static CACHE: [Cell<Cached>; CACHED] = const {
        [const { Cell::new(Cached::NOTHING) }; CACHED]
    };
}

/// The facts about `metadata`, and what `config` says about it.
#[inline]
pub(crate) fn look_up(
    metadata: &'static Metadata<'static>,
    layer: LayerNumber,
    config: &LayerConfig,
) -> (&'static Callsite, Verdict) {
    let address = address_of(metadata);
    // The metadata of one crate stand at a fixed stride; the multiplication spreads them.
    let index = (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58;
    let cached = CACHE.try_with(|cache| {
        let cached = cache.get(index as usize)?.get();
        if cached.address == address && cached.layer == layer {
            cached.callsite.map(|it| (it, cached.verdict))
        } else {
            None
        }
    });
    if let Ok(Some(known)) = cached {
        return known;
    }
    look_up_uncached(metadata, layer, config, index as usize)
}

#[cold]
fn look_up_uncached(
    metadata: &'static Metadata<'static>,
    layer: LayerNumber,
    config: &LayerConfig,
    index: usize,
) -> (&'static Callsite, Verdict) {
    let callsite = intern(metadata, config.privacy);
    let verdict = config.verdict(metadata);
    let _ = CACHE.try_with(|cache| {
        if let Some(cell) = cache.get(index) {
            let address = address_of(metadata);
            cell.set(Cached { callsite: Some(callsite), address, layer, verdict });
        }
    });
    (callsite, verdict)
}
