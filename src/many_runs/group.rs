//! The runs of one workflow: sums of all of them, and the runs themselves while they are few.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::histogram::DurationStats;
use crate::ids::TraceId;
use crate::many_runs::money::CostSums;
use crate::many_runs::report::{Exemplar, GroupReport, NodeOverRuns, Spread, Variant};
use crate::many_runs::sample::{KeptRun, Sample, spread};
use crate::many_runs::tail::{Bands, tail};
use crate::run_profile::FrameTree;
use crate::run_profile::{GroupKey, NodeOnPath, OTHER_NODES, RunProfile};
use crate::time::Duration;

/// How many names are told apart, [`OTHER_NODES`] among them.
const MAX_NAMES: usize = 1_000;
/// How many call paths are told apart.
const MAX_FRAMES: usize = 10_000;
/// How many ways through the workflow are told apart.
const MAX_VARIANTS: usize = 1_000;
const MAX_EXEMPLARS: usize = 3;

#[derive(Clone, Debug)]
pub(super) struct Group {
    runs: u64,
    partial_runs: u64,
    total_wall: u128,
    walls: DurationStats,
    costs: CostSums,
    names: BTreeMap<Arc<str>, NameSums>,
    names_left_out: u64,
    frames: FrameTree,
    variants: HashMap<Vec<Arc<str>>, VariantSums>,
    variants_left_out: u64,
    sample: Sample,
}

#[derive(Clone, Debug, Default)]
struct NameSums {
    runs: u64,
    total: u128,
    /// In complete runs.
    times: DurationStats,
    drag_runs: u64,
    total_drag: u128,
    /// Most time first.
    exemplars: Vec<(Reverse<Duration>, TraceId, Duration)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct VariantSums {
    runs: u64,
    total_wall: u128,
}

impl Group {
    pub(super) fn new() -> Self {
        Group {
            runs: 0,
            partial_runs: 0,
            total_wall: 0,
            walls: DurationStats::default(),
            costs: CostSums::default(),
            names: BTreeMap::new(),
            names_left_out: 0,
            frames: FrameTree::with_limit(MAX_FRAMES),
            variants: HashMap::new(),
            variants_left_out: 0,
            sample: Sample::default(),
        }
    }

    /// What its kept runs take.
    pub(super) fn kept_entries(&self) -> usize {
        self.sample.entries()
    }

    /// Keeps one run less.
    pub(super) fn give_up_one(&mut self) {
        self.sample.give_up_one();
    }

    pub(super) fn add(&mut self, profile: &RunProfile) {
        self.runs += 1;
        self.total_wall += u128::from(profile.wall.as_nanos());
        self.partial_runs += u64::from(profile.is_partial);
        if let Some(cost) = &profile.cost {
            self.costs.add(cost, profile.is_partial);
        }
        let path = self.within_names(&profile.path);
        for node in &path {
            let sums = self.names.entry(node.name.clone()).or_default();
            sums.runs += 1;
            sums.total += u128::from(node.time.as_nanos());
            if let Some(drag) = node.drag {
                sums.drag_runs += 1;
                sums.total_drag += u128::from(drag.as_nanos());
            }
            if !profile.is_partial {
                sums.times.record(node.time);
                sums.add_exemplar((Reverse(node.time), profile.trace_id, profile.wall));
            }
        }
        let variant: Vec<Arc<str>> = profile.variant.iter().map(|name| self.known_name(name)).collect();
        self.add_variant(variant, VariantSums { runs: 1, total_wall: profile.wall.as_nanos().into() });
        let numbers = self.frames.merge(&profile.stacks);
        if profile.is_partial {
            return;
        }
        self.walls.record(profile.wall);
        let stacks = profile.stacks.times().filter_map(|(frame, nanos)| {
            let time = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            Some((*numbers.get(frame as usize)?, time))
        });
        let kept = KeptRun {
            wall: profile.wall,
            cost: profile.cost.and_then(|cost| cost.total),
            path: path.into_iter().map(|node| (node.name, node.time)).collect(),
            stacks: stacks.collect(),
        };
        self.sample.add(profile, kept);
    }

