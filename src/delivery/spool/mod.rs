//! Spans on disk until somebody has acknowledged them, so that neither an outage nor the end of the process loses
//! them.
//!
//! Records are appended to segments of the process's own folder ([`log`]), in the bytes that go over the wire
//! ([`format`](mod@format)). What a process that is gone has left is taken over by the next one of its service
//! ([`adopted`]).
//! Nothing here fails a caller: what cannot be written stays in memory, and what went wrong is told once.

pub(crate) mod adopted;
#[cfg(feature = "otlp")]
pub(crate) mod dead;
pub(crate) mod folder;
pub(crate) mod format;
pub(crate) mod log;

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "of numbers the test knows")]
mod tests;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use adopted::{Adopted, Preamble};
use folder::{Folder, ProcessFolder};
use format::{Kind, Position, append_record, append_segment_header};
use log::{AppendError, Log, LogLimits, Now, ReadRecord};

use super::record::SpanKey;
use crate::random::random_id;

/// What finished spans survive before a backend has acknowledged them; see
/// [`Builder::durability`](crate::Builder::durability).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// They wait in memory alone: an outage is survived as long as there is room, the end of the process is not.
    Memory,
    /// About a millisecond after a span has closed it is in a file, too. The default where spans are sent over OTLP.
    #[default]
    Normal,
    /// A span is in a file when its closing returns. Closing one takes a write into the file system's cache then,
    /// and waits for threads that write theirs.
    Strict,
}

/// Where a spool is and how much it may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SpoolConfig {
    pub(crate) root: PathBuf,
    /// Processes of one service take over what another has left.
    pub(crate) service: String,
    pub(crate) max_bytes: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) fsync: Fsync,
}

/// When what was written is brought to the disk. The end of the process needs none of it, only that of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fsync {
    Never,
    /// Every second.
    #[default]
    Interval,
    /// Before a write counts as done.
    Always,
}

/// Bytes of spans on disk, by default.
pub(crate) const MAX_BYTES: u64 = 256 << 20;
/// A segment is sealed when it is this long.
pub(crate) const SEGMENT_BYTES: u64 = 8 << 20;
/// Or this old.
pub(crate) const SEGMENT_AGE: Duration = Duration::from_secs(10);
/// Between two times that written bytes are brought to the disk.
pub(crate) const FSYNC_INTERVAL: Duration = Duration::from_secs(1);
/// After a write failed the next is tried so much later.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Spans that waited longer than this for a backend are not sent any more.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Of the free space of the disk, this part may be used at most.
const FREE_SHARE: u64 = 20;

/// The spool of one delivery.
pub(crate) struct Spool {
    config: SpoolConfig,
    preamble: Preamble,
    log: Option<Log<ProcessFolder>>,
    /// The number of the next log's first segment: spans in memory may still stand in one of a log that is gone.
    first_segment: u64,
    retry_at: Option<Instant>,
    /// Spans that were still there when it was closed.
    left: u64,
    /// How full it was when that was told last, in steps of [`TOLD_FILLS`].
    told_fill: usize,
    pub(crate) news: News,
}

/// What has happened since somebody took it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// Spans that had to go for newer ones.
    pub(crate) dropped_full: u64,
    /// Spans whose bytes cannot be read any more.
    pub(crate) unreadable: u64,
    /// Sentences for the user.
    pub(crate) told: Vec<String>,
}

/// How full a spool is when the user should know, in percent.
const TOLD_FILLS: [u64; 3] = [50, 80, 100];

pub(crate) fn now() -> Now {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Now { instant: Instant::now(), unix_nanos: u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX) }
}

impl Spool {
    pub(crate) fn new(config: SpoolConfig, preamble: Preamble) -> Self {
        Spool {
            config,
            preamble,
            log: None,
            first_segment: 1,
            retry_at: None,
            left: 0,
            told_fill: 0,
            news: News::default(),
        }
    }

