//! Where a closing thread leaves a finished span: a small fixed set of buffers, one lock each.
//!
//! What varies in length is left as it goes onto the wire, the rest as plain values: whoever takes a shard writes it
//! out, `ScopeSpans.spans` tag and length included, and from then on nobody touches the bytes again. Beside each span
//! stands a [`FrameHead`] with what the wire does not carry. Full means lost and counted: a closing thread never waits.
//! Before that spans are made smaller; see [`super::pressure`].

use std::sync::{Arc, OnceLock};

use crate::encode::finished_span::FinishedSpan;
use crate::encode::varint;
use crate::pipeline::pressure::Pressure;
pub(crate) use crate::sync::thread_ordinal;
use crate::sync::{AtomicBool, Mutex, Ordering, Thread};

/// The tag of `ScopeSpans.spans`.
pub(crate) const SPANS_TAG: u8 = 0x12;

/// What stands beside a span's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FrameHead {
    /// Where the span message starts in the chunk's bytes, after its tag and length.
    pub(crate) start: u32,
    /// Where the tag starts.
    pub(crate) tag: u32,
    /// How long the message is.
    pub(crate) len: u32,
    /// Children started under it in this process.
    pub(crate) children: u32,
    /// See [`flags`].
    pub(crate) flags: u8,
}

/// Bits of [`FrameHead::flags`].
pub(crate) mod flags {
    /// No parent in this process.
    pub(crate) const LOCAL_ROOT: u8 = 1;
    /// Marked with a workflow name, and nothing above it in this process is.
    pub(crate) const OUTERMOST_MARKED: u8 = 2;
    /// For the report only: it is not exported.
    pub(crate) const ANALYSIS_ONLY: u8 = 4;
    /// Its trace is exported, here or by whoever gave it its ids.
    pub(crate) const SAMPLED: u8 = 8;
    /// It was written as partial while it was open: that is out of date now.
    pub(crate) const HAD_PARTIAL: u8 = 16;
    /// It is [`ANALYSIS_ONLY`] because too much waits to be delivered; its trace is exported.
    pub(crate) const SHED: u8 = 32;
    /// It may be a call of a model that has a price.
    pub(crate) const MAY_BE_CALL: u8 = 64;
}

/// Finished spans of one shard, as the io thread took them.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    /// `ScopeSpans.spans` fields, one after the other.
    pub(crate) bytes: Vec<u8>,
    /// One head per field, in order.
    pub(crate) heads: Vec<FrameHead>,
}

impl Chunk {
    /// The span message of `head`, without tag and length.
    pub(crate) fn message(&self, head: &FrameHead) -> &[u8] {
        let start = head.start as usize;
        self.bytes.get(start..start.saturating_add(head.len as usize)).unwrap_or_default()
    }

    /// The same with tag and length, ready for the wire.
    pub(crate) fn field(&self, head: &FrameHead) -> &[u8] {
        let end = (head.start as usize).saturating_add(head.len as usize);
        self.bytes.get(head.tag as usize..end).unwrap_or_default()
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.heads.clear();
    }
}

/// Finished spans as they were left.
#[derive(Debug, Default)]
struct Pending {
    /// The encoded parts of all of them, one after the other.
    bytes: Vec<u8>,
    /// The first so many count.
    len: usize,
    spans: Vec<PendingSpan>,
}

/// A finished span as it was left.
#[derive(Clone, Copy, Debug, Default)]
struct PendingSpan {
    /// What is still to be written; `None`: its bytes are a whole message.
    rest: Option<FinishedSpan>,
    /// How many bytes are its.
    len: u32,
    children: u32,
    flags: u8,
}

impl Pending {
    /// What all of them take.
    fn size(&self) -> usize {
        // Of what is in memory: no overflow.
        self.bytes.len().wrapping_add(self.len.wrapping_mul(size_of::<PendingSpan>()))
    }

    /// What its buffers take, full or not.
    fn capacity(&self) -> usize {
        self.bytes.capacity().saturating_add(self.spans.capacity().saturating_mul(size_of::<PendingSpan>()))
    }

    /// Writes all of them out and forgets them.
    fn write_into(&mut self, chunk: &mut Chunk) {
        let spans = self.spans.get(..self.len).unwrap_or_default();
        let bytes = &mut self.bytes;
        chunk.heads.reserve(spans.len());
        chunk.bytes.reserve(bytes.len().saturating_add(spans.len().saturating_mul(TYPICAL_REST)));
        let mut left = bytes.as_slice();
        for span in spans {
            let Some((part, others)) = left.split_at_checked(span.len as usize) else { break };
            left = others;
            let tag = chunk.bytes.len();
            // The length of nearly every span takes two bytes.
            chunk.bytes.extend_from_slice(&[SPANS_TAG, 0, 0]);
            chunk.bytes.extend_from_slice(part);
            if let Some(rest) = &span.rest {
                rest.append(&mut chunk.bytes);
            }
            let start = tag.saturating_add(3);
            let len = chunk.bytes.len().saturating_sub(start);
            let start = start.saturating_add_signed(write_length(&mut chunk.bytes, tag, len));
            chunk.heads.push(FrameHead {
                start: start as u32,
                tag: tag as u32,
                len: len as u32,
                children: span.children,
                flags: span.flags,
            });
        }
        bytes.clear();
        self.len = 0;
    }