    /// The path in names this group tells apart, each once.
    fn within_names(&mut self, path: &[NodeOnPath]) -> Vec<NodeOnPath> {
        let mut told: Vec<NodeOnPath> = Vec::with_capacity(path.len());
        let mut others = Duration::ZERO;
        for node in path {
            let is_other = &*node.name == OTHER_NODES || !self.has_room_for(&node.name);
            if is_other {
                self.names_left_out = self.names_left_out.saturating_add(1);
                others = others.saturating_add(node.time);
                continue;
            }
            self.names.entry(node.name.clone()).or_default();
            told.push(NodeOnPath { name: self.known_name(&node.name), ..node.clone() });
        }
        if !others.is_zero() {
            told.push(NodeOnPath { name: OTHER_NODES.into(), time: others, drag: None });
        }
        told
    }

    fn has_room_for(&self, name: &Arc<str>) -> bool {
        self.names.contains_key(name) || self.names.len() + 1 < MAX_NAMES
    }

    /// The name as it is known already, so that it is kept once.
    fn known_name(&self, name: &Arc<str>) -> Arc<str> {
        self.names.get_key_value(name).map_or_else(|| OTHER_NODES.into(), |(known, _)| known.clone())
    }

    fn add_variant(&mut self, mut path: Vec<Arc<str>>, sums: VariantSums) {
        let first_other = path.iter().position(|name| &**name == OTHER_NODES);
        let mut at = 0..;
        path.retain(|name| at.next() == first_other || &**name != OTHER_NODES);
        if !self.variants.contains_key(&path) && self.variants.len() >= MAX_VARIANTS {
            self.variants_left_out = self.variants_left_out.saturating_add(sums.runs);
            return;
        }
        let known = self.variants.entry(path).or_default();
        known.runs += sums.runs;
        known.total_wall += sums.total_wall;
    }

    pub(super) fn merge(&mut self, other: &Group) {
        self.runs += other.runs;
        self.partial_runs += other.partial_runs;
        self.total_wall += other.total_wall;
        self.walls.merge(&other.walls);
        self.costs.merge(&other.costs);
        for (name, sums) in &other.names {
            let is_left_out = !self.has_room_for(name) && &**name != OTHER_NODES;
            let name = if is_left_out { OTHER_NODES.into() } else { name.clone() };
            self.names_left_out += if is_left_out { sums.runs } else { 0 };
            self.names.entry(name).or_default().merge(sums);
        }
        self.names_left_out += other.names_left_out;
        let numbers = self.frames.merge(&other.frames);
        for (path, sums) in &other.variants {
            let path = path.iter().map(|name| self.known_name(name)).collect();
            self.add_variant(path, *sums);
        }
        self.variants_left_out += other.variants_left_out;
        self.sample.merge(&other.sample, &numbers);
    }

    pub(super) fn runs(&self) -> u64 {
        self.runs
    }

    pub(super) fn folded_stacks(&self) -> String {
        self.frames.folded()
    }

    pub(super) fn folded_tail_stacks(&self, tail_percentile: u8) -> String {
        let bands = Bands::of(self.sample.runs(), tail_percentile);
        let tail = self.sample.runs().filter(|run| bands.is_some_and(|bands| bands.is_tail(run)));
        let times = tail.flat_map(|run| &run.stacks);
        self.frames.folded_times(times.map(|(frame, time)| (*frame, u128::from(time.as_nanos()))))
    }

