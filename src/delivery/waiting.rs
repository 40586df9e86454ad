//! Spans on their way into requests, and where each of them stands on disk.

use std::collections::VecDeque;
use std::sync::Arc;

use super::record::goes_with_its_chunk;
use super::spool::adopted::{Preamble, span_messages};
use super::spool::format::Position;
use crate::encode::span::append_field;
use crate::pipeline::shard::{Chunk, ChunkPool};

/// Where so many spans in a row stand on disk, if they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) record: Option<Position>,
    /// The verdict that goes with a root.
    pub(super) verdict: Option<Position>,
    pub(super) spans: u32,
}

impl Place {
    /// That of a record that is done with as a whole: it holds no spans, or one.
    pub(super) fn of_record(record: Position) -> Place {
        Place { record: Some(record), verdict: None, spans: 1 }
    }
}

/// Spans that wait to be put into a request.
#[derive(Debug)]
pub(super) enum Waiting {
    /// The frames of a chunk from this one on that go with it.
    Chunk { chunk: Arc<Chunk>, next: usize, places: VecDeque<Place> },
    /// Ready-made fields, each with where it ends, from this one on.
    Fields { fields: Vec<u8>, ends: Vec<usize>, next: usize, places: VecDeque<Place> },
    /// One span message.
    Message { message: Vec<u8>, place: Place },
}

/// Tag and length in front of a message, at most.
const FIELD_HEAD: usize = 6;

/// How much goes into one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestLimits {
    pub(super) bytes: usize,
    pub(super) spans: usize,
}

/// Ready-made `ScopeSpans.spans` fields that go out together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Shared with the request that is on its way, which does not copy them.
    pub(super) fields: Arc<Vec<u8>>,
    /// Where each field ends.
    pub(super) ends: Vec<usize>,
    /// Of the spans, in their order.
    pub(super) places: Vec<Place>,
    /// Which adopted log they are from, and under which resource they were recorded; `None`: they are this
    /// process's own.
    pub(super) adopted: Option<(usize, Arc<Preamble>)>,
}

impl Batch {
    /// One that will hold about so many bytes.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Batch { fields: Arc::new(Vec::with_capacity(bytes)), ..Batch::default() }
    }

    pub(super) fn spans(&self) -> u64 {
        self.ends.len() as u64
    }

    pub(super) fn has_room(&self, size: usize, limits: RequestLimits) -> bool {
        self.ends.is_empty()
            || (self.ends.len() < limits.spans && self.fields.len().saturating_add(size) <= limits.bytes)
    }

    fn push(&mut self, field: &[u8], place: Place) {
        let fields = Arc::make_mut(&mut self.fields);
        fields.extend_from_slice(field);
        self.ends.push(fields.len());
        self.stands(place);
    }

    pub(super) fn push_message(&mut self, message: &[u8], place: Place) {
        let fields = Arc::make_mut(&mut self.fields);
        append_field(fields, 0x12, message);
        self.ends.push(fields.len());
        self.stands(place);
    }

    /// The last span stands there.
    fn stands(&mut self, place: Place) {
        match self.places.last_mut() {
            Some(last) if last.record == place.record && last.verdict == place.verdict => {
                last.spans = last.spans.saturating_add(1);
            }
            _ => self.places.push(Place { spans: 1, ..place }),
        }
    }

    /// The batch in two halves, by spans; `None` if it is one span.
    #[cfg(feature = "otlp")]
    pub(super) fn halves(&self) -> Option<(Batch, Batch)> {
        let middle = self.ends.len() / 2;
        let cut = *self.ends.get(middle.checked_sub(1)?)?;
        let (first, second) = (self.fields.get(..cut)?, self.fields.get(cut..)?);
        let (first_ends, second_ends) = self.ends.split_at_checked(middle)?;
        let second_ends = second_ends.iter().map(|end| end.saturating_sub(cut)).collect();
        let (mut first_places, mut second_places) = (Vec::new(), Vec::new());
        let mut left = u32::try_from(middle).unwrap_or(u32::MAX);
        for place in &self.places {
            let spans = place.spans.min(left);
            left = left.saturating_sub(spans);
            first_places.extend((spans > 0).then_some(Place { spans, ..*place }));
            let rest = place.spans.saturating_sub(spans);
            second_places.extend((rest > 0).then_some(Place { spans: rest, ..*place }));
        }
        let half = |fields: &[u8], ends, places| Batch {
            fields: Arc::new(fields.to_vec()),
            ends,
            places,
            adopted: self.adopted.clone(),
        };
        Some((half(first, first_ends.to_vec(), first_places), half(second, second_ends, second_places)))
    }
}

/// Takes the place of the next span.
pub(super) fn next_place(places: &mut VecDeque<Place>) -> Place {
    let Some(first) = places.front_mut() else { return Place::default() };
    let place = *first;
    first.spans = first.spans.saturating_sub(1);
    if first.spans == 0 {
        places.pop_front();
    }
    place
}

