//! Taking records in: to disk first, if there is a spool, and then into memory, as long as there is room. What is on
//! disk only is read again when there is.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::Refused;
use super::holding::Decided;
use super::queue::Queue;
use super::record::{Record, SpanKey, goes_with_its_chunk};
use super::spool::adopted::span_messages;
use super::spool::format::Kind;
use super::spool::{Spool, now};
use super::state::{Room, Written};
use super::waiting::{Place, Waiting, next_place};
use crate::ids::TraceId;
use crate::pipeline::shard::Chunk;

/// About how long a record on disk gets.
const RECORD_BYTES: usize = 1 << 20;

impl Queue {
    pub(super) fn offer(&self, record: Record) -> Result<(), Refused> {
        let taken = {
            let mut locked = self.spool();
            let spool = locked.as_deref_mut();
            let taken = match record {
                Record::Traces(chunk) => self.offer_chunk(spool, chunk),
                Record::HeldRoot { key, message } => self.offer_root(spool, key, message),
                Record::RootAttributes { key, attributes } => self.offer_verdict(spool, key, attributes),
                Record::Decision { trace_id, keeps } => {
                    self.offer_decision(spool, trace_id, keeps);
                    Ok(())
                }
            };
            self.tell_pressure(locked.as_deref());
            taken
        };
        // What there is to tell is told by the net thread: this one may be a closing thread that holds the lock of
        // where it would be printed.
        let is_news = self.state().has_new_calls(self.request_limits);
        if is_news {
            self.wake.notify_one();
        }
        taken
    }

    /// Whether so much more may be kept in memory; an error if nothing is taken any more.
    fn room(&self, spans: u64, bytes: usize) -> Result<Room, Refused> {
        let mut state = self.state();
        if state.is_stopped {
            state.offered(spans);
            state.drop_spans("after_shutdown", spans);
            return Err(Refused);
        }
        let pending = state.pending().saturating_sub(state.disk_spans).saturating_add(spans);
        let fits = state.bytes.saturating_add(bytes) <= self.max_bytes && pending <= self.max_spans;
        Ok(match fits {
            true if state.has_backlog => Room::IfNotOnDisk,
            true => Room::Yes,
            false => Room::No,
        })
    }

    fn offer_chunk(&self, spool: Option<&mut Spool>, chunk: Arc<Chunk>) -> Result<(), Refused> {
        let heads = chunk.heads.iter().filter(|head| goes_with_its_chunk(head));
        let (spans, bytes) = heads.fold((0u64, 0usize), |(spans, bytes), head| {
            (spans.saturating_add(1), bytes.saturating_add(chunk.field(head).len()))
        });
        let room = self.room(spans, bytes)?;
        let mut spool = spool;
        let mut written = match &mut spool {
            Some(spool) => self.write_chunk(spool, &chunk, room),
            None if room == Room::No => Written { lost: spans, ..Written::default() },
            None => Written { places: nowhere(spans).into(), ..Written::default() },
        };
        let mut state = self.state();
        state.booked(spans, &written, spool);
        if room != Room::Yes {
            let (rest, spans) = std::mem::take(&mut written.rest);
            state.bytes = state.bytes.saturating_add(rest.len());
            let bytes = rest.len();
            if self.keeps_by_outcome {
                span_messages(&rest).for_each(|message| state.decide_on_span(message, Place::default()));
            } else {
                state.wait(Waiting::fields(rest, nowhere(spans).into()), spans, bytes);
            }
            return if written.lost > 0 { Err(Refused) } else { Ok(()) };
        }
        state.bytes = state.bytes.saturating_add(bytes);
        if self.keeps_by_outcome {
            let mut places = written.places;
            for head in chunk.heads.iter().filter(|head| goes_with_its_chunk(head)) {
                let place = next_place(&mut places);
                state.decide_on_span(chunk.message(head), place);
            }
        } else {
            state.wait(Waiting::Chunk { chunk, next: 0, places: written.places }, spans, bytes);
        }
        Ok(())
    }

