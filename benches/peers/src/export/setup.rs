//! Who sends the spans, and how.

use serde::{Deserialize, Serialize};

/// A pipeline, set up as its users do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setup {
    /// No subscriber: what the workload itself costs.
    Nothing,
    /// longpole as it comes: spans on disk until they are acknowledged, every run analysed.
    Longpole,
    /// The same with the place in the code, the thread and the target of each span, as tracing-opentelemetry has them.
    LongpoleFull,
    /// longpole without analysis: spans go out, on disk until they are acknowledged.
    ExportOnly,
    /// The same with the content of [`Setup::LongpoleFull`].
    ExportOnlyFull,
    /// longpole without what can be left out: no analysis, spans in memory only.
    LongpoleLeast,
    /// The same with the content of [`Setup::LongpoleFull`].
    LongpoleLeastFull,
    /// tracing-opentelemetry with the SDK's batch processor, nothing set.
    Sdk,
    /// The same without location, thread, target, busy and idle time, and without activating its context.
    SdkLeast,
    /// fastrace with fastrace-opentelemetry, nothing set. It is told the spans by its own functions, not by `tracing`.
    Fastrace,
}

impl Setup {
    /// All that send spans, in the order of the tables.
    pub const SENDING: [Setup; 9] = [
        Setup::Longpole,
        Setup::LongpoleFull,
        Setup::ExportOnly,
        Setup::ExportOnlyFull,
        Setup::LongpoleLeast,
        Setup::LongpoleLeastFull,
        Setup::Sdk,
        Setup::SdkLeast,
        Setup::Fastrace,
    ];

    /// Its name in arguments and results.
    pub const fn name(self) -> &'static str {
        match self {
            Setup::Nothing => "nothing",
            Setup::Longpole => "longpole",
            Setup::LongpoleFull => "longpole-full",
            Setup::ExportOnly => "export-only",
            Setup::ExportOnlyFull => "export-only-full",
            Setup::LongpoleLeast => "longpole-least",
            Setup::LongpoleLeastFull => "longpole-least-full",
            Setup::Sdk => "sdk",
            Setup::SdkLeast => "sdk-least",
            Setup::Fastrace => "fastrace",
        }
    }

    /// Attributes of each node's span when it arrives: the four that are recorded, and its own.
    pub const fn attributes(self) -> f64 {
        match self {
            Setup::Nothing => 0.0,
            Setup::SdkLeast | Setup::Fastrace => 4.0,
            // Times of running and waiting, and how often it was polled.
            Setup::Longpole | Setup::ExportOnly | Setup::LongpoleLeast => 7.0,
            Setup::Sdk => 12.0,
            Setup::LongpoleFull | Setup::ExportOnlyFull | Setup::LongpoleLeastFull => 13.0,
        }
    }

    /// Who of tracing-opentelemetry's has as little, or as much, in its spans.
    pub const fn peer(self) -> Option<Setup> {
        match self {
            Setup::Longpole | Setup::ExportOnly | Setup::LongpoleLeast => Some(Setup::SdkLeast),
            Setup::LongpoleFull | Setup::ExportOnlyFull | Setup::LongpoleLeastFull => Some(Setup::Sdk),
            Setup::Nothing | Setup::Sdk | Setup::SdkLeast | Setup::Fastrace => None,
        }
    }

    /// Its name in tables.
    pub const fn title(self) -> &'static str {
        match self {
            Setup::Nothing => "no subscriber",
            Setup::Longpole => "longpole, defaults",
            Setup::LongpoleFull => "longpole, with location, thread and target",
            Setup::ExportOnly => "longpole, `export_only()`",
            Setup::ExportOnlyFull => "longpole, `export_only()`, with location, thread and target",
            Setup::LongpoleLeast => "longpole, `export_only()`, spans in memory only",
            Setup::LongpoleLeastFull => "the same, with location, thread and target",
            Setup::Sdk => "tracing-opentelemetry, defaults",
            Setup::SdkLeast => "tracing-opentelemetry, leanest",
            Setup::Fastrace => "fastrace",
        }
    }
}

/// How requests go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// OTLP over gRPC; the SDK's exporter with tonic.
    Grpc,
    /// OTLP as protobuf over HTTP/1.1; the SDK's exporter with its own default, a blocking client.
    Http,
}

impl Protocol {
    /// Both.
    pub const ALL: [Protocol; 2] = [Protocol::Grpc, Protocol::Http];

    /// Its name in tables.
    pub const fn title(self) -> &'static str {
        match self {
            Protocol::Grpc => "gRPC",
            Protocol::Http => "HTTP",
        }
    }
}
