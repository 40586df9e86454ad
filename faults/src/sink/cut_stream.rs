//! A connection of which only so many bytes are read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedSender;

/// What is to be done with a connection from inside of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Gone at once, with a reset.
    Reset,
    /// No further requests: GOAWAY, or `connection: close`.
    GoAway,
}

/// Reads up to a limit, then asks to be cut and is silent.
pub(super) struct CutStream {
    pub(super) stream: TcpStream,
    /// `None`: no limit.
    pub(super) left: Option<u64>,
    pub(super) cut: UnboundedSender<Cut>,
    /// Whether the peer is to see a reset when this is dropped.
    pub(super) is_reset: Arc<AtomicBool>,
}

impl Drop for CutStream {
    fn drop(&mut self) {
        if self.is_reset.load(Ordering::Relaxed) {
            let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for CutStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(left) = self.left else { return Pin::new(&mut self.stream).poll_read(context, into) };
        let mut space = [0; 4_096];
        let most = space.len().min(into.remaining()).min(usize::try_from(left).unwrap_or(usize::MAX));
        if most == 0 {
            let _ = self.cut.send(Cut::Reset);
            return Poll::Pending;
        }
        let mut part = ReadBuf::new(&mut space[..most]);
        let polled = Pin::new(&mut self.stream).poll_read(context, &mut part);
        if let Poll::Ready(Ok(())) = polled {
            into.put_slice(part.filled());
            self.left = Some(left - part.filled().len() as u64);
        }
        polled
    }
}

impl AsyncWrite for CutStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
