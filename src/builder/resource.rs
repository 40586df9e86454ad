//! Who is sending: the resource of a program.

use crate::encode::resource::ResourceAttributes;
#[cfg(feature = "otlp")]
use crate::encode::resource::ResourceValue;

#[cfg(feature = "otlp")]
use crate::random::random_id;

use super::Builder;

impl Builder {
    pub(super) fn resource_attributes(&self) -> ResourceAttributes {
        let environment = &self.environment;
        let mut attributes = ResourceAttributes::default();
        let name = environment.service_name.clone().or_else(|| self.layer.workflow.clone());
        attributes.set_text("service.name", name.unwrap_or_else(unknown_service));
        if let Some(version) = &self.layer.workflow_version {
            attributes.set_text("service.version", version.as_str());
        }
        detect(&mut attributes);
        for (key, value) in &environment.resource_attributes {
            attributes.set_text(key, value.as_str());
        }
        attributes.set_all(&self.resource);
        if let Some(name) = &self.service_name {
            attributes.set_text("service.name", name.as_str());
        }
        for (key, value) in [
            ("telemetry.sdk.name", "longpole"),
            ("telemetry.sdk.language", "rust"),
            ("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
        ] {
            attributes.set_text(key, value);
        }
        self.protect(&mut attributes);
        attributes
    }
}

/// What is known of the process and its machine. Its arguments are not told: they may hold secrets.
#[cfg(feature = "otlp")]
fn detect(attributes: &mut ResourceAttributes) {
    use opentelemetry::KeyValue;
    use opentelemetry_sdk::Resource;

    let mut found = vec![
        KeyValue::new("process.pid", i64::from(std::process::id())),
        KeyValue::new("os.type", os_type()),
        KeyValue::new("host.arch", host_arch()),
    ];
    // Metrics of two processes of one service would otherwise take turns in one series.
    found.push(KeyValue::new("service.instance.id", random_uuid()));
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    if !host.is_empty() {
        found.push(KeyValue::new("host.name", host));
    }
    if let Some(program) = program_name() {
        found.push(KeyValue::new("process.executable.name", program));
    }
    add_all(attributes, &Resource::builder_empty().with_attributes(found).build());
}

#[cfg(not(feature = "otlp"))]
fn detect(_attributes: &mut ResourceAttributes) {}

/// A UUID of version 4, RFC 9562.
#[cfg(feature = "otlp")]
fn random_uuid() -> String {
    let [high, low] = [random_id(), random_id()];
    let bits = u128::from(high) << 64 | u128::from(low);
    let bits = bits & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let text = format!("{bits:032x}");
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

/// As the semantic conventions name operating systems.
#[cfg(feature = "otlp")]
fn os_type() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        "dragonfly" => "dragonflybsd",
        other => other,
    }
}

/// As the semantic conventions name processors.
#[cfg(feature = "otlp")]
fn host_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "arm" => "arm32",
        "powerpc" => "ppc32",
        "powerpc64" => "ppc64",
        other => other,
    }
}

/// Takes over the attributes of an OpenTelemetry resource, in the order of their keys.
#[cfg(feature = "otlp")]
pub(super) fn add_all(attributes: &mut ResourceAttributes, resource: &opentelemetry_sdk::Resource) {
    use opentelemetry::{Array, Value};

    let mut pairs: Vec<_> = resource.iter().collect();
    pairs.sort_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
    for (key, value) in pairs {
        let value = match value {
            Value::Bool(truth) => ResourceValue::Bool(*truth),
            Value::I64(number) => ResourceValue::Int(*number),
            Value::F64(number) => ResourceValue::Double(*number),
            Value::Array(Array::String(texts)) => {
                ResourceValue::Texts(texts.iter().map(|text| text.as_str().to_owned()).collect())
            }
            other => ResourceValue::Text(other.as_str().into_owned()),
        };
        attributes.set(key.as_str(), value);
    }
}

/// What OpenTelemetry calls a service that did not say its name.
fn unknown_service() -> String {
    program_name().map_or_else(|| "unknown_service".to_owned(), |name| format!("unknown_service:{name}"))
}

fn program_name() -> Option<String> {
    let program = std::env::current_exe().ok()?;
    Some(program.file_name()?.to_string_lossy().into_owned())
}
