//! Which span this thread entered last, remembered so that the registry need not be asked for every new span.
//!
//! Follows enters and exits as long as they nest. When they do not, or a span comes in between that the layer does
//! not measure, the answer is "unknown" until it can be known again, and the caller asks the registry.

use std::cell::Cell;

use super::callsite::LayerNumber;

/// The registry's id of an entered span, or that it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EnteredSpan(u64);

impl EnteredSpan {
    const UNKNOWN: EnteredSpan = EnteredSpan(0);
}

thread_local! {
    static CURRENT: Cell<(LayerNumber, EnteredSpan)> =
        const { Cell::new((LayerNumber::NONE, EnteredSpan::UNKNOWN)) };
}

/// The registry's id of the span `layer` saw this thread enter last; `None`: not known.
#[inline]
pub(crate) fn get(layer: LayerNumber) -> Option<u64> {
    let (of, EnteredSpan(id)) = CURRENT.try_with(Cell::get).ok()?;
    (of == layer && id != 0).then_some(id)
}

/// This thread enters `span`. Returns what was entered before, to be given to [`leave`].
#[inline]
pub(crate) fn enter(layer: LayerNumber, span: u64) -> EnteredSpan {
    match CURRENT.try_with(|current| current.replace((layer, EnteredSpan(span)))) {
        Ok((of, before)) if of == layer => before,
        _ => EnteredSpan::UNKNOWN,
    }
}

/// This thread leaves `span`; `before` is what [`enter`] returned for it.
#[inline]
pub(crate) fn leave(layer: LayerNumber, span: u64, before: EnteredSpan) {
    let _ = CURRENT.try_with(|current| {
        let is_innermost = current.get() == (layer, EnteredSpan(span));
        current.set((layer, if is_innermost { before } else { EnteredSpan::UNKNOWN }));
    });
}

/// This thread entered or left something out of turn.
#[inline]
pub(crate) fn forget() {
    let _ = CURRENT.try_with(|current| current.set((LayerNumber::NONE, EnteredSpan::UNKNOWN)));
}
