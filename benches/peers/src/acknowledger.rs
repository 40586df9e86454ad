//! Takes OTLP over HTTP and says yes: for figures in which the receiver has no part.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

const YES: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";

/// Where it listens; it does so as long as the process lives.
#[derive(Clone, Copy, Debug)]
pub struct Acknowledger {
    address: SocketAddr,
}

impl Acknowledger {
    /// On a free port of loopback.
    ///
    /// # Errors
    /// What the system says.
    pub fn start() -> io::Result<Acknowledger> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        std::thread::Builder::new().name("acknowledger".to_owned()).spawn(move || {
            for connection in listener.incoming().flatten() {
                std::thread::spawn(move || acknowledge(connection));
            }
        })?;
        Ok(Acknowledger { address })
    }

    /// Its address for OTLP over HTTP, without path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Answers requests until the client goes away.
fn acknowledge(connection: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let mut connection = connection;
    loop {
        let mut body_bytes = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(length) = line.strip_prefix("content-length:") {
                body_bytes = length.trim().parse().map_err(io::Error::other)?;
            }
        }
        io::copy(&mut reader.by_ref().take(body_bytes), &mut io::sink())?;
        connection.write_all(YES)?;
    }
}
