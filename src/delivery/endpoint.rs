//! Where a signal is sent, and how: address, protocol, headers, compression, TLS.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper_rustls::ConfigBuilderExt;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{EndpointSettings, Protocol};
use crate::privacy::shown_address;

/// A backend's address and what every request carries; ready to be used.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) uri: Uri,
    pub(crate) protocol: Protocol,
    pub(crate) headers: HeaderMap,
    pub(crate) timeout: Duration,
    pub(crate) max_backoff: Duration,
    pub(crate) is_compressed: bool,
    pub(crate) tls: rustls::ClientConfig,
}

impl Endpoint {
    /// How long one request may take if nobody says otherwise.
    pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
    /// How long a connection may take to be made.
    pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
    /// How many bytes of an answer are read, as it comes and unpacked.
    pub(crate) const MAX_RESPONSE: usize = 4 << 20;
    /// The longest wait before a request is sent again, unless the backend asks for more.
    pub(crate) const MAX_BACKOFF: Duration = Duration::from_secs(30);
    /// The longest wait a backend may ask for.
    pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);
}

impl fmt::Debug for Endpoint {
    /// Header values are secrets: names only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&HeaderName> = self.headers.keys().collect();
        f.debug_struct("Endpoint")
            .field("uri", &shown_address(&self.uri.to_string()))
            .field("protocol", &self.protocol)
            .field("headers", &names)
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    pub(crate) fn header_names(&self) -> impl Iterator<Item = &str> {
        self.headers.keys().map(HeaderName::as_str)
    }

    /// Whether what is sent leaves this machine without TLS.
    pub(crate) fn is_readable_on_the_way(&self) -> bool {
        let host = self.uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let is_loopback = host.eq_ignore_ascii_case("localhost")
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        self.uri.scheme_str() == Some("http") && !is_loopback
    }
}

