//! NATS JetStream, one node with `sync_interval: always`: a stream with a subject per room, push consumers for
//! followers and readers, direct gets for pages.
//!
//! ```text
//!  HPUB room.0 _INBOX.x.3 … ─► stream ─► MSG _INBOX.x.3 … {"stream":"chat","seq":8}
//! ```
//!
//! Enters: appends. Leaves: lines of the NATS protocol. Invariants: each append has a `Nats-Msg-Id`, its own
//! inbox, and its own ack; what a follower receives comes from the stream, not from the publisher.

use std::{
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
};

use serde::Deserialize;
use serde_json::{Value, json};
use ulid::Ulid;

use super::system::{
    Ack, Author, Connected, PAGE, Pager, Reader, Running, System, connect, free_addr, is_page,
};
use crate::frame::count_entries;

/// Number of the subscription to replies.
const REPLIES: &str = "1";

/// Number of the subscription to what a consumer delivers.
const ENTRIES: &str = "2";

/// The name of the inbox of requests.
const REQUEST: &str = "request";

/// The server.
pub(crate) struct Nats;

/// What the server sends.
#[derive(Debug, PartialEq, Eq)]
enum Op<'a> {
    Message {
        subject: &'a str,
        subscription: &'a str,
        /// The status of a message without content, or nothing.
        status: &'a str,
        payload: &'a [u8],
    },
    Ping,
    Pong,
    /// INFO or +OK.
    Other,
}

/// What is first, and how many bytes it has; `None` if it is not complete.
fn first_op(input: &[u8]) -> io::Result<Option<(Op<'_>, usize)>> {
    let Some(end) = memchr::memmem::find(input, b"\r\n") else { return Ok(None) };
    let (line, start) = (str::from_utf8(&input[..end]), end + 2);
    let line = line.map_err(|_| io::Error::other("NATS: a line that is not UTF-8"))?;
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let unexpected = || io::Error::other(format!("NATS: {line}"));
    let number = |word: &str| word.parse::<usize>().map_err(|_| unexpected());
    let (subject, subscription, headers, length) = match words[..] {
        ["MSG", subject, subscription, length] | ["MSG", subject, subscription, _, length] => {
            (subject, subscription, 0, number(length)?)
        }
        ["HMSG", subject, subscription, headers, length]
        | ["HMSG", subject, subscription, _, headers, length] => {
            (subject, subscription, number(headers)?, number(length)?)
        }
        ["PING"] => return Ok(Some((Op::Ping, start))),
        ["PONG"] => return Ok(Some((Op::Pong, start))),
        ["INFO", ..] | ["+OK"] => return Ok(Some((Op::Other, start))),
        _ => return Err(unexpected()),
    };
    let Some(message) = input.get(start..start + length + 2) else { return Ok(None) };
    let (headers, payload) = message[..length].split_at_checked(headers).ok_or_else(unexpected)?;
    let version = str::from_utf8(headers).ok().and_then(|text| text.lines().next());
    let status = version.and_then(|text| text.strip_prefix("NATS/1.0")).unwrap_or("").trim();
    Ok(Some((Op::Message { subject, subscription, status, payload }, start + length + 2)))
}

/// The answer to an append.
#[derive(Deserialize)]
struct PubAck {
    seq: Option<u64>,
    error: Option<Value>,
}

/// An author of this name, with the start of its inboxes.
struct Publisher {
    inbox: String,
    name: String,
}

impl Author for Publisher {
    fn append(&mut self, out: &mut Vec<u8>, room: u32, body: &str, place: usize) {
        let headers = format!("NATS/1.0\r\nNats-Msg-Id: {}\r\n\r\n", Ulid::generate());
        let payload = format!(r#"{{"author":"{}","body":"{body}"}}"#, self.name);
        let (subject, inbox, start) = (subject(room), &self.inbox, headers.len());
        let length = start + payload.len();
        let message =
            format!("HPUB {subject} {inbox}.{place} {start} {length}\r\n{headers}{payload}\r\n");
        out.extend_from_slice(message.as_bytes());
    }

    fn answers(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        acks: &mut Vec<Ack>,
    ) -> io::Result<usize> {
        let mut taken = 0;
        while let Some((op, length)) = first_op(&input[taken..])? {
            taken += length;
            match op {
                Op::Message { subject, status, payload, .. } => {
                    acks.push(Ack::Place(place(subject, status, payload)?));
                }
                Op::Ping => out.extend_from_slice(b"PONG\r\n"),
                Op::Pong | Op::Other => {}
            }
        }
        Ok(taken)
    }
}

/// The place of an append, from the inbox of its ack.
fn place(subject: &str, status: &str, payload: &[u8]) -> io::Result<usize> {
    let place = subject.rsplit('.').next().and_then(|place| place.parse().ok());
    match (serde_json::from_slice(payload), place) {
        (Ok(PubAck { seq: Some(_), error: None }), Some(place)) => Ok(place),
        _ => Err(refused(status, payload)),
    }
}

fn refused(status: &str, payload: &[u8]) -> io::Error {
    io::Error::other(format!("NATS: {status} {}", String::from_utf8_lossy(payload)))
}

fn subject(room: u32) -> String {
    format!("room.{room}")
}

/// A connection that asks and waits.
struct Client {
    stream: TcpStream,
    /// The start of its inboxes.
    inbox: String,
    input: Vec<u8>,
    /// How many bytes of `input` have been taken.
    taken: usize,
}

impl Client {
    /// Connects, and subscribes to its inboxes.
    fn connect(addr: SocketAddr) -> io::Result<Self> {
        let (stream, inbox) = (connect(addr)?, format!("_INBOX.{}", Ulid::generate()));
        let mut client = Self { stream, inbox, input: Vec::new(), taken: 0 };
        let options = r#"{"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"lang":"bench"}"#;
        client.send(&format!("CONNECT {options}\r\nSUB {}.* {REPLIES}\r\n", client.inbox))?;
        client.settle()?;
        Ok(client)
    }

