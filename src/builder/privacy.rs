//! What may leave the process.

use crate::encode::resource::{ResourceAttributes, ResourceValue};
use crate::privacy::{Carrier, ContentCapture, Policy, REDACTED, Treatment, mask};

use super::Builder;

impl Builder {
    /// Exports what people and models say, and what tools are given and give, as far as spans and events carry it.
    /// Default: what the environment says, else not. Each value is cut at 16 KiB (`LONGPOLE_CONTENT_BYTES`).
    pub fn capture_content(mut self, on: bool) -> Self {
        self.content = Some(if on { ContentCapture::ALL } else { ContentCapture::NONE });
        self
    }

    /// Exports `[redacted]` in place of the values of these keys too, beside those that name secrets anyway. `*` stands
    /// for any text and `[-_]` for one of these characters; case does not count; a pattern may begin after any dot of a
    /// key. They are added to those of `LONGPOLE_REDACT`.
    pub fn redact_keys(mut self, patterns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.redacted_keys.extend(patterns.into_iter().map(Into::into));
        self
    }

    /// Settles what is withheld.
    pub(super) fn settle_privacy(&mut self) {
        let variables = &self.environment.privacy;
        let content = self.content.or(variables.content).unwrap_or_default();
        let mut keys = variables.redacted_keys.clone();
        keys.append(&mut self.redacted_keys);
        self.layer.privacy = Policy::of(content, &keys);
        let limits = &mut self.layer.limits;
        limits.content_bytes = variables.content_bytes.unwrap_or(limits.content_bytes);
        if !variables.masks_values {
            limits.masked_from = usize::MAX;
        }
        for name in [&mut self.layer.workflow, &mut self.layer.workflow_version].into_iter().flatten() {
            if let Some(masked) = masked_text(name, self.layer.limits.masked_from) {
                *name = masked;
            }
        }
    }

    /// The resource less what is withheld.
    pub(super) fn protect(&self, attributes: &mut ResourceAttributes) {
        let masked_from = self.layer.limits.masked_from;
        for (key, value) in attributes.iter_mut() {
            if self.layer.privacy.treatment(key, Carrier::Span) == Treatment::Redacted {
                *value = ResourceValue::Text(REDACTED.to_owned());
                continue;
            }
            let texts = match value {
                ResourceValue::Text(text) => std::slice::from_mut(text),
                ResourceValue::Texts(texts) => texts.as_mut_slice(),
                ResourceValue::Int(_) | ResourceValue::Double(_) | ResourceValue::Bool(_) => continue,
            };
            for text in texts {
                if let Some(masked) = masked_text(text, masked_from) {
                    *text = masked;
                }
            }
        }
    }
}

fn masked_text(text: &str, masked_from: usize) -> Option<String> {
    if text.len() < masked_from { None } else { mask(text, false) }
}