/// An address that cannot be sent to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum EndpointError {
    #[error("it is no URL")]
    Url(#[from] http::uri::InvalidUri),
    #[error("it names no scheme and host; expected something like {}", example(*protocol))]
    NoHost { protocol: Protocol },
    #[error("{scheme} is no scheme to send over; expected something like {}", example(*protocol))]
    Scheme { scheme: String, protocol: Protocol },
    #[error("the header {name:?} cannot be sent")]
    Header { name: String },
    #[error("cannot read {what} from {}: {reason}", path.display())]
    Pem { what: &'static str, path: PathBuf, reason: String },
    #[error("a client certificate and its key belong together; only {given} is given")]
    HalfIdentity { given: &'static str },
    #[error("the client certificate and key cannot be used: {0}")]
    Identity(rustls::Error),
    #[error("the system's trusted certificates cannot be read: {0}; name a file of them instead")]
    Roots(std::io::Error),
    #[error("TLS cannot be set up: {0}")]
    Tls(rustls::Error),
}

fn example(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Grpc => "http://localhost:4317",
        Protocol::HttpProtobuf | Protocol::HttpJson => "http://localhost:4318/v1/traces",
    }
}

/// Checks and prepares an address.
pub(crate) fn endpoint(settings: &EndpointSettings) -> Result<Endpoint, EndpointError> {
    let protocol = settings.protocol;
    let uri = uri(settings)?;
    let mut headers = HeaderMap::new();
    for (name, value) in &settings.headers {
        let wrong = || EndpointError::Header { name: name.clone() };
        let key = HeaderName::try_from(name.as_str()).map_err(|_| wrong())?;
        let mut value = HeaderValue::try_from(value.as_str()).map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    let content_type = match protocol {
        Protocol::HttpProtobuf => Some("application/x-protobuf"),
        Protocol::HttpJson => Some("application/json"),
        Protocol::Grpc => None,
    };
    headers.remove(CONTENT_TYPE);
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if settings.is_compressed {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
    }
    headers
        .entry(USER_AGENT)
        .or_insert(HeaderValue::from_static(concat!("longpole/", env!("CARGO_PKG_VERSION"))));
    Ok(Endpoint {
        tls: tls(settings, uri.scheme_str() == Some("https"))?,
        uri,
        protocol,
        headers,
        // No time at all would be no requests at all.
        timeout: settings.timeout.filter(|timeout| !timeout.is_zero()).unwrap_or(Endpoint::TIMEOUT),
        max_backoff: settings.max_backoff.unwrap_or(Endpoint::MAX_BACKOFF),
        is_compressed: settings.is_compressed,
    })
}

fn uri(settings: &EndpointSettings) -> Result<Uri, EndpointError> {
    let protocol = settings.protocol;
    let url = settings.url.trim();
    // As OpenTelemetry rules: only an address for gRPC may leave out its scheme, and then it means TLS unless a
    // setting says otherwise.
    let completed = (protocol == Protocol::Grpc && !url.contains("://"))
        .then(|| format!("{}://{url}", if settings.is_insecure { "http" } else { "https" }));
    let uri: Uri = completed.as_deref().unwrap_or(url).parse()?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        Some(scheme) => return Err(EndpointError::Scheme { scheme: scheme.to_owned(), protocol }),
        None => return Err(EndpointError::NoHost { protocol }),
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(EndpointError::NoHost { protocol });
    }
    Ok(uri)
}

/// `is_used`: without it nothing is read from the system, as nothing will be verified.
fn tls(settings: &EndpointSettings, is_used: bool) -> Result<rustls::ClientConfig, EndpointError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(EndpointError::Tls)?;
    let config = match &settings.certificate {
        Some(path) => {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in certificates("trusted certificates", path)? {
                roots.add(certificate).map_err(|error| EndpointError::Pem {
                    what: "trusted certificates",
                    path: path.clone(),
                    reason: error.to_string(),
                })?;
            }
            config.with_root_certificates(roots)
        }
        None if is_used => config.with_native_roots().map_err(EndpointError::Roots)?,
        None => config.with_root_certificates(rustls::RootCertStore::empty()),
    };
    match (&settings.client_certificate, &settings.client_key) {
        (None, None) => Ok(config.with_no_client_auth()),
        (Some(certificate), Some(key)) => {
            let chain = certificates("the client certificate", certificate)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| EndpointError::Pem {
                what: "the client key",
                path: key.clone(),
                reason: error.to_string(),
            })?;
            config.with_client_auth_cert(chain, key).map_err(EndpointError::Identity)
        }
        (Some(_), None) => Err(EndpointError::HalfIdentity { given: "the certificate" }),
        (None, Some(_)) => Err(EndpointError::HalfIdentity { given: "the key" }),
    }
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, EndpointError> {
    let wrong = |reason: String| EndpointError::Pem { what, path: path.to_owned(), reason };
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(found) if found.is_empty() => Err(wrong("it holds no certificate in PEM form".to_owned())),
        Ok(found) => Ok(found),
        Err(error) => Err(wrong(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str, protocol: Protocol) -> EndpointSettings {
        EndpointSettings { url: url.to_owned(), protocol, ..EndpointSettings::default() }
    }

    #[test]
    fn an_address_that_cannot_work_is_refused_with_its_reason() {
        let refused = |url: &str| endpoint(&settings(url, Protocol::HttpProtobuf)).unwrap_err().to_string();
        assert!(refused("ftp://host/v1/traces").starts_with("ftp is no scheme"));
        assert!(refused("/v1/traces").starts_with("it names no scheme and host"));
        assert!(refused("not a url").starts_with("it is no URL"));
        let header = EndpointSettings {
            headers: vec![("bad name".to_owned(), "x".to_owned())],
            ..settings("http://h", Protocol::HttpProtobuf)
        };
        assert!(endpoint(&header).unwrap_err().to_string().contains("bad name"));
    }

    #[test]
    fn only_an_address_for_grpc_may_leave_its_scheme_out() {
        let grpc = |is_insecure| {
            let settings = EndpointSettings {
                is_insecure,
                certificate: None,
                ..settings("collector:4317", Protocol::Grpc)
            };
            uri(&settings).unwrap().to_string()
        };
        assert_eq!(grpc(true), "http://collector:4317/");
        assert_eq!(grpc(false), "https://collector:4317/");
        let http = uri(&settings("collector:4318", Protocol::HttpProtobuf)).unwrap_err().to_string();
        assert!(http.contains("http://localhost:4318/v1/traces"), "{http}");
    }

    #[test]
    fn certificates_that_cannot_be_used_are_told_with_their_path() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "").unwrap();
        let with = |certificate: Option<&Path>, client: Option<&Path>, key: Option<&Path>| {
            let settings = EndpointSettings {
                certificate: certificate.map(Into::into),
                client_certificate: client.map(Into::into),
                client_key: key.map(Into::into),
                ..settings("http://h", Protocol::Grpc)
            };
            endpoint(&settings).unwrap_err().to_string()
        };
        assert!(with(Some(&empty), None, None).contains("empty.pem: it holds no certificate"));
        assert!(with(Some(&folder.path().join("none.pem")), None, None).contains("none.pem"));
        assert!(with(None, Some(&empty), None).contains("only the certificate is given"));
        assert!(with(None, None, Some(&empty)).contains("only the key is given"));
    }

    #[test]
    fn what_is_sent_to_another_machine_without_tls_can_be_read_on_the_way() {
        let is_readable = |url: &str| {
            let settings = settings(url, Protocol::HttpProtobuf);
            endpoint(&settings).unwrap().is_readable_on_the_way()
        };
        assert!(is_readable("http://collector:4318/v1/traces"));
        assert!(is_readable("http://10.0.0.1:4318/v1/traces"));
        for url in ["http://localhost:4318", "http://127.0.0.2:4318", "http://[::1]:4318"] {
            assert!(!is_readable(url), "{url}");
        }
    }

    #[test]
    fn header_values_and_credentials_in_addresses_are_never_shown() {
        let settings = EndpointSettings {
            headers: vec![("authorization".to_owned(), "Bearer hunter2".to_owned())],
            ..settings("http://me:hunter2@h/v1/traces?key=hunter2", Protocol::HttpProtobuf)
        };
        let endpoint = endpoint(&settings).unwrap();
        assert!(!format!("{endpoint:?}{settings:?}{:?}", endpoint.headers).contains("hunter2"));
    }
}
