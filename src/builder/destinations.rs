//! Where spans and metrics go, from what code and the environment say.

use std::sync::Arc;

use crate::delivery::spool::folder::default_root;
use crate::delivery::spool::{Durability, MAX_BYTES, SEGMENT_BYTES, SpoolConfig};
use crate::delivery::{self, Delivery, DeliveryConfig, Endpoint, EndpointSettings, SpansOutput};
use crate::encode::resource::encode_scope;
use crate::environment::{Environment, SignalSettings};
use crate::handle::Destination;
use crate::metrics::hub::MetricHub;
use crate::pipeline::shard::Shards;
use crate::privacy::shown_address;
use crate::terminal;

use super::{BuildError, Builder};

impl Builder {
    pub(super) fn start_delivery(
        &mut self,
        (resource, service): (&[u8], &str),
        shards: &Arc<Shards>,
        metrics: &Arc<MetricHub>,
        notes: &mut Vec<String>,
    ) -> Result<(Option<Arc<Delivery>>, Vec<Destination>), BuildError> {
        let mut destinations = Vec::new();
        let defaults = DeliveryConfig::default();
        let limits = &self.environment.limits;
        let mut config = DeliveryConfig {
            resource: resource.to_vec(),
            scope: encode_scope(),
            max_queue_bytes: limits.queue_bytes.unwrap_or(defaults.max_queue_bytes),
            max_queue_spans: limits.queue_spans.map_or(u64::MAX, |spans| spans as u64),
            max_request_bytes: limits.request_bytes.unwrap_or(defaults.max_request_bytes),
            max_request_spans: limits.request_spans.unwrap_or(defaults.max_request_spans),
            max_in_flight: limits.requests_in_flight.unwrap_or(defaults.max_in_flight),
            send_delay: limits.send_delay.unwrap_or(defaults.send_delay),
            tell: self.prints_notes().then_some(terminal::print_note),
            ..defaults
        };
        if self.exports_spans {
            self.settle_spans(&mut config, resource, &mut destinations, notes)?;
            config.spool = self.settle_spool(service, config.endpoint.is_some(), notes);
            config.keeps_by_outcome = self.keep_runs.is_some();
        }
        self.settle_metrics(&mut config, resource, metrics, &mut destinations, notes)?;
        if destinations.is_empty() {
            return Ok((None, destinations));
        }
        match delivery::start(config, shards.clone()) {
            Ok(delivery) => Ok((Some(Arc::new(delivery)), destinations)),
            Err(error) => {
                notes.push(format!("nothing is exported: {error}"));
                Ok((None, Vec::new()))
            }
        }
    }

    /// Whether and where spans are kept on disk. Notes in `self.durability` what came of it.
    fn settle_spool(
        &mut self,
        service: &str,
        has_endpoint: bool,
        notes: &mut Vec<String>,
    ) -> Option<SpoolConfig> {
        let settings = &self.environment.spool;
        let asked = self.durability.or(settings.durability);
        let is_off = self.durability.is_none() && settings.is_off;
        let durability = if is_off { Durability::Memory } else { asked.unwrap_or_default() };
        self.durability = Some(durability);
        if !has_endpoint || durability == Durability::Memory {
            return None;
        }
        let root = self.spool_dir.clone().or_else(|| settings.folder.clone());
        let root = root.or_else(|| default_root(|name| std::env::var(name).ok()));
        let Some(root) = root else {
            notes.push(
                "unsent spans are in memory alone: there is no home folder; LONGPOLE_SPOOL_DIR names another"
                    .to_owned(),
            );
            return None;
        };
        Some(SpoolConfig {
            root,
            service: service.to_owned(),
            max_bytes: self.spool_bytes.or(settings.bytes.map(|bytes| bytes as u64)).unwrap_or(MAX_BYTES),
            segment_bytes: settings.segment_bytes.map_or(SEGMENT_BYTES, |bytes| bytes as u64),
            fsync: settings.fsync.unwrap_or_default(),
        })
    }