    fn send(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes())
    }

    /// Waits until the server has done all that was sent.
    fn settle(&mut self) -> io::Result<()> {
        self.send("PING\r\n")?;
        let mut settled = false;
        while !settled {
            self.next(|op| {
                settled = op == Op::Pong;
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Waits for the next thing that the server sends. Pings are answered.
    fn next<T>(&mut self, take: impl FnOnce(Op<'_>) -> io::Result<T>) -> io::Result<T> {
        loop {
            match first_op(&self.input[self.taken..])? {
                Some((Op::Ping, length)) => {
                    self.taken += length;
                    self.stream.write_all(b"PONG\r\n")?;
                }
                Some((op, length)) => {
                    self.taken += length;
                    return take(op);
                }
                None => self.read()?,
            }
        }
    }

    /// Reads what has come.
    fn read(&mut self) -> io::Result<()> {
        self.input.drain(..self.taken);
        self.taken = 0;
        let length = self.input.len();
        self.input.resize(length + (256 << 10), 0);
        let count = self.stream.read(&mut self.input[length..]);
        self.input.truncate(length + count.as_ref().map_or(0, |count| *count));
        match count? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Sends a request of JetStream's API; its reply goes to the inbox.
    fn request(&mut self, api: &str, request: &Value) -> io::Result<()> {
        let (inbox, request) = (&self.inbox, request.to_string());
        let length = request.len();
        self.send(&format!("PUB $JS.API.{api} {inbox}.{REQUEST} {length}\r\n{request}\r\n"))
    }

    /// Sends a request and waits for its reply.
    fn ask(&mut self, api: &str, request: &Value) -> io::Result<()> {
        self.request(api, request)?;
        let mut replied = false;
        while !replied {
            self.next(|op| match op {
                Op::Message { status, payload, .. } => {
                    replied = true;
                    accepted(status, payload)
                }
                _ => Ok(()),
            })?;
        }
        Ok(())
    }

    /// Subscribes to what a consumer will deliver; returns the request that makes it.
    fn subscribe(&mut self, room: u32, start: &Value) -> io::Result<Value> {
        let target = format!("deliver.{}", Ulid::generate());
        self.send(&format!("SUB {target} {ENTRIES}\r\n"))?;
        self.settle()?;
        let mut config = json!({
            "deliver_subject": target,
            "filter_subject": subject(room),
            "ack_policy": "none",
            "replay_policy": "instant",
            "mem_storage": true,
        });
        if let (Value::Object(config), Value::Object(start)) = (&mut config, start) {
            config.extend(start.clone());
        }
        Ok(json!({ "stream_name": "chat", "config": config }))
    }
}

/// Whether a reply of JetStream's API has no error.
fn accepted(status: &str, payload: &[u8]) -> io::Result<()> {
    let reply: Value = serde_json::from_slice(payload).map_err(|_| refused(status, payload))?;
    match reply.get("error") {
        None => Ok(()),
        Some(_) => Err(refused(status, payload)),
    }
}

/// Makes the stream; `mode` is "default" or "async" (answer before the sync).
fn make_stream(client: &mut Client, mode: &str) -> io::Result<()> {
    let stream = json!({
        "name": "chat",
        "subjects": ["room.>"],
        "storage": "file",
        "num_replicas": 1,
        "allow_direct": true,
        "persist_mode": mode,
    });
    client.ask("STREAM.CREATE.chat", &stream)
}

impl System for Nats {
    fn name(&self) -> &'static str {
        "NATS JetStream"
    }

    fn ack(&self) -> &'static str {
        "fsync (sync_interval: always)"
    }

    fn start(&self, dir: &Path) -> io::Result<Running> {
        let (addr, config) = (free_addr()?, dir.join("nats.conf"));
        let store = dir.join("data");
        // Followers that count do not answer pings.
        fs::write(
            &config,
            format!(
                "listen: \"{addr}\"\nping_interval: \"2h\"\n\
                 jetstream {{ store_dir: {store:?}, sync_interval: always }}\n"
            ),
        )?;
        let mut command = Command::new("nats-server");
        Running::start(command.arg("-c").arg(&config), addr, dir)
    }

    fn prepare(&self, addr: SocketAddr, _rooms: u32) -> io::Result<()> {
        make_stream(&mut Client::connect(addr)?, "default")
    }

    fn author(&self, addr: SocketAddr, number: usize) -> io::Result<Connected> {
        let Client { stream, inbox, .. } = Client::connect(addr)?;
        Ok((stream, Box::new(Publisher { inbox, name: format!("author-{number}") })))
    }

    /// Loading is not measured: it has a stream that answers before the sync.
    fn loader(&self, addr: SocketAddr) -> io::Result<Connected> {
        let mut client = Client::connect(addr)?;
        client.ask("STREAM.DELETE.chat", &json!({}))?;
        make_stream(&mut client, "async")?;
        self.author(addr, 0)
    }

    fn follower(&self, addr: SocketAddr, room: u32) -> io::Result<Option<TcpStream>> {
        let mut client = Client::connect(addr)?;
        let consumer = client.subscribe(room, &json!({ "deliver_policy": "new" }))?;
        client.ask("CONSUMER.CREATE.chat", &consumer)?;
        Ok(Some(client.stream))
    }

    fn reader(
        &self,
        addr: SocketAddr,
        room: u32,
        first: u64,
        count: u64,
    ) -> io::Result<Option<Reader>> {
        let mut client = Client::connect(addr)?;
        let start = json!({ "deliver_policy": "by_start_sequence", "opt_start_seq": first + 1 });
        let consumer = client.subscribe(room, &start)?;
        Ok(Some(Box::new(move || {
            client.request("CONSUMER.CREATE.chat", &consumer)?;
            let mut found = 0;
            while found < count {
                found += client.next(|op| match op {
                    Op::Message { subscription: ENTRIES, payload, .. } => {
                        Ok(count_entries(payload))
                    }
                    Op::Message { status, payload, .. } => accepted(status, payload).map(|()| 0),
                    _ => Ok(0),
                })?;
            }
            Ok(())
        })))
    }

    fn pager(&self, addr: SocketAddr, room: u32) -> io::Result<Option<Pager>> {
        let mut client = Client::connect(addr)?;
        Ok(Some(Box::new(move |slot| {
            let page = json!({ "seq": slot + 1, "next_by_subj": subject(room), "batch": PAGE });
            client.request("DIRECT.GET.chat", &page)?;
            let (mut found, mut end) = (0, false);
            while !end {
                client.next(|op| match op {
                    Op::Message { status: "", payload, .. } => {
                        found += count_entries(payload);
                        Ok(())
                    }
                    Op::Message { status, payload, .. } => {
                        end = status == "204 EOB";
                        if end { Ok(()) } else { Err(refused(status, payload)) }
                    }
                    _ => Ok(()),
                })?;
            }
            is_page(found)
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_are_taken_when_they_are_complete() {
        let wire = b"PING\r\nMSG _INBOX.x.7 1 25\r\n{\"stream\":\"chat\",\"seq\":1}\r\n+OK\r\n";
        for length in 0..=wire.len() {
            let mut author = Publisher { inbox: "_INBOX.x".into(), name: "ada".into() };
            let (mut acks, mut out) = (Vec::new(), Vec::new());
            let mut answers = |input: &[u8]| author.answers(input, &mut out, &mut acks);
            let taken = answers(&wire[..length]).expect("no refusal");
            assert_eq!(answers(&wire[taken..]).expect("no refusal"), wire.len() - taken);
            assert_eq!((&acks[..], &out[..]), (&[Ack::Place(7)][..], &b"PONG\r\n"[..]));
        }
    }

    #[test]
    fn a_status_is_found_and_refusals_are_errors() {
        let wire = b"HMSG _INBOX.x.7 1 20 20\r\nNATS/1.0 204 EOB\r\n\r\n\r\n";
        let (op, length) = first_op(wire).expect("no refusal").expect("a message");
        let (subject, status) = ("_INBOX.x.7", "204 EOB");
        assert_eq!(op, Op::Message { subject, subscription: "1", status, payload: b"" });
        assert_eq!(length, wire.len());
        assert!(first_op(b"-ERR 'Unknown'\r\n").is_err());
        assert!(place("_INBOX.x.7", "", br#"{"error":{"code":503},"seq":0}"#).is_err());
        assert!(place("_INBOX.x.7", "503", b"").is_err());
    }
}