    /// The place of the next span.
    #[inline(always)]
    fn next_span(&mut self) -> Option<&mut PendingSpan> {
        if self.len >= self.spans.len() {
            self.make_places();
        }
        let place = self.spans.get_mut(self.len)?;
        self.len = self.len.wrapping_add(1);
        Some(place)
    }

    #[cold]
    fn make_places(&mut self) {
        self.spans.resize(self.spans.len().saturating_mul(2).max(16), PendingSpan::default());
    }
}

/// What a [`FinishedSpan`] mostly adds to a message.
const TYPICAL_REST: usize = 192;

/// Writes the length of the span whose tag is at `tag` into the two bytes left for it. Returns by how much what follows
/// moved to make the length fit.
fn write_length(bytes: &mut Vec<u8>, tag: usize, len: usize) -> isize {
    if (0x80..0x4000).contains(&len)
        && let Some([_, low, high]) = bytes.get_mut(tag..).and_then(<[u8]>::first_chunk_mut)
    {
        (*low, *high) = (len as u8 | 0x80, (len >> 7) as u8);
        return 0;
    }
    let mut encoded = Vec::with_capacity(10);
    varint::append(&mut encoded, len as u64);
    let moved = (encoded.len() as isize).saturating_sub(2);
    bytes.splice(tag.saturating_add(1)..tag.saturating_add(3), encoded);
    moved
}

/// The shards of one layer.
pub(crate) struct Shards {
    shards: Box<[Shard]>,
    /// How many bytes each shard takes, by [`UpTo`].
    half: usize,
    three_quarters: usize,
    full: usize,
    reserve: usize,
    pressure: Pressure,
    /// Set by the io thread before it parks; the first span after that wakes it.
    io_is_parked: AtomicBool,
    is_closed: AtomicBool,
    io_thread: OnceLock<Thread>,
    /// Runs on the closing thread behind each span, where nothing may be lost that was closed.
    after_push: OnceLock<Box<dyn Fn() + Send + Sync>>,
    pub(crate) pool: ChunkPool,
}

/// Aligned so that two shards never share a cache line.
#[repr(align(128))]
#[derive(Default)]
struct Shard {
    buffers: Mutex<Buffers>,
}

#[derive(Default)]
struct Buffers {
    pending: Pending,
    /// Empty, for whoever takes what is pending to leave in its place.
    spare: Pending,
}

/// What is written out may be longer than what was left, and places in it take 32 bits.
const LARGEST_SHARD: usize = u32::MAX as usize / 8;

/// What a closing thread says of a span beside its message; see [`FrameHead`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Left {
    pub(crate) children: u32,
    pub(crate) flags: u8,
}

/// How full a shard may get by a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpTo {
    Half,
    ThreeQuarters,
    Full,
    /// An eighth beyond: what says of a run that it ended is the last to be refused.
    Reserve,
}

/// Why a span was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Its shard holds as much as this span may make it hold.
    Full,
    /// The pipeline has been shut down.
    Closed,
}

impl Shards {
    /// Shards for `cores` cores that hold at most `max_bytes` in all, and an eighth more for the roots of runs.
    pub(crate) fn new(cores: usize, max_bytes: usize) -> Self {
        let count = cores.saturating_mul(2).next_power_of_two().clamp(2, 64);
        let full = max_bytes.checked_div(count).unwrap_or(0).min(LARGEST_SHARD);
        Shards {
            shards: (0..count).map(|_| Shard::default()).collect(),
            half: full / 2,
            three_quarters: full.saturating_sub(full / 4),
            full,
            reserve: full.saturating_add(full / 8),
            pressure: Pressure::default(),
            io_is_parked: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            io_thread: OnceLock::new(),
            after_push: OnceLock::new(),
            pool: ChunkPool::default(),
        }
    }

    /// What the delivery says of how full it is.
    #[inline]
    pub(crate) fn pressure(&self) -> &Pressure {
        &self.pressure
    }

