//! Sockets that are not the kernel's: those of a program that embeds the server, and of a simulation.
//!
//! Enters: a [`Transport`], from [`Transports`]. Leaves: a stream that is served like one of TCP. Invariant: all
//! clones are the same socket, of which one task reads and one waits to write.

use std::{
    io::{self, IoSlice},
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A socket: bytes in order, both ways.
pub trait Transport: Send + Sync + 'static {
    /// Reads what has come; nothing at the end. One task waits at a time.
    fn poll_read(
        &self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>>;

    /// Writes what the socket takes now. Fails with [`io::ErrorKind::WouldBlock`] if it is full.
    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize>;

    /// Waits until the socket may take more. One task waits at a time.
    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Says that nothing more comes.
    fn shutdown(&self);
}

/// A listener: sockets, each with the address that its limits count for.
pub trait Transports: Send + Sync + 'static {
    /// Waits for the next socket. Cancel-safe.
    fn accept(&self) -> BoxFuture<'_, io::Result<(Arc<dyn Transport>, IpAddr)>>;
}

/// A socket, or one of its halves, as a stream.
#[derive(Clone)]
pub struct TransportStream(pub Arc<dyn Transport>);

impl TransportStream {
    /// Waits until the socket may take more.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        std::future::poll_fn(|context| self.0.poll_writable(context)).await
    }
}

impl AsyncRead for TransportStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.poll_read(context, buffer)
    }
}

impl AsyncWrite for TransportStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.0.try_write(pieces) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.0.poll_writable(context))?;
                }
                written => return Poll::Ready(written),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.shutdown();
        Poll::Ready(Ok(()))
    }
}
