//! Switching a layer off so that callsites nobody else wants cost what they cost without a subscriber.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tracing_core::{Interest, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Filtered;
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::LookupSpan;

use super::{LayerCore, LongpoleLayer};

/// The filter of [`LongpoleLayer::switchable`]: lets everything through while the layer is switched on.
pub struct Switch {
    core: Arc<LayerCore>,
}

impl std::fmt::Debug for Switch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Switch").field("is_on", &self.core.is_enabled()).finish()
    }
}

impl LongpoleLayer {
    /// The layer behind a filter of its own that follows
    /// [`Longpole::set_enabled`](crate::Longpole::set_enabled), for programs that mostly run with it off: then a span
    /// that no other layer wants is not made at all. Without this, a layer that is off costs what one costs that does
    /// nothing; so it does with this where the process has a second subscriber that wants the span, since `tracing`
    /// asks all of them once and keeps one answer for each callsite.
    ///
    /// While it is on it costs what `tracing-subscriber`'s filters of single layers cost, at each enter, exit and
    /// record; and switching asks every callsite of the program anew.
    ///
    /// ```
    /// use tracing_subscriber::prelude::*;
    ///
    /// let (layer, longpole) = longpole::builder().build()?;
    /// let subscriber = tracing_subscriber::registry().with(layer.switchable());
    /// tracing::subscriber::with_default(subscriber, || {
    ///     longpole.set_enabled(false);
    ///     assert!(tracing::info_span!("step").is_disabled());
    /// });
    /// # Ok::<(), longpole::BuildError>(())
    /// ```
    pub fn switchable<S>(self) -> Filtered<Self, Switch, S>
    where
        S: Subscriber + for<'l> LookupSpan<'l>,
    {
        let core = self.core.clone();
        core.is_switchable.store(true, Relaxed);
        self.with_filter(Switch { core })
    }
}

impl<S> Filter<S> for Switch {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.core.is_enabled()
    }

    fn callsite_enabled(&self, _: &'static Metadata<'static>) -> Interest {
        if self.core.is_enabled() { Interest::always() } else { Interest::never() }
    }
}
