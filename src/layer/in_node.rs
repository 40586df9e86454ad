//! Making a future a node.
//!
//! A `tracing` subscriber cannot tell a future that finished from one that was dropped: both leave and close their
//! span. This wrapper can, because it sees the future's answer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tracing::instrument::{Instrument, Instrumented};
use tracing::{Span, info_span};

use super::span_ext::with_layer;

pin_project_lite::pin_project! {
    /// A future that runs as a node; made by [`FutureExt`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited or polled"]
    pub struct InNode<F> {
        #[pin]
        future: Instrumented<F>,
        stage: Stage,
    }

    impl<F> PinnedDrop for InNode<F> {
        fn drop(this: Pin<&mut Self>) {
            // Runs before the inner future is dropped, so that its span is still open.
            if this.stage == Stage::Waiting {
                with_layer(this.future.span(), |core, id| core.mark_cancelled(id));
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    /// Being polled; still so when it is dropped if the poll panicked.
    Polled,
    Ready,
}

/// Makes futures nodes of the workflow.
pub trait FutureExt: Future + Sized {
    /// Runs the future as the node `name`, under the span that is current now: also when it is spawned onto
    /// another task. If it is dropped before it is ready, the node's outcome is `cancelled`.
    fn in_node(self, name: &str) -> InNode<Self> {
        // A target of its own: that of this module is ignored, and a filter can name it.
        self.in_node_span(info_span!(target: "workflow", "node", otel.name = name, node.id = name))
    }

    /// Runs the future in `span`, as [`Instrument::instrument`] does; if it is dropped before it is ready, the
    /// span's outcome is `cancelled`.
    fn in_node_span(self, span: Span) -> InNode<Self> {
        InNode { future: self.instrument(span), stage: Stage::Waiting }
    }
}

impl<F: Future> FutureExt for F {}

/// A span that stands for a phase of the node around it: enter it, or instrument a future with it. Phases are added
/// up by name in the node's report; what no phase covers is told as untracked.
///
/// ```
/// tracing::info_span!("step", node.id = "fetch").in_scope(|| {
///     longpole::phase("connect").in_scope(|| { /* … */ });
///     longpole::phase("read").in_scope(|| { /* … */ });
/// });
/// ```
pub fn phase(name: &str) -> Span {
    info_span!(target: "workflow", "phase", otel.name = name, node.phase = name)
}

impl<F> InNode<F> {
    /// The node's span.
    pub fn span(&self) -> &Span {
        self.future.span()
    }
}

impl<F: Future> Future for InNode<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        *this.stage = Stage::Polled;
        let answer = this.future.poll(context);
        *this.stage = if answer.is_ready() { Stage::Ready } else { Stage::Waiting };
        answer
    }
}
