//! The log of one process: records are appended to segments, and a segment is removed when everything in it is done
//! with and that has been noted. One such file is kept and written again: new pages cost ten times what writing over
//! old ones does.
//!
//! The log knows which records are in memory too and which are on disk only. Those are read again when there is
//! room. It never reads a clock: whoever calls says what time it is.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::folder::{Folder, Segment};
use super::format::{
    Kind, Position, RECORD_HEADER, SEGMENT_HEADER, SegmentReader, ack_slot, append_record,
    append_segment_header, record_header,
};

/// How large a log may grow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogLimits {
    pub(crate) max_bytes: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) segment_age: Duration,
}

/// A moment, on the clock that only goes forward and on the wall.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    pub(crate) unix_nanos: u64,
}

/// A record was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    #[error("cannot write to the spool")]
    Io(#[from] io::Error),
    #[error("the spool is full")]
    Full,
    #[error("the record is too large for the spool")]
    TooLarge,
}

/// A segment of which everything is done with begins anew from this part of a full one's length on.
const BEGINS_ANEW: u64 = 32;

/// Records whose spans are not all done with, and how far that has been noted.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// What is left of each record, in the order of their places.
    outstanding: BTreeMap<Position, Left>,
    noted: Position,
    slot: usize,
}

#[derive(Clone, Copy, Debug)]
struct Left {
    count: u32,
    /// Else the record goes with another one's span.
    are_spans: bool,
}

impl Progress {
    /// Everything before `noted` is done with already.
    pub(crate) fn from(noted: Position) -> Self {
        Progress { noted, ..Progress::default() }
    }

    pub(crate) fn start(&mut self, position: Position, spans: u32) {
        self.outstanding.insert(position, Left { count: spans.max(1), are_spans: spans > 0 });
    }

    /// `count` of the record's spans are done with.
    pub(crate) fn finish(&mut self, position: Position, count: u32) {
        if let Some(left) = self.outstanding.get_mut(&position) {
            left.count = left.count.saturating_sub(count);
            if left.count == 0 {
                self.outstanding.remove(&position);
            }
        }
    }

    /// The first record that is not done with.
    pub(crate) fn first(&self) -> Option<Position> {
        self.outstanding.keys().next().copied()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.outstanding.is_empty()
    }

    /// Spans that are not done with from this place on.
    fn spans_from(&self, position: Position) -> u64 {
        let left = self.outstanding.range(position..).map(|(_, left)| left);
        left.filter(|left| left.are_spans).map(|left| u64::from(left.count)).sum()
    }

    /// Notes that everything before `done` is done with, if that is news. Says whether files of earlier segments
    /// may go.
    pub(crate) fn note<F: Folder>(&mut self, done: Position, folder: &mut F) -> bool {
        if done <= self.noted {
            return false;
        }
        match folder.write_ack(self.slot, &ack_slot(done)) {
            Ok(()) => self.slot ^= 1,
            // A full disk may refuse even this. Removing what was delivered is what frees it, and costs at most
            // sending again what the last note leaves open.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
            Err(_) => return false,
        }
        self.noted = done;
        true
    }
}

/// See the module.
pub(crate) struct Log<F: Folder> {
    pub(crate) folder: F,
    limits: LogLimits,
    /// Resource and scope, which begin each segment.
    preamble: Vec<u8>,
    active: Option<Active<F::Segment>>,
    /// Oldest first.
    sealed: VecDeque<Stored>,
    next_segment: u64,
    next_sequence: u64,
    /// Of all segments.
    bytes: u64,
    progress: Progress,
    /// Where the records begin that are on disk only.
    backlog: Option<Position>,
    /// Records behind that which are in memory all the same.
    in_memory: HashSet<Position>,
    /// A sealed segment that is being read.
    loaded: Option<(u64, Vec<u8>)>,
    /// Files of sealed segments that are not brought to the disk yet, by the segments' numbers.
    unsynced: Vec<(u64, Arc<File>)>,
    /// Whether segments have names that are not brought to the disk yet.
    has_new_names: bool,
    /// How long the file is that is kept to be written again.
    spare: Option<u64>,
    buffer: Vec<u8>,
}

