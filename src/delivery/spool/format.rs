//! The bytes of a spool: how a record and a segment are written, and how whatever is left of them is read.
//!
//! `docs/spool.md` describes the format for people; this is its code. Reading is total: any bytes give the records
//! whose checksums hold and a count of what was left out, in time linear in their length.

/// What a segment begins with.
pub(crate) const SEGMENT_MAGIC: [u8; 8] = *b"LPSPOOL1";
/// Magic, version, flags, time of creation, checksum.
pub(crate) const SEGMENT_HEADER: usize = 24;
/// Length, kind, flags, two reserved bytes, sequence number, number of spans, checksum.
pub(crate) const RECORD_HEADER: usize = 24;
/// Longer payloads are never written, so a longer length is damage.
pub(crate) const MAX_PAYLOAD: usize = 4 << 20;

const VERSION: u16 = 1;
/// While looking for the next whole record behind damage, no more than this is checksummed per segment: bytes that
/// look like headers again and again must not take quadratic time.
const MAX_SEARCH: usize = 64 << 20;

/// What a record is. The numbers are those of ARCHITECTURE.md and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The resource and scope of everything after it in its segment.
    Preamble = 0,
    /// `ScopeSpans.spans` fields.
    Traces = 1,
    /// An `ExportMetricsServiceRequest`.
    Metrics = 2,
    /// One `Span` message of a span that had not ended.
    Partial = 7,
    /// A root's `Span` message.
    HeldRoot = 8,
    /// Trace id, span id, `Span.attributes` fields for the root of these ids.
    RootAttributes = 9,
    /// Trace ids whose spans are not sent before it is decided whether they are kept; then as [`Kind::Traces`].
    Undecided = 10,
    /// A trace id, and 1 if its spans are to be sent or 0 if not.
    Decision = 11,
    /// Span ids of [`Kind::Partial`] records whose spans have ended.
    Ended = 12,
    /// Nothing: what stands behind it was there before the file was written again.
    End = 13,
}

impl Kind {
    /// The kind with this number; `None` if a later version wrote it.
    pub(crate) fn of(number: u8) -> Option<Kind> {
        Some(match number {
            0 => Kind::Preamble,
            1 => Kind::Traces,
            2 => Kind::Metrics,
            7 => Kind::Partial,
            8 => Kind::HeldRoot,
            9 => Kind::RootAttributes,
            10 => Kind::Undecided,
            11 => Kind::Decision,
            12 => Kind::Ended,
            13 => Kind::End,
            _ => return None,
        })
    }
}

/// A record as it stands in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredRecord<'a> {
    /// A number [`Kind::of`] may not know: such records are passed over.
    pub(crate) kind: u8,
    /// Grows by one with every record of a process.
    pub(crate) sequence: u64,
    /// Spans in the payload.
    pub(crate) spans: u32,
    pub(crate) payload: &'a [u8],
    /// Where its header begins in the segment.
    pub(crate) offset: usize,
}

impl StoredRecord<'_> {
    /// Where the next record begins.
    pub(crate) fn end(&self) -> usize {
        self.offset.saturating_add(RECORD_HEADER).saturating_add(self.payload.len())
    }
}

/// What reading a segment left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Whether the end of the segment was cut off in the middle of a record: what a killed process leaves.
    pub(crate) is_torn: bool,
    /// Bytes between whole records that are none.
    pub(crate) skipped_bytes: u64,
    /// Sequence numbers missing because of them.
    pub(crate) skipped_records: u64,
}

/// Appends a segment's header. `created_nanos`: since 1970.
pub(crate) fn append_segment_header(buffer: &mut Vec<u8>, created_nanos: u64) {
    let start = buffer.len();
    buffer.extend_from_slice(&SEGMENT_MAGIC);
    buffer.extend_from_slice(&VERSION.to_le_bytes());
    buffer.extend_from_slice(&0u16.to_le_bytes());
    buffer.extend_from_slice(&created_nanos.to_le_bytes());
    let checksum = crc32c::crc32c(buffer.get(start..).unwrap_or_default());
    buffer.extend_from_slice(&checksum.to_le_bytes());
}

