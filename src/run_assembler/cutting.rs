//! A trace that is all there → its runs.

use super::FinishedRun;
use crate::hashing::{QuickMap, QuickSet};
use crate::ids::SpanId;
use crate::span_record::SpanRecord;

/// The runs in what is left of a trace, whose records come in order of arrival: one below each outermost span marked
/// with a workflow name; without any, the trace as a whole, unless a run was taken out of it before.
///
/// Records outside the outermost marked spans are in none.
pub(super) fn cut_into_runs(mut records: Vec<SpanRecord>, made_a_run: bool) -> Vec<FinishedRun> {
    // All runs of an input wait together until the last is cut.
    records.shrink_to_fit();
    let marked = outermost_marked(&records);
    if marked.is_empty() {
        let whole = FinishedRun { records, ..FinishedRun::default() };
        return if made_a_run { Vec::new() } else { vec![whole] };
    }
    let mut below = Below::new(&records);
    let mut runs: Vec<(SpanId, Vec<usize>)> = Vec::new();
    let mut run_of: QuickMap<SpanId, usize> = QuickMap::default();
    for root in marked {
        let root_id = records[root].span_id;
        if let Some((_, run)) = run_of.get(&root_id).and_then(|at| runs.get_mut(*at)) {
            // The same root once more: an exporter's retry. The run's own rules for duplicates apply.
            run.push(root);
            continue;
        }
        let mut run = below.take(root_id, &records);
        run.push(root);
        run.sort_unstable();
        run_of.insert(root_id, runs.len());
        runs.push((root_id, run));
    }
    // In a ring of parents a root is below itself, too.
    let mut uses = vec![0u32; records.len()];
    runs.iter().flat_map(|(_, run)| run).for_each(|at| uses[*at] += 1);
    let mut records: Vec<Option<SpanRecord>> = records.into_iter().map(Some).collect();
    let mut hand_out = |at: usize| {
        uses[at] -= 1;
        if uses[at] == 0 { records[at].take() } else { records[at].clone() }
    };
    let run = |(root, run): (SpanId, Vec<usize>)| FinishedRun {
        records: run.into_iter().filter_map(&mut hand_out).collect(),
        root: Some(root),
        ..FinishedRun::default()
    };
    runs.into_iter().map(run).collect()
}

/// The spans that are marked with a workflow name and have no marked span above them.
fn outermost_marked(records: &[SpanRecord]) -> Vec<usize> {
    let is_marked = |record: &&SpanRecord| record.workflow_name().is_some();
    let mut marked_ids: Vec<u64> = records.iter().filter(is_marked).map(|it| number_of(it.span_id)).collect();
    marked_ids.sort_unstable();
    let has_marked_id = |id: SpanId| marked_ids.binary_search(&number_of(id)).is_ok();
    // All copies of an id count as marked if one of them is.
    let mut marked: Vec<usize> =
        (0..records.len()).filter(|at| has_marked_id(records[*at].span_id)).collect();
    if marked.iter().all(|at| records[*at].parent_id.is_none()) {
        return marked;
    }
    let mut parent_of: QuickMap<SpanId, Option<SpanId>> = QuickMap::default();
    parent_of.reserve(records.len());
    for record in records {
        // Of spans that share an id the first to arrive says what is above it.
        parent_of.entry(record.span_id).or_insert(record.parent_id);
    }
    let is_outermost = |record: &SpanRecord| {
        let mut seen = QuickSet::from_iter([record.span_id]);
        let mut above = record.parent_id;
        while let Some(id) = above {
            if has_marked_id(id) && id != record.span_id {
                return false;
            }
            if !seen.insert(id) {
                break;
            }
            above = parent_of.get(&id).copied().flatten();
        }
        true
    };
    marked.retain(|at| is_outermost(&records[*at]));
    marked
}

/// Records by parent, each to be taken once.
struct Below {
    /// The id of the parent and the position of the record, sorted.
    children: Vec<(u64, u32)>,
    is_taken: Vec<bool>,
}

impl Below {
    fn new(records: &[SpanRecord]) -> Self {
        let child = |(record, at): (&SpanRecord, u32)| Some((number_of(record.parent_id?), at));
        let mut children: Vec<(u64, u32)> = records.iter().zip(0..).filter_map(child).collect();
        children.sort_unstable();
        Below { is_taken: vec![false; records.len()], children }
    }

    /// Everything below `root` that has not been taken. Ends on cycles too, since what is taken is not met again.
    fn take(&mut self, root: SpanId, records: &[SpanRecord]) -> Vec<usize> {
        let mut taken = Vec::new();
        let mut parents = vec![root];
        while let Some(parent) = parents.pop() {
            let parent = number_of(parent);
            let first = self.children.partition_point(|(of, _)| *of < parent);
            for (_, at) in self.children.iter().skip(first).take_while(|(of, _)| *of == parent) {
                let at = *at as usize;
                if std::mem::replace(&mut self.is_taken[at], true) {
                    // They are taken together.
                    break;
                }
                taken.push(at);
                parents.push(records[at].span_id);
            }
        }
        taken
    }
}

/// The id as a number, which is quicker to compare.
fn number_of(id: SpanId) -> u64 {
    u64::from_be_bytes(id.to_bytes())
}