struct Active<S> {
    file: S,
    stored: Stored,
    since: Instant,
    is_dirty: bool,
    /// How long the file is, if it is longer than what is stored because it held other records before.
    stale_to: u64,
}

impl<S: Segment> Active<S> {
    /// Bytes of earlier records behind its own.
    fn stale(&self) -> u64 {
        self.stale_to.saturating_sub(self.stored.len)
    }

    /// Cuts everything behind what is stored; false if that fails.
    fn cut(&mut self) -> bool {
        let is_cut = self.file.truncate(self.stored.len).is_ok();
        if is_cut {
            self.stale_to = 0;
        }
        is_cut
    }

    /// Writes `record`, which ends with the record of this number, behind what is stored; behind it the end, if earlier
    /// records follow.
    fn write(&mut self, record: Vec<&[u8]>, sequence: u64) -> io::Result<()> {
        let len = record.iter().map(|part| part.len() as u64).fold(0, u64::saturating_add);
        let end;
        let mut parts = record;
        if self.stale() > len {
            end = end_mark(sequence);
            parts.push(&end);
            let to = self.stored.len.saturating_add(len).saturating_add(RECORD_HEADER as u64);
            self.stale_to = self.stale_to.max(to);
        }
        self.is_dirty = true;
        self.file.write(self.stored.len, &parts)
    }
}

#[derive(Clone, Copy, Debug)]
struct Stored {
    number: u64,
    len: u64,
    /// At most so much stands behind that: of a record that failed, or of earlier ones.
    tail: u64,
    /// Spans in it that are on disk only.
    unread: u64,
}

impl Stored {
    fn bytes(&self) -> u64 {
        self.len.saturating_add(self.tail)
    }
}

/// A record read again from disk.
#[derive(Debug)]
pub(crate) struct ReadRecord {
    pub(crate) position: Position,
    pub(crate) kind: Kind,
    pub(crate) spans: u32,
    pub(crate) payload: Vec<u8>,
}

impl<F: Folder> Log<F> {
    /// A log whose first segment has this number, from 1.
    pub(crate) fn new(folder: F, preamble: Vec<u8>, limits: LogLimits, first_segment: u64) -> Self {
        Log {
            folder,
            limits,
            preamble,
            active: None,
            sealed: VecDeque::new(),
            next_segment: first_segment,
            next_sequence: 1,
            bytes: 0,
            progress: Progress::default(),
            backlog: None,
            in_memory: HashSet::new(),
            loaded: None,
            unsynced: Vec::new(),
            has_new_names: false,
            spare: None,
            buffer: Vec::new(),
        }
    }

    /// Appends a record of so many spans. `keeps`: whoever calls holds it in memory too and will say when its spans
    /// are done with. `lost` is told how many spans on disk only had to go for it.
    pub(crate) fn append(
        &mut self,
        kind: Kind,
        spans: u32,
        payload: &[&[u8]],
        keeps: bool,
        now: Now,
        lost: &mut u64,
    ) -> Result<Position, AppendError> {
        let len: usize = payload.iter().map(|part| part.len()).sum();
        let needed = (len as u64).saturating_add(RECORD_HEADER as u64);
        self.seal_if_due(needed, now);
        let first = (SEGMENT_HEADER as u64)
            .saturating_add(RECORD_HEADER as u64)
            .saturating_add(self.preamble.len() as u64);
        while self.bytes_with(needed, first) > self.limits.max_bytes {
            if !self.drop_spare() && !self.drop_oldest(lost) {
                return Err(AppendError::Full);
            }
        }
        if self.active.is_none() {
            self.begin_segment(now)?;
        }
        let Some(active) = &mut self.active else { return Err(AppendError::Full) };
        let Some(header) = record_header(kind, self.next_sequence, spans, payload) else {
            return Err(AppendError::TooLarge);
        };
        // Header and payload in one write, from where they are.
        let parts: Vec<&[u8]> = std::iter::once(&header[..]).chain(payload.iter().copied()).collect();
        if let Err(error) = active.write(parts, self.next_sequence) {
            // What is left of the record is cut when the segment is read.
            if !active.cut() {
                active.stored.tail = active.stale().max(needed);
                active.stale_to = 0;
                self.bytes = self.bytes.saturating_add(active.stored.tail);
                self.seal();
            }
            return Err(error.into());
        }
        let Some(active) = &mut self.active else { return Err(AppendError::Full) };
        let written = needed;
        let position = Position { segment: active.stored.number, offset: active.stored.len };
        active.stored.len = active.stored.len.saturating_add(written);
        self.bytes = self.bytes.saturating_add(written);
        self.next_sequence = self.next_sequence.saturating_add(1);
        if keeps {
            self.progress.start(position, spans);
            if self.backlog.is_some() {
                self.in_memory.insert(position);
            }
        } else {
            active.stored.unread = active.stored.unread.saturating_add(u64::from(spans));
            self.backlog.get_or_insert(position);
        }
        Ok(position)
    }

