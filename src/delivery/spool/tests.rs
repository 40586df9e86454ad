//! The log against a disk that fails: whatever happens, no span disappears without being counted, and a process that
//! dies at any moment leaves every span that is not done with.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::folder::{Folder, Segment};
use super::format::{
    ACK_SLOT, Kind, Position, RECORD_HEADER, SEGMENT_HEADER, SegmentReader, read_ack, read_segment_header,
};
use super::log::{AppendError, Log, LogLimits, Now};

/// What stands in segments, by their numbers.
type Files = BTreeMap<u64, Vec<u8>>;

/// A disk in memory.
#[derive(Debug, Default)]
struct Disk {
    segments: Files,
    spare: Option<Vec<u8>>,
    /// What stood in segments and notes after each change: what a process would find that starts after this one died
    /// in the middle of a step.
    moments: Vec<(Files, Vec<u8>)>,
    ack: Vec<u8>,
    open: Option<Vec<u8>>,
    /// Bytes that still fit; a write that does not is cut short.
    room: usize,
    /// How the next operations go wrong.
    faults: Vec<Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// Nothing happens but an error.
    Error,
    /// So much is written, then an error.
    Short(usize),
}

#[derive(Clone, Debug, Default)]
struct ModelFolder(Rc<RefCell<Disk>>);

struct ModelSegment {
    disk: Rc<RefCell<Disk>>,
    number: u64,
}

impl Disk {
    fn write(&mut self, len: usize) -> (usize, io::Result<()>) {
        let fault = self.faults.pop().unwrap_or(Fault::None);
        let wanted = match fault {
            Fault::None => len,
            Fault::Error => 0,
            Fault::Short(written) => written.min(len),
        };
        let written = wanted.min(self.room);
        self.room -= written;
        let is_done = written == len && fault == Fault::None;
        let kind = if written < wanted { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
        (written, if is_done { Ok(()) } else { Err(kind.into()) })
    }

    /// Writes into a file; what it does not hold yet takes room.
    fn write_into(&mut self, file: &mut Vec<u8>, offset: usize, bytes: &[u8]) -> io::Result<()> {
        assert!(offset <= file.len(), "no holes");
        let in_place = bytes.len().min(file.len() - offset);
        self.room += in_place;
        let (written, result) = self.write(bytes.len());
        // Of what was set aside for bytes that are there already, what was not needed.
        self.room -= in_place.saturating_sub(written);
        if written > in_place {
            file.truncate(offset);
            file.extend_from_slice(&bytes[..written]);
        } else {
            file[offset..][..written].copy_from_slice(&bytes[..written]);
        }
        result
    }

    fn note_moment(&mut self) {
        self.moments.push((self.segments.clone(), self.ack.clone()));
    }

    fn fails(&mut self) -> io::Result<()> {
        match self.faults.pop() {
            None | Some(Fault::None) => Ok(()),
            Some(_) => Err(io::ErrorKind::Other.into()),
        }
    }
}

impl Folder for ModelFolder {
    type Segment = ModelSegment;

    fn create(&mut self, number: u64) -> io::Result<ModelSegment> {
        let mut disk = self.0.borrow_mut();
        disk.fails()?;
        assert!(disk.segments.insert(number, Vec::new()).is_none(), "a number is used once");
        disk.note_moment();
        Ok(ModelSegment { disk: self.0.clone(), number })
    }

    fn keep_spare(&mut self, number: u64) -> io::Result<()> {
        let mut disk = self.0.borrow_mut();
        disk.fails()?;
        let file = disk.segments.remove(&number).ok_or(io::ErrorKind::NotFound)?;
        assert!(disk.spare.replace(file).is_none(), "there is one at most");
        disk.note_moment();
        Ok(())
    }

    fn use_spare(&mut self, number: u64, start: &[u8]) -> io::Result<ModelSegment> {
        let mut disk = self.0.borrow_mut();
        disk.fails()?;
        let mut file = disk.spare.take().ok_or(io::ErrorKind::NotFound)?;
        let written = disk.write_into(&mut file, 0, start);
        if let Err(error) = written.and_then(|()| disk.fails()) {
            disk.spare = Some(file);
            return Err(error);
        }
        assert!(disk.segments.insert(number, file).is_none(), "a number is used once");
        disk.note_moment();
        Ok(ModelSegment { disk: self.0.clone(), number })
    }

    fn remove_spare(&mut self) -> io::Result<()> {
        let mut disk = self.0.borrow_mut();
        let freed = disk.spare.take().map_or(0, |file| file.len());
        disk.room += freed;
        Ok(())
    }

    fn names(&self) -> Option<Arc<File>> {
        None
    }

