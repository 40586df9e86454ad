//! The request around ready-made spans: `ExportTraceServiceRequest { resource_spans { resource, scope_spans {
//! scope, spans… } } }`.

use super::waiting::Batch;
use crate::encode::span::append_field;
use crate::encode::varint;

/// The parts of a request that are always the same.
#[derive(Clone, Debug)]
pub(super) struct Envelope {
    /// `ResourceSpans.resource`, with tag and length.
    resource: Vec<u8>,
    /// `ScopeSpans.scope`, with tag and length.
    scope: Vec<u8>,
}

impl Envelope {
    pub(super) fn new(resource: &[u8], scope: &[u8]) -> Self {
        let field = |message: &[u8]| {
            let mut field = Vec::new();
            append_field(&mut field, 0x0a, message);
            field
        };
        Envelope { resource: field(resource), scope: field(scope) }
    }

    /// The request with these spans, under the resource they were recorded with.
    pub(super) fn request(&self, batch: &Batch) -> Vec<u8> {
        let mut request = self.head(batch);
        request.extend_from_slice(&batch.fields);
        request
    }

    /// The same without the spans, which stand behind it.
    pub(super) fn head(&self, batch: &Batch) -> Vec<u8> {
        let spans = batch.fields.len();
        match &batch.adopted {
            Some((_, preamble)) => Envelope::new(&preamble.resource, &preamble.scope).head_of(spans),
            None => self.head_of(spans),
        }
    }

    fn head_of(&self, spans: usize) -> Vec<u8> {
        let scope_spans = self.scope.len().saturating_add(spans);
        let mut inner = Vec::with_capacity(16);
        push_head(&mut inner, 0x12, scope_spans);
        let resource_spans = self.resource.len().saturating_add(inner.len()).saturating_add(scope_spans);
        let mut head = Vec::with_capacity(resource_spans.saturating_sub(spans).saturating_add(8));
        push_head(&mut head, 0x0a, resource_spans);
        head.extend_from_slice(&self.resource);
        head.extend_from_slice(&inner);
        head.extend_from_slice(&self.scope);
        head
    }
}

/// Tag and length of a field.
fn push_head(out: &mut Vec<u8>, tag: u8, length: usize) {
    out.push(tag);
    varint::append(out, length as u64);
}