    fn begin_segment(&mut self, now: Now) -> Result<(), AppendError> {
        let number = self.next_segment;
        self.next_segment = self.next_segment.saturating_add(1);
        self.buffer.clear();
        append_segment_header(&mut self.buffer, now.unix_nanos);
        if !append_record(&mut self.buffer, Kind::Preamble, self.next_sequence, 0, &[&self.preamble]) {
            return Err(AppendError::TooLarge);
        }
        let len = self.buffer.len() as u64;
        let stored = Stored { number, len: 0, tail: 0, unread: 0 };
        let spare = self.spare.and_then(|stale_to| {
            let start = [&self.buffer[..], &end_mark(self.next_sequence)].concat();
            let file = self.folder.use_spare(number, &start);
            let stale_to = stale_to.max(start.len() as u64);
            Some(Active { file: file.ok()?, stored, since: now.instant, is_dirty: true, stale_to })
        });
        let mut active = match spare {
            Some(active) => {
                self.spare = None;
                active
            }
            None => {
                self.drop_spare();
                let file = self.folder.create(number)?;
                let mut active = Active { file, stored, since: now.instant, is_dirty: false, stale_to: 0 };
                if let Err(error) = active.write(vec![&self.buffer], self.next_sequence) {
                    // Nothing of worth is in it.
                    let _ = self.folder.remove(number);
                    return Err(error.into());
                }
                active
            }
        };
        self.has_new_names = true;
        self.next_sequence = self.next_sequence.saturating_add(1);
        active.stored.len = len;
        self.bytes = self.bytes.saturating_add(active.stored.len);
        self.active = Some(active);
        Ok(())
    }

    fn seal_if_due(&mut self, needed: u64, now: Now) {
        let is_due = self.active.as_ref().is_some_and(|active| {
            active.stored.len.saturating_add(needed) > self.limits.segment_bytes
                || now.instant.saturating_duration_since(active.since) >= self.limits.segment_age
        });
        if is_due {
            self.seal();
        }
    }

    fn seal(&mut self) {
        let Some(mut active) = self.active.take() else { return };
        if active.stale() > 0 {
            active.stored.tail = active.stale();
            self.bytes = self.bytes.saturating_add(active.stored.tail);
        }
        if active.is_dirty {
            self.unsynced.extend(active.file.handle().map(|file| (active.stored.number, file)));
        }
        self.sealed.push_back(active.stored);
    }

    /// Bytes on disk with another record of `needed` bytes, and `first` in front of it where it begins a segment. What
    /// is written over old bytes takes no more.
    fn bytes_with(&self, needed: u64, first: u64) -> u64 {
        let spare = self.spare.unwrap_or(0);
        let more = match &self.active {
            Some(active) => needed.max(active.stale()).saturating_add(spare),
            None => needed.saturating_add(first).max(spare),
        };
        self.bytes.saturating_add(more)
    }

    /// False if there is none.
    fn drop_spare(&mut self) -> bool {
        let is_there = self.spare.take().is_some();
        if is_there {
            let _ = self.folder.remove_spare();
        }
        is_there
    }

    /// A segment is done with, and that is noted: its file is the next spare, if there is none.
    fn give_up(&mut self, segment: Stored) {
        let number = segment.number;
        self.unsynced.retain(|(of, _)| *of != number);
        if self.spare.is_none() && self.folder.keep_spare(number).is_ok() {
            self.spare = Some(segment.bytes());
        } else {
            let _ = self.folder.remove(number);
        }
        self.bytes = self.bytes.saturating_sub(segment.bytes());
    }