    #[cfg_attr(not(feature = "otlp"), allow(unused_variables, reason = "for an exporter"))]
    fn settle_spans(
        &mut self,
        config: &mut DeliveryConfig,
        resource: &[u8],
        destinations: &mut Vec<Destination>,
        notes: &mut Vec<String>,
    ) -> Result<(), BuildError> {
        #[cfg(feature = "otlp")]
        let has_exporter = self.exporter.is_some();
        #[cfg(not(feature = "otlp"))]
        let has_exporter = false;
        if has_exporter {
            #[cfg(feature = "otlp")]
            if let Some(mut exporter) = self.exporter.take() {
                exporter.set_resource(resource);
                config.exporter = Some(exporter);
                destinations.push(Destination::Exporter);
            }
        } else {
            let (code, signal) = (self.endpoint.as_deref(), &self.environment.traces);
            if let Some((endpoint, url)) = self.endpoint_for("spans", code, signal, notes)? {
                config.endpoint = Some(endpoint);
                destinations.push(Destination::Otlp(url));
            }
        }
        let prints = self.environment.traces.exporters.is_some_and(|exporters| exporters.console);
        if let Some(path) = &self.spans_file {
            delivery::check_spans_file(path)
                .map_err(|source| BuildError::SpansFile { path: path.clone(), source })?;
            destinations.push(Destination::File(path.clone()));
            config.spans_output = Some(SpansOutput::File(path.clone()));
            if prints {
                notes.push("spans are written to the file and not to the console".to_owned());
            }
        } else if prints {
            destinations.push(Destination::Console);
            config.spans_output = Some(SpansOutput::Stdout);
        }
        Ok(())
    }

    #[cfg(feature = "otlp")]
    fn settle_metrics(
        &self,
        config: &mut DeliveryConfig,
        resource: &[u8],
        metrics: &Arc<MetricHub>,
        destinations: &mut Vec<Destination>,
        notes: &mut Vec<String>,
    ) -> Result<(), BuildError> {
        use crate::delivery::{MetricsConfig, MetricsTarget};

        let (code, signal) = (self.metrics_endpoint.as_deref(), &self.environment.metrics);
        let endpoint = self.endpoint_for("metrics", code, signal, notes)?;
        let prints = signal.exporters.is_some_and(|exporters| exporters.console);
        let target = match endpoint {
            Some((endpoint, url)) => {
                destinations.push(Destination::Metrics(url));
                if prints {
                    notes.push("metrics are sent and not printed on the console".to_owned());
                }
                MetricsTarget::Backend(Box::new(endpoint))
            }
            None if prints => {
                destinations.push(Destination::MetricsConsole);
                MetricsTarget::Console
            }
            None => return Ok(()),
        };
        config.metrics = Some(MetricsConfig {
            target,
            hub: metrics.clone(),
            resource: resource.to_vec(),
            interval: self.metrics_interval.unwrap_or(self.environment.metrics_interval),
            temporality: self.environment.temporality,
            form: self.environment.histogram_form,
        });
        Ok(())
    }

    #[cfg(not(feature = "otlp"))]
    fn settle_metrics(
        &self,
        _config: &mut DeliveryConfig,
        _resource: &[u8],
        _metrics: &Arc<MetricHub>,
        _destinations: &mut Vec<Destination>,
        notes: &mut Vec<String>,
    ) -> Result<(), BuildError> {
        let signal = &self.environment.metrics;
        let interval = self.metrics_interval.unwrap_or(self.environment.metrics_interval);
        if signal.has_endpoint && !interval.is_zero() {
            notes.push("metrics are not sent: longpole was built without its otlp feature".to_owned());
        }
        Ok(())
    }