    fn read(&self, number: u64, len: u64) -> io::Result<Vec<u8>> {
        let disk = self.0.borrow();
        let bytes = disk.segments.get(&number).ok_or(io::ErrorKind::NotFound)?;
        Ok(bytes[..bytes.len().min(len as usize)].to_vec())
    }

    fn remove(&mut self, number: u64) -> io::Result<()> {
        let mut disk = self.0.borrow_mut();
        let freed = disk.segments.remove(&number).map_or(0, |bytes| bytes.len());
        disk.room += freed;
        disk.note_moment();
        Ok(())
    }

    fn write_ack(&mut self, slot: usize, bytes: &[u8; ACK_SLOT]) -> io::Result<()> {
        let mut disk = self.0.borrow_mut();
        disk.ack.resize(2 * ACK_SLOT, 0);
        let (written, result) = disk.write(ACK_SLOT);
        // In place: it takes no room.
        disk.room += written;
        disk.ack[slot * ACK_SLOT..][..written].copy_from_slice(&bytes[..written]);
        disk.note_moment();
        result
    }

    fn replace_open(&mut self, bytes: Option<&[u8]>) -> io::Result<()> {
        self.0.borrow_mut().open = bytes.map(<[u8]>::to_vec);
        Ok(())
    }

    fn append_open(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(open) = &mut self.0.borrow_mut().open {
            open.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn free_bytes(&self) -> Option<u64> {
        None
    }

    fn remove_all(&mut self) -> io::Result<()> {
        *self.0.borrow_mut() = Disk::default();
        Ok(())
    }
}

impl Segment for ModelSegment {
    fn write(&mut self, offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        let mut disk = self.disk.borrow_mut();
        let mut file = disk.segments.remove(&self.number).unwrap_or_default();
        let result = disk.write_into(&mut file, offset as usize, &parts.concat());
        disk.segments.insert(self.number, file);
        disk.note_moment();
        result
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let mut disk = self.disk.borrow_mut();
        disk.fails()?;
        let bytes = disk.segments.entry(self.number).or_default();
        let freed = bytes.len() - len as usize;
        bytes.truncate(len as usize);
        disk.room += freed;
        disk.note_moment();
        Ok(())
    }

    fn handle(&self) -> Option<Arc<File>> {
        None
    }
}

const LIMITS: LogLimits =
    LogLimits { max_bytes: 4_000, segment_bytes: 700, segment_age: Duration::from_secs(10) };

/// A log, and what is known of each of its spans, by number.
struct Model {
    disk: Rc<RefCell<Disk>>,
    log: Log<ModelFolder>,
    started: Instant,
    seconds: u64,
    next_span: u64,
    /// Those whoever calls holds.
    in_memory: BTreeMap<Position, Vec<u64>>,
    on_disk: BTreeSet<u64>,
    done: BTreeSet<u64>,
    /// The segment each was written to, as far as that was told.
    segment_of: BTreeMap<u64, u64>,
    lost: u64,
    /// Told to whoever wrote them that they are not on disk. All of it may be there nevertheless, if the disk failed
    /// behind the last byte.
    refused: u64,
}

impl Model {
    fn new(room: usize) -> Model {
        let folder = ModelFolder::default();
        let disk = folder.0.clone();
        disk.borrow_mut().room = room;
        Model {
            disk,
            log: Log::new(folder, b"resource".to_vec(), LIMITS, 1),
            started: Instant::now(),
            seconds: 0,
            next_span: 0,
            in_memory: BTreeMap::new(),
            on_disk: BTreeSet::new(),
            done: BTreeSet::new(),
            segment_of: BTreeMap::new(),
            lost: 0,
            refused: 0,
        }
    }

    fn append(&mut self, spans: u32, size: usize, keeps: bool) -> Result<Position, AppendError> {
        let numbers: Vec<u64> = (0..u64::from(spans)).map(|at| self.next_span + at).collect();
        let payload: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        let filling = vec![0xfe; size];
        let now = Now {
            instant: self.started + Duration::from_secs(self.seconds),
            unix_nanos: self.seconds * 1_000_000_000,
        };
        let mut lost = 0;
        let parts: [&[u8]; 2] = [&payload, &filling];
        let appended = self.log.append(Kind::Traces, spans, &parts, keeps, now, &mut lost);
        self.take_lost(lost);
        self.next_span += u64::from(spans);
        if let Ok(position) = &appended {
            self.segment_of.extend(numbers.iter().map(|number| (*number, position.segment)));
        }
        match &appended {
            Ok(position) if keeps => drop(self.in_memory.insert(*position, numbers)),
            Ok(_) => self.on_disk.extend(numbers),
            Err(_) => self.refused += u64::from(spans),
        }
        appended
    }

    /// What is on disk only and not there any more must be what is said to be lost.
    fn take_lost(&mut self, lost: u64) {
        self.lost += lost;
        let stored = self.stored();
        let before = self.on_disk.len() as u64;
        self.on_disk.retain(|span| stored.contains(span));
        assert_eq!(before - self.on_disk.len() as u64, lost, "lost, and counted");
    }

    fn finish(&mut self, at: usize) {
        let positions: Vec<Position> = self.in_memory.keys().copied().collect();
        let Some(position) = positions.get(at % positions.len().max(1)) else { return };
        let spans = self.in_memory.remove(position).unwrap();
        self.log.finish(*position, spans.len() as u32);
        self.done.extend(spans);
        self.log.advance();
    }

    fn read(&mut self, max_bytes: usize) {
        let mut lost = 0;
        let records = self.log.read_backlog(max_bytes, &mut lost);
        assert_eq!(lost, 0, "nothing is damaged");
        for record in records {
            let numbers = numbers(&record.payload, record.spans);
            for number in &numbers {
                assert!(self.on_disk.remove(number), "span {number} was on disk only, and is read once");
            }
            assert!(self.in_memory.insert(record.position, numbers).is_none());
        }
    }

    /// Every span in whole records of the disk.
    fn stored(&self) -> BTreeSet<u64> {
        spans_from(&self.disk.borrow().segments, Position::default()).into_keys().collect()
    }

    /// What a process would find that starts after this one died, at any moment since the last time: all that was on
    /// disk only before and is now, and nothing in a segment it was not written to.
    fn check_moments(&self, before: &BTreeSet<u64>) {
        for (segments, ack) in std::mem::take(&mut self.disk.borrow_mut().moments) {
            let found = spans_from(&segments, read_ack(&ack).unwrap_or_default());
            let open = before.intersection(&self.on_disk);
            open.for_each(|span| assert!(found.contains_key(span), "{span} not in {found:?}"));
            for (span, segment) in found {
                let written_to = self.segment_of.get(&span);
                assert!(written_to.is_none_or(|known| *known == segment), "{span} is read from {segment}");
            }
        }
    }

    /// What a process would find that starts after this one died now.
    fn check_crash(&self) {
        let disk = self.disk.borrow();
        let found = spans_from(&disk.segments, read_ack(&disk.ack).unwrap_or_default());
        let found: BTreeSet<u64> = found.into_keys().collect();
        assert!(self.on_disk.is_subset(&found), "{:?} not in {found:?}", self.on_disk);
        // Spans in memory may stand in a segment that had to go.
        for (position, spans) in &self.in_memory {
            let is_there = disk.segments.contains_key(&position.segment);
            assert!(!is_there || spans.iter().all(|span| found.contains(span)), "{position:?}");
        }
        assert!(found.iter().all(|span| *span < self.next_span));
    }

    fn check_counts(&self) {
        let alive = self.in_memory.values().map(Vec::len).sum::<usize>() as u64;
        let sum = alive + self.on_disk.len() as u64 + self.done.len() as u64 + self.lost + self.refused;
        assert_eq!(sum, self.next_span);
        assert_eq!(self.log.unread_spans(), self.on_disk.len() as u64);
        assert!(self.log.has_backlog() || self.on_disk.is_empty());
        let disk = self.disk.borrow();
        let bytes: usize = disk.segments.values().chain(&disk.spare).map(Vec::len).sum();
        // A record that failed may have come out as long as it is.
        assert!(bytes as u64 <= LIMITS.max_bytes + 300, "{bytes}");
    }
}

fn numbers(payload: &[u8], spans: u32) -> Vec<u64> {
    let numbers = payload.chunks_exact(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
    numbers.take(spans as usize).collect()
}

/// The spans in whole records behind `done`, and the segment each is in.
fn spans_from(segments: &Files, done: Position) -> BTreeMap<u64, u64> {
    let mut found = BTreeMap::new();
    for (number, bytes) in segments.range(done.segment..) {
        let offset = if *number == done.segment { done.offset as usize } else { SEGMENT_HEADER };
        if read_segment_header(bytes).is_some() {
            let records =
                SegmentReader::new(bytes, offset).filter(|record| record.kind == Kind::Traces as u8);
            let spans = records.flat_map(|record| numbers(record.payload, record.spans));
            found.extend(spans.map(|span| (span, *number)));
        }
    }
    found
}

#[derive(Clone, Debug)]
enum Step {
    Append { spans: u32, size: usize, keeps: bool },
    Finish(usize),
    Read(usize),
    Wait(u64),
    Fail(Vec<Fault>),
    Room(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fault = prop_oneof![Just(Fault::None), Just(Fault::Error), (0..200usize).prop_map(Fault::Short),];
    let step = prop_oneof![
        8 => (1..4u32, 0..200usize, any::<bool>())
            .prop_map(|(spans, size, keeps)| Step::Append { spans, size, keeps }),
        5 => any::<usize>().prop_map(Step::Finish),
        3 => (1..1_000usize).prop_map(Step::Read),
        1 => (0..12u64).prop_map(Step::Wait),
        1 => prop::collection::vec(fault, 1..4).prop_map(Step::Fail),
        1 => (0..6_000usize).prop_map(Step::Room),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #[test]
    fn no_span_disappears_uncounted_on_a_disk_that_fails(steps in steps()) {
        let mut model = Model::new(1 << 20);
        for step in steps {
            let before = model.on_disk.clone();
            match step {
                Step::Append { spans, size, keeps } => drop(model.append(spans, size, keeps)),
                Step::Finish(at) => model.finish(at),
                Step::Read(max_bytes) => model.read(max_bytes),
                Step::Wait(seconds) => model.seconds += seconds,
                Step::Fail(faults) => model.disk.borrow_mut().faults = faults,
                Step::Room(room) => model.disk.borrow_mut().room = room,
            }
            model.check_moments(&before);
            model.check_crash();
            model.check_counts();
        }
        // In the end, on a disk that works again, everything is delivered and removed.
        model.disk.borrow_mut().faults.clear();
        model.disk.borrow_mut().room = 1 << 20;
        while model.log.has_backlog() {
            model.read(500);
        }
        while !model.in_memory.is_empty() {
            model.finish(0);
        }
        prop_assert!(model.log.is_done());
        let disk = model.disk.clone();
        model.log.close();
        prop_assert!(disk.borrow().segments.is_empty() && disk.borrow().spare.is_none());
    }
}

#[test]
fn a_disk_that_is_full_at_any_byte_costs_that_record_alone() {
    // Two records, then a third for which there is room for so many bytes.
    let third = RECORD_HEADER + 8 + 50;
    for room in 0..third {
        let mut model = Model::new(1 << 20);
        model.append(1, 50, true).unwrap();
        model.append(1, 50, false).unwrap();
        model.disk.borrow_mut().room = room;
        let refused = model.append(1, 50, true).unwrap_err();
        assert!(matches!(refused, AppendError::Io(error) if error.kind() == io::ErrorKind::StorageFull));
        model.check_crash();
        model.check_counts();
        // What is there can still be read, delivered and noted.
        model.read(1_000);
        model.finish(0);
        model.finish(0);
        assert!(model.log.is_done());
        model.disk.borrow_mut().room = third;
        model.append(1, 50, false).unwrap();
        model.check_crash();
        model.check_counts();
    }
}

#[test]
fn a_segment_goes_when_everything_in_it_is_noted_as_done() {
    let mut model = Model::new(1 << 20);
    let first = model.append(1, 250, true).unwrap();
    let second = model.append(1, 250, true).unwrap();
    let third = model.append(1, 250, true).unwrap();
    assert_eq!([first, second, third].map(|position| position.segment), [1, 1, 2]);
    let there = |model: &Model| model.disk.borrow().segments.keys().copied().collect::<Vec<_>>();
    model.finish(1);
    assert_eq!(there(&model), [1, 2], "out of order: the first is open");
    // The note cannot be written: the segment stays.
    model.disk.borrow_mut().faults = vec![Fault::Error];
    model.finish(0);
    assert_eq!(there(&model), [1, 2]);
    model.log.advance();
    assert_eq!(there(&model), [2]);
    assert_eq!(read_ack(&model.disk.borrow().ack), Some(third));
}

#[test]
fn what_stood_in_a_folder_that_was_removed_says_nothing_of_the_next_one() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("spool");
    let config = super::SpoolConfig {
        root: root.clone(),
        service: "agent".to_owned(),
        max_bytes: 1 << 20,
        segment_bytes: 1 << 17,
        fsync: super::Fsync::Never,
    };
    let mut spool = super::Spool::new(config, Default::default());
    let first = spool.append(Kind::Traces, 1, &[b"first"], true, super::now()).unwrap();
    std::fs::remove_dir_all(&root).unwrap();
    spool.look();
    spool.append(Kind::Traces, 1, &[b"second"], true, super::now()).unwrap();
    spool.finish(first, 1);
    assert_eq!(spool.stored_spans(), 1, "the second is still to be delivered");
}