    /// Removes the oldest sealed segment whatever is in it. False if there is none.
    fn drop_oldest(&mut self, lost: &mut u64) -> bool {
        let Some(oldest) = self.sealed.pop_front() else { return false };
        let _ = self.folder.remove(oldest.number);
        self.unsynced.retain(|(of, _)| *of != oldest.number);
        self.bytes = self.bytes.saturating_sub(oldest.bytes());
        *lost = lost.saturating_add(oldest.unread);
        if self.backlog.is_some_and(|backlog| backlog.segment <= oldest.number) {
            self.backlog = Some(self.first_place());
            self.in_memory.retain(|position| position.segment > oldest.number);
            self.end_backlog_if_read();
        }
        true
    }

    /// Where the records begin that are still there.
    fn first_place(&self) -> Position {
        let first = self.sealed.front().or(self.active.as_ref().map(|active| &active.stored));
        let segment = first.map_or(self.next_segment, |stored| stored.number);
        Position { segment, offset: SEGMENT_HEADER as u64 }
    }

    /// Where the next record will stand.
    fn end(&self) -> Position {
        match &self.active {
            Some(active) => Position { segment: active.stored.number, offset: active.stored.len },
            None => Position { segment: self.next_segment, offset: SEGMENT_HEADER as u64 },
        }
    }

    fn end_backlog_if_read(&mut self) {
        let is_read = self.backlog.is_some_and(|backlog| backlog >= self.end());
        if is_read {
            self.backlog = None;
            self.in_memory.clear();
            self.loaded = None;
        }
    }

    /// A number no segment has had.
    pub(crate) fn unused_segment(&self) -> u64 {
        self.next_segment
    }

    /// Whether records are on disk that are not in memory.
    pub(crate) fn has_backlog(&self) -> bool {
        self.backlog.is_some()
    }

    /// Spans on disk only.
    pub(crate) fn unread_spans(&self) -> u64 {
        let active = self.active.as_ref().map(|active| &active.stored);
        self.sealed.iter().chain(active).map(|stored| stored.unread).sum()
    }

    /// Spans that a later process would find.
    pub(crate) fn stored_spans(&self) -> u64 {
        self.unread_spans().saturating_add(self.progress.spans_from(self.first_place()))
    }

    /// How many bytes are used, of how many.
    pub(crate) fn fill(&self) -> (u64, u64) {
        (self.bytes, self.limits.max_bytes)
    }

    /// Reads about `max_bytes` of records that are on disk only. From now on they count as in memory. `lost` is told
    /// how many of their spans cannot be read any more.
    pub(crate) fn read_backlog(&mut self, max_bytes: usize, lost: &mut u64) -> Vec<ReadRecord> {
        let mut records = Vec::new();
        let mut bytes = 0;
        while let Some(backlog) = self.backlog {
            if bytes >= max_bytes {
                break;
            }
            let is_active =
                self.active.as_ref().is_some_and(|active| active.stored.number == backlog.segment);
            let segment = self.load(backlog.segment, is_active);
            let mut reader =
                SegmentReader::new(&segment, usize::try_from(backlog.offset).unwrap_or(usize::MAX));
            let mut next = None;
            for record in reader.by_ref() {
                let position = Position { segment: backlog.segment, offset: record.offset as u64 };
                next = Some(Position { offset: record.end() as u64, ..position });
                let Some(kind) = Kind::of(record.kind).filter(|kind| *kind != Kind::Preamble) else {
                    continue;
                };
                if self.in_memory.remove(&position) {
                    continue;
                }
                self.progress.start(position, record.spans);
                let active = self.active.as_mut().map(|active| &mut active.stored);
                if let Some(stored) =
                    self.sealed.iter_mut().chain(active).find(|stored| stored.number == backlog.segment)
                {
                    stored.unread = stored.unread.saturating_sub(u64::from(record.spans));
                }
                bytes = bytes.saturating_add(record.payload.len());
                records.push(ReadRecord {
                    position,
                    kind,
                    spans: record.spans,
                    payload: record.payload.to_vec(),
                });
                if bytes >= max_bytes {
                    break;
                }
            }
            let is_at_end = next.is_none_or(|next| next.offset >= segment.len() as u64);
            if !is_active {
                self.loaded = Some((backlog.segment, segment));
            }
            if let Some(next) = next.filter(|_| !is_at_end || is_active) {
                self.backlog = Some(next);
            } else {
                self.leave_segment(backlog.segment, is_active, lost);
            }
            self.end_backlog_if_read();
        }
        records
    }

