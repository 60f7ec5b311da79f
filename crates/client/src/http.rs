//! HTTP connections, each for one request after the other.
//!
//! Enters: an address; requests. Leaves: the status and body of each answer, or why the connection
//! failed. Invariant: one request is in flight at a time; no answer is longer than its caller allows.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header, request::Builder};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::{task::JoinHandle, time::timeout};

use crate::{
    transport::{self, OpenError},
    trust::{TlsProblem, Trust},
};

/// The longest accepted answer of a Roomlog server, in bytes.
pub(crate) const LONGEST_ANSWER: usize = 64 << 20;

/// Why a document could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GetError {
    /// The URL is not `http://` or `https://` with a host.
    #[error("{0:?} is not a URL that begins with http:// or https://")]
    Url(String),
    /// There is no TLS session with its server.
    #[error("no TLS session with {url}: {problem}")]
    Tls {
        /// The URL.
        url: String,
        /// Why not.
        problem: TlsProblem,
    },
    /// Its server did not answer, took too long, or its answer is too long.
    #[error("cannot get {url}: {why}")]
    Failed {
        /// The URL.
        url: String,
        /// What happened.
        why: String,
    },
}

/// Fetches a document of at most `most` bytes, such as a set of keys, over a connection of its own.
/// Redirects are not followed: their status is returned.
///
/// # Errors
/// The URL is wrong, or the server does not answer with so many bytes within `limit`.
pub async fn get(
    url: &str,
    trust: &Trust,
    most: usize,
    limit: Duration,
) -> Result<(StatusCode, Bytes), GetError> {
    let uri: Option<Uri> = url.parse().ok();
    let is_web = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
    let uri = uri.filter(is_web).ok_or_else(|| GetError::Url(url.into()))?;
    let failed = |why: String| GetError::Failed { url: url.into(), why };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let got = async {
        let mut http = Http::open(&uri, trust).await.map_err(|error| match error {
            OpenError::Unreachable(why) => failed(why),
            OpenError::Tls(problem) => GetError::Tls { url: url.into(), problem },
        })?;
        http.send(Request::get(path), Bytes::new(), most).await.map_err(failed)
    };
    let answered = timeout(limit, got).await;
    answered.unwrap_or_else(|_| Err(failed(format!("no answer within {limit:?}"))))
}

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
    pub(crate) async fn open(uri: &Uri, trust: &Trust) -> Result<Self, OpenError> {
        let stream = transport::open(uri, trust).await?;
        let opened = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = opened.map_err(|why| OpenError::Unreachable(why.to_string()))?;
        let connection = tokio::spawn(async move {
            let _error_reaches_the_request = connection.await;
        });
        let authority = uri.authority().map_or("", |authority| authority.as_str()).to_owned();
        Ok(Self { sender, authority, connection })
    }

    /// Sends a request for this path; the host is filled in. Fails if the answer is longer than `most`.
    pub(crate) async fn send(
        &mut self,
        request: Builder,
        body: Bytes,
        most: usize,
    ) -> Result<(StatusCode, Bytes), String> {
        let request = request.header(header::HOST, &self.authority).body(Full::new(body));
        let request = request.map_err(|why| why.to_string())?;
        self.sender.ready().await.map_err(|why| plain(&why))?;
        let answer = self.sender.send_request(request).await.map_err(|why| plain(&why))?;
        let (status, body) = (answer.status(), answer.into_body());
        let body = Limited::new(body, most).collect().await;
        Ok((status, body.map_err(|why| why.to_string())?.to_bytes()))
    }
}

/// The cause of an error, without hyper's own words.
fn plain(error: &hyper::Error) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    cause.unwrap_or_else(|| "the server closed the connection".into())
}