    /// Leaves one span: `parts` one after the other, then what is to be written of `rest`, are its message. Refused if it would make its shard hold more than `up_to` says. Takes no longer
    /// than the copy, and wakes the io thread only if that has parked.
    #[inline(always)]
    pub(crate) fn push<const N: usize>(
        &self,
        up_to: UpTo,
        left: Left,
        parts: [&[u8]; N],
        rest: impl FnOnce() -> Option<FinishedSpan>,
    ) -> Result<(), Refused> {
        let limit = match up_to {
            UpTo::Half => self.half,
            UpTo::ThreeQuarters => self.three_quarters,
            UpTo::Full => self.full,
            UpTo::Reserve => self.reserve,
        };
        let len = parts.iter().fold(0usize, |sum, part| sum.wrapping_add(part.len()));
        let index = thread_ordinal() as usize & self.shards.len().wrapping_sub(1);
        let Some(shard) = self.shards.get(index) else { return Err(Refused::Full) };
        {
            let mut buffers = shard.buffers.lock();
            // Under the lock: before it, whoever closes might empty the shard in between, and nobody would take or
            // count the span.
            if self.is_closed.load(Ordering::Relaxed) {
                return Err(Refused::Closed);
            }
            let pending = &mut buffers.pending;
            if pending.size().wrapping_add(len).wrapping_add(size_of::<PendingSpan>()) > limit {
                return Err(Refused::Full);
            }
            for part in parts {
                pending.bytes.extend_from_slice(part);
            }
            let Left { children, flags } = left;
            if let Some(span) = pending.next_span() {
                *span = PendingSpan { rest: rest(), len: len as u32, children, flags };
            }
        }
        if let Some(after_push) = self.after_push.get() {
            after_push();
            return Ok(());
        }
        // The parked flag is set before the io thread looks at the shards a last time, and the lock above orders
        // this read after that look: either it saw the span, or this sees the flag.
        if self.io_is_parked.load(Ordering::SeqCst) {
            self.wake();
        }
        Ok(())
    }

    /// Wakes the io thread if it is parked.
    #[cold]
    pub(crate) fn wake(&self) {
        if self.io_is_parked.swap(false, Ordering::SeqCst)
            && let Some(thread) = self.io_thread.get()
        {
            thread.unpark();
        }
    }

    /// Has `after_push` run on every closing thread, which takes its span on in the io thread's place.
    pub(crate) fn set_after_push(&self, after_push: Box<dyn Fn() + Send + Sync>) {
        let _ = self.after_push.set(after_push);
    }

    /// For the io thread, once: whom to wake.
    pub(crate) fn set_io_thread(&self, thread: Thread) {
        let _ = self.io_thread.set(thread);
    }

    /// For the io thread: says that it is about to park. It must look at every shard once more after this, and
    /// must take the flag back with [`Shards::unpark_self`] if it found something.
    pub(crate) fn announce_parking(&self) {
        self.io_is_parked.store(true, Ordering::SeqCst);
    }

    /// For the io thread: it is running again.
    pub(crate) fn unpark_self(&self) {
        self.io_is_parked.store(false, Ordering::SeqCst);
    }

    /// For the io thread: takes what shard `index` holds, written into `empty`. `None` if it is empty or there is no
    /// such shard; then `empty` is left alone.
    pub(crate) fn take(&self, index: usize, empty: &mut Chunk) -> Option<Chunk> {
        let shard = self.shards.get(index)?;
        let mut taken = {
            let Buffers { pending, spare } = &mut *shard.buffers.lock();
            if pending.len == 0 {
                return None;
            }
            std::mem::replace(pending, std::mem::take(spare))
        };
        let mut chunk = std::mem::take(empty);
        taken.write_into(&mut chunk);
        if taken.capacity() <= POOLED_BYTES {
            shard.buffers.lock().spare = taken;
        }
        Some(chunk)
    }

    /// Refuses every span from now on, without touching what is there.
    pub(crate) fn refuse(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    /// Refuses every span from now on, and says how many were left that nobody will take.
    pub(crate) fn close(&self) -> u64 {
        self.refuse();
        let mut empty = Chunk::default();
        let left = (0..self.count()).filter_map(|index| self.take(index, &mut empty));
        left.map(|chunk| chunk.heads.len() as u64).sum()
    }

    /// How many bytes all of them hold.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.shards.iter().map(|shard| shard.buffers.lock().pending.size()).sum()
    }

    /// How many shards there are.
    pub(crate) fn count(&self) -> usize {
        self.shards.len()
    }
}

/// Emptied chunks, to be filled again.
#[derive(Default)]
pub(crate) struct ChunkPool {
    chunks: Mutex<Vec<Chunk>>,
}

/// More than the shards of any machine can be on their way at once without the host having outrun us.
const POOLED_CHUNKS: usize = 64;
/// A chunk that grew beyond this is given back to the allocator.
const POOLED_BYTES: usize = 1 << 20;

impl ChunkPool {
    pub(crate) fn take(&self) -> Chunk {
        self.chunks.lock().pop().unwrap_or_default()
    }

    /// Takes the chunk back if nobody else still reads it.
    pub(crate) fn give(&self, chunk: Arc<Chunk>) {
        let Some(mut chunk) = Arc::into_inner(chunk) else { return };
        chunk.clear();
        let mut chunks = self.chunks.lock();
        if chunks.len() < POOLED_CHUNKS && chunk.bytes.capacity() <= POOLED_BYTES {
            chunks.push(chunk);
        }
    }
}
