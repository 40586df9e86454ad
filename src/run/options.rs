//! What is to be made of spans whose place in the run can be read in more than one way.

use crate::time::Duration;

/// How a run is made of its spans, where several readings are reasonable. The defaults claim least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// What a parent did about children that ended after it.
    pub async_children: AsyncChildren,
    /// Where spans go whose parent is missing.
    pub orphans: Orphans,
    /// Whether the clocks of different hosts are taken to agree.
    pub skew: Skew,
    /// Whether links between siblings say that one waited for the other.
    pub links: Links,
    /// How much a span may overlap the one that waited for it. Clocks that round, but not those that truncate, make
    /// a predecessor end up to one tick after its successor starts. Concerns the critical path only.
    pub overlap_tolerance: Tolerance,
}

/// What a parent did about children that ended after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AsyncChildren {
    /// It waited for what they did while it was open, and not for the rest.
    #[default]
    Clip,
    /// Somebody above it waited for them: as long as an ancestor is open they count in full, at most to the end of
    /// the run. What the parent would own after its own end goes to the nearest ancestor still open.
    Inherit,
    /// It waited for nothing they did.
    Drop,
}

/// Where spans go whose parent is missing, and the cut members of rings of parents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Orphans {
    /// Under the root, if there is exactly one.
    #[default]
    Adopt,
    /// Beside the root, under a root made up for all of them.
    Root,
    /// Out of the run, with all below them; they are still counted. Where there is nothing else they stay.
    Drop,
}

/// Whether the clocks of different hosts are taken to agree. Within one process there is one clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Skew {
    /// They are: a child is clipped to its parent, and that is all.
    #[default]
    Clip,
    /// They are not: a child on another host that does not lie within its parent is moved to its middle, and what
    /// is below it on that host along with it. An honest child that outlives its parent looks the same and is moved
    /// too, which is why this is not the default. Source: Jaeger's clock skew adjuster.
    Center {
        /// Larger moves are not made; zero makes none.
        max: Duration,
    },
}

/// Whether links between siblings say that one waited for the other. A link marked `longpole.edge = "depends_on"`
/// always says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Links {
    /// They do not: links also mean batches and causes.
    #[default]
    Ignore,
    /// Every one does.
    AsDeps,
}

/// A length of time, or a part of the parent's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tolerance {
    /// So long.
    Absolute(Duration),
    /// So many millionths of the time of the span both are in.
    PartsPerMillion(u32),
}

impl Tolerance {
    /// None at all: what ends a nanosecond too late was not waited for.
    pub const ZERO: Tolerance = Tolerance::Absolute(Duration::ZERO);

    /// How long that is inside a span of this length.
    pub fn within(self, parent: Duration) -> Duration {
        match self {
            Tolerance::Absolute(length) => length,
            Tolerance::PartsPerMillion(parts) => {
                let nanos = u128::from(parent.as_nanos()) * u128::from(parts) / 1_000_000;
                Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
            }
        }
    }
}

impl Default for Tolerance {
    fn default() -> Self {
        Tolerance::ZERO
    }
}
