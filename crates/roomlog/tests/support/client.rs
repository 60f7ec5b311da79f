//! A raw client: it sends and receives single frames.
//!
//! A frame that a test skipped (`find`) is kept in order for a later `recv`; nothing is dropped.

use std::collections::VecDeque;

use futures_util::{SinkExt, StreamExt};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
};
use tokio_websockets::{ClientBuilder, Limits, Message, WebSocketStream};

use super::{Io, Server, within};

/// A WebSocket to a server.
pub(crate) struct Client {
    socket: WebSocketStream<Box<dyn Io>>,
    passed_over: VecDeque<Value>,
    last_req: i64,
    /// The headers of the handshake's answer.
    pub(crate) handshake: HeaderMap,
    /// The `hello` that came first; null when the test reads it itself.
    pub(crate) hello: Value,
}

impl Server {
    /// A connection that has read nothing yet, not even `hello`.
    pub(crate) async fn connect_unread(&self, headers: &[(&str, &str)]) -> Client {
        let stream = within("a connection", TcpStream::connect(self.address)).await;
        let stream = stream.expect("a connection");
        stream.set_nodelay(true).expect("nodelay");
        Client::open(self, stream, headers).await
    }

    /// A connection that has read `hello` and not logged in.
    pub(crate) async fn connect(&self) -> Client {
        let mut client = self.connect_unread(&[]).await;
        client.hello = client.expect("hello").await;
        client
    }

    /// A connection that has logged in as `author`.
    pub(crate) async fn login(&self, author: &str) -> Client {
        let mut client = self.connect().await;
        client.log_in(author).await;
        client
    }

    /// As `login`, with a receive buffer of a few KiB: what is not read soon fills it.
    pub(crate) async fn login_with_small_buffer(&self, author: &str) -> Client {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4_096).expect("a small buffer");
        let stream = within("a connection", socket.connect(self.address)).await;
        let mut client = Client::open(self, stream.expect("a connection"), &[]).await;
        client.hello = client.expect("hello").await;
        client.log_in(author).await;
        client
    }
}

