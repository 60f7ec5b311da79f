//! A socket of the public listener: TCP as it is, or with TLS, or what a program brings along; and its two
//! halves.
//!
//! Enters and leaves: bytes. Invariants: without TLS it costs a branch; a socket that moves to another
//! runtime loses no byte.

use std::io::{self, IoSlice};

use tokio::{
    io::AsyncWriteExt,
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use tokio_util::either::Either;

use crate::{
    tls::{TlsSession, TlsStream},
    transport::TransportStream,
};

/// A socket of the public listener.
pub(crate) type Stream = Either<TcpStream, Either<TlsStream, TransportStream>>;

/// The half that is read.
pub(crate) type ReadHalf = Either<OwnedReadHalf, Either<TlsStream, TransportStream>>;

/// The half that is written.
pub(crate) enum WriteHalf {
    Plain(OwnedWriteHalf),
    Tls(TlsStream),
    Other(TransportStream),
}

pub(crate) fn into_split(stream: Stream) -> (ReadHalf, WriteHalf) {
    match stream {
        Either::Left(stream) => {
            let (read, write) = stream.into_split();
            (Either::Left(read), WriteHalf::Plain(write))
        }
        Either::Right(Either::Left(stream)) => {
            (Either::Right(Either::Left(stream.clone())), WriteHalf::Tls(stream))
        }
        Either::Right(Either::Right(stream)) => {
            (Either::Right(Either::Right(stream.clone())), WriteHalf::Other(stream))
        }
    }
}

/// A socket that no runtime waits for, on its way to another one.
pub(crate) enum Detached {
    Plain(std::net::TcpStream),
    Tls(std::net::TcpStream, Box<TlsSession>),
    Other(TransportStream),
}

impl Detached {
    /// Puts the halves of a socket together again. Fails if the runtime cannot give it up.
    pub(crate) fn new(read: ReadHalf, write: WriteHalf) -> io::Result<Self> {
        match (read, write) {
            (Either::Left(read), WriteHalf::Plain(write)) => {
                let whole = read.reunite(write).map_err(io::Error::other)?;
                Ok(Self::Plain(whole.into_std()?))
            }
            (Either::Right(Either::Right(_)), WriteHalf::Other(stream)) => Ok(Self::Other(stream)),
            (Either::Right(Either::Left(read)), WriteHalf::Tls(write)) => {
                drop(read);
                let (tcp, session) = write.into_parts()?;
                Ok(Self::Tls(tcp, Box::new(session)))
            }
            _ => Err(io::Error::other("halves of two sockets")),
        }
    }

    /// The socket, on the runtime of the caller. Fails if that cannot wait for it.
    pub(crate) fn attach(self) -> io::Result<Stream> {
        Ok(match self {
            Self::Plain(tcp) => Either::Left(TcpStream::from_std(tcp)?),
            Self::Tls(tcp, session) => {
                let stream = TlsStream::resume(TcpStream::from_std(tcp)?, *session);
                Either::Right(Either::Left(stream))
            }
            Self::Other(stream) => Either::Right(Either::Right(stream)),
        })
    }
}

impl WriteHalf {
    /// Writes what the socket takes now; [`io::ErrorKind::WouldBlock`] if it is full.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(half) => half.try_write(bytes),
            Self::Tls(stream) => stream.try_write_vectored(&[IoSlice::new(bytes)]),
            Self::Other(stream) => stream.0.try_write(&[IoSlice::new(bytes)]),
        }
    }

    /// The same with pieces.
    pub(crate) fn try_write_vectored(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(half) => half.try_write_vectored(pieces),
            Self::Tls(stream) => stream.try_write_vectored(pieces),
            Self::Other(stream) => stream.0.try_write(pieces),
        }
    }

    /// Writes what was taken and is not written; [`io::ErrorKind::WouldBlock`] if the socket is full.
    pub(crate) fn try_flush(&self) -> io::Result<()> {
        match self {
            Self::Plain(_) | Self::Other(_) => Ok(()),
            Self::Tls(stream) => stream.try_flush(),
        }
    }

    /// Whether [`Self::try_flush`] has something to write.
    pub(crate) fn is_unsent(&self) -> bool {
        match self {
            Self::Plain(_) | Self::Other(_) => false,
            Self::Tls(stream) => stream.is_unsent(),
        }
    }

    /// Waits until the socket may take more.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Plain(half) => half.writable().await,
            Self::Tls(stream) => stream.writable().await,
            Self::Other(stream) => stream.writable().await,
        }
    }

    /// Says that nothing more comes.
    pub(crate) async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(half) => half.shutdown().await,
            Self::Tls(stream) => stream.shutdown().await,
            Self::Other(stream) => stream.shutdown().await,
        }
    }
}
