//! The bytes of a connection: TCP as it is, or with TLS.
//!
//! Enters: a URI; bytes. Leaves: the same bytes at the other end, or why there is no connection.
//! Invariant: `wss` and `https` are never spoken in the clear.

use std::io;

use http::Uri;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{Error as RustlsError, pki_types::ServerName},
};
use tokio_util::either::Either;

use crate::trust::{TlsProblem, Trust};

pub(crate) type Transport = Either<TcpStream, Box<TlsStream<TcpStream>>>;

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

/// Connects to the host of a URI, with TLS if its scheme says so.
pub(crate) async fn open(uri: &Uri, trust: &Trust) -> Result<Transport, OpenError> {
    let is_tls = matches!(uri.scheme_str(), Some("https" | "wss"));
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    if !is_tls {
        return Ok(Either::Left(stream));
    }
    let other = |why: String| OpenError::Tls(TlsProblem::Other(why));
    let name = ServerName::try_from(host.to_owned()).map_err(|why| other(why.to_string()))?;
    let trust = trust.clone();
    let config = tokio::task::spawn_blocking(move || trust.config()).await;
    let config = config.map_err(|why| other(why.to_string()))?.map_err(OpenError::Tls)?;
    let session = TlsConnector::from(config).connect(name, stream).await;
    match session {
        Ok(stream) => Ok(Either::Right(Box::new(stream))),
        Err(why) => {
            let error = why.get_ref().and_then(|why| why.downcast_ref::<RustlsError>());
            Err(error.and_then(TlsProblem::lasting).map_or_else(|| why.into(), OpenError::Tls))
        }
    }
}
