//! Calls of models that have no span of their own.

use std::borrow::Cow;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use tracing::Span;

use crate::conventions as keys;
use crate::encode::span::{
    EncodedKey, SPAN_ATTRIBUTE, SpanHead, append_int, append_name, append_str, cut, flags as span_flags,
};
use crate::pipeline::shard::{Left, UpTo, flags as frame_flags};
use crate::prices::{Call, Price, PriceTable, Unit, Unpriced, Usage};
use crate::random::random_id;
use crate::time::Timestamp;

use super::open_span::trace_id_bytes;
use super::span_ext::{SpanExt, with_layer};
use super::usage_log::LoggedSpan;
use super::withheld::masked;
use super::{LayerCore, fence};

/// Says that the current span has called a model and what the call used, and gives what it cost.
///
/// For programs that do not make a span of each call: the call is exported as a span without length below the current
/// one, its tokens and cost belong to the node around it, and the report tells it like any other call. Where a span
/// stands around each call, say there what it used: [`SpanExt::record_usage`].
///
/// Without a longpole layer nothing is recorded, and the price is that of the table that comes with longpole.
///
/// ```
/// # use tracing_subscriber::prelude::*;
/// # let (layer, longpole) = longpole::builder().workflow("agent").build()?;
/// # tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
/// use longpole::prices::{Unit, Usage};
///
/// let draft = tracing::info_span!("draft", node.id = "draft").entered();
/// // 1,000 input tokens, 400 of them from a cache, and 100 output tokens
/// let usage = Usage::tokens(1_000, 100).with(Unit::CACHE_READ, 400);
/// let price = longpole::track_call("openai", "gpt-4o", &usage).unwrap();
/// assert_eq!(price.cost.total().to_string(), "0.003");
/// # });
/// # longpole.shutdown();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Unpriced`], if the call has no price; it is recorded all the same, and reports say that it has none.
pub fn track_call(provider: &str, model: &str, usage: &Usage) -> Result<Price, Unpriced> {
    let mut span = Span::current();
    let is_left = with_layer(&span, |core, id| core.leave_call(id, provider, model, usage));
    if is_left != Some(true) {
        // No span is current that is measured: then this is a span like any other.
        let phase = format!("chat {model}");
        span = tracing::info_span!(
            target: "gen_ai",
            "chat",
            otel.name = phase,
            otel.kind = "client",
            gen_ai.operation.name = "chat",
            gen_ai.provider.name = provider,
            gen_ai.request.model = model,
            node.phase = phase,
        );
        span.record_usage(usage);
    }
    let prices = with_layer(&span, |core, _| core.config.prices.clone()).flatten();
    let at = Timestamp::from_system_time(SystemTime::now());
    let call = Call { provider: Some(provider), api_url: None, model, at, context: &[], usage };
    prices.as_ref().unwrap_or_else(|| PriceTable::embedded()).price(&call)
}

/// The attribute that tells how much of a unit a call used.
pub(super) fn usage_key(unit: Unit) -> Cow<'static, str> {
    match unit {
        Unit::INPUT => keys::GEN_AI_INPUT_TOKENS.into(),
        Unit::OUTPUT => keys::GEN_AI_OUTPUT_TOKENS.into(),
        Unit::CACHE_READ => keys::GEN_AI_CACHE_READ_TOKENS.into(),
        Unit::CACHE_WRITE => keys::GEN_AI_CACHE_WRITE_TOKENS.into(),
        other => format!("{}{}", keys::USAGE_PREFIX, other.name()).into(),
    }
}

impl LayerCore {
    /// Leaves a call that just ended as a child of the span with the registry's id `parent`; says whether that is
    /// measured.
    fn leave_call(&self, parent: u64, provider: &str, model: &str, usage: &Usage) -> bool {
        if !self.enabled.load(Relaxed) {
            return true;
        }
        if fence::is_up() {
            self.counters.reentered.add(1);
            return true;
        }
        let Some((_, lineage)) = self.adopt(parent) else { return false };
        let model = self.kept(model);
        let phase = format!("chat {model}");
        let mut message = Vec::new();
        let mut text = |key: &str, text: &str| {
            append_str(&mut message, SPAN_ATTRIBUTE, &EncodedKey::new(key), text, text.len());
        };
        text(keys::GEN_AI_OPERATION, "chat");
        text(keys::GEN_AI_PROVIDER, &self.kept(provider));
        text(keys::GEN_AI_REQUEST_MODEL, &model);
        text(keys::NODE_PHASE, &phase);
        for (unit, count) in usage.iter() {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            append_int(&mut message, SPAN_ATTRIBUTE, &EncodedKey::new(&usage_key(unit)), count);
        }
        let now = self.clock.now(lineage.anchor).as_unix_nanos();
        let is_unsampled = lineage.is_unsampled();
        let span_id = random_id();
        if self.usage_logs.are_bound() {
            let at = Timestamp::from_unix_nanos(now);
            let (parent_id, attributes) = (lineage.span_id, message.clone());
            let call = LoggedSpan { span_id, parent_id, start: at, end: at, attributes };
            self.log_at_and_above(parent, &call);
        }
        let head = SpanHead {
            trace_id: trace_id_bytes(lineage.trace_id),
            span_id: span_id.to_be_bytes(),
            parent_id: lineage.span_id.to_be_bytes(),
            kind: CLIENT,
            flags: span_flags::IS_REMOTE_KNOWN | if is_unsampled { 0 } else { span_flags::SAMPLED },
            start: now,
            end: now,
        };
        head.append(&mut message);
        append_name(&mut message, &phase);
        let flags = frame_flags::MAY_BE_CALL | self.config.export_flags(is_unsampled);
        let frame = Left { children: 0, flags };
        if let Err(refused) = self.shards.push(UpTo::Full, frame, [&message], || None) {
            self.count_refused(refused);
        }
        true
    }

    /// A text of the program's as far as it may leave the process.
    fn kept<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let limits = &self.config.limits;
        match masked(text, limits.value_bytes, limits, &self.counters) {
            Cow::Borrowed(text) => cut(text, limits.value_bytes).into(),
            masked => masked,
        }
    }
}

/// The kind of a span that calls something, as OTLP numbers it.
const CLIENT: u8 = 3;