    /// The bytes of a segment; none if it cannot be read.
    fn load(&mut self, number: u64, is_active: bool) -> Vec<u8> {
        if let Some((_, bytes)) = self.loaded.take().filter(|(loaded, _)| *loaded == number && !is_active) {
            return bytes;
        }
        let active = self.active.as_ref().map(|active| &active.stored);
        let stored = self.sealed.iter().chain(active).find(|stored| stored.number == number);
        stored.and_then(|stored| self.folder.read(number, stored.len).ok()).unwrap_or_default()
    }

    /// Goes on behind a segment: what was not found in it is lost.
    fn leave_segment(&mut self, number: u64, is_active: bool, lost: &mut u64) {
        let active = self.active.as_mut().map(|active| &mut active.stored);
        if let Some(stored) = self.sealed.iter_mut().chain(active).find(|stored| stored.number == number) {
            *lost = lost.saturating_add(std::mem::take(&mut stored.unread));
        }
        self.backlog = Some(if is_active {
            self.end()
        } else {
            Position { segment: number.saturating_add(1), offset: SEGMENT_HEADER as u64 }
        });
    }

    /// So many spans of the record there are done with, whatever became of them.
    pub(crate) fn finish(&mut self, position: Position, count: u32) {
        self.progress.finish(position, count);
    }

    /// Notes what is done with, and then gives up the segments before it. Where nothing is open, the segment that is
    /// being written begins anew once it is worth it: as often as a backend keeps up, the same bytes are written
    /// again and again.
    pub(crate) fn advance(&mut self) {
        let open = [self.progress.first(), self.backlog].into_iter().flatten().min();
        let worth_it = self.limits.segment_bytes / BEGINS_ANEW;
        if open.is_none() && self.active.as_ref().is_some_and(|active| active.stored.len >= worth_it) {
            // First, so that nothing is written to it any more, whatever becomes of the note.
            self.seal();
        }
        let done = open.unwrap_or_else(|| self.end());
        if !self.progress.note(done, &mut self.folder) {
            return;
        }
        while let Some(oldest) = self.sealed.front().copied().filter(|oldest| oldest.number < done.segment) {
            self.give_up(oldest);
            self.sealed.pop_front();
        }
    }

    /// What has to be brought to the disk for everything written so far to outlive a crash of the machine.
    pub(crate) fn take_unsynced(&mut self) -> Vec<Arc<File>> {
        if let Some(active) = self.active.as_mut().filter(|active| active.is_dirty) {
            active.is_dirty = false;
            self.unsynced.extend(active.file.handle().map(|file| (active.stored.number, file)));
        }
        let names = if std::mem::take(&mut self.has_new_names) { self.folder.names() } else { None };
        let files = std::mem::take(&mut self.unsynced).into_iter().map(|(_, file)| file);
        files.chain(names).collect()
    }

    /// Whether nothing in it is still to be delivered.
    pub(crate) fn is_done(&self) -> bool {
        self.backlog.is_none() && self.progress.is_empty()
    }

    /// Leaves the folder: removes it if nothing in it is still to be delivered.
    pub(crate) fn close(mut self) {
        self.advance();
        self.drop_spare();
        if self.is_done() {
            // What cannot be removed is found empty of anything to deliver by whoever adopts it.
            let _ = self.folder.remove_all();
        }
    }
}

/// Stands behind the record of this number, where earlier records follow; the next record is written over it.
fn end_mark(sequence: u64) -> [u8; RECORD_HEADER] {
    record_header(Kind::End, sequence.saturating_add(1), 0, &[]).unwrap_or([0; RECORD_HEADER])
}
