//! A server on loopback that does what a test tells it, frame by frame.
//!
//! Invariant: what does not come within [`PATIENCE`] fails the test.

#![allow(dead_code)] // Each test file uses a part of it.

use std::{future::Future, time::Duration};

use futures_util::{SinkExt, StreamExt};
use roomlog_client::{Client, Options};
use roomlog_protocol::{
    Author, Content, Digest, Entry, EntryId, Hello, Kind, Limits, RoomName, Salt,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_websockets::{CloseCode, Message, ServerBuilder, WebSocketStream};

const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen"),
    }
}

pub(crate) fn room(name: &str) -> RoomName {
    RoomName::new(name).expect("a room")
}

pub(crate) fn hello(log: &str) -> Hello {
    Hello {
        protocol: 1,
        server: "fake".into(),
        log: log.into(),
        auth: "open".into(),
        durability: "fsync".into(),
        limits: Limits::default(),
    }
}

/// What an entry says.
pub(crate) fn said(body: &str) -> Content {
    Content::Said { body: body.into(), meta: None, salt: Salt(*b"roomlog-slt0") }
}

/// The entries that this server would have in these slots.
pub(crate) fn log(slots: std::ops::Range<u64>) -> Vec<Entry> {
    let entry = |slot| Entry {
        slot,
        author: Author::new("ada").expect("an author"),
        id: EntryId::new(&format!("a-{slot}")).expect("an id"),
        content: said(&format!("body {slot}")),
        committed_at: 1_000 + slot,
        sent_at: None,
        kind: Kind::default(),
        reference: None,
    };
    slots.map(entry).collect()
}

pub(crate) fn digest_at(room: &RoomName, slot: i64) -> Digest {
    let end = u64::try_from(slot + 1).expect("a slot");
    log(0..end).iter().fold(Digest::start(room), Digest::then)
}

/// The members of a reply with the entries of these slots.
pub(crate) fn reply(name: &str, slots: std::ops::Range<u64>, latest: i64) -> Value {
    let digest_at_slot =
        if slots.is_empty() { latest } else { i64::try_from(slots.end).expect("a slot") - 1 };
    json!({"type": "reply", "room": name, "entries": log(slots), "latest": latest,
        "digest_at": digest_at_slot, "digest": digest_at(&room(name), digest_at_slot).to_string()})
}

pub(crate) fn ack(name: &str, slots: std::ops::Range<u64>) -> Value {
    json!({"type": "ack", "room": name, "entries": log(slots)})
}

pub(crate) struct Fake {
    listener: TcpListener,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.expect("a port") }
    }

    pub(crate) fn options(&self) -> Options {
        let port = self.listener.local_addr().expect("an address").port();
        let address = format!("http://127.0.0.1:{port}").parse().expect("an address");
        Options::new(address, Author::new("ada").expect("an author"))
    }

    /// A client and this server's end of its first connection.
    pub(crate) async fn client(&self, options: Options) -> (Client, Peer) {
        self.client_with(options, &hello("log-1")).await
    }

    pub(crate) async fn client_with(&self, options: Options, hello: &Hello) -> (Client, Peer) {
        let (client, peer) = tokio::join!(Client::connect(options), self.accept(hello));
        (client.expect("a client"), peer)
    }

    /// The next connection, logged in.
    pub(crate) async fn accept(&self, hello: &Hello) -> Peer {
        let mut peer = self.accept_raw().await;
        let mut frame = serde_json::to_value(hello).expect("JSON");
        frame["type"] = "hello".into();
        peer.send(frame).await;
        peer.expect(json!({"type": "login", "author": "ada"})).await;
        peer.send(json!({"type": "welcome", "author": "ada"})).await;
        peer
    }

    /// The next connection is no WebSocket: it gets this answer to its request.
    pub(crate) async fn answer_http(&self, answer: &str) {
        let (mut stream, _) = soon("a connection", self.listener.accept()).await.expect("a stream");
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut bytes = [0; 1_024];
            let count = soon("a request", stream.read(&mut bytes)).await.expect("bytes");
            assert_ne!(count, 0, "no request");
            request.extend_from_slice(&bytes[..count]);
        }
        stream.write_all(answer.as_bytes()).await.expect("written");
    }

    /// The next connection, before any frame.
    pub(crate) async fn accept_raw(&self) -> Peer {
        let (stream, _) = soon("a connection", self.listener.accept()).await.expect("a stream");
        let accepted = soon("an upgrade", ServerBuilder::new().accept(stream)).await;
        Peer { socket: accepted.expect("a WebSocket").1 }
    }
}

