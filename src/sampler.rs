//! Which traces are exported: OpenTelemetry's head samplers, decided when a root is made. Everything is measured and
//! reported whatever they say.

/// `OTEL_TRACES_SAMPLER` with its argument.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sampler {
    /// Does what a parent in another process decided; the rest is for roots without one.
    pub(crate) is_parent_based: bool,
    pub(crate) root: RootSampler,
}

/// What decides where no parent does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum RootSampler {
    AlwaysOn,
    AlwaysOff,
    /// This share of all trace ids, 0–1: every process that sees a trace decides alike.
    Ratio(f64),
}

impl Default for Sampler {
    fn default() -> Self {
        Sampler { is_parent_based: true, root: RootSampler::AlwaysOn }
    }
}

impl Sampler {
    /// Whether a root is exported. `parent`: what the caller's process decided, if it has one.
    #[inline]
    pub(crate) fn samples(&self, trace_id: [u64; 2], parent: Option<bool>) -> bool {
        match (parent, self.root) {
            (Some(is_sampled), _) if self.is_parent_based => is_sampled,
            (_, RootSampler::AlwaysOn) => true,
            (_, RootSampler::AlwaysOff) => false,
            (_, RootSampler::Ratio(ratio)) => samples_ratio(trace_id, ratio),
        }
    }
}

/// As OpenTelemetry's SDK decides, so that both agree on every trace: by the lower 63 bits of the trace id.
fn samples_ratio([_, low]: [u64; 2], ratio: f64) -> bool {
    if ratio >= 1.0 {
        return true;
    }
    let bound = (ratio.max(0.0) * (1u64 << 63) as f64) as u64;
    low >> 1 < bound
}

#[cfg(all(test, feature = "otlp"))]
mod tests {
    use opentelemetry::trace::{SpanKind, TraceId};
    use opentelemetry_sdk::trace::{Sampler as SdkSampler, SamplingDecision, ShouldSample};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn decides_as_the_sdk(high: u64, low: u64, ratio in 0.0..=1.0f64) {
            let trace_id = u128::from(high) << 64 | u128::from(low);
            let theirs = SdkSampler::TraceIdRatioBased(ratio).should_sample(
                None,
                TraceId::from_bytes(trace_id.to_be_bytes()),
                "root",
                &SpanKind::Internal,
                &[],
                &[],
            );
            let sampler = Sampler { is_parent_based: false, root: RootSampler::Ratio(ratio) };
            let is_sampled = theirs.decision == SamplingDecision::RecordAndSample;
            prop_assert_eq!(sampler.samples([high, low], None), is_sampled);
        }
    }

    #[test]
    fn a_parent_decides_only_where_it_is_asked() {
        let with = |is_parent_based, root| Sampler { is_parent_based, root };
        assert!(!with(true, RootSampler::AlwaysOn).samples([1, 1], Some(false)));
        assert!(with(true, RootSampler::AlwaysOff).samples([1, 1], Some(true)));
        assert!(!with(true, RootSampler::AlwaysOff).samples([1, 1], None));
        assert!(with(false, RootSampler::AlwaysOn).samples([1, 1], Some(false)));
        assert!(!with(false, RootSampler::AlwaysOff).samples([1, 1], Some(true)));
    }
}
