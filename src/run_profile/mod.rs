//! What one run adds to the picture of many: where its critical path's time went.

mod frames;

use std::sync::Arc;

use crate::analysis::critical_path::Segment;
use crate::hashing::{QuickMap, QuickSet};
use crate::ids::{SpanId, TraceId};
use crate::money::Money;
use crate::run::{Run, Warning};
use crate::span_record::Outcome;
use crate::time::Duration;

use frames::Frame;
pub(crate) use frames::FrameTree;

/// Which runs are counted together: those of one workflow in one version.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey {
    /// The service that ran it, where it is told.
    pub service: Option<Arc<str>>,
    /// The workflow's name, else the root's.
    pub workflow: Arc<str>,
    /// The workflow's version, else the service's.
    pub version: Option<Arc<str>>,
}

/// One run, reduced to what is counted over many.
///
/// The path's time by name and by call path are both partitions of the wall time: each adds up to
/// [`RunProfile::wall`] exactly.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunProfile {
    /// Which runs it is counted with.
    pub group: GroupKey,
    /// Its trace.
    pub trace_id: TraceId,
    /// Its root's span.
    pub root_id: SpanId,
    /// From the start of its root to the end.
    pub wall: Duration,
    /// Spans of it are missing or never ended, so its times are not those of the whole run. Set it also if the
    /// caller knows of spans that did not arrive.
    pub is_partial: bool,
    /// The path's time by name, in order of first appearance; names occur once.
    pub path: Vec<NodeOnPath>,
    /// The names on the path in order of first appearance, without the root's own time: which way the run took.
    pub variant: Vec<Arc<str>>,
    /// What it cost, where somebody worked it out.
    pub cost: Option<RunCost>,
    pub(crate) stacks: FrameTree,
}

/// What one run cost and used, as far as that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunCost {
    /// What it cost.
    pub total: Option<Money>,
    /// It cost more than that, or may have.
    pub is_lower_bound: bool,
    /// How many calls of models it made.
    pub calls: u64,
    /// How many of those have no cost that is known.
    pub unpriced_calls: u64,
    /// Input tokens.
    pub input_tokens: Option<u64>,
    /// Output tokens.
    pub output_tokens: Option<u64>,
}

/// A name's part of one run's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeOnPath {
    /// The node; for time in no node, the name of the root.
    pub name: Arc<str>,
    /// Its time on the path.
    pub time: Duration,
    /// By how much the run would have been shorter if the node had taken no time, where somebody worked it out.
    pub drag: Option<Duration>,
}

/// The name under which what is past a limit is counted.
pub const OTHER_NODES: &str = "__other__";

impl RunProfile {
    /// So many names of one run are told apart, those with the most time; the rest is [`OTHER_NODES`].
    pub const MAX_NAMES: usize = 200;
    /// So many call paths of one run are told apart; time further in is booked to the nearest one above.
    pub const MAX_FRAMES: usize = 400;

    /// The profile of `run`, whose critical path is `segments`.
    ///
    /// Time is booked to the nearest enclosing node. In a run without any, every span is one under its own name.
    /// Time in no node, and the root's own time, is booked to the name of the root. O(n) and the order of names.
    pub fn of(run: &Run, segments: &[Segment]) -> RunProfile {
        let root = run.span(run.root);
        let ids = node_ids(run);
        let names = node_names(run, &ids);
        let mut at: QuickMap<Arc<str>, usize> = QuickMap::default();
        // Equal names are mostly one copy, which is found by where it is.
        let mut at_copy: QuickMap<usize, usize> = QuickMap::default();
        let mut path: Vec<NodeOnPath> = Vec::new();
        let mut variant: Vec<Arc<str>> = Vec::new();
        let mut is_in_variant: Vec<bool> = Vec::new();
        let mut own_time = vec![Duration::ZERO; run.spans.len()];
        for segment in segments {
            let time = segment.interval.duration();
            let span = segment.span.index();
            own_time[span] = own_time[span].saturating_add(time);
            let node = names[span].filter(|_| segment.span != run.root);
            let name = node.unwrap_or(&root.record.name);
            let place = *at_copy.entry(name.as_ptr().addr()).or_insert_with(|| {
                *at.entry(name.clone()).or_insert_with(|| {
                    path.push(NodeOnPath { name: name.clone(), time: Duration::ZERO, drag: None });
                    is_in_variant.push(false);
                    path.len() - 1
                })
            });
            path[place].time = path[place].time.saturating_add(time);
            if let Some(node) = node
                && !std::mem::replace(&mut is_in_variant[place], true)
            {
                variant.push(node.clone());
            }
        }
        limit_names(&mut path, &mut variant);
        RunProfile {
            group: group_of(run),
            trace_id: root.record.trace_id,
            root_id: root.record.span_id,
            wall: run.wall(),
            is_partial: is_partial(run),
            path,
            variant,
            cost: None,
            stacks: stacks(run, &ids, &own_time),
        }
    }

