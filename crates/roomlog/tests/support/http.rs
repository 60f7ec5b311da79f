//! One HTTP request over a connection of its own, with every header as the test writes it.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request as HyperRequest, Response,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream, UnixStream},
    task::JoinHandle,
};

use super::{Server, within};

/// A request that has not been sent.
pub(crate) struct Request<'a> {
    server: &'a Server,
    method: Method,
    path: String,
    host: String,
    headers: Vec<(String, String)>,
    body: String,
    small_buffer: bool,
    to: Listener,
}

/// Which listener a request is for.
enum Listener {
    Public,
    Socket,
    Door(SocketAddr),
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

    /// A GET at the operators' door.
    pub(crate) fn operator_get(&self, path: &str) -> Request<'_> {
        self.at_door(Method::GET, path)
    }

    /// A request of any method at the operators' door.
    pub(crate) fn at_door(&self, method: Method, path: &str) -> Request<'_> {
        let request = self.request(method, path);
        match self.door_address() {
            None => Request { to: Listener::Socket, ..request },
            Some(at) => Request { to: Listener::Door(at), host: at.to_string(), ..request },
        }
    }

    /// Where the operators' door is, if it is not a socket.
    pub(crate) fn door_address(&self) -> Option<SocketAddr> {
        let lines = self.stderr_lines();
        let (_, rest) = lines.iter().find_map(|line| line.split_once("operators http://"))?;
        rest.trim_end_matches(')').parse().ok()
    }

    /// A connection to the operators' socket.
    pub(crate) async fn door(&self) -> UnixStream {
        UnixStream::connect(self.directory().join("admin.sock")).await.expect("a connection")
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

    /// Writes bytes as they are to a connection of its own; all that comes until the server ends it.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("a connection");
        stream.write_all(bytes).await.expect("sent");
        let mut answer = Vec::new();
        within("the end of the connection", stream.read_to_end(&mut answer)).await.expect("read");
        String::from_utf8(answer).expect("UTF-8")
    }

    /// A request of any method.
    pub(crate) fn request(&self, method: Method, path: &str) -> Request<'_> {
        let (path, host) = (path.to_owned(), self.address.to_string());
        let (headers, body) = (Vec::new(), String::new());
        let (small_buffer, to) = (false, Listener::Public);
        Request { server: self, method, path, host, headers, body, small_buffer, to }
    }
}

impl Request<'_> {
    /// Another `Host` than the server's address.
    pub(crate) fn host(mut self, host: &str) -> Self {
        self.host = host.to_owned();
        self
    }

    /// Adds a header; a name may occur several times.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Another body.
    pub(crate) fn body(mut self, text: &str) -> Self {
        self.body = text.to_owned();
        self
    }

    /// The headers of a WebSocket handshake.
    pub(crate) fn upgrade(self) -> Self {
        self.header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
    }

    /// Over a socket with a receive buffer of a few KiB: what is not read soon fills it.
    pub(crate) fn small_buffer(mut self) -> Self {
        self.small_buffer = true;
        self
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
        let (answer, running) = self.open().await;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = match whole {
            true => answer.into_body().collect().await.expect("a body").to_bytes(),
            false => Bytes::new(),
        };
        running.abort();
        Answer { status, headers, body: String::from_utf8(body.to_vec()).expect("UTF-8") }
    }

    /// Sends it on a connection that runs as long as the task that this gives.
    pub(super) async fn open(self) -> (Response<Incoming>, JoinHandle<()>) {
        let address = match self.to {
            Listener::Public => Some(self.server.address),
            Listener::Door(address) => Some(address),
            Listener::Socket => None,
        };
        let (mut sender, running) = if let Some(address) = address {
            let socket = TcpSocket::new_v4().expect("a socket");
            if self.small_buffer {
                socket.set_recv_buffer_size(4_096).expect("a small buffer");
            }
            sender_over(socket.connect(address).await.expect("a connection")).await
        } else {
            sender_over(self.server.door().await).await
        };
        let mut request = HyperRequest::builder().method(self.method).uri(&self.path);
        for (name, value) in [("host".to_owned(), self.host)].iter().chain(&self.headers) {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(self.body))).expect("a request");
        (sender.send_request(request).await.expect("an answer"), running)
    }
}

/// An HTTP connection over a stream, and the task that runs it.
async fn sender_over(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> (SendRequest<Full<Bytes>>, JoinHandle<()>) {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("a connection");
    let running = tokio::spawn(async move {
        let _ended_as_the_test_sees = connection.await;
    });
    (sender, running)
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