/// When a segment was created, in nanoseconds since 1970; `None` if it does not begin like one of a version that can
/// be read.
pub(crate) fn read_segment_header(segment: &[u8]) -> Option<u64> {
    let (checked, rest) = segment.split_at_checked(SEGMENT_HEADER - 4)?;
    let checksum = u32::from_le_bytes(*rest.first_chunk()?);
    let after_magic = checked.strip_prefix(&SEGMENT_MAGIC)?;
    let (version, after_version) = after_magic.split_first_chunk::<2>()?;
    let created = after_version.get(2..)?.first_chunk::<8>()?;
    let is_ours = u16::from_le_bytes(*version) == VERSION && crc32c::crc32c(checked) == checksum;
    is_ours.then_some(u64::from_le_bytes(*created))
}

/// Appends a record. False, and nothing is appended, if the payload is longer than [`MAX_PAYLOAD`].
#[must_use]
pub(crate) fn append_record(
    buffer: &mut Vec<u8>,
    kind: Kind,
    sequence: u64,
    spans: u32,
    payload: &[&[u8]],
) -> bool {
    let Some(header) = record_header(kind, sequence, spans, payload) else { return false };
    buffer.extend_from_slice(&header);
    payload.iter().for_each(|part| buffer.extend_from_slice(part));
    true
}

/// What stands in front of a record's payload; `None` if that is longer than [`MAX_PAYLOAD`].
pub(crate) fn record_header(
    kind: Kind,
    sequence: u64,
    spans: u32,
    payload: &[&[u8]],
) -> Option<[u8; RECORD_HEADER]> {
    let len = payload.iter().map(|part| part.len()).fold(0, usize::saturating_add);
    let len = u32::try_from(len).ok().filter(|len| *len as usize <= MAX_PAYLOAD)?;
    let mut header = [0; RECORD_HEADER];
    let (checked, checksum) = header.split_at_mut(RECORD_HEADER - 4);
    let [a, b, c, d] = len.to_le_bytes();
    let ([e, f, g, h, i, j, k, l], [m, n, o, p]) = (sequence.to_le_bytes(), spans.to_le_bytes());
    checked.copy_from_slice(&[a, b, c, d, kind as u8, 0, 0, 0, e, f, g, h, i, j, k, l, m, n, o, p]);
    let sum = crc32c::crc32c(checked);
    let sum = payload.iter().fold(sum, |sum, part| crc32c::crc32c_append(sum, part));
    checksum.copy_from_slice(&sum.to_le_bytes());
    Some(header)
}

/// A record's header, not yet checked.
struct Header {
    len: usize,
    kind: u8,
    is_plain: bool,
    sequence: u64,
    spans: u32,
    checksum: u32,
}

fn read_header(bytes: &[u8]) -> Option<Header> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let ([kind, flags, reserved @ ..], rest) = rest.split_first_chunk::<4>()?;
    let (sequence, rest) = rest.split_first_chunk::<8>()?;
    let (spans, rest) = rest.split_first_chunk::<4>()?;
    let checksum = rest.first_chunk::<4>()?;
    Some(Header {
        len: u32::from_le_bytes(*len) as usize,
        kind: *kind,
        is_plain: *flags == 0 && *reserved == [0, 0],
        sequence: u64::from_le_bytes(*sequence),
        spans: u32::from_le_bytes(*spans),
        checksum: u32::from_le_bytes(*checksum),
    })
}

/// The records of a segment, damage passed over.
pub(crate) struct SegmentReader<'a> {
    segment: &'a [u8],
    offset: usize,
    last_sequence: Option<u64>,
    damage: Damage,
    /// What may still be checksummed while searching.
    search_left: usize,
}

impl<'a> SegmentReader<'a> {
    /// Reads from `offset`, which is at least [`SEGMENT_HEADER`].
    pub(crate) fn new(segment: &'a [u8], offset: usize) -> Self {
        let mut reader = SegmentReader {
            segment,
            offset: SEGMENT_HEADER,
            last_sequence: None,
            damage: Damage::default(),
            search_left: MAX_SEARCH,
        };
        if offset > SEGMENT_HEADER {
            // What the file held before it was written again has lower numbers than the first record.
            reader.last_sequence = reader.record_at(SEGMENT_HEADER, &mut 0).map(|first| first.sequence);
            reader.offset = offset;
        }
        reader
    }

