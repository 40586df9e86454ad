//! Replays of many groups at once against a replay of each.

use longpole::analysis::event_graph::EventGraph;
use longpole::analysis::replay::Scale;
use longpole::run::{Run, SpanIx};
use proptest::prelude::*;

/// Asking for so many groups at once is asking for each.
pub(crate) fn check(run: &Run, groups: usize) -> Result<(), TestCaseError> {
    let graph = EventGraph::new(run);
    // One more than there are, so that some spans are in no group.
    let group_of = |ix: SpanIx| Some(ix.index() % (groups + 1)).filter(|group| *group < groups);
    for (walls, scale) in [
        (graph.walls_without(groups, group_of), Scale::FREE),
        (graph.walls_halved(groups, group_of), Scale::faster(2)),
    ] {
        prop_assert_eq!(walls.len(), groups);
        for (group, wall) in walls.into_iter().enumerate() {
            let is_in = |ix| group_of(ix) == Some(group);
            prop_assert_eq!(wall, graph.replay(|ix| if is_in(ix) { scale } else { Scale::SAME }));
        }
    }
    Ok(())
}
