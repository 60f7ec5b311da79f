//! A TLS session over a TCP socket of the runtime.
//!
//! Enters: plaintext to write; readiness of the socket. Leaves: plaintext that was read. Invariants: one
//! task waits for all clones of a stream, so one waker is enough for each direction; whoever else writes
//! holds its lock for one non-blocking write.

use std::{
    io::{self, IoSlice, Read, Write},
    net::Shutdown,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use parking_lot::Mutex;
use rustls::ServerConnection;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::session::TlsSession;

/// A socket with its session. Clones are the same stream, as the halves of it.
#[derive(Clone)]
pub(crate) struct TlsStream(Arc<TlsSocket>);

struct TlsSocket {
    tcp: TcpStream,
    session: Mutex<TlsSession>,
}

impl TlsStream {
    /// A session that begins: its handshake is done while it is first read.
    pub(super) fn new(tcp: TcpStream, connection: ServerConnection) -> Self {
        Self::resume(tcp, TlsSession::new(connection))
    }

    /// A session that goes on.
    pub(crate) fn resume(tcp: TcpStream, session: TlsSession) -> Self {
        Self(Arc::new(TlsSocket { tcp, session: Mutex::new(session) }))
    }

    /// The socket, which no runtime waits for any more, and its session. Fails if there is another clone.
    pub(crate) fn into_parts(self) -> io::Result<(std::net::TcpStream, TlsSession)> {
        let socket = Arc::into_inner(self.0).ok_or_else(|| io::Error::other("it has a clone"))?;
        Ok((socket.tcp.into_std()?, socket.session.into_inner()))
    }

    /// Writes what the socket takes now; [`io::ErrorKind::WouldBlock`] if it is full.
    pub(crate) fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.session.lock().write(&mut NonBlocking(&self.0.tcp), pieces)
    }

    /// Writes what is left of what was taken; [`io::ErrorKind::WouldBlock`] if the socket is full.
    pub(crate) fn try_flush(&self) -> io::Result<()> {
        self.0.session.lock().flush(&mut NonBlocking(&self.0.tcp))
    }

    /// Whether [`Self::try_flush`] has something to write.
    pub(crate) fn is_unsent(&self) -> bool {
        self.0.session.lock().is_unsent()
    }

    /// Waits until the socket may take more.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        self.0.tcp.writable().await
    }

    /// Repeats an attempt to write until the socket takes it.
    fn poll_until_taken<T>(
        &self,
        context: &mut Context<'_>,
        mut attempt: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            match attempt() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.0.tcp.poll_write_ready(context))?;
                }
                done => return Poll::Ready(done),
            }
        }
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let tcp = &self.0.tcp;
        let mut session = self.0.session.lock();
        loop {
            match session.read(&mut NonBlocking(tcp), buffer.initialize_unfilled()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
            }
            let may_read = tcp.poll_read_ready(context)?;
            // The client may wait for the rest of a handshake before it sends more.
            let may_write = session.is_unsent() && tcp.poll_write_ready(context)?.is_ready();
            if may_read.is_pending() && !may_write {
                return Poll::Pending;
            }
        }
    }
}

impl AsyncWrite for TlsStream {
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
        self.poll_until_taken(context, || self.try_write_vectored(pieces))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_until_taken(context, || self.try_flush())
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.session.lock().close();
        ready!(self.as_ref().get_ref().poll_until_taken(context, || self.try_flush()))?;
        Poll::Ready(SockRef::from(&self.0.tcp).shutdown(Shutdown::Write))
    }
}

/// A socket that is read and written as far as it is ready.
struct NonBlocking<'a>(&'a TcpStream);

impl Read for NonBlocking<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for NonBlocking<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
