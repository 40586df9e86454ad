//! Which nodes are open right now.
//!
//! Counted by looking at the open spans when somebody asks, not by counting up and down: such a number cannot leak,
//! cannot go below zero, and costs a span nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::decode::otlp::node_of_attributes;
use crate::span_record::Interner;

use super::LayerCore;
use super::open_span::marks;

impl LayerCore {
    /// Open executions by node. A node whose identity is not recorded yet is not counted. Looks at every open span.
    pub(crate) fn active_nodes(&self) -> BTreeMap<Arc<str>, u64> {
        let mut interner = Interner::default();
        let mut active: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        self.slots.for_each_open(|slot| {
            let body = slot.lock();
            let Some(callsite) = body.callsite else { return };
            let given_name = body.rare().map(|rare| rare.name.as_str()).filter(|name| !name.is_empty());
            let name = given_name.unwrap_or(callsite.name);
            let node = node_of_attributes(&body.attributes, name, &mut interner)
                .or_else(|| body.has(marks::SELECTED).then(|| interner.intern(name)));
            drop(body);
            if let Some(node) = node {
                let count = active.entry(node).or_default();
                *count = count.saturating_add(1);
            }
        });
        active
    }
}
