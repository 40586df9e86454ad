//! Where a span was made, as attributes: source location, thread, target.

use crate::encode::span::{EncodedKey, SPAN_ATTRIBUTE, append_int, append_str};

use super::LayerCore;
use super::callsite::Callsite;
use super::config::Limits;

thread_local! {
    /// `thread.id` and `thread.name`, encoded.
    static THREAD: Box<[u8]> = thread_fields().into();
}

impl LayerCore {
    /// Appends what the configuration asks for. Everything is encoded already: it costs a copy each.
    #[inline]
    pub(super) fn append_origin(&self, attributes: &mut Vec<u8>, callsite: &Callsite) {
        let config = &self.config;
        if !config.export {
            return;
        }
        if config.location {
            attributes.extend_from_slice(&callsite.location);
        }
        if config.threads {
            let _ = THREAD.try_with(|fields| attributes.extend_from_slice(fields));
        }
        if config.target {
            attributes.extend_from_slice(&callsite.target);
        }
    }
}

fn thread_fields() -> Vec<u8> {
    let thread = std::thread::current();
    let mut fields = Vec::new();
    // The number in the debug text is the only stable way to it.
    let id = format!("{:?}", thread.id());
    let id = id.trim_start_matches("ThreadId(").trim_end_matches(')');
    if let Ok(id) = id.parse() {
        append_int(&mut fields, SPAN_ATTRIBUTE, &EncodedKey::new("thread.id"), id);
    }
    if let Some(name) = thread.name() {
        let limit = Limits::default().value_bytes;
        append_str(&mut fields, SPAN_ATTRIBUTE, &EncodedKey::new("thread.name"), name, limit);
    }
    fields
}