    /// Writes a record; see [`Log::append`]. `None`: it is not on disk.
    pub(crate) fn append(
        &mut self,
        kind: Kind,
        spans: u32,
        payload: &[&[u8]],
        keeps: bool,
        now: Now,
    ) -> Option<Position> {
        if self.retry_at.is_some_and(|at| now.instant < at) {
            return None;
        }
        self.retry_at = None;
        let mut lost = 0;
        let appended = match self.open() {
            Ok(log) => log.append(kind, spans, payload, keeps, now, &mut lost),
            Err(error) => Err(error.into()),
        };
        self.news.dropped_full = self.news.dropped_full.saturating_add(lost);
        match appended {
            Ok(position) => {
                if self.config.fsync == Fsync::Always {
                    self.take_unsynced().iter().for_each(|file| drop(file.sync_data()));
                }
                self.tell_fill();
                Some(position)
            }
            Err(AppendError::TooLarge | AppendError::Full) => None,
            Err(AppendError::Io(error)) => {
                self.retry_at = now.instant.checked_add(RETRY_AFTER);
                let place = self.log.as_ref().map_or(&*self.config.root, |log| log.folder.path());
                self.news.told.push(format!(
                    "cannot write spans to {}: {error}; they wait in memory meanwhile",
                    place.display()
                ));
                None
            }
        }
    }

    fn open(&mut self) -> std::io::Result<&mut Log<ProcessFolder>> {
        match &mut self.log {
            Some(log) => Ok(log),
            none => {
                let config = &self.config;
                let folder = ProcessFolder::create(&config.root, &config.service, random_id())?;
                if folder.is_on_a_network() {
                    self.news.told.push(format!(
                        "unsent spans are kept in {}, which is on a network: locks may not hold there, and spans be \
                         sent twice; LONGPOLE_SPOOL_DIR names another place",
                        folder.path().display()
                    ));
                }
                let share = folder.free_bytes().map_or(u64::MAX, |free| free / FREE_SHARE);
                let max_bytes = config.max_bytes.min(share);
                let limits = LogLimits {
                    max_bytes,
                    segment_bytes: config.segment_bytes.min(max_bytes / 8),
                    segment_age: SEGMENT_AGE,
                };
                Ok(none.insert(Log::new(folder, self.preamble.encode(), limits, self.first_segment)))
            }
        }
    }

    fn tell_fill(&mut self) {
        let Some(log) = &self.log else { return };
        let (used, of) = log.fill();
        let percent = used.saturating_mul(100).div_ceil(of.max(1));
        let step = TOLD_FILLS.iter().filter(|step| percent >= **step).count();
        if step > self.told_fill
            && let Some(step) = TOLD_FILLS.get(step.saturating_sub(1))
        {
            let then = if *step == 100 { ": the oldest spans make room for new ones" } else { "" };
            self.news.told.push(format!("{step} % of the space for unsent spans is used{then}"));
        }
        self.told_fill = step;
    }

    /// Whether records are on disk that are not in memory.
    pub(crate) fn has_backlog(&self) -> bool {
        self.log.as_ref().is_some_and(Log::has_backlog)
    }

    /// How many bytes are used, of how many; `None` while nothing can be written.
    pub(crate) fn fill(&self) -> Option<(u64, u64)> {
        if self.retry_at.is_some() {
            return None;
        }
        Some(self.log.as_ref().map_or((0, 1), Log::fill))
    }

    /// Spans that a later process would find.
    pub(crate) fn stored_spans(&self) -> u64 {
        self.log.as_ref().map_or(self.left, Log::stored_spans)
    }

    /// See [`Log::read_backlog`].
    pub(crate) fn read_backlog(&mut self, max_bytes: usize) -> Vec<ReadRecord> {
        let mut lost = 0;
        let records = self.log.as_mut().map(|log| log.read_backlog(max_bytes, &mut lost));
        self.news.unreadable = self.news.unreadable.saturating_add(lost);
        records.unwrap_or_default()
    }

    pub(crate) fn finish(&mut self, position: Position, count: u32) {
        if let Some(log) = &mut self.log {
            log.finish(position, count);
        }
    }

