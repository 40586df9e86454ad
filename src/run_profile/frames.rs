//! Time by call path: what a flame graph is drawn from.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::hashing::QuickMap;
use crate::run_profile::OTHER_NODES;
use crate::time::Duration;

/// One step on the way down from a root.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Frame {
    pub(crate) parent: Option<u32>,
    pub(crate) name: Arc<str>,
}

/// Call paths, each with the time spent in it and no deeper. Holds a bounded number; what is deeper or further is
/// booked to the nearest path above, so no time is lost.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FrameTree {
    frames: Vec<(Frame, u128)>,
    depths: Vec<usize>,
    index: QuickMap<Frame, u32>,
    limit: usize,
    left_out: u64,
}

/// How many steps are told apart. A path this deep is a recursion.
const MAX_DEPTH: usize = 128;

impl FrameTree {
    pub(crate) fn with_limit(limit: usize) -> Self {
        FrameTree { frames: Vec::new(), depths: Vec::new(), index: QuickMap::default(), limit, left_out: 0 }
    }

    /// The number of `frame`, or of the nearest one above it where there is no room.
    pub(crate) fn frame(&mut self, frame: Frame) -> u32 {
        if let Some(known) = self.index.get(&frame) {
            return *known;
        }
        let depth =
            frame.parent.and_then(|parent| self.depths.get(parent as usize)).map_or(0, |depth| depth + 1);
        if self.frames.len() < self.limit && depth < MAX_DEPTH {
            return self.insert(frame, depth);
        }
        self.left_out = self.left_out.saturating_add(1);
        match frame.parent {
            Some(parent) => parent,
            None => {
                let other = Frame { parent: None, name: OTHER_NODES.into() };
                match self.index.get(&other) {
                    Some(known) => *known,
                    None => self.insert(other, 0),
                }
            }
        }
    }

    fn insert(&mut self, frame: Frame, depth: usize) -> u32 {
        let number = self.frames.len() as u32;
        self.frames.push((frame.clone(), 0));
        self.depths.push(depth);
        self.index.insert(frame, number);
        number
    }

    pub(crate) fn add_time(&mut self, frame: u32, time: Duration) {
        self.add_nanos(frame, time.as_nanos().into());
    }

    fn add_nanos(&mut self, frame: u32, nanos: u128) {
        if let Some((_, total)) = self.frames.get_mut(frame as usize) {
            *total = total.saturating_add(nanos);
        }
    }

    /// Adds everything in `other`, and gives its part as numbers of this tree.
    pub(crate) fn merge(&mut self, other: &FrameTree) -> Vec<u32> {
        self.left_out = self.left_out.saturating_add(other.left_out);
        let mut numbers: Vec<u32> = Vec::with_capacity(other.frames.len());
        for (frame, nanos) in &other.frames {
            let parent = frame.parent.and_then(|parent| numbers.get(parent as usize).copied());
            let number = self.frame(Frame { parent, name: frame.name.clone() });
            self.add_nanos(number, *nanos);
            numbers.push(number);
        }
        numbers
    }

    /// The time of every frame that has some.
    pub(crate) fn times(&self) -> impl Iterator<Item = (u32, u128)> {
        (0..)
            .zip(&self.frames)
            .filter(|(_, (_, nanos))| *nanos > 0)
            .map(|(number, (_, nanos))| (number, *nanos))
    }

    /// How often a frame found no room.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    pub(crate) fn folded(&self) -> String {
        self.folded_times(self.times())
    }

    /// `root;outer;inner 1200` for every call path with time, in order of names.
    pub(crate) fn folded_times(&self, times: impl Iterator<Item = (u32, u128)>) -> String {
        let mut lines: BTreeMap<String, u128> = BTreeMap::new();
        for (frame, nanos) in times {
            let mut names = Vec::new();
            let mut at = Some(frame);
            while let Some((frame, _)) = at.and_then(|at| self.frames.get(at as usize)) {
                names.push(frame_text(&frame.name));
                at = frame.parent;
            }
            names.reverse();
            let total = lines.entry(names.join(";")).or_default();
            *total = total.saturating_add(nanos);
        }
        let lines = lines.into_iter().filter(|(_, nanos)| *nanos > 0);
        lines.map(|(stack, nanos)| format!("{stack} {nanos}\n")).collect()
    }
}

/// A name that cannot end its frame or its line.
fn frame_text(name: &str) -> String {
    if name.is_empty() {
        return "(unnamed)".to_owned();
    }
    let safe = |c: char| match c {
        ';' => ',',
        c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => ' ',
        c => c,
    };
    name.chars().map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(tree: &mut FrameTree, stack: &[&str], nanos: u64) {
        let mut at = None;
        for name in stack {
            at = Some(tree.frame(Frame { parent: at, name: (*name).into() }));
        }
        tree.add_time(at.unwrap(), Duration::from_nanos(nanos));
    }

    #[test]
    fn equal_call_paths_are_one_and_names_cannot_forge_lines() {
        let mut tree = FrameTree::with_limit(10);
        add(&mut tree, &["run", "a;b"], 2);
        add(&mut tree, &["run"], 1);
        add(&mut tree, &["run", "a;b"], 3);
        add(&mut tree, &["run", "x\ny 9", ""], 4);
        assert_eq!(tree.folded(), "run 1\nrun;a,b 5\nrun;x y 9;(unnamed) 4\n");
    }

    #[test]
    fn time_past_the_limit_stays_with_the_nearest_path_above() {
        let mut tree = FrameTree::with_limit(2);
        add(&mut tree, &["run", "a", "deep"], 5);
        add(&mut tree, &["run", "b"], 7);
        add(&mut tree, &["elsewhere", "b"], 11);
        assert_eq!(tree.folded(), "__other__ 11\nrun 7\nrun;a 5\n");
        assert!(tree.left_out() > 0);
        let mut deep = FrameTree::with_limit(1000);
        add(&mut deep, &["f"; 500], 5);
        assert_eq!(deep.folded().matches('f').count(), MAX_DEPTH);
    }

    #[test]
    fn merging_is_adding_everything() {
        let (mut one, mut other) = (FrameTree::with_limit(10), FrameTree::with_limit(10));
        add(&mut one, &["run", "a"], 1);
        add(&mut other, &["run", "b"], 2);
        add(&mut other, &["run", "a"], 4);
        let numbers = one.merge(&other);
        assert_eq!(one.folded(), "run;a 5\nrun;b 2\n");
        assert_eq!(numbers, [0, 2, 1]);
    }
}
