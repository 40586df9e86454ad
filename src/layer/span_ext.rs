//! What a program can tell the layer about a span beyond its macro's fields.

use std::borrow::Cow;
use std::sync::atomic::Ordering::Relaxed;

use tracing::Span;

use crate::conventions;
use crate::encode::span::{
    EncodedKey, LinkMeaning, SPAN_ATTRIBUTE, append_bool, append_double, append_int, append_str,
    append_strings, cut,
};
use crate::ids::{SpanId, TraceId};
use crate::prices::Usage;
use crate::privacy::{Carrier, REDACTED, Treatment};

use super::LongpoleLayer;
use super::callsite::{Role, mode, role_of, treated};
use super::config::{ForeignContext, RemoteParent};
use super::field_visitor::{Changes, Scratch, append_names, note_fact, set_property};
use super::open_span::{Lineage, flags, marks, trace_id_bytes};
use super::tracked_call::usage_key;
use super::withheld::{Given, append_withheld, masked};
use super::{LayerCore, fence};

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Text.
    Text(Cow<'static, str>),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Double(f64),
    /// True or false.
    Bool(bool),
    /// A list of texts.
    Texts(Vec<Cow<'static, str>>),
}

macro_rules! value_from {
    ($($source:ty => |$value:ident| $made:expr,)*) => {
        $(impl From<$source> for Value {
            fn from($value: $source) -> Value {
                $made
            }
        })*
    };
}

value_from! {
    &'static str => |value| Value::Text(value.into()),
    String => |value| Value::Text(value.into()),
    Cow<'static, str> => |value| Value::Text(value),
    bool => |value| Value::Bool(value),
    f64 => |value| Value::Double(value),
    f32 => |value| Value::Double(value.into()),
    i64 => |value| Value::Int(value),
    i32 => |value| Value::Int(value.into()),
    u32 => |value| Value::Int(value.into()),
    // Protobuf's integers are signed: what does not fit is told as text, as for fields of a macro.
    u64 => |value| i64::try_from(value).map_or_else(|_| Value::Text(value.to_string().into()), Value::Int),
    usize => |value| Value::from(value as u64),
    Vec<String> => |value| Value::Texts(value.into_iter().map(Cow::from).collect()),
    Vec<&'static str> => |value| Value::Texts(value.into_iter().map(Cow::from).collect()),
}

/// Why a span could not be put under another process's span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetParentError {
    /// The span is disabled, closed, or no longpole layer measures it.
    #[error("no longpole layer measures this span")]
    NotMeasured,
    /// An id of zero bytes names no span.
    #[error("the parent's trace id and span id must not be zero")]
    InvalidParent,
    /// Its ids are in use: a child was started under it, or they were handed out.
    #[error("the span's ids are in use already; set its parent before its first child")]
    InUse,
}

/// Tells longpole about a span what was not known when it was made, without fields declared for it.
///
/// On a span no longpole layer measures (disabled, filtered out, or no layer installed) the methods do nothing.
pub trait SpanExt {
    /// Sets an attribute, replacing an earlier value of the same key. Short forms such as `node.id` are written
    /// under their full key; `otel.name`, `otel.kind` and `otel.status_code` work as they do as fields. Content of
    /// conversations is left out and secrets are masked, as in fields.
    fn set_attribute(&self, key: &str, value: impl Into<Value>);

    /// Says what the work of this span cost, in US dollars; replaces an earlier cost.
    fn record_cost(&self, usd: f64);

    /// Says what the call of a model that this span stands for used; replaces earlier counts of the same units. Cached
    /// tokens count as input too, reasoning tokens as output: see [`Usage`]. What it costs follows from that, the
    /// provider and the model, where the span does not say it.
    fn record_usage(&self, usage: &Usage);

    /// Puts the span, and what will be started under it, into the trace of a caller in another process.
    ///
    /// With `sampled` false the trace is measured and reported here, but not exported.
    ///
    /// # Errors
    ///
    /// If no layer measures the span, if an id is zero, or if a child was started or the span's ids were handed
    /// out already.
    fn set_parent(&self, trace_id: TraceId, span_id: SpanId, sampled: bool) -> Result<(), SetParentError>;

    /// Links the span to one of another trace, as `follows_from` does to one of this process. Zero ids link to
    /// nothing.
    fn add_link(&self, trace_id: TraceId, span_id: SpanId);

