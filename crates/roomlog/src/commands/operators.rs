//! The operators' door of a server, as its commands use it.
//!
//! Input: an address, or the data directory of a server. Output: the answers to requests. Invariant: each
//! failure names the server and what to do.

use std::{fmt::Display, path::Path, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use roomlog_protocol::{BackupLine, ErrorCode};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};

use crate::{cli::DoorArgs, door::connect, engines::served, failure::Failure, settings::DATA};

/// How long a server may be silent.
pub(super) const QUIET_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection to the door.
pub(super) struct Operators {
    sender: SendRequest<Full<Bytes>>,
    connection: JoinHandle<()>,
    host: String,
    /// The server, for people.
    shown: String,
    token: Option<String>,
}

impl Drop for Operators {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Operators {
    /// Connects to an address, or else to the socket in a directory.
    pub(super) async fn reach(door: &DoorArgs) -> Result<Self, Failure> {
        let token = door.token.read()?;
        let Some(address) = &door.server else {
            let data = served(door.data.as_deref().unwrap_or(Path::new(DATA)));
            let stream = connect(&data).await?;
            let shown = format!("the server of {}", data.display());
            return Self::start(stream, "localhost".into(), shown, token).await;
        };
        let uri = address.uri();
        if uri.scheme_str() == Some("wss") {
            return Err(Failure::usage(format!(
                "{address} is not where operators are served: that listener speaks no TLS; write its \
                 --admin-listen address as http://HOST:PORT, or name the directory with --data"
            )));
        }
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(80))).await;
        let stream = stream.map_err(|why| {
            Failure::other(format!(
                "cannot reach {address}: {why}; start a server there with --admin-listen, or name \
                 the directory of a running one with --data DIR"
            ))
        })?;
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        Self::start(stream, authority.into(), address.to_string(), token).await
    }

    async fn start(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        host: String,
        shown: String,
        token: Option<String>,
    ) -> Result<Self, Failure> {
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|why| silent(&shown, why))?;
        let connection = tokio::spawn(async move {
            // The body reports why it ended.
            let _reported = connection.await;
        });
        Ok(Self { sender, connection, host, shown, token })
    }

    /// Sends a request; the answer may be of any status.
    pub(super) async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, Failure> {
        let mut request =
            Request::builder().method(method).uri(path).header(header::HOST, &self.host);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Full::new(body)).map_err(|why| silent(&self.shown, why))?;
        let sender = &mut self.sender;
        let answer = timeout(QUIET_TIMEOUT, async {
            // A connection that has just given the last of an answer takes no other request yet.
            sender.ready().await?;
            sender.send_request(request).await
        });
        let answer = answer.await;
        let answer = answer.map_err(|_| silent(&self.shown, "it was silent for a minute"))?;
        answer.map_err(|why| silent(&self.shown, why))
    }

    /// Why a request was refused.
    pub(super) async fn refusal(&self, answer: Response<Incoming>) -> Failure {
        let (shown, status) = (&self.shown, answer.status());
        let body = answer.into_body().collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        Failure::other(match serde_json::from_slice(&body) {
            Ok(BackupLine::Error(error)) if error.code == ErrorCode::NotFound => format!(
                "{shown} does not serve operators here ({}): name the data directory of the server \
                 with --data DIR, or its --admin-listen address with --server",
                error.message
            ),
            Ok(BackupLine::Error(error)) => format!("{}: {}", error.code, error.message),
            _ if status.is_server_error() => format!(
                "{shown} answered {status}; if that is a proxy, start the server behind it, then \
                 run this again"
            ),
            _ => format!(
                "{shown} does not serve operators: it answered {status}; name the --admin-listen \
                 address of a Roomlog server with --server URL"
            ),
        })
    }
}

fn silent(shown: &str, why: impl Display) -> Failure {
    Failure::other(format!("{shown} did not answer: {why}"))
}