/// The server's end of a connection.
pub(crate) struct Peer {
    socket: WebSocketStream<TcpStream>,
}

impl Peer {
    /// The next frame, which has these members.
    pub(crate) async fn expect(&mut self, members: Value) -> Value {
        let frame = self.next().await;
        for (name, value) in members.as_object().expect("an object") {
            assert_eq!(&frame[name], value, "`{name}` of {frame}, expected {members}");
        }
        frame
    }

    pub(crate) async fn next(&mut self) -> Value {
        let arrived = soon("a frame", async {
            loop {
                let arrived = self.socket.next().await.expect("a frame").expect("a frame");
                if let Some(text) = arrived.as_text() {
                    return serde_json::from_str(text).expect("JSON");
                }
            }
        });
        arrived.await
    }

    pub(crate) async fn send(&mut self, frame: Value) {
        let sent = self.socket.send(Message::text(frame.to_string()));
        soon("sending", sent).await.expect("sent");
    }

    /// Sends a reply or an error to the frame.
    pub(crate) async fn answer(&mut self, frame: &Value, mut answer: Value) {
        answer["req"] = frame["req"].clone();
        self.send(answer).await;
    }

    pub(crate) async fn commit(&mut self, frame: &Value, slot: u64) {
        let (room, id, seq) = (&frame["room"], &frame["id"], &frame["seq"]);
        let appended = json!({"type": "appended", "room": room, "id": id, "seq": seq,
            "slot": slot, "committed_at": 1_000 + slot});
        self.answer(frame, appended).await;
    }

    pub(crate) async fn refuse(&mut self, frame: &Value, code: &str, more: Value) {
        let mut error = json!({"type": "error", "code": code, "message": "said the fake",
            "room": frame["room"], "id": frame["id"], "seq": frame["seq"]});
        for (name, value) in more.as_object().expect("an object") {
            error[name] = value.clone();
        }
        self.answer(frame, error).await;
    }

    /// Checks that nothing more was sent: the answer to a WebSocket ping comes first.
    pub(crate) async fn expect_silence(&mut self) {
        soon("a ping", self.socket.send(Message::ping("?"))).await.expect("sent");
        let next = soon("a pong", self.socket.next()).await.expect("a pong").expect("a pong");
        assert!(next.is_pong(), "{next:?} instead of silence");
    }

    /// The client sends a close frame.
    pub(crate) async fn expect_close(&mut self) {
        let last = soon("a goodbye", self.socket.next()).await.expect("a goodbye").expect("one");
        assert_eq!(last.as_close().map(|(code, _)| u16::from(code)), Some(1000), "{last:?}");
        // The library answers it while it reads to the end.
        while let Some(Ok(_)) = self.socket.next().await {}
    }

    /// The client disconnects, with a close frame or without.
    pub(crate) async fn expect_end(&mut self) {
        soon("the end", async { while let Some(Ok(_)) = self.socket.next().await {} }).await;
    }

    pub(crate) async fn close(mut self, code: u16) {
        let code = CloseCode::try_from(code).expect("a close code");
        self.socket.send(Message::close(Some(code), "")).await.expect("sent");
        while let Some(Ok(_)) = self.socket.next().await {}
    }
}