impl Client {
    /// A connection over any stream.
    pub(crate) async fn open(
        server: &Server,
        stream: impl Io + 'static,
        headers: &[(&str, &str)],
    ) -> Self {
        let stream: Box<dyn Io> = Box::new(stream);
        let uri = format!("ws://{}/v1/ws", server.address);
        let mut builder =
            ClientBuilder::new().uri(&uri).expect("a URI").limits(Limits::unlimited());
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
            let value = HeaderValue::from_str(value).expect("a header value");
            builder = builder.add_header(name, value).expect("a header");
        }
        let opened = within("the handshake", builder.connect_on(stream)).await;
        let (socket, answer) = opened.expect("a WebSocket");
        let handshake = answer.headers().clone();
        Self {
            socket,
            passed_over: VecDeque::new(),
            last_req: 1_000,
            handshake,
            hello: Value::Null,
        }
    }

    /// Logs in and reads the `welcome`.
    pub(crate) async fn log_in(&mut self, author: &str) {
        self.send(json!({"type": "login", "author": author})).await;
        assert_eq!(self.expect("welcome").await["author"], author);
    }

    /// Sends one frame.
    pub(crate) async fn send(&mut self, frame: Value) {
        self.send_text(frame.to_string()).await;
    }

    /// Sends several frames in one write.
    pub(crate) async fn send_all(&mut self, frames: impl IntoIterator<Item = Value>) {
        for frame in frames {
            let message = Message::text(frame.to_string());
            within("a place in the socket", self.socket.feed(message)).await.expect("send");
        }
        within("a place in the socket", self.socket.flush()).await.expect("send");
    }

    /// As `send_all`, to a server that may end meanwhile: whether all was sent.
    pub(crate) async fn try_send_all(&mut self, frames: impl IntoIterator<Item = Value>) -> bool {
        for frame in frames {
            let message = Message::text(frame.to_string());
            if within("a place in the socket", self.socket.feed(message)).await.is_err() {
                return false;
            }
        }
        within("a place in the socket", self.socket.flush()).await.is_ok()
    }

    /// Sends a text frame unchanged.
    pub(crate) async fn send_text(&mut self, text: impl Into<String>) {
        let message = Message::text(text.into());
        within("a place in the socket", self.socket.send(message)).await.expect("send");
    }

    /// Sends a binary frame.
    pub(crate) async fn send_binary(&mut self, bytes: &'static [u8]) {
        within("a place in the socket", self.socket.send(Message::binary(bytes)))
            .await
            .expect("send");
    }

    /// Writes bytes to the socket behind the WebSocket.
    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        let written = within("a place in the socket", self.socket.get_mut().write_all(bytes)).await;
        written.expect("send");
    }

    /// The socket behind the WebSocket: from here on nothing answers the server's pings.
    pub(crate) fn into_inner(self) -> Box<dyn Io> {
        self.socket.into_inner()
    }

    /// The next frame.
    pub(crate) async fn recv(&mut self) -> Value {
        if let Some(frame) = self.passed_over.pop_front() {
            return frame;
        }
        match self.arrive().await {
            Ok(frame) => frame,
            Err(closed) => panic!("closed with {closed:?} instead of a frame"),
        }
    }

    /// The next frame; `None` if the socket was closed.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        match self.passed_over.pop_front() {
            Some(frame) => Some(frame),
            None => self.arrive().await.ok(),
        }
    }

    /// The next frame from the socket, or how the socket was closed.
    async fn arrive(&mut self) -> Result<Value, Option<u16>> {
        loop {
            let Some(Ok(message)) = within("a frame", self.socket.next()).await else {
                return Err(None);
            };
            if let Some((code, _)) = message.as_close() {
                return Err(Some(code.into()));
            }
            if let Some(text) = message.as_text() {
                let ends_a_line = text.contains(['\u{85}', '\u{2028}', '\u{2029}']);
                assert!(!ends_a_line, "a line end in a frame: {text:?}");
                return Ok(serde_json::from_str(text).expect("JSON from the server"));
            }
            assert!(message.is_ping() || message.is_pong(), "a binary frame from the server");
        }
    }

    /// The next frame, which has to be of this type.
    pub(crate) async fn expect(&mut self, kind: &str) -> Value {
        let frame = self.recv().await;
        assert_eq!(frame["type"], kind, "{frame}");
        frame
    }

    /// The next matching frame; those before it are kept for later.
    pub(crate) async fn find(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.passed_over.iter().position(&fits) {
            return self.passed_over.remove(at).expect("a frame that was found");
        }
        loop {
            match self.arrive().await {
                Ok(frame) if fits(&frame) => return frame,
                Ok(frame) => self.passed_over.push_back(frame),
                Err(closed) => {
                    panic!("closed with {closed:?}; unread: {:?}", self.passed_over);
                }
            }
        }
    }

    /// Takes the skipped frames.
    pub(crate) fn passed_over(&mut self) -> Vec<Value> {
        self.passed_over.drain(..).collect()
    }

    /// All frames until the socket closes, and the close code.
    pub(crate) async fn rest(&mut self) -> (Vec<Value>, Option<u16>) {
        let mut frames = self.passed_over();
        loop {
            match self.arrive().await {
                Ok(frame) => frames.push(frame),
                Err(closed) => return (frames, closed),
            }
        }
    }

    /// The close code; nothing may come before it.
    pub(crate) async fn closed(&mut self) -> Option<u16> {
        let (frames, code) = self.rest().await;
        assert_eq!(frames, Vec::<Value>::new(), "before the close");
        code
    }

    /// Sends a frame with a new `req`, unless it has one, and returns the `req`.
    pub(crate) async fn post(&mut self, mut frame: Value) -> i64 {
        let req = self.stamp(&mut frame);
        self.send(frame).await;
        req
    }

    fn stamp(&mut self, frame: &mut Value) -> i64 {
        if frame["req"].is_null() {
            self.last_req += 1;
            frame["req"] = self.last_req.into();
        }
        frame["req"].as_i64().expect("an integer `req`")
    }

    /// The frame that carries this `req`.
    pub(crate) async fn answer(&mut self, req: i64) -> Value {
        self.find(|frame| frame["req"] == req).await
    }

    /// Sends a frame and returns its answer.
    pub(crate) async fn ask(&mut self, frame: Value) -> Value {
        let req = self.post(frame).await;
        self.answer(req).await
    }

    /// Sends a frame that must be refused with this code, and returns the `error`.
    pub(crate) async fn refused(&mut self, frame: Value, with: &str) -> Value {
        let error = self.ask(frame.clone()).await;
        assert_eq!(code(&error), with, "{frame} -> {error}");
        assert!(error["message"].as_str().is_some_and(|said| !said.is_empty()), "{error}");
        error
    }

    /// Appends, and returns the `appended`.
    pub(crate) async fn append(&mut self, room: &str, members: Value) -> Value {
        let answer = self.ask(with("append", room, members)).await;
        assert_eq!(answer["type"], "appended", "{answer}");
        answer
    }

    /// Appends `count` entries, a hundred at a time on the wire, and gives what `appended` them.
    pub(crate) async fn fill(&mut self, room: &str, count: usize, body: &str) -> Vec<Value> {
        let mut answers = Vec::with_capacity(count);
        while answers.len() < count {
            let mut frames = Vec::new();
            let mut asked = Vec::new();
            for n in answers.len()..count.min(answers.len() + 100) {
                let mut frame = with("append", room, json!({"body": format!("{n} {body}")}));
                asked.push(self.stamp(&mut frame));
                frames.push(frame);
            }
            self.send_all(frames).await;
            for req in asked {
                let answer = self.answer(req).await;
                assert_eq!(answer["type"], "appended", "{answer}");
                answers.push(answer);
            }
        }
        answers
    }

    /// Updates, and returns the `reply`.
    pub(crate) async fn update(&mut self, room: &str, members: Value) -> Value {
        let answer = self.ask(with("update", room, members)).await;
        assert_eq!(answer["type"], "reply", "{answer}");
        answer
    }

    /// Joins, and returns the `reply`.
    pub(crate) async fn join(&mut self, room: &str, members: Value) -> Value {
        let answer = self.ask(with("join", room, members)).await;
        assert_eq!(answer["type"], "reply", "{answer}");
        answer
    }

    /// All entries of a room, page by page, each at its own slot.
    pub(crate) async fn whole_log(&mut self, room: &str) -> Vec<Value> {
        let mut log: Vec<Value> = Vec::new();
        loop {
            let reply = self.update(room, json!({"after": log.len() as i64 - 1})).await;
            let page = reply["entries"].as_array().expect("entries");
            log.extend(page.iter().cloned());
            if log.len() as i64 > reply["latest"].as_i64().expect("a latest slot") {
                let want: Vec<_> = (0..log.len() as i64).collect();
                assert_eq!(log.iter().map(slot).collect::<Vec<_>>(), want, "slots of {room}");
                return log;
            }
            assert!(!page.is_empty(), "an empty page before the end: {reply}");
        }
    }

    /// What `ack`s bring of a room above `last`, each once and in order, until `upto` is there: more
    /// when the last ack holds more.
    pub(crate) async fn acks(&mut self, room: &str, last: i64, upto: i64) -> Vec<Value> {
        let mut entries: Vec<Value> = Vec::new();
        while last + (entries.len() as i64) < upto {
            let ack = self.find(|frame| frame["type"] == "ack" && frame["room"] == room).await;
            for entry in ack["entries"].as_array().expect("entries") {
                assert_eq!(slot(entry), last + 1 + entries.len() as i64, "a seam in {room}");
                entries.push(entry.clone());
            }
        }
        entries
    }

    /// Nothing is unread, and the next frame is the answer to a ping.
    pub(crate) async fn nothing_more(&mut self) {
        assert_eq!(self.passed_over, VecDeque::<Value>::new(), "unread");
        let req = self.post(json!({"type": "ping"})).await;
        assert_eq!(self.recv().await, json!({"type": "pong", "req": req}));
    }
}

/// A frame of this type about this room, with these members besides.
pub(crate) fn with(kind: &str, room: &str, mut members: Value) -> Value {
    members["type"] = kind.into();
    members["room"] = room.into();
    members
}

/// The code of an `error` frame, or of an HTTP error's `error` member.
pub(crate) fn code(error: &Value) -> &str {
    error["code"].as_str().unwrap_or("no error")
}

/// The slot of an entry or of an `appended`.
pub(crate) fn slot(entry: &Value) -> i64 {
    entry["slot"].as_i64().unwrap_or_else(|| panic!("no slot in {entry}"))
}

/// The slots of a reply or an ack.
pub(crate) fn slots(page: &Value) -> Vec<i64> {
    page["entries"]
        .as_array()
        .unwrap_or_else(|| panic!("no entries in {page}"))
        .iter()
        .map(slot)
        .collect()
}
