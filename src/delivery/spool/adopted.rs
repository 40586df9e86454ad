//! What a process that is gone has left: read once, in order, sent under the resource it was recorded with.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io;
use std::sync::Arc;

use super::folder::{Folder, MAX_OPEN_FILE, ProcessFolder};
use super::format::{
    Damage, Kind, Position, SEGMENT_HEADER, SegmentReader, StoredRecord, read_ack, read_segment_header,
};
use super::log::Progress;
use crate::decode::otlp::span_ids;
use crate::decode::protobuf::{Field, Fields, Value};
use crate::delivery::record::SpanKey;
use crate::encode::span::append_field;
use crate::ids::{SpanId, TraceId};

/// The log of a process that is gone.
pub(crate) struct Adopted {
    folder: ProcessFolder,
    /// Those still to be read, with their lengths.
    segments: VecDeque<(u64, u64)>,
    /// The segment that is being read, and how far.
    current: Option<Loaded>,
    progress: Progress,
    /// Everything before it was done with when the process ended.
    done: Position,
    /// Behind the last segment.
    end: Position,
    /// Roots that may still get a verdict.
    held: BTreeMap<SpanKey, (Vec<u8>, Position)>,
    /// Roots whose verdict stands further on. The others go without: waiting for one that never comes would hold
    /// back the note of everything behind them.
    with_verdict: HashSet<SpanKey>,
    /// Traces it was decided not to send.
    discarded: HashSet<TraceId>,
    /// Spans that had not ended.
    open: BTreeMap<SpanKey, Vec<u8>>,
    /// Segments older than this are not sent.
    oldest_nanos: u64,
    pub(crate) losses: AdoptedLosses,
}

struct Loaded {
    number: u64,
    bytes: Vec<u8>,
    offset: usize,
    preamble: Arc<Preamble>,
}

/// What was left of a log that could not be sent on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AdoptedLosses {
    /// Records that were damaged.
    pub(crate) damaged_records: u64,
    /// Segments that ended in the middle of a record, as a kill leaves them.
    pub(crate) torn_segments: u64,
    /// Segments that could not be read at all, or hold no resource.
    pub(crate) unreadable_segments: u64,
    /// Spans that waited for longer than is allowed.
    pub(crate) expired_spans: u64,
}

/// Resource and scope, encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Preamble {
    pub(crate) resource: Vec<u8>,
    pub(crate) scope: Vec<u8>,
}

impl Preamble {
    /// As it stands in a segment: `ResourceSpans.resource` and `.scope_spans { scope }`, so that it is a message any
    /// protobuf reader can take apart.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        append_field(&mut bytes, 0x0a, &self.resource);
        let mut scope_spans = Vec::new();
        append_field(&mut scope_spans, 0x0a, &self.scope);
        append_field(&mut bytes, 0x12, &scope_spans);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Preamble> {
        let mut preamble = Preamble::default();
        for field in Fields::new(bytes, 0) {
            match field.ok()? {
                Field { number: 1, value: Value::Bytes(resource) } => preamble.resource = resource.to_vec(),
                Field { number: 2, value: Value::Bytes(scope_spans) } => {
                    for field in Fields::new(scope_spans, 0) {
                        if let Field { number: 1, value: Value::Bytes(scope) } = field.ok()? {
                            preamble.scope = scope.to_vec();
                        }
                    }
                }
                _ => {}
            }
        }
        Some(preamble)
    }
}

/// Something to be sent from an adopted log.
#[derive(Debug)]
pub(crate) enum AdoptedItem {
    /// One span message, and the records it is in.
    Span { preamble: Arc<Preamble>, message: Vec<u8>, positions: Vec<Position> },
    /// An `ExportMetricsServiceRequest`.
    Metrics { request: Vec<u8>, position: Position },
}

/// Roots of one log that may wait for their verdicts at once; what comes later goes without.
const MAX_HELD: usize = 10_000;
/// Roots of one log that can have one.
const MAX_VERDICTS: usize = 262_144;