    /// What was left out so far; whole once there is no further record.
    pub(crate) fn damage(&self) -> Damage {
        self.damage
    }

    /// The whole record at `offset`, if there is one. `checked`: how many bytes had to be looked at to know.
    fn record_at(&self, offset: usize, checked: &mut usize) -> Option<StoredRecord<'a>> {
        let bytes = self.segment.get(offset..)?;
        let header = read_header(bytes)?;
        let is_next = self.last_sequence.is_none_or(|last| header.sequence > last);
        if header.len > MAX_PAYLOAD || !header.is_plain || !is_next {
            return None;
        }
        let payload = bytes.get(RECORD_HEADER..RECORD_HEADER.saturating_add(header.len))?;
        *checked = checked.saturating_add(payload.len());
        let checksum = crc32c::crc32c(bytes.get(..RECORD_HEADER - 4)?);
        (crc32c::crc32c_append(checksum, payload) == header.checksum).then_some(StoredRecord {
            kind: header.kind,
            sequence: header.sequence,
            spans: header.spans,
            payload,
            offset,
        })
    }

    /// The next whole record behind damage.
    fn search(&mut self) -> Option<StoredRecord<'a>> {
        let mut offset = self.offset.saturating_add(1);
        while offset < self.segment.len() && self.search_left > 0 {
            let mut checked = 1;
            let found = self.record_at(offset, &mut checked);
            self.search_left = self.search_left.saturating_sub(checked);
            if found.is_some() {
                return found;
            }
            offset = offset.saturating_add(1);
        }
        None
    }
}

impl<'a> Iterator for SegmentReader<'a> {
    type Item = StoredRecord<'a>;

    fn next(&mut self) -> Option<StoredRecord<'a>> {
        let left = self.segment.len().saturating_sub(self.offset);
        if left == 0 {
            return None;
        }
        let found = match self.record_at(self.offset, &mut 0) {
            Some(record) => record,
            None => match self.search() {
                Some(record) => {
                    let skipped = record.offset.saturating_sub(self.offset) as u64;
                    self.damage.skipped_bytes = self.damage.skipped_bytes.saturating_add(skipped);
                    let gap = self.last_sequence.map_or(0, |last| {
                        record.sequence.saturating_sub(last).saturating_sub(1).min(skipped)
                    });
                    self.damage.skipped_records = self.damage.skipped_records.saturating_add(gap);
                    record
                }
                None => {
                    self.damage.is_torn = true;
                    self.offset = self.segment.len();
                    return None;
                }
            },
        };
        self.offset = found.end();
        self.last_sequence = Some(found.sequence);
        if found.kind == Kind::End as u8 {
            self.offset = self.segment.len();
            return None;
        }
        Some(found)
    }
}

/// How far a spool's records are done with: everything before this place is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Position {
    /// The segment's number, from 1.
    pub(crate) segment: u64,
    /// Where the record begins in it.
    pub(crate) offset: u64,
}

/// One of the two slots of an `ACK` file.
pub(crate) const ACK_SLOT: usize = 20;

/// A slot's bytes.
pub(crate) fn ack_slot(position: Position) -> [u8; ACK_SLOT] {
    let mut slot = [0; ACK_SLOT];
    let (segment, rest) = slot.split_at_mut(8);
    let (offset, checksum) = rest.split_at_mut(8);
    segment.copy_from_slice(&position.segment.to_le_bytes());
    offset.copy_from_slice(&position.offset.to_le_bytes());
    let sum = crc32c::crc32c_append(crc32c::crc32c(segment), offset);
    checksum.copy_from_slice(&sum.to_le_bytes());
    slot
}