    /// Fills in the drag of every name that `drag` knows.
    pub fn set_drags(&mut self, drag: impl Fn(&str) -> Option<Duration>) {
        for node in &mut self.path {
            node.drag = drag(&node.name);
        }
    }

    /// The path's time by call path, one `root;outer;inner 1200` a line, in nanoseconds.
    pub fn folded_stacks(&self) -> String {
        self.stacks.folded()
    }
}

fn group_of(run: &Run) -> GroupKey {
    let root = &run.span(run.root).record;
    // A made-up root was sent by nobody.
    let told =
        if run.span(run.root).is_synthetic { run.spans.get(1).map_or(root, |top| &top.record) } else { root };
    let facts = root.facts.as_ref();
    let version = facts.and_then(|facts| facts.workflow_version.clone());
    GroupKey {
        service: told.origin.service_name.clone(),
        workflow: root.workflow_name().unwrap_or(&root.name).clone(),
        version: version.or_else(|| told.origin.service_version.clone()),
    }
}

fn is_partial(run: &Run) -> bool {
    let is_told_partial = |facts: &crate::span_record::NodeFacts| facts.outcome == Some(Outcome::Partial);
    [Warning::MissingParent, Warning::UnfinishedSpan].iter().any(|odd| run.warnings.contains_key(odd))
        || run.spans.iter().any(|span| span.record.facts.as_deref().is_some_and(is_told_partial))
}

/// The id of the node each span is, if it is one.
fn node_ids(run: &Run) -> Vec<Option<Arc<str>>> {
    run.spans.iter().map(|span| span.record.node_id()).collect()
}

/// The name of the nearest node at or above each span, the root left out; `None` where there is none.
fn node_names<'a>(run: &'a Run, ids: &'a [Option<Arc<str>>]) -> Vec<Option<&'a Arc<str>>> {
    let is_any_marked = ids.iter().any(Option::is_some);
    let mut names: Vec<Option<&Arc<str>>> = Vec::with_capacity(ids.len());
    for (span, id) in run.spans.iter().zip(ids) {
        let name = match span.parent {
            None => None,
            Some(_) if !is_any_marked => Some(&span.record.name),
            Some(parent) => id.as_ref().or_else(|| names[parent.index()]),
        };
        names.push(name);
    }
    names
}

/// Keeps the names with the most time and puts the others together.
fn limit_names(path: &mut Vec<NodeOnPath>, variant: &mut Vec<Arc<str>>) {
    if path.len() <= RunProfile::MAX_NAMES {
        return;
    }
    let mut by_time: Vec<(Duration, Arc<str>)> =
        path.iter().map(|node| (node.time, node.name.clone())).collect();
    by_time.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let kept: QuickSet<Arc<str>> =
        by_time.into_iter().take(RunProfile::MAX_NAMES - 1).map(|(_, name)| name).collect();
    let others: Duration = path.iter().filter(|node| !kept.contains(&node.name)).map(|node| node.time).sum();
    path.retain(|node| kept.contains(&node.name));
    match path.iter_mut().find(|node| &*node.name == OTHER_NODES) {
        Some(other) => other.time = other.time.saturating_add(others),
        None => path.push(NodeOnPath { name: OTHER_NODES.into(), time: others, drag: None }),
    }
    variant.retain(|name| kept.contains(name));
    if !variant.iter().any(|name| &**name == OTHER_NODES) {
        variant.push(OTHER_NODES.into());
    }
}

/// The call paths with time of their own on the path.
fn stacks(run: &Run, ids: &[Option<Arc<str>>], own_time: &[Duration]) -> FrameTree {
    let mut leads_to_time: Vec<bool> = own_time.iter().map(|time| !time.is_zero()).collect();
    for ix in run.indices().rev() {
        if leads_to_time[ix.index()]
            && let Some(parent) = run.span(ix).parent
        {
            leads_to_time[parent.index()] = true;
        }
    }
    let mut tree = FrameTree::with_limit(RunProfile::MAX_FRAMES);
    let mut frame_of: Vec<Option<u32>> = vec![None; run.spans.len()];
    let mut by_place: QuickMap<(Option<u32>, usize), u32> = QuickMap::default();
    for ix in run.indices().filter(|ix| leads_to_time[ix.index()]) {
        let parent = run.span(ix).parent.and_then(|parent| frame_of[parent.index()]);
        let id = ids[ix.index()].as_ref().filter(|_| ix != run.root);
        let name = id.unwrap_or(&run.span(ix).record.name);
        // Equal names are mostly one copy, which is found by where it is.
        let place = (parent, name.as_ptr().addr());
        let frame = by_place.get(&place).copied().unwrap_or_else(|| {
            let left_out = tree.left_out();
            let frame = tree.frame(Frame { parent, name: name.clone() });
            if tree.left_out() == left_out {
                by_place.insert(place, frame);
            }
            frame
        });
        tree.add_time(frame, own_time[ix.index()]);
        frame_of[ix.index()] = Some(frame);
    }
    tree
}
