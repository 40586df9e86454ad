//! Moves spans of other hosts into their parents, where their clocks cannot have agreed.
//!
//! The rule is that of Jaeger's clock skew adjuster: a span is compared with its parent, which has been moved
//! already, if it is on another host than what moved last on the way down, or its host is not known. One that is
//! longer than its parent is moved only if it starts too early, to the parent's start; another one that does not lie
//! within its parent is moved so that as much of the parent is left before it as after.

use crate::run::lists::Lists;
use crate::run::tree::Ranked;
use crate::span_record::SpanRecord;
use crate::time::{Duration, Timestamp};

/// Moves the records of a tree given by the parent of each, and says how many it moved.
pub(super) fn center(records: &mut Ranked, parents: &[Option<usize>], max: Duration) -> u64 {
    let children = Lists::of_children(parents.iter().copied());
    let mut moved = 0;
    let tops = (0..parents.len()).filter(|rank| parents[*rank].is_none());
    let mut open: Vec<(usize, i128, Option<usize>)> = tops.map(|top| (top, 0, None)).collect();
    while let Some((rank, above, compared)) = open.pop() {
        let host = |rank: usize| records.record(rank).origin.host.as_ref();
        let is_same_host = host(rank).is_some() && compared.is_some_and(|other| host(other) == host(rank));
        let (shift, compared) = match parents[rank] {
            Some(parent) if !is_same_host => {
                (shift(records.record(rank), records.record(parent)), Some(rank))
            }
            Some(_) => (above, compared),
            None => (0, Some(rank)),
        };
        if shift != 0 && shift.unsigned_abs() <= u128::from(max.as_nanos()) {
            let record = records.record_mut(rank);
            record.start = shifted(record.start, shift);
            record.end = shifted(record.end, shift);
            moved += 1;
        }
        open.extend(children.of(rank).iter().map(|child| (child.index(), shift, compared)));
    }
    moved
}

/// By how many nanoseconds a child has to move.
fn shift(child: &SpanRecord, parent: &SpanRecord) -> i128 {
    let nanos = |at: Timestamp| i128::from(at.as_unix_nanos());
    let (start, end) = (nanos(child.start), nanos(child.end.max(child.start)));
    let (first, last) = (nanos(parent.start), nanos(parent.end.max(parent.start)));
    let (length, room) = (end - start, last - first);
    if length > room {
        return (first - start).max(0);
    }
    if first <= start && end <= last {
        return 0;
    }
    first - start + (room - length) / 2
}

fn shifted(at: Timestamp, shift: i128) -> Timestamp {
    let nanos = i128::from(at.as_unix_nanos()) + shift;
    Timestamp::from_unix_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
}