impl Waiting {
    /// Fields as a record holds them.
    pub(super) fn fields(fields: Vec<u8>, places: VecDeque<Place>) -> Waiting {
        let start = fields.as_ptr().addr();
        let end_of =
            |message: &[u8]| message.as_ptr().addr().saturating_sub(start).saturating_add(message.len());
        let ends = span_messages(&fields).map(end_of).collect();
        Waiting::Fields { fields, ends, next: 0, places }
    }

    pub(super) fn spans(&self) -> u64 {
        match self {
            Waiting::Chunk { places, .. } | Waiting::Fields { places, .. } => {
                places.iter().map(|place| u64::from(place.spans)).sum()
            }
            Waiting::Message { .. } => 1,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Waiting::Chunk { chunk, .. } => chunk.bytes.len(),
            Waiting::Fields { fields, .. } => fields.len(),
            Waiting::Message { message, .. } => message.len(),
        }
    }

    /// Moves spans into `batch` while there is room. Gives back what is left, and says how many bytes were moved.
    pub(super) fn move_into(
        self,
        batch: &mut Batch,
        limits: RequestLimits,
        pool: &ChunkPool,
    ) -> (Option<Waiting>, usize) {
        let before = batch.fields.len();
        let left = match self {
            Waiting::Message { message, place } => {
                if batch.has_room(message.len().saturating_add(FIELD_HEAD), limits) {
                    batch.push_message(&message, place);
                    // A message counts as it is, its tag and length do not.
                    return (None, message.len());
                }
                return (Some(Waiting::Message { message, place }), 0);
            }
            Waiting::Fields { fields, ends, mut next, mut places } => loop {
                let start = next.checked_sub(1).and_then(|last| ends.get(last)).copied().unwrap_or(0);
                let Some(field) = ends.get(next).and_then(|end| fields.get(start..*end)) else { break None };
                if !batch.has_room(field.len(), limits) {
                    break Some(Waiting::Fields { fields, ends, next, places });
                }
                batch.push(field, next_place(&mut places));
                next = next.saturating_add(1);
            },
            Waiting::Chunk { chunk, mut next, mut places } => loop {
                let Some(head) = chunk.heads.get(next) else {
                    pool.give(chunk);
                    break None;
                };
                if goes_with_its_chunk(head) {
                    let field = chunk.field(head);
                    if !batch.has_room(field.len(), limits) {
                        break Some(Waiting::Chunk { chunk, next, places });
                    }
                    batch.push(field, next_place(&mut places));
                }
                next = next.saturating_add(1);
            },
        };
        (left, batch.fields.len().saturating_sub(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RequestLimits = RequestLimits { bytes: 1 << 20, spans: 2048 };

    fn place(segment: u64, spans: u32) -> Place {
        Place { record: Some(Position { segment, offset: 24 }), verdict: None, spans }
    }

    fn fields(messages: &[&[u8]]) -> Vec<u8> {
        let mut fields = Vec::new();
        messages.iter().for_each(|message| append_field(&mut fields, 0x12, message));
        fields
    }

    #[test]
    fn each_span_keeps_its_place_through_batches_and_halves() {
        let waiting =
            Waiting::fields(fields(&[b"a", b"bb", b"ccc", b"dddd", b"e"]), [place(1, 2), place(2, 3)].into());
        assert_eq!(waiting.spans(), 5);
        let mut batch = Batch::default();
        let limits = RequestLimits { spans: 3, ..LIMITS };
        let (left, moved) = waiting.move_into(&mut batch, limits, &ChunkPool::default());
        assert_eq!(batch.places, [place(1, 2), place(2, 1)]);
        assert_eq!((moved, batch.ends.clone()), (12, vec![3, 7, 12]));
        let left = left.unwrap();
        assert_eq!(left.spans(), 2);
        let (first, second) = batch.halves().unwrap();
        assert_eq!((first.places, second.places), (vec![place(1, 1)], vec![place(1, 1), place(2, 1)]));
        assert_eq!((first.ends, second.ends), (vec![3], vec![4, 9]));
        let mut rest = Batch::default();
        assert!(left.move_into(&mut rest, LIMITS, &ChunkPool::default()).0.is_none());
        assert_eq!((rest.places, &*rest.fields), (vec![place(2, 2)], &fields(&[b"dddd", b"e"])));
    }

    #[test]
    fn one_span_goes_out_however_large_it_is() {
        let limits = RequestLimits { bytes: 2, spans: 10 };
        let large = Waiting::Message { message: vec![0; 100], place: place(1, 1) };
        let mut batch = Batch::default();
        assert!(large.move_into(&mut batch, limits, &ChunkPool::default()).0.is_none());
        let second = Waiting::Message { message: vec![0; 100], place: place(1, 1) };
        let (left, moved) = second.move_into(&mut batch, limits, &ChunkPool::default());
        assert_eq!((left.unwrap().spans(), moved, batch.spans()), (1, 0, 1));
        assert!(batch.halves().is_none());
    }
}