    /// The ids under which the span is exported, for passing them on; `None` if no layer measures it. From then
    /// on its parent is fixed.
    fn span_context(&self) -> Option<(TraceId, SpanId)>;
}

impl SpanExt for Span {
    fn set_attribute(&self, key: &str, value: impl Into<Value>) {
        let value = value.into();
        with_layer(self, |core, id| core.set_attribute(id, key, &value));
    }

    fn record_cost(&self, usd: f64) {
        self.set_attribute(conventions::COST_USD, usd);
    }

    fn record_usage(&self, usage: &Usage) {
        for (unit, count) in usage.iter() {
            self.set_attribute(&usage_key(unit), count);
        }
    }

    fn set_parent(&self, trace_id: TraceId, span_id: SpanId, sampled: bool) -> Result<(), SetParentError> {
        if trace_id.is_zero() || span_id.is_zero() {
            return Err(SetParentError::InvalidParent);
        }
        let trace_id = u128::from_be_bytes(trace_id.to_bytes());
        let remote = RemoteParent {
            trace_id: [(trace_id >> 64) as u64, trace_id as u64],
            span_id: u64::from_be_bytes(span_id.to_bytes()),
            is_sampled: sampled,
            is_remote: true,
            origin: ForeignContext::default(),
        };
        with_layer(self, |core, id| core.set_parent(id, remote)).unwrap_or(Err(SetParentError::NotMeasured))
    }

    fn add_link(&self, trace_id: TraceId, span_id: SpanId) {
        if !trace_id.is_zero() && !span_id.is_zero() {
            with_layer(self, |core, id| core.add_link(id, trace_id, span_id));
        }
    }

    fn span_context(&self) -> Option<(TraceId, SpanId)> {
        with_layer(self, |core, id| {
            core.slots.with(id, |slot| {
                slot.flags.fetch_or(flags::IDS_GIVEN, Relaxed);
                let trace_id = TraceId::from_bytes(trace_id_bytes(slot.trace_id()));
                (trace_id, SpanId::from_bytes(slot.span_id().to_be_bytes()))
            })
        })?
    }
}

/// Runs `f` with the layer of the span's own subscriber and the registry's id of the span.
pub(super) fn with_layer<R>(span: &Span, f: impl FnOnce(&LayerCore, u64) -> R) -> Option<R> {
    span.with_subscriber(|(id, dispatch)| {
        let layer = dispatch.downcast_ref::<LongpoleLayer>()?;
        Some(f(&layer.core, id.into_u64()))
    })?
}

impl LayerCore {
    fn set_attribute(&self, id: u64, key: &str, value: &Value) {
        if !self.enabled.load(Relaxed) {
            return;
        }
        if fence::is_up() {
            return self.counters.reentered.add(1);
        }
        let full_key = conventions::exported_key(key);
        let role = role_of(full_key);
        let (key, treatment) = treated(full_key, key, self.config.privacy, Carrier::Span);
        let is_fact = conventions::fact_of(key).is_some();
        if !role.is_property() && mode::writing(is_fact) & mode::of(self.config.export) == 0 {
            return;
        }
        Scratch::lend(|scratch| {
            let mut changes = Changes { has_other_keys: true, ..Changes::default() };
            let is_list_to_keep = treatment == Treatment::Content && matches!(value, Value::Texts(_));
            if role == Role::Attribute && treatment != Treatment::Plain && !is_list_to_keep {
                changes.count = self.encode_withheld(key, treatment, value, &mut scratch.attributes);
                if changes.count > 0 {
                    self.apply(id, scratch, &changes);
                }
                return;
            }
            let value = &*self.masked(value, treatment);
            match value {
                Value::Text(text) if role.is_property() => {
                    changes.has_other_keys = false;
                    set_property(role, text, &self.config.limits, scratch, &mut changes);
                }
                _ => {
                    changes.count = 1;
                    self.encode_value(&EncodedKey::new(key), role, value, &mut scratch.attributes);
                }
            }
            match value {
                Value::Text(text) => note_fact(role, text, scratch, &mut changes),
                Value::Bool(truth) if role == Role::Detached => {
                    scratch.properties_for(&mut changes).detached = Some(*truth);
                }
                _ => {}
            }
            self.apply(id, scratch, &changes);
        });
    }

