//! A layer without its pipeline, for the crate's own tests and benchmarks. No part of the public interface.

use std::sync::Arc;

use crate::pipeline::shard::{Chunk, FrameHead, Shards};

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
}

/// A layer, and the shards it leaves its spans in.
pub struct Harness {
    core: Arc<LayerCore>,
    spare: Chunk,
}

const SHARD_BYTES: usize = 64 << 20;

impl Harness {
    /// A layer that writes `content`.
    pub fn new(content: Content) -> Self {
        let is_full = content == Content::Full;
        Self::with_config(LayerConfig {
            export: content != Content::Analysis,
            location: is_full,
            threads: is_full,
            target: is_full,
            ..LayerConfig::default()
        })
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