impl Adopted {
    /// Takes a folder over. Segments created before `oldest_nanos` are removed unsent, and counted.
    pub(crate) fn open(folder: ProcessFolder, oldest_nanos: u64) -> io::Result<Adopted> {
        let done = read_ack(&folder.read_ack()).unwrap_or_default();
        let segments: VecDeque<(u64, u64)> =
            folder.segments()?.into_iter().filter(|(number, _)| *number >= done.segment).collect();
        let last = segments.back().map_or(done.segment, |(number, _)| *number);
        let end = Position { segment: last.saturating_add(1), offset: SEGMENT_HEADER as u64 };
        let open = open_spans(&folder.read_open());
        let mut adopted = Adopted {
            folder,
            segments,
            current: None,
            progress: Progress::from(done),
            done,
            end,
            held: BTreeMap::new(),
            with_verdict: HashSet::new(),
            discarded: HashSet::new(),
            open,
            oldest_nanos,
            losses: AdoptedLosses::default(),
        };
        adopted.look_ahead();
        Ok(adopted)
    }

    /// Verdicts and decisions stand behind the spans they are about.
    fn look_ahead(&mut self) {
        for (number, len) in &self.segments {
            let Ok(bytes) = self.folder.read(*number, *len) else { continue };
            for record in SegmentReader::new(&bytes, SEGMENT_HEADER) {
                match Kind::of(record.kind) {
                    Some(Kind::Decision) => {
                        if let Some((trace, 0)) = decision(record.payload) {
                            self.discarded.insert(trace);
                        }
                    }
                    Some(Kind::RootAttributes) if self.with_verdict.len() < MAX_VERDICTS => {
                        self.with_verdict.extend(root_attributes(record.payload).map(|(key, _)| key));
                    }
                    _ => {}
                }
            }
        }
    }

    /// Reads on until about `max_bytes` of spans are there. Nothing: there is no more.
    pub(crate) fn read(&mut self, max_bytes: usize) -> Vec<AdoptedItem> {
        let mut items = Vec::new();
        let mut bytes = 0usize;
        while bytes < max_bytes {
            let Some(mut loaded) = self.current.take().or_else(|| self.load_next()) else {
                self.read_rest(&mut items);
                break;
            };
            let segment = std::mem::take(&mut loaded.bytes);
            let mut reader = SegmentReader::new(&segment, loaded.offset);
            let mut is_at_end = true;
            for record in reader.by_ref() {
                loaded.offset = record.end();
                bytes = bytes.saturating_add(record.payload.len());
                self.take(&mut loaded, &record, &mut items);
                if bytes >= max_bytes {
                    is_at_end = false;
                    break;
                }
            }
            self.count(reader.damage());
            if !is_at_end {
                loaded.bytes = segment;
                self.current = Some(loaded);
            }
        }
        items
    }

    fn count(&mut self, damage: Damage) {
        let losses = &mut self.losses;
        losses.damaged_records = losses.damaged_records.saturating_add(damage.skipped_records);
        losses.torn_segments = losses.torn_segments.saturating_add(u64::from(damage.is_torn));
    }

    fn load_next(&mut self) -> Option<Loaded> {
        while let Some((number, len)) = self.segments.pop_front() {
            let bytes = self.folder.read(number, len).unwrap_or_default();
            // A segment a kill left before its header was whole holds nothing.
            let is_empty = bytes.len() < SEGMENT_HEADER;
            let Some(created) = read_segment_header(&bytes) else {
                self.losses.unreadable_segments =
                    self.losses.unreadable_segments.saturating_add(u64::from(!is_empty));
                continue;
            };
            if created < self.oldest_nanos {
                let spans = SegmentReader::new(&bytes, SEGMENT_HEADER).map(|record| u64::from(record.spans));
                self.losses.expired_spans = self.losses.expired_spans.saturating_add(spans.sum());
                continue;
            }
            let mut records = SegmentReader::new(&bytes, SEGMENT_HEADER);
            let preamble = records
                .next()
                .filter(|first| first.kind == Kind::Preamble as u8)
                .and_then(|first| Preamble::decode(first.payload));
            let Some(preamble) = preamble else {
                // Cut off within its first record: nothing was in it yet.
                let unreadable = u64::from(records.next().is_some());
                self.losses.unreadable_segments = self.losses.unreadable_segments.saturating_add(unreadable);
                continue;
            };
            let offset = if number == self.done.segment { self.done.offset } else { SEGMENT_HEADER as u64 };
            let offset = usize::try_from(offset).unwrap_or(SEGMENT_HEADER);
            return Some(Loaded { number, bytes, offset, preamble: Arc::new(preamble) });
        }
        None
    }

