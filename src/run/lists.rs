//! Many short lists of spans in two allocations.

use super::SpanIx;

/// A list of spans for every span, one list after the other.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lists {
    /// Where the list of each span starts; one more at the end.
    starts: Vec<u32>,
    members: Vec<SpanIx>,
}

impl Lists {
    /// The children of every span: a counting sort of the spans by their parents, each list in ascending order.
    pub(super) fn of_children(parents: impl ExactSizeIterator<Item = Option<usize>> + Clone) -> Self {
        let len = parents.len();
        let pairs = parents.enumerate().filter_map(|(child, parent)| Some((parent?, SpanIx::new(child))));
        Lists::of_pairs(len, pairs)
    }

    /// Of `len` owners, each with the members it is paired with, in the order of the pairs.
    pub(super) fn of_pairs(len: usize, pairs: impl Iterator<Item = (usize, SpanIx)> + Clone) -> Self {
        let mut starts = vec![0; len + 1];
        for (owner, _) in pairs.clone() {
            starts[owner + 1] += 1;
        }
        for index in 1..starts.len() {
            starts[index] += starts[index - 1];
        }
        let mut next = starts.clone();
        let mut members = vec![SpanIx(0); starts[len] as usize];
        for (owner, member) in pairs {
            members[next[owner] as usize] = member;
            next[owner] += 1;
        }
        Lists { starts, members }
    }

    pub(super) fn of(&self, owner: usize) -> &[SpanIx] {
        &self.members[self.starts[owner] as usize..self.starts[owner + 1] as usize]
    }
}