/// The farther of the slots that are whole. Without one nothing is known to be done with.
pub(crate) fn read_ack(file: &[u8]) -> Option<Position> {
    let read = |slot: &[u8]| {
        let (segment, rest) = slot.split_first_chunk::<8>()?;
        let (offset, checksum) = rest.split_first_chunk::<8>()?;
        let sum = crc32c::crc32c_append(crc32c::crc32c(segment), offset);
        let is_whole = checksum.first_chunk::<4>().is_some_and(|known| u32::from_le_bytes(*known) == sum);
        let position =
            Position { segment: u64::from_le_bytes(*segment), offset: u64::from_le_bytes(*offset) };
        is_whole.then_some(position)
    };
    file.chunks_exact(ACK_SLOT).take(2).filter_map(read).max()
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "of lengths the test knows")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        append_segment_header(&mut bytes, 7);
        for (at, payload) in payloads.iter().enumerate() {
            assert!(append_record(&mut bytes, Kind::Traces, at as u64, 1, &[payload]));
        }
        bytes
    }

    fn payloads(reader: &mut SegmentReader<'_>) -> Vec<Vec<u8>> {
        reader.by_ref().map(|record| record.payload.to_vec()).collect()
    }

    /// What is left of a segment: its payloads, and what was left out.
    fn recover(bytes: &[u8]) -> (Vec<Vec<u8>>, Damage) {
        let mut reader = SegmentReader::new(bytes, SEGMENT_HEADER);
        (payloads(&mut reader), reader.damage())
    }

    fn three() -> Vec<Vec<u8>> {
        vec![b"first".to_vec(), vec![0; 40], b"third".to_vec()]
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = segment(&three());
        assert_eq!(read_segment_header(&bytes), Some(7));
        assert_eq!(recover(&bytes), (three(), Damage::default()));
        assert_eq!(SEGMENT_HEADER, {
            recover(&segment(&[]));
            segment(&[]).len()
        });
    }

    #[test]
    fn a_torn_tail_is_cut_wherever_it_tore() {
        let whole = segment(&three());
        let ends: Vec<usize> = SegmentReader::new(&whole, 0).map(|record| record.end()).collect();
        for cut in SEGMENT_HEADER..whole.len() {
            let (found, damage) = recover(&whole[..cut]);
            let expected = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(found, three()[..expected], "cut at {cut}");
            let is_clean = cut == SEGMENT_HEADER || ends.contains(&cut);
            assert_eq!(damage, Damage { is_torn: !is_clean, ..Damage::default() }, "cut at {cut}");
        }
    }

    #[test]
    fn damage_in_the_middle_costs_the_records_it_hits_and_is_counted() {
        let whole = segment(&three());
        let second = SEGMENT_HEADER + RECORD_HEADER + 5;
        for at in second..second + RECORD_HEADER + 40 {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            let (found, damage) = recover(&bytes);
            assert_eq!(found, [b"first".to_vec(), b"third".to_vec()], "{at}");
            let skipped =
                Damage { is_torn: false, skipped_bytes: (RECORD_HEADER + 40) as u64, skipped_records: 1 };
            assert_eq!(damage, skipped, "{at}");
        }
    }

    #[test]
    fn a_record_written_twice_is_read_once() {
        let mut bytes = segment(&three());
        let copy = bytes[SEGMENT_HEADER..].to_vec();
        bytes.extend_from_slice(&copy);
        assert_eq!(recover(&bytes).0, three());
    }

    #[test]
    fn a_page_of_zeros_is_no_record() {
        let mut bytes = segment(&three());
        bytes.extend_from_slice(&[0; 4096]);
        let (found, damage) = recover(&bytes);
        assert_eq!((found, damage.is_torn), (three(), true));
    }

    #[test]
    fn of_a_file_that_is_written_again_only_what_is_new_is_read() {
        // Records of one length each, so that old ones begin where new ones end.
        let written = |first: u64, payloads: &[&[u8]]| {
            let mut bytes = Vec::new();
            append_segment_header(&mut bytes, 7);
            for (sequence, payload) in (first..).zip(payloads) {
                assert!(append_record(&mut bytes, Kind::Traces, sequence, 1, &[payload]));
            }
            bytes
        };
        let mut file = written(1, &[b"old 1", b"old 2", b"old 3", b"old 4"]);
        let new = written(5, &[b"new 1", b"new 2"]);
        file[..new.len()].copy_from_slice(&new);
        let expected = vec![b"new 1".to_vec(), b"new 2".to_vec()];
        assert_eq!(recover(&file), (expected.clone(), Damage { is_torn: true, ..Damage::default() }));
        assert_eq!(SegmentReader::new(&file, new.len()).count(), 0, "from the end of the new ones on");

        let mut end = Vec::new();
        assert!(append_record(&mut end, Kind::End, 7, 0, &[]));
        file[new.len()..][..RECORD_HEADER].copy_from_slice(&end);
        assert_eq!(recover(&file), (expected, Damage::default()), "the mark says that it is the end");
    }

    #[test]
    fn bytes_that_look_like_headers_everywhere_take_linear_time() {
        // Each offset could begin a record of 4 MiB; checking all of them would read 32 TiB.
        let mut bytes = segment(&three());
        let mut fake = [0u8; 8];
        fake[..4].copy_from_slice(&(MAX_PAYLOAD as u32 - 0x10101).to_le_bytes());
        bytes.extend(std::iter::repeat_n(0u8, 8 << 20));
        for chunk in bytes[200..].chunks_exact_mut(24) {
            chunk[..8].copy_from_slice(&fake);
            chunk[8] = 0xff;
        }
        let mut reader = SegmentReader::new(&bytes, 0);
        assert_eq!(payloads(&mut reader), three());
        assert_eq!(reader.search_left, 0, "the search gave up");
    }

    #[test]
    fn a_segment_of_another_kind_or_version_is_not_read() {
        let mut bytes = segment(&[]);
        assert!(read_segment_header(&bytes[..23]).is_none());
        bytes[8] = 2;
        assert!(read_segment_header(&bytes).is_none());
        assert!(read_segment_header(b"something else altogether....").is_none());
    }

    #[test]
    fn of_two_slots_the_farther_whole_one_counts() {
        let place = |segment, offset| Position { segment, offset };
        let both = [ack_slot(place(3, 500)), ack_slot(place(4, 24))].concat();
        assert_eq!(read_ack(&both), Some(place(4, 24)));
        let mut torn = both.clone();
        torn[25] ^= 1;
        assert_eq!(read_ack(&torn), Some(place(3, 500)));
        assert_eq!(read_ack(&both[..30]), Some(place(3, 500)));
        assert_eq!(read_ack(&[]), None);
        assert_eq!(read_ack(&[0; 40]), None, "a page of zeros says nothing");
    }

    #[test]
    fn a_payload_that_is_too_long_is_not_written() {
        let mut bytes = Vec::new();
        assert!(!append_record(&mut bytes, Kind::Traces, 0, 1, &[&vec![0; MAX_PAYLOAD], b"x"]));
        assert!(bytes.is_empty());
    }

    proptest! {
        #[test]
        fn any_prefix_gives_a_prefix_of_the_records(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..8),
            share in 0.0..1.0f64,
        ) {
            let bytes = segment(&payloads);
            let cut = SEGMENT_HEADER + ((bytes.len() - SEGMENT_HEADER) as f64 * share) as usize;
            let (found, damage) = recover(&bytes[..cut]);
            prop_assert!(found.len() <= payloads.len());
            prop_assert_eq!(&found[..], &payloads[..found.len()]);
            prop_assert_eq!(damage.skipped_bytes, 0);
        }

        #[test]
        fn flipped_bits_cost_only_the_records_they_hit(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..60), 1..8),
            flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8u32), 1..8),
        ) {
            let whole = segment(&payloads);
            let mut bytes = whole.clone();
            for (index, bit) in &flips {
                let at = SEGMENT_HEADER + index.index(bytes.len() - SEGMENT_HEADER);
                bytes[at] ^= 1 << bit;
            }
            let intact = SegmentReader::new(&whole, 0)
                .filter(|record| bytes[record.offset..record.end()] == whole[record.offset..record.end()])
                .map(|record| record.payload.to_vec());
            prop_assert_eq!(recover(&bytes).0, intact.collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_read_to_their_end(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut before = 0;
            for record in SegmentReader::new(&bytes, 0) {
                prop_assert!(record.end() > before);
                before = record.end();
            }
        }
    }
}
