//! A server whose certificate nobody vouches for.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection};

/// Listens on loopback with a certificate of its own making, until the process ends.
pub(super) struct Untrusted {
    pub(super) url: String,
    connections: Arc<AtomicU64>,
}

impl Untrusted {
    pub(super) fn start() -> anyhow::Result<Untrusted> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(anyhow::Error::msg)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let mut config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("https://{}", listener.local_addr()?);
        let connections: Arc<AtomicU64> = Arc::default();
        let counted = connections.clone();
        std::thread::Builder::new().name("untrusted".to_owned()).spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::Relaxed);
                let config = config.clone();
                std::thread::spawn(move || {
                    let Ok(mut connection) = ServerConnection::new(config) else { return };
                    // The client breaks it off as soon as it has seen the certificate.
                    while connection.complete_io(&mut stream).is_ok_and(|(read, _)| read > 0) {}
                });
            }
        })?;
        Ok(Untrusted { url, connections })
    }

    /// Connections that were tried.
    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}
