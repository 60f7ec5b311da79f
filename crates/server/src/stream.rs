//! A socket of the public listener: TCP as it is, or with TLS, and its two halves.
//!
//! Enters and leaves: bytes. Invariant: without TLS it costs a branch.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::tls::TlsStream;

/// A socket of the public listener.
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(TlsStream),
}

/// The half that is read.
pub(crate) enum ReadHalf {
    Plain(OwnedReadHalf),
    Tls(TlsStream),
}

/// The half that is written.
pub(crate) enum WriteHalf {
    Plain(OwnedWriteHalf),
    Tls(TlsStream),
}

impl Stream {
    pub(crate) fn into_split(self) -> (ReadHalf, WriteHalf) {
        match self {
            Self::Plain(stream) => {
                let (read, write) = stream.into_split();
                (ReadHalf::Plain(read), WriteHalf::Plain(write))
            }
            Self::Tls(stream) => (ReadHalf::Tls(stream.clone()), WriteHalf::Tls(stream)),
        }
    }
}

impl WriteHalf {
    /// Writes what the socket takes now; [`io::ErrorKind::WouldBlock`] if it is full.
    pub(crate) fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(half) => half.try_write_vectored(pieces),
            Self::Tls(stream) => stream.try_write_vectored(pieces),
        }
    }

    /// Writes what was taken and is not written; [`io::ErrorKind::WouldBlock`] if the socket is full.
    pub(crate) fn try_flush(&self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(stream) => stream.try_flush(),
        }
    }

    /// Whether [`Self::try_flush`] has something to write.
    pub(crate) fn is_unsent(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.is_unsent(),
        }
    }

    /// Waits until the socket may take more.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Plain(half) => half.writable().await,
            Self::Tls(stream) => stream.writable().await,
        }
    }
}

/// Does the same with either kind of socket.
macro_rules! either {
    ($of:expr, $does:ident($($with:expr),*)) => {
        match $of.get_mut() {
            Self::Plain(stream) => Pin::new(stream).$does($($with),*),
            Self::Tls(stream) => Pin::new(stream).$does($($with),*),
        }
    };
}

macro_rules! reads {
    ($of:ty) => {
        impl AsyncRead for $of {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                either!(self, poll_read(context, buffer))
            }
        }
    };
}

macro_rules! writes {
    ($of:ty) => {
        impl AsyncWrite for $of {
            fn poll_write(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                either!(self, poll_write(context, bytes))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                pieces: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                either!(self, poll_write_vectored(context, pieces))
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                either!(self, poll_flush(context))
            }

            fn poll_shutdown(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                either!(self, poll_shutdown(context))
            }
        }
    };
}

reads!(Stream);
reads!(ReadHalf);
writes!(Stream);
writes!(WriteHalf);
