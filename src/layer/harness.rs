//! A layer without its pipeline, for the crate's own tests and benchmarks. No part of the public interface.

use std::sync::Arc;

use crate::delivery::{EndpointSettings, endpoint};
use crate::pipeline::shard::{Chunk, FrameHead, Shards};
use crate::sampler::{RootSampler, Sampler};

use super::config::LayerConfig;
use super::{LayerCore, LongpoleLayer};

/// How much a layer writes of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// What the analysis reads.
    Analysis,
    /// What the program recorded.
    Lean,
    /// That, and source location, thread and target.
    Full,
    /// What the program recorded, and source location.
    Location,
    /// What the program recorded, and the thread.
    Threads,
    /// What the program recorded, and the target.
    Target,
    /// What the program recorded, of traces that are not sampled.
    Unsampled,
    /// What the program recorded; each entered span is OpenTelemetry's current one.
    OtelContext,
    /// What the program recorded, with no text searched for secrets.
    Unmasked,
    /// What the analysis reads; ids are looked for in OpenTelemetry's current context.
    OtelIds,
}

/// A layer, and the shards it leaves its spans in.
pub struct Harness {
    core: Arc<LayerCore>,
    spare: Chunk,
}

/// Reads every environment variable from `value` and prepares what it says to send to; certificates are not read.
/// Returns how many things made no sense.
pub fn read_environment(value: impl Fn(&str) -> Option<String>) -> usize {
    let environment = crate::environment::read(value);
    let mut problems = environment.problems.len();
    for signal in [environment.traces, environment.metrics] {
        let settings = EndpointSettings {
            is_insecure: true,
            certificate: None,
            client_certificate: None,
            client_key: None,
            ..signal.endpoint
        };
        // The system's certificates would be read for that.
        let is_encrypted =
            settings.url.trim().get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        if signal.has_endpoint && !is_encrypted && endpoint(&settings).is_err() {
            problems = problems.saturating_add(1);
        }
    }
    problems
}

const SHARD_BYTES: usize = 64 << 20;

impl Harness {
    /// A layer that writes `content`.
    pub fn new(content: Content) -> Self {
        let is_full = content == Content::Full;
        let mut config = LayerConfig {
            export: !matches!(content, Content::Analysis | Content::OtelIds),
            location: is_full || content == Content::Location,
            threads: is_full || content == Content::Threads,
            target: is_full || content == Content::Target,
            ..LayerConfig::default()
        };
        if content == Content::Unsampled {
            config.sampler = Sampler { is_parent_based: true, root: RootSampler::Ratio(0.0) };
        }
        if content == Content::Unmasked {
            config.limits.masked_from = usize::MAX;
        }
        config.otel.activates = content == Content::OtelContext;
        config.otel.takes_ids = content == Content::OtelIds;
        Self::with_config(config)
    }

    pub(crate) fn with_config(config: LayerConfig) -> Self {
        Self::with_core(LayerCore::new(config, Arc::new(Shards::new(1, SHARD_BYTES))))
    }

    pub(crate) fn with_core(core: LayerCore) -> Self {
        Harness { core: Arc::new(core), spare: Chunk::default() }
    }

    /// The layer, for a subscriber.
    pub fn layer(&self) -> LongpoleLayer {
        LongpoleLayer::new(self.core.clone())
    }

    /// Takes all finished spans and forgets them; their buffers are used again. Returns how many there were.
    pub fn discard(&mut self) -> usize {
        let mut count = 0usize;
        self.drain(|_, _| count = count.saturating_add(1));
        count
    }

    /// Takes all finished spans: `each` gets the span message and what stands beside it.
    pub(crate) fn drain(&mut self, mut each: impl FnMut(&[u8], FrameHead)) {
        let shards = &self.core.shards;
        for index in 0..shards.count() {
            if let Some(mut chunk) = shards.take(index, &mut self.spare) {
                for head in &chunk.heads {
                    each(chunk.message(head), *head);
                }
                chunk.clear();
                self.spare = chunk;
            }
        }
    }
}

/// Reads whatever is left of a file of unsent spans: how many records are whole, how many spans they say they hold,
/// and how many bytes between them are none.
pub fn recover_segment(bytes: &[u8]) -> (usize, u64, u64) {
    use crate::delivery::spool::format::{SEGMENT_HEADER, SegmentReader, read_segment_header};

    let _ = read_segment_header(bytes);
    let mut reader = SegmentReader::new(bytes, SEGMENT_HEADER);
    let (mut records, mut spans) = (0usize, 0u64);
    for record in reader.by_ref() {
        records = records.saturating_add(1);
        spans = spans.saturating_add(u64::from(record.spans));
    }
    (records, spans, reader.damage().skipped_bytes)
}

/// A file of unsent spans with these payloads, one record each, and where each record ends.
pub fn write_segment(payloads: &[Vec<u8>]) -> (Vec<u8>, Vec<usize>) {
    use crate::delivery::spool::format::{Kind, append_record, append_segment_header};

    let mut segment = Vec::new();
    append_segment_header(&mut segment, 1);
    let mut ends = Vec::new();
    for (sequence, payload) in (1..).zip(payloads) {
        if append_record(&mut segment, Kind::Traces, sequence, 1, &[payload]) {
            ends.push(segment.len());
        }
    }
    (segment, ends)
}
