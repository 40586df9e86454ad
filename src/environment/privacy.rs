//! What may leave the process.

use super::reader::Reader;
use crate::privacy::ContentCapture;

/// What variables say about it; `None` leaves the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PrivacyVariables {
    pub(crate) content: Option<ContentCapture>,
    pub(crate) content_bytes: Option<usize>,
    /// Patterns of keys, beyond the usual ones.
    pub(crate) redacted_keys: Vec<String>,
    /// Whether text is searched for secrets.
    pub(crate) masks_values: bool,
}

impl<F: Fn(&str) -> Option<String>> Reader<F> {
    pub(super) fn privacy(&mut self) -> PrivacyVariables {
        let capture = |in_spans, in_events| ContentCapture { in_spans, in_events };
        let captures = [
            ("true", ContentCapture::ALL),
            ("1", ContentCapture::ALL),
            ("false", ContentCapture::NONE),
            ("0", ContentCapture::NONE),
            ("no_content", ContentCapture::NONE),
            ("span_only", capture(true, false)),
            ("event_only", capture(false, true)),
            ("span_and_event", ContentCapture::ALL),
        ];
        let names = ["LONGPOLE_CAPTURE_CONTENT", "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"];
        let keys = self.text("LONGPOLE_REDACT").unwrap_or_default();
        let keys = keys.split(',').map(str::trim).filter(|key| !key.is_empty());
        PrivacyVariables {
            content: self.choice(&names, &captures),
            content_bytes: self.bytes("LONGPOLE_CONTENT_BYTES"),
            redacted_keys: keys.map(str::to_owned).collect(),
            masks_values: self
                .choice(
                    &["LONGPOLE_REDACT_VALUES"],
                    &[
                        ("on", true),
                        ("true", true),
                        ("1", true),
                        ("off", false),
                        ("false", false),
                        ("0", false),
                    ],
                )
                .unwrap_or(true),
        }
    }
}