    pub(super) fn report(&self, key: &GroupKey, tail_percentile: u8) -> GroupReport {
        let is_exact = !self.sample.is_partial();
        let exact_walls = || self.sample.runs().map(|run| run.wall).collect();
        let mut times: BTreeMap<&Arc<str>, Vec<Duration>> = BTreeMap::new();
        for (name, time) in self.sample.runs().filter(|_| is_exact).flat_map(|run| &run.path) {
            times.entry(name).or_default().push(*time);
        }
        let mut nodes: Vec<NodeOverRuns> = self
            .names
            .iter()
            .map(|(name, sums)| {
                let path = match is_exact {
                    true => spread(times.remove(name).unwrap_or_default()),
                    false => spread_of(&sums.times),
                };
                self.node(name, sums, path)
            })
            .collect();
        nodes.sort_by(|a, b| b.total_path_ns.cmp(&a.total_path_ns).then_with(|| a.name.cmp(&b.name)));
        GroupReport {
            service: key.service.as_deref().map(str::to_owned),
            workflow: key.workflow.to_string(),
            version: key.version.as_deref().map(str::to_owned),
            runs: self.runs,
            partial_runs: self.partial_runs,
            total_wall_ns: duration(self.total_wall),
            wall: if is_exact { spread(exact_walls()) } else { spread_of(&self.walls) },
            is_exact,
            cost: self.costs.report(self.sample.runs().filter_map(|run| run.cost).collect()),
            nodes,
            tail: tail(self.sample.runs(), tail_percentile, !is_exact),
            variants: self.most_frequent_variants(),
            variants_total: self.variants.len() as u64,
            variants_left_out_runs: self.variants_left_out,
            names_left_out: self.names_left_out,
            stacks_left_out: self.frames.left_out(),
        }
    }

    fn node(&self, name: &str, sums: &NameSums, path: Option<Spread>) -> NodeOverRuns {
        let exemplar = |(path, trace, wall): &(Reverse<Duration>, TraceId, Duration)| Exemplar {
            trace_id: trace.to_string(),
            path_ns: path.0,
            wall_ns: *wall,
        };
        NodeOverRuns {
            name: name.to_owned(),
            runs_on_path: sums.runs,
            on_path_ratio: ratio(sums.runs.into(), self.runs.into()),
            total_path_ns: duration(sums.total),
            wall_ratio: ratio(sums.total, self.total_wall),
            mean_path_ns: mean(sums.total, sums.runs).unwrap_or_default(),
            path,
            mean_drag_ns: mean(sums.total_drag, sums.drag_runs),
            exemplars: sums.exemplars.iter().map(exemplar).collect(),
        }
    }

    fn most_frequent_variants(&self) -> Vec<Variant> {
        let mut variants: Vec<(&Vec<Arc<str>>, &VariantSums)> = self.variants.iter().collect();
        variants.sort_by(|(one, a), (other, b)| {
            b.runs.cmp(&a.runs).then_with(|| b.total_wall.cmp(&a.total_wall)).then_with(|| one.cmp(other))
        });
        variants.truncate(GroupReport::MAX_VARIANTS);
        let variant = |(path, sums): (&Vec<Arc<str>>, &VariantSums)| Variant {
            path: path.iter().map(ToString::to_string).collect(),
            runs: sums.runs,
            run_ratio: ratio(sums.runs.into(), self.runs.into()),
            mean_wall_ns: mean(sums.total_wall, sums.runs).unwrap_or_default(),
            total_wall_ns: duration(sums.total_wall),
        };
        variants.into_iter().map(variant).collect()
    }
}

impl NameSums {
    fn add_exemplar(&mut self, exemplar: (Reverse<Duration>, TraceId, Duration)) {
        let at = self.exemplars.partition_point(|known| *known <= exemplar);
        if at < MAX_EXEMPLARS {
            self.exemplars.insert(at, exemplar);
            self.exemplars.truncate(MAX_EXEMPLARS);
        }
    }

    fn merge(&mut self, other: &NameSums) {
        self.runs += other.runs;
        self.total += other.total;
        self.times.merge(&other.times);
        self.drag_runs += other.drag_runs;
        self.total_drag += other.total_drag;
        other.exemplars.iter().for_each(|exemplar| self.add_exemplar(*exemplar));
    }
}

fn spread_of(stats: &DurationStats) -> Option<Spread> {
    Some(Spread {
        p50_ns: stats.quantile(0.5)?,
        p95_ns: stats.quantile(0.95)?,
        p99_ns: stats.quantile(0.99)?,
    })
}

fn duration(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Rounded half up; `None` of nothing.
fn mean(sum: u128, count: u64) -> Option<Duration> {
    let count = u128::from(count);
    (2 * sum + count).checked_div(2 * count).map(duration)
}

/// 0 of nothing.
fn ratio(part: u128, whole: u128) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
