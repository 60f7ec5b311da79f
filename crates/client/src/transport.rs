//! The bytes of a connection: TCP as it is, or with TLS.
//!
//! Enters: a URI; bytes. Leaves: the same bytes at the other end, or why there is no connection.
//! Invariant: `wss` and `https` are never spoken in the clear.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use http::Uri;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{Error as RustlsError, pki_types::ServerName},
};

use crate::trust::{TlsProblem, Trust};

pub(crate) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Why there is no connection.
pub(crate) enum OpenError {
    Unreachable(String),
    Tls(TlsProblem),
}

impl From<io::Error> for OpenError {
    fn from(why: io::Error) -> Self {
        Self::Unreachable(why.to_string())
    }
}

impl Transport {
    /// Connects to the host of a URI, with TLS if its scheme says so.
    pub(crate) async fn open(uri: &Uri, trust: &Trust) -> Result<Self, OpenError> {
        let is_tls = matches!(uri.scheme_str(), Some("https" | "wss"));
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        if !is_tls {
            return Ok(Self::Plain(stream));
        }
        let other = |why: String| OpenError::Tls(TlsProblem::Other(why));
        let name = ServerName::try_from(host.to_owned()).map_err(|why| other(why.to_string()))?;
        let trust = trust.clone();
        let config = tokio::task::spawn_blocking(move || trust.config()).await;
        let config = config.map_err(|why| other(why.to_string()))?.map_err(OpenError::Tls)?;
        let session = TlsConnector::from(config).connect(name, stream).await;
        match session {
            Ok(stream) => Ok(Self::Tls(Box::new(stream))),
            Err(why) => {
                let error = why.get_ref().and_then(|why| why.downcast_ref::<RustlsError>());
                Err(error.and_then(TlsProblem::lasting).map_or_else(|| why.into(), OpenError::Tls))
            }
        }
    }
}

/// Does the same with either kind of connection.
macro_rules! either {
    ($of:expr, $does:ident($($with:expr),*)) => {
        match $of.get_mut() {
            Self::Plain(stream) => Pin::new(stream).$does($($with),*),
            Self::Tls(stream) => Pin::new(stream.as_mut()).$does($($with),*),
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, poll_read(context, buffer))
    }
}

impl AsyncWrite for Transport {
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

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, poll_shutdown(context))
    }
}
