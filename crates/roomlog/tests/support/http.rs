//! One HTTP request over a connection of its own, with every header as the test writes it.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request as HyperRequest, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::{Server, within};

/// A request that has not been sent.
pub(crate) struct Request<'a> {
    server: &'a Server,
    method: Method,
    path: String,
    host: String,
    headers: Vec<(String, String)>,
    body: String,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Server {
    /// A GET of this path and query.
    pub(crate) fn get(&self, path: &str) -> Request<'_> {
        self.request(Method::GET, path)
    }

    /// A POST of a JSON body.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Request<'_> {
        self.post_text(path, "application/json", body.to_string())
    }

    /// A POST of any text with any content type.
    pub(crate) fn post_text(&self, path: &str, kind: &str, body: impl Into<String>) -> Request<'_> {
        let mut request = self.request(Method::POST, path).header("content-type", kind);
        request.body = body.into();
        request
    }

    fn request(&self, method: Method, path: &str) -> Request<'_> {
        let (path, host) = (path.to_owned(), self.address.to_string());
        Request { server: self, method, path, host, headers: Vec::new(), body: String::new() }
    }
}

impl Request<'_> {
    /// Another `Host` than the server's address.
    pub(crate) fn host(mut self, host: &str) -> Self {
        self.host = host.to_owned();
        self
    }

    /// One header more; a name may stand several times.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The headers of a WebSocket handshake.
    pub(crate) fn upgrade(self) -> Self {
        self.header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
    }

    /// Sends it and gives the status alone, as soon as it is there.
    pub(crate) async fn status(self) -> u16 {
        within("an HTTP answer", self.exchange(false)).await.status
    }

    /// Sends it and reads the whole answer.
    pub(crate) async fn send(self) -> Answer {
        within("an HTTP answer", self.exchange(true)).await
    }

    async fn exchange(self, whole: bool) -> Answer {
        let stream = TcpStream::connect(self.server.address).await.expect("a connection");
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.expect("a connection");
        let running = tokio::spawn(connection);
        let mut request = HyperRequest::builder().method(self.method).uri(&self.path);
        for (name, value) in [("host".to_owned(), self.host)].iter().chain(&self.headers) {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(self.body))).expect("a request");
        let answer = sender.send_request(request).await.expect("an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = match whole {
            true => answer.into_body().collect().await.expect("a body").to_bytes(),
            false => Bytes::new(),
        };
        running.abort();
        Answer { status, headers, body: String::from_utf8(body.to_vec()).expect("UTF-8") }
    }
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// Asserts an error's status and code, and gives its `error` member.
    pub(crate) fn refused(&self, status: u16, code: &str) -> Value {
        let error = self.json()["error"].take();
        assert_eq!((self.status, super::code(&error)), (status, code), "{self:?}");
        assert!(error["message"].as_str().is_some_and(|said| !said.is_empty()), "{error}");
        error
    }
}