    pub(crate) fn advance(&mut self) {
        if let Some(log) = &mut self.log {
            log.advance();
        }
    }

    pub(crate) fn take_unsynced(&mut self) -> Vec<Arc<File>> {
        self.log.as_mut().map(Log::take_unsynced).unwrap_or_default()
    }

    /// Once a second: which files to bring to the disk. Finds out, too, whether somebody has removed the folder.
    pub(crate) fn look(&mut self) -> Vec<Arc<File>> {
        if let Some(log) = self.log.take_if(|log| !log.folder.is_there()) {
            self.first_segment = log.unused_segment();
            self.news.unreadable = self.news.unreadable.saturating_add(log.unread_spans());
            self.news.told.push(format!(
                "{} has been removed; unsent spans are in memory alone until a new folder is made",
                log.folder.path().display()
            ));
        }
        if self.config.fsync == Fsync::Never { Vec::new() } else { self.take_unsynced() }
    }

    /// Replaces the file of open spans.
    pub(crate) fn write_open(&mut self, spans: &[(SpanKey, Vec<u8>)], now: Now) {
        // A process that never had anything to send makes no folder for this.
        if spans.is_empty() && self.log.is_none() {
            return;
        }
        let bytes = (!spans.is_empty()).then(|| open_file(spans, now.unix_nanos));
        let _ = self.open().and_then(|log| log.folder.replace_open(bytes.as_deref()));
    }

    /// Strikes spans from the file of open ones.
    pub(crate) fn strike_open(&mut self, ended: &[SpanKey]) {
        let Some(log) = &mut self.log else { return };
        let ids: Vec<u8> = ended.iter().flat_map(|key| key.to_bytes()).collect();
        let mut record = Vec::new();
        if append_record(&mut record, Kind::Ended, next_in_time(), 0, &[&ids]) {
            let _ = log.folder.append_open(&record);
        }
    }

    /// Leaves the spool: removes what is done with and lets go of the rest.
    pub(crate) fn close(&mut self) {
        if let Some(mut log) = self.log.take() {
            self.left = log.stored_spans();
            let _ = log.folder.replace_open(None);
            log.close();
        }
    }

    /// Takes over what processes of this service have left that are gone. What cannot be read is told.
    pub(crate) fn adopt(config: &SpoolConfig, told: &mut Vec<String>) -> Vec<Adopted> {
        let folders = match ProcessFolder::siblings(&config.root, &config.service) {
            Ok(folders) => folders,
            Err(error) => {
                told.push(format!("cannot look for unsent spans in {}: {error}", config.root.display()));
                return Vec::new();
            }
        };
        let oldest = now().unix_nanos.saturating_sub(u64::try_from(MAX_AGE.as_nanos()).unwrap_or(u64::MAX));
        let mut adopted = Vec::new();
        for path in folders {
            let opened = ProcessFolder::adopt(&path)
                .and_then(|folder| folder.map(|folder| Adopted::open(folder, oldest)).transpose());
            match opened {
                Ok(log) => adopted.extend(log),
                Err(error) => {
                    told.push(format!("cannot read the unsent spans in {}: {error}", path.display()));
                }
            }
        }
        adopted
    }
}

/// The records of a file of open spans have numbers that only grow, as those of a segment.
fn next_in_time() -> u64 {
    // Behind those of the partials, in the order of time.
    now().unix_nanos
}

/// A file of open spans: a segment of [`Kind::Partial`] records.
pub(crate) fn open_file(spans: &[(SpanKey, Vec<u8>)], created_nanos: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    append_segment_header(&mut bytes, created_nanos);
    for (sequence, (_, message)) in spans.iter().enumerate() {
        if bytes.len().saturating_add(message.len()) as u64 > folder::MAX_OPEN_FILE / 2 {
            break;
        }
        let _ = append_record(&mut bytes, Kind::Partial, sequence as u64, 1, &[message]);
    }
    bytes
}
