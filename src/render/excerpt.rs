//! How much of a report is shown.

/// Which part of a report is shown, and how many rows its lists have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excerpt {
    /// One block only, below the line that says which run it is; `None`: what to know first.
    pub only: Option<Block>,
    /// The most rows of a list; `None`: as many as usually say enough.
    pub top: Option<usize>,
    /// All blocks and all rows.
    pub all: bool,
    /// The command that shows more, for the last line; `None`: no such line.
    pub more: Option<String>,
}

/// A part of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// What set the run's length.
    Path,
    /// What to fix first.
    Fix,
    /// Every node in figures.
    Nodes,
    /// What it cost.
    Cost,
    /// How much to trust the report.
    Quality,
}

impl Excerpt {
    /// How many rows a list has at most that usually has so many.
    pub(super) fn rows(&self, usual: usize) -> usize {
        if self.all { usize::MAX } else { self.top.unwrap_or(usual) }
    }

    /// Whether a block is shown that is not among what to know first only if `usually`.
    pub(super) fn shows(&self, block: Block, usually: bool) -> bool {
        self.only.map_or(usually || self.all, |only| only == block)
    }
}
