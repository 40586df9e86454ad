//! What is read of the folder of a process that is gone.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::log::{Log, LogLimits, Now};
use super::*;

fn message(number: u8) -> Vec<u8> {
    let mut message = Vec::new();
    append_field(&mut message, 0x0a, &[1; 16]);
    append_field(&mut message, 0x12, &[number; 8]);
    message
}

fn key(number: u8) -> SpanKey {
    SpanKey { trace_id: TraceId::from_bytes([1; 16]), span_id: SpanId::from_bytes([number; 8]) }
}

fn field(number: u8) -> Vec<u8> {
    let mut field = Vec::new();
    append_field(&mut field, 0x12, &message(number));
    field
}

fn ids(number: u8) -> Vec<u8> {
    [&[1; 16][..], &[number; 8][..]].concat()
}

const ATTRIBUTES: &[u8] = &[0x4a, 0x03, 0x0a, 0x01, b'k'];

fn preamble() -> Preamble {
    Preamble { resource: b"\x0a\x00".to_vec(), scope: b"\x0a\x01s".to_vec() }
}

/// A process that wrote these and then died. Gives its folder.
fn left(root: &Path, records: &[(Kind, u32, Vec<u8>)], segment_bytes: u64) -> PathBuf {
    let folder = ProcessFolder::create(root, "agent", 7).unwrap();
    let path = folder.path().to_owned();
    let limits = LogLimits { max_bytes: 1 << 20, segment_bytes, segment_age: Duration::from_secs(10) };
    let mut log = Log::new(folder, preamble().encode(), limits, 1);
    let now = Now { instant: Instant::now(), unix_nanos: 1_000 };
    for (kind, spans, payload) in records {
        log.append(*kind, *spans, &[payload], true, now, &mut 0).unwrap();
    }
    path
}

fn adopt(path: &Path, oldest_nanos: u64) -> Adopted {
    Adopted::open(ProcessFolder::adopt(path).unwrap().unwrap(), oldest_nanos).unwrap()
}

/// The messages that are sent, in order; and that all of them are then done with.
fn sent(adopted: &mut Adopted) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while !adopted.is_read() {
        for item in adopted.read(100) {
            let AdoptedItem::Span { preamble: found, message, positions } = item else { panic!("{item:?}") };
            assert_eq!(*found, preamble());
            messages.push(message);
            positions.into_iter().for_each(|position| adopted.finish(position, 1));
            adopted.advance();
        }
    }
    assert!(adopted.is_done());
    messages
}

#[cfg(unix)]
#[test]
fn of_a_file_that_was_written_again_only_what_is_new_is_sent() {
    use std::os::unix::fs::MetadataExt;

    let place = tempfile::tempdir().unwrap();
    let folder = ProcessFolder::create(&place.path().join("spool"), "agent", 7).unwrap();
    let path = folder.path().to_owned();
    let file = |number: u64| path.join(format!("{number:012}.seg"));
    let limits = LogLimits { max_bytes: 1 << 20, segment_bytes: 2_000, segment_age: Duration::from_secs(10) };
    let mut log = Log::new(folder, preamble().encode(), limits, 1);
    let now = Now { instant: Instant::now(), unix_nanos: 1_000 };
    let append = |log: &mut Log<_>, numbers: &[u8]| {
        let append =
            |number: &u8| log.append(Kind::Traces, 1, &[&field(*number)], true, now, &mut 0).unwrap();
        numbers.iter().map(append).collect::<Vec<_>>()
    };
    for segment in 1..=4 {
        // Ever fewer, so that old records stand behind the new ones.
        let written = append(&mut log, &[11, 12, 13, 14, 15][..=5 - segment]);
        assert!(written.iter().all(|position| position.segment == segment as u64), "{written:?}");
        let inode = file(segment as u64).metadata().unwrap().ino();
        written.into_iter().for_each(|position| log.finish(position, 1));
        log.advance();
        assert!(!file(segment as u64).exists());
        assert_eq!(path.join("SPARE").metadata().unwrap().ino(), inode, "it is one file all the time");
    }
    let written = append(&mut log, &[1, 2]);
    log.finish(written[0], 1);
    log.advance();
    drop(log);
    let mut adopted = adopt(&path, 0);
    assert_eq!(sent(&mut adopted), [message(2)]);
    assert_eq!(adopted.losses, AdoptedLosses::default());
    adopted.remove();
    assert!(!path.exists());
}