    fn take(&mut self, loaded: &mut Loaded, record: &StoredRecord<'_>, items: &mut Vec<AdoptedItem>) {
        let position = Position { segment: loaded.number, offset: record.offset as u64 };
        let preamble = &loaded.preamble.clone();
        match Kind::of(record.kind) {
            Some(Kind::Traces | Kind::Undecided) => {
                let messages = span_messages(record.payload).filter(|message| !self.is_discarded(message));
                let messages: Vec<Vec<u8>> = messages.map(<[u8]>::to_vec).collect();
                if messages.is_empty() {
                    return;
                }
                self.progress.start(position, u32::try_from(messages.len()).unwrap_or(u32::MAX));
                for message in messages {
                    self.has_ended(&message);
                    items.push(AdoptedItem::Span {
                        preamble: preamble.clone(),
                        message,
                        positions: vec![position],
                    });
                }
            }
            Some(Kind::HeldRoot) => {
                let Some(key) = SpanKey::of(record.payload).filter(|_| !self.is_discarded(record.payload))
                else {
                    return;
                };
                self.has_ended(record.payload);
                self.progress.start(position, 1);
                let root = (record.payload.to_vec(), position);
                if self.held.len() >= MAX_HELD || !self.with_verdict.contains(&key) {
                    items.push(span_item(preamble, root.0, vec![position]));
                } else if let Some((message, position)) = self.held.insert(key, root) {
                    items.push(span_item(preamble, message, vec![position]));
                }
            }
            Some(Kind::RootAttributes) => {
                let Some((key, attributes)) = root_attributes(record.payload) else { return };
                if let Some((mut message, root)) = self.held.remove(&key) {
                    self.progress.start(position, 0);
                    message.extend_from_slice(attributes);
                    items.push(span_item(preamble, message, vec![root, position]));
                }
            }
            Some(Kind::Metrics) => {
                self.progress.start(position, 0);
                items.push(AdoptedItem::Metrics { request: record.payload.to_vec(), position });
            }
            // Partial and ended spans have a file of their own; decisions were read first.
            Some(Kind::Preamble | Kind::Partial | Kind::Ended | Kind::Decision | Kind::End) | None => {}
        }
    }

    fn is_discarded(&self, message: &[u8]) -> bool {
        !self.discarded.is_empty()
            && span_ids(message).is_some_and(|(trace, _)| self.discarded.contains(&trace))
    }

    /// What ended is not open, whatever the file of open spans says.
    fn has_ended(&mut self, message: &[u8]) {
        if !self.open.is_empty()
            && let Some(key) = SpanKey::of(message)
        {
            self.open.remove(&key);
        }
    }

    /// What is sent once everything was read: roots without a verdict, and spans that never ended.
    fn read_rest(&mut self, items: &mut Vec<AdoptedItem>) {
        let preamble = self.last_preamble();
        for (_, (message, position)) in std::mem::take(&mut self.held) {
            items.push(span_item(&preamble, message, vec![position]));
        }
        let discarded = std::mem::take(&mut self.discarded);
        for (key, message) in std::mem::take(&mut self.open) {
            if !discarded.contains(&key.trace_id) {
                items.push(span_item(&preamble, message, Vec::new()));
            }
        }
    }