    /// Appends what may be told of `value` and returns how many attributes that is.
    #[cold]
    fn encode_withheld(&self, key: &str, treatment: Treatment, value: &Value, buffer: &mut Vec<u8>) -> u32 {
        let joined;
        let given = match value {
            Value::Text(text) => Given::Text(text),
            Value::Int(number) => Given::Int(*number),
            Value::Double(number) => Given::Double(*number),
            Value::Bool(truth) => Given::Bool(*truth),
            // As one text, of which only a number is written, or nothing.
            Value::Texts(texts) => {
                joined = texts.join("\n");
                Given::Text(&joined)
            }
        };
        let (limits, counters) = (&self.config.limits, &self.counters);
        append_withheld(buffer, SPAN_ATTRIBUTE, &EncodedKey::new(key), treatment, given, limits, counters)
    }

    /// `value` without secrets.
    fn masked<'v>(&self, value: &'v Value, treatment: Treatment) -> Cow<'v, Value> {
        let (limits, counters) = (&self.config.limits, &self.counters);
        let mask = |text: &'v str| masked(text, limits.value_bytes, limits, counters);
        match value {
            Value::Text(_) if treatment == Treatment::Redacted => {
                counters.redacted_values.add(1);
                Cow::Owned(Value::Text(REDACTED.into()))
            }
            Value::Texts(_) if treatment == Treatment::Redacted => {
                counters.redacted_values.add(1);
                Cow::Owned(Value::Texts(vec![REDACTED.into()]))
            }
            Value::Text(text) => match mask(text) {
                Cow::Owned(text) => Cow::Owned(Value::Text(text.into())),
                Cow::Borrowed(_) => Cow::Borrowed(value),
            },
            Value::Texts(texts) if texts.iter().any(|text| text.len() >= limits.masked_from) => {
                Cow::Owned(Value::Texts(texts.iter().map(|text| mask(text).into_owned().into()).collect()))
            }
            _ => Cow::Borrowed(value),
        }
    }

    fn encode_value(&self, key: &EncodedKey, role: Role, value: &Value, buffer: &mut Vec<u8>) {
        let limit = self.config.limits.value_bytes;
        match value {
            Value::Text(names) if role == Role::DependsOn => append_names(buffer, key, names, limit),
            Value::Text(text) => append_str(buffer, SPAN_ATTRIBUTE, key, text, limit),
            Value::Int(number) => append_int(buffer, SPAN_ATTRIBUTE, key, *number),
            Value::Double(number) => append_double(buffer, SPAN_ATTRIBUTE, key, *number),
            Value::Bool(truth) => append_bool(buffer, SPAN_ATTRIBUTE, key, *truth),
            Value::Texts(texts) => {
                let texts = texts.iter().map(|text| cut(text, limit));
                append_strings(buffer, SPAN_ATTRIBUTE, key, texts);
            }
        }
    }

    pub(super) fn set_parent(&self, id: u64, remote: RemoteParent) -> Result<(), SetParentError> {
        let is_sampled = self.config.sampler.samples(remote.trace_id, Some(remote.is_sampled));
        let adopted = self.slots.with(id, |slot| {
            if slot.children.load(Relaxed) > 0 || slot.has(flags::IDS_GIVEN) {
                return Err(SetParentError::InUse);
            }
            Ok(slot.adopt_remote_parent(remote, is_sampled))
        });
        match adopted {
            Some(Ok(former_parent)) => {
                if let Some(parent) = former_parent {
                    self.disown(parent);
                }
                #[cfg(feature = "otlp")]
                if self.config.otel.activates {
                    self.reattach(id);
                }
                Ok(())
            }
            Some(Err(error)) => Err(error),
            None => Err(SetParentError::NotMeasured),
        }
    }

    fn add_link(&self, id: u64, trace_id: TraceId, span_id: SpanId) {
        if !self.config.export || !self.enabled.load(Relaxed) || fence::is_up() {
            return;
        }
        let trace_id = u128::from_be_bytes(trace_id.to_bytes());
        let to = Lineage {
            trace_id: [(trace_id >> 64) as u64, trace_id as u64],
            span_id: u64::from_be_bytes(span_id.to_bytes()),
            anchor: crate::time::Timestamp::EPOCH,
            flags: 0,
        };
        self.slots.with(id, |slot| {
            let mut body = slot.lock();
            body.push_link(to, LinkMeaning::Unsaid, &self.config.limits, &self.counters);
            self.charge(&mut body);
        });
    }

    /// Notes that the future the span stands for was dropped before it was ready.
    pub(super) fn mark_cancelled(&self, id: u64) {
        self.slots.with(id, |slot| slot.lock().marks |= marks::CANCELLED);
    }
}