    /// Writes the spans of a chunk that go with it.
    fn write_chunk(&self, spool: &mut Spool, chunk: &Chunk, room: Room) -> Written {
        let kind = if self.keeps_by_outcome { Kind::Undecided } else { Kind::Traces };
        let mut written = Written::default();
        let now = now();
        // Neighbours in the chunk are written as one piece.
        let mut pieces: Vec<Range<usize>> = Vec::new();
        let (mut bytes, mut spans) = (0usize, 0u32);
        let mut write = |pieces: &mut Vec<Range<usize>>, spans: u32| {
            if spans == 0 {
                return;
            }
            let parts: Vec<&[u8]> =
                pieces.iter().map(|piece| chunk.bytes.get(piece.clone()).unwrap_or_default()).collect();
            let record = spool.append(kind, spans, &parts, room == Room::Yes, now);
            written.add(record, spans, room, || parts.concat());
            pieces.clear();
        };
        for head in chunk.heads.iter().filter(|head| goes_with_its_chunk(head)) {
            let (start, len) = (head.tag as usize, chunk.field(head).len());
            let end = start.saturating_add(len);
            if bytes.saturating_add(len) > RECORD_BYTES {
                write(&mut pieces, std::mem::take(&mut spans));
                bytes = 0;
            }
            match pieces.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => pieces.push(start..end),
            }
            bytes = bytes.saturating_add(len);
            spans = spans.saturating_add(1);
        }
        write(&mut pieces, spans);
        written
    }

    fn offer_root(&self, spool: Option<&mut Spool>, key: SpanKey, message: Vec<u8>) -> Result<(), Refused> {
        let room = self.room(1, message.len())?;
        let mut spool = spool;
        let mut written = Written::default();
        let record = spool
            .as_mut()
            .and_then(|spool| spool.append(Kind::HeldRoot, 1, &[&message], room == Room::Yes, now()));
        // What is not on disk is held here, if there is room at all.
        written.add(record, 1, room, Vec::new);
        let mut state = self.state();
        state.booked(1, &written, spool);
        if written.lost > 0 {
            return Err(Refused);
        }
        if written.on_disk > 0 {
            return Ok(());
        }
        state.bytes = state.bytes.saturating_add(message.len());
        let place = written.places.front().copied().unwrap_or_default();
        let released = state.holding.hold(key, message, place, Instant::now(), false);
        state.go_on(released, self.keeps_by_outcome);
        Ok(())
    }

    fn offer_verdict(
        &self,
        spool: Option<&mut Spool>,
        key: SpanKey,
        attributes: Vec<u8>,
    ) -> Result<(), Refused> {
        let (holds, has_backlog) = {
            let state = self.state();
            if state.is_stopped && !state.holding.holds(&key) {
                return Err(Refused);
            }
            (state.holding.holds(&key), state.has_backlog)
        };
        let mut spool = spool;
        let ids = key.to_bytes();
        // A root on disk only is followed there by its verdict.
        let keeps = holds || !has_backlog;
        let record = spool
            .as_mut()
            .and_then(|spool| spool.append(Kind::RootAttributes, 0, &[&ids, &attributes], keeps, now()));
        let mut state = self.state();
        state.is_spool_dirty |= record.is_some();
        if !keeps && record.is_some() {
            return Ok(());
        }
        let mut released = state.holding.verdict(key, attributes, true);
        match (&mut released, record) {
            (Some(released), record) => released.place.verdict = record,
            // What waits for a root is not worth keeping the disk's records for.
            (None, Some(record)) => {
                state.finished.push(Place::of_record(record));
            }
            (None, None) => {}
        }
        state.go_on(released, self.keeps_by_outcome);
        Ok(())
    }

    fn offer_decision(&self, spool: Option<&mut Spool>, trace: TraceId, keeps: bool) {
        let payload = [&trace.to_bytes()[..], &[u8::from(keeps)]].concat();
        let record = spool.and_then(|spool| spool.append(Kind::Decision, 0, &[&payload], true, now()));
        let mut state = self.state();
        if let Some(record) = record {
            // The records of its spans, which stand before it, keep its segment.
            state.finished.push(Place::of_record(record));
        }
        let mut decided = Decided::default();
        state.holding.decide(trace, keeps, &mut decided);
        state.take_decided(decided);
        drop(state);
        self.progress.notify_all();
    }
}

/// The place of spans that are in memory alone.
fn nowhere(spans: u64) -> [Place; 1] {
    [Place { spans: u32::try_from(spans).unwrap_or(u32::MAX), ..Place::default() }]
}