    /// The resource of a process does not change, so any segment tells it.
    fn last_preamble(&self) -> Arc<Preamble> {
        let segments = self.folder.segments().unwrap_or_default();
        let mut preambles = segments.iter().rev().filter_map(|(number, len)| {
            let bytes = self.folder.read(*number, *len).ok()?;
            let first = SegmentReader::new(&bytes, SEGMENT_HEADER).next()?;
            Preamble::decode(first.payload).filter(|_| first.kind == Kind::Preamble as u8)
        });
        Arc::new(preambles.next().unwrap_or_default())
    }

    /// So many spans of the record there are done with.
    pub(crate) fn finish(&mut self, position: Position, count: u32) {
        self.progress.finish(position, count);
    }

    /// Notes what is done with, so that it is not sent again should this process go too.
    pub(crate) fn advance(&mut self) {
        let read_to = match (&self.current, self.segments.front()) {
            (Some(loaded), _) => Position { segment: loaded.number, offset: loaded.offset as u64 },
            (None, Some((number, _))) => Position { segment: *number, offset: SEGMENT_HEADER as u64 },
            (None, None) => self.end,
        };
        let done = self.progress.first().map_or(read_to, |first| first.min(read_to));
        if self.progress.note(done, &mut self.folder) {
            let removable = self.folder.segments().unwrap_or_default();
            for (number, _) in removable.into_iter().filter(|(number, _)| *number < done.segment) {
                let _ = self.folder.remove(number);
            }
        }
    }

    /// Whether there is nothing more to read.
    pub(crate) fn is_read(&self) -> bool {
        self.current.is_none() && self.segments.is_empty() && self.held.is_empty() && self.open.is_empty()
    }

    /// Whether everything was read and is done with.
    pub(crate) fn is_done(&self) -> bool {
        self.is_read() && self.progress.is_empty()
    }

    /// Removes the folder of a log that is done with.
    pub(crate) fn remove(mut self) {
        let _ = self.folder.remove_all();
    }
}

fn span_item(preamble: &Arc<Preamble>, message: Vec<u8>, positions: Vec<Position>) -> AdoptedItem {
    AdoptedItem::Span { preamble: preamble.clone(), message, positions }
}

/// The messages in `ScopeSpans.spans` fields.
pub(crate) fn span_messages(fields: &[u8]) -> impl Iterator<Item = &[u8]> {
    Fields::new(fields, 0).map_while(Result::ok).filter_map(|field| match field {
        Field { number: 2, value: Value::Bytes(message) } => Some(message),
        _ => None,
    })
}

/// The payload of a [`Kind::RootAttributes`] record.
pub(crate) fn root_attributes(payload: &[u8]) -> Option<(SpanKey, &[u8])> {
    let (trace_id, rest) = payload.split_at_checked(16)?;
    let (span_id, attributes) = rest.split_at_checked(8)?;
    let key = SpanKey { trace_id: TraceId::from_slice(trace_id)?, span_id: SpanId::from_slice(span_id)? };
    Some((key, attributes))
}

/// The payload of a [`Kind::Decision`] record.
pub(crate) fn decision(payload: &[u8]) -> Option<(TraceId, u8)> {
    let (trace_id, rest) = payload.split_at_checked(16)?;
    Some((TraceId::from_slice(trace_id)?, *rest.first()?))
}

/// The spans a file of open spans leaves open, as [`open_file`] wrote it and [`append_record`] went on.
///
/// [`open_file`]: super::open_file
/// [`append_record`]: super::format::append_record
fn open_spans(file: &[u8]) -> BTreeMap<SpanKey, Vec<u8>> {
    let mut open = BTreeMap::new();
    if file.len() as u64 > MAX_OPEN_FILE {
        return open;
    }
    for record in SegmentReader::new(file, SEGMENT_HEADER) {
        match Kind::of(record.kind) {
            Some(Kind::Partial) => {
                if let Some(key) = SpanKey::of(record.payload) {
                    open.insert(key, record.payload.to_vec());
                }
            }
            Some(Kind::Ended) => {
                for ids in record.payload.chunks_exact(24) {
                    if let Some((key, _)) = root_attributes(ids) {
                        open.remove(&key);
                    }
                }
            }
            _ => {}
        }
    }
    open
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "of numbers the test knows")]
mod tests;
