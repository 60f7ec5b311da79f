//! One HTTP connection, for one request after the other.
//!
//! Enters: an address; requests. Leaves: the status and body of each answer, or why the connection
//! failed. Invariant: one request is in flight at a time.

use bytes::Bytes;
use http::{StatusCode, header, request::Builder};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinHandle};

use crate::Address;

/// The longest accepted answer, in bytes.
const LONGEST_ANSWER: usize = 64 << 20;

pub(crate) struct Http {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
    connection: JoinHandle<()>,
}

impl Drop for Http {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Http {
    pub(crate) async fn open(address: &Address) -> Result<Self, String> {
        let uri = address.uri();
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(80))).await;
        let stream = stream.map_err(|why| why.to_string())?;
        stream.set_nodelay(true).map_err(|why| why.to_string())?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|why| why.to_string())?;
        let connection = tokio::spawn(async move {
            let _error_reaches_the_request = connection.await;
        });
        let authority = uri.authority().map_or("", |authority| authority.as_str()).to_owned();
        Ok(Self { sender, authority, connection })
    }

    /// Sends a request for this path; the host is filled in.
    pub(crate) async fn send(
        &mut self,
        request: Builder,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), String> {
        let request = request.header(header::HOST, &self.authority).body(Full::new(body));
        let request = request.map_err(|why| why.to_string())?;
        self.sender.ready().await.map_err(|why| plain(&why))?;
        let answer = self.sender.send_request(request).await.map_err(|why| plain(&why))?;
        let (status, body) = (answer.status(), answer.into_body());
        let body = Limited::new(body, LONGEST_ANSWER).collect().await;
        Ok((status, body.map_err(|why| why.to_string())?.to_bytes()))
    }
}

/// The cause of an error, without hyper's own words.
fn plain(error: &hyper::Error) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    cause.unwrap_or_else(|| "the server closed the connection".into())
}