#[test]
fn roots_get_their_verdicts_and_those_that_have_none_do_not_wait() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("spool");
    let records = [
        (Kind::HeldRoot, 1, message(1)),
        (Kind::HeldRoot, 1, message(2)),
        (Kind::Traces, 2, [field(3), field(4)].concat()),
        (Kind::RootAttributes, 0, [ids(1), ATTRIBUTES.to_vec()].concat()),
        (Kind::RootAttributes, 0, [ids(9), ATTRIBUTES.to_vec()].concat()),
    ];
    let path = left(&root, &records, 8 << 20);
    let first = [message(1), ATTRIBUTES.to_vec()].concat();
    assert_eq!(sent(&mut adopt(&path, 0)), [message(2), message(3), message(4), first]);
    assert_eq!(sent(&mut adopt(&path, 0)), Vec::<Vec<u8>>::new(), "all of it is noted as done");
}

#[test]
fn what_was_decided_against_is_not_sent() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("spool");
    let records = [
        (Kind::Undecided, 1, field(1)),
        (Kind::HeldRoot, 1, message(2)),
        (Kind::Decision, 0, [&[1; 16][..], &[0]].concat()),
    ];
    let path = left(&root, &records, 8 << 20);
    assert!(sent(&mut adopt(&path, 0)).is_empty());
    let path = left(&place.path().join("other"), &records[..2], 8 << 20);
    assert_eq!(sent(&mut adopt(&path, 0)), [message(1), message(2)], "undecided is kept");
}

#[test]
fn spans_that_were_open_are_told_unless_they_ended() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("spool");
    let path = left(&root, &[(Kind::Traces, 1, field(1))], 8 << 20);
    let open: Vec<(SpanKey, Vec<u8>)> = (1..4).map(|number| (key(number), message(number))).collect();
    let mut file = super::super::open_file(&open, 5);
    assert!(super::super::format::append_record(&mut file, Kind::Ended, 1_000, 0, &[&ids(3)]));
    std::fs::write(path.join("OPEN"), file).unwrap();
    // The first stands in a segment, the third was struck.
    assert_eq!(sent(&mut adopt(&path, 0)), [message(1), message(2)]);
}

#[test]
fn what_is_too_old_is_counted_and_not_sent() {
    let place = tempfile::tempdir().unwrap();
    let path =
        left(&place.path().join("spool"), &[(Kind::Traces, 2, [field(1), field(2)].concat())], 8 << 20);
    let mut adopted = adopt(&path, 1_001);
    assert!(sent(&mut adopted).is_empty());
    assert_eq!(adopted.losses.expired_spans, 2);
}

proptest! {
    #[test]
    fn whatever_was_done_to_the_files_the_whole_records_are_sent_and_nothing_else(
        numbers in prop::collection::vec(any::<u8>(), 1..12),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>())),
        junk in prop::option::of(prop::collection::vec(any::<u8>(), 0..50)),
    ) {
        let place = tempfile::tempdir().unwrap();
        let records: Vec<(Kind, u32, Vec<u8>)> =
            numbers.iter().map(|number| (Kind::Traces, 1, field(*number))).collect();
        // A few records a segment.
        let path = left(&place.path().join("spool"), &records, 300);
        let mut names: Vec<PathBuf> = std::fs::read_dir(&path).unwrap().map(|it| it.unwrap().path()).collect();
        names.sort();
        let segments: Vec<&PathBuf> =
            names.iter().filter(|name| name.extension().is_some_and(|it| it == "seg")).collect();
        let whole: Vec<Vec<u8>> = segments.iter().map(|name| std::fs::read(name).unwrap()).collect();
        let mut damaged = whole.clone();
        for (segment, byte, mask) in &damage {
            let bytes = &mut damaged[segment.index(whole.len())];
            let at = byte.index(bytes.len());
            bytes[at] ^= mask;
        }
        if let Some((segment, byte)) = &cut {
            let bytes = &mut damaged[segment.index(whole.len())];
            bytes.truncate(byte.index(bytes.len()));
        }
        for (name, bytes) in segments.iter().zip(&damaged) {
            std::fs::write(name, bytes).unwrap();
        }
        if let Some(junk) = junk {
            std::fs::write(path.join("000000000999.seg"), &junk).unwrap();
            std::fs::write(path.join("ACK"), &junk).unwrap();
            std::fs::write(path.join("OPEN"), &junk).unwrap();
        }
        // What stands whole behind a header and a resource that are whole.
        let mut expected = Vec::new();
        for (whole, bytes) in whole.iter().zip(&damaged) {
            let same = |start: usize, end: usize| bytes.get(start..end) == whole.get(start..end);
            let mut records = SegmentReader::new(whole, 0);
            let first = records.next().unwrap();
            if same(0, first.end()) {
                let intact = records.filter(|record| same(record.offset, record.end()));
                expected.extend(intact.flat_map(|it| span_messages(it.payload).map(<[u8]>::to_vec)));
            }
        }
        prop_assert_eq!(sent(&mut adopt(&path, 0)), expected);
    }
}