    /// What to tell about credentials that anybody on the way can read.
    #[cfg(feature = "otlp")]
    pub(super) fn open_credentials(&self, what: &str, shown: &str, endpoint: &Endpoint) -> Option<String> {
        let name = endpoint.header_names().find(|name| self.layer.privacy.redacts(name))?;
        endpoint.is_readable_on_the_way().then(|| {
            format!(
                "{what} go to {shown} without TLS: the header {name} can be read on the way; use https://"
            )
        })
    }

    /// The endpoint of a signal, with its address as it may be shown. What code says must work; what the environment says is told if
    /// it does not.
    fn endpoint_for(
        &self,
        what: &'static str,
        code: Option<&str>,
        signal: &SignalSettings,
        notes: &mut Vec<String>,
    ) -> Result<Option<(Endpoint, String)>, BuildError> {
        let found = signal.has_endpoint.then_some(signal.endpoint.url.as_str());
        let Some(url) = code.or(found) else { return Ok(None) };
        let mut settings = EndpointSettings { url: url.to_owned(), ..signal.endpoint.clone() };
        let otlp = &self.otlp;
        settings.protocol = otlp.protocol.unwrap_or(settings.protocol);
        settings.is_compressed = otlp.is_compressed.unwrap_or(settings.is_compressed);
        settings
            .headers
            .retain(|(name, _)| !otlp.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name)));
        settings.headers.extend(otlp.headers.iter().cloned());
        settings.certificate = otlp.certificate.clone().or(settings.certificate);
        if let Some((chain, key)) = &otlp.client_identity {
            settings.client_certificate = Some(chain.clone());
            settings.client_key = Some(key.clone());
        }
        let shown = shown_address(url).into_owned();
        match delivery::endpoint(&settings) {
            Ok(endpoint) => {
                #[cfg(feature = "otlp")]
                notes.extend(self.open_credentials(what, &shown, &endpoint));
                Ok(Some((endpoint, shown)))
            }
            Err(source) if code.is_some() => {
                Err(BuildError::Endpoint { what, endpoint: shown, source: Box::new(source) })
            }
            Err(error) => {
                notes.push(format!("{what} are not sent to {shown:?}: {error}"));
                Ok(None)
            }
        }
    }
}

/// Starts the page for Prometheus if code or the environment asks for it.
#[cfg(feature = "prometheus")]
pub(super) fn serve_metrics(
    code: Option<std::net::SocketAddr>,
    environment: &Environment,
    metrics: &Arc<MetricHub>,
    destinations: &mut Vec<Destination>,
    notes: &mut Vec<String>,
) -> Result<Option<crate::metrics_page::MetricsPage>, BuildError> {
    use crate::metrics_page;

    let asked_for = environment.metrics.exporters.is_some_and(|exporters| exporters.prometheus);
    let started = match code {
        Some(address) => metrics_page::serve(address, metrics.clone())
            .map(Some)
            .map_err(|source| BuildError::MetricsPage { address: address.to_string(), source })?,
        None if asked_for => {
            let page = metrics_page::address_of(&environment.prometheus)
                .and_then(|address| metrics_page::serve(address, metrics.clone()));
            match page {
                Ok(page) => Some(page),
                Err(error) => {
                    let at = &environment.prometheus;
                    notes.push(format!("metrics are not served on {}:{}: {error}", at.host, at.port));
                    None
                }
            }
        }
        None => None,
    };
    destinations.extend(started.as_ref().map(|page| Destination::MetricsPage(page.address())));
    Ok(started)
}

/// Without the feature a page that is asked for cannot be had.
#[cfg(not(feature = "prometheus"))]
pub(super) fn note_missing_prometheus(
    environment: &Environment,
    _destinations: &mut Vec<Destination>,
    notes: &mut Vec<String>,
) {
    if environment.metrics.exporters.is_some_and(|exporters| exporters.prometheus) {
        notes.push(
            "metrics are not served for Prometheus: longpole was built without its prometheus feature"
                .to_owned(),
        );
    }
}
