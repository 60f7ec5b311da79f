//! A WebSocket client that costs next to nothing.
//!
//! Enters: text. Leaves: frames masked with 0, which cost the server as much to unmask as any
//! other, and the text of the server's frames. Invariant: a frame from the server that is masked or
//! fragmented is an error, because Roomlog sends neither.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use tokio::net::TcpSocket;

use crate::{frame::append_frame, peer::Peer};

/// Timeout of an answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Limit on the bytes of a frame and of the handshake.
const MAX_FRAME: usize = 4 << 20;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// The bit in the second byte of a frame that says it is masked.
const MASKED: u8 = 0x80;

/// Adds a client's text frame to `out`.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put_frame(out, TEXT, MASKED, text);
}

/// A server's text frame.
pub(crate) fn server_text(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 10);
    put_server_text(&mut out, text);
    out
}

/// Adds a server's text frame to `out`.
pub(crate) fn put_server_text(out: &mut Vec<u8>, text: &[u8]) {
    put_frame(out, TEXT, 0, text);
}

fn put_frame(out: &mut Vec<u8>, opcode: u8, masked: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    match payload.len() {
        len @ 0..=125 => out.push(masked | len as u8),
        len @ 126..=0xFFFF => {
            out.push(masked | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(masked | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    if masked == MASKED {
        out.extend_from_slice(&[0; 4]);
    }
    out.extend_from_slice(payload);
}

/// Received bytes, split into frames.
#[derive(Default)]
pub(crate) struct Input {
    bytes: Vec<u8>,
    /// Bytes before this have been returned as frames.
    start: usize,
}

impl Input {
    /// Reads once; false at the end of the stream.
    ///
    /// # Errors
    /// As reading, `WouldBlock` included.
    pub(crate) fn fill(&mut self, from: &mut impl Read) -> io::Result<bool> {
        self.bytes.drain(..self.start);
        self.start = 0;
        if self.bytes.len() > MAX_FRAME {
            return Err(io::Error::other("the server sent a frame that is too long"));
        }
        let held = self.bytes.len();
        self.bytes.resize(held + 16 * 1024, 0);
        let read = from.read(&mut self.bytes[held..]);
        self.bytes.truncate(held + *read.as_ref().unwrap_or(&0));
        read.map(|n| n > 0)
    }

    /// Adds what was received elsewhere.
    pub(crate) fn add(&mut self, received: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(received);
    }

    /// The next complete frame: opcode and payload.
    fn next(&mut self) -> io::Result<Option<(u8, &[u8])>> {
        let bytes = &self.bytes[self.start..];
        let &[first, second, ..] = bytes else { return Ok(None) };
        if first & 0xF0 != 0x80 || second & MASKED != 0 {
            return Err(io::Error::other(format!("odd frame from the server: {first:#x}")));
        }
        let (head, len) = match (second, bytes) {
            (126, [_, _, a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
            (127, [_, _, a, b, c, d, e, f, g, h, ..]) => {
                (10, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) as usize)
            }
            (126 | 127, _) => return Ok(None),
            (len, _) => (2, usize::from(len)),
        };
        if len > MAX_FRAME {
            return Err(io::Error::other("the server sent a frame that is too long"));
        }
        if bytes.len() < head + len {
            return Ok(None);
        }
        let from = self.start + head;
        self.start = from + len;
        Ok(Some((first & 0x0F, &self.bytes[from..from + len])))
    }

    /// The payload of the next text frame; pongs that are due go to `out`.
    ///
    /// # Errors
    /// If the server closes, or a frame is masked, fragmented or too long.
    pub(crate) fn next_text(&mut self, out: &mut Vec<u8>) -> io::Result<Option<&[u8]>> {
        loop {
            let span = match self.next()? {
                None => return Ok(None),
                Some((TEXT, payload)) => payload.len(),
                Some((CLOSE, payload)) => {
                    let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                    return Err(io::Error::other(format!("the server closed, code {code:?}")));
                }
                Some((PING, payload)) => {
                    put_frame(out, PONG, MASKED, payload);
                    continue;
                }
                Some(_) => continue,
            };
            return Ok(Some(&self.bytes[self.start - span..self.start]));
        }
    }
}

/// A blocking connection.
pub(crate) struct Socket {
    stream: TcpStream,
    input: Input,
    out: Vec<u8>,
}

impl Socket {
    /// Completes the handshake for a path and, if it is given, a subprotocol.
    pub(crate) fn shake_hands(
        mut stream: TcpStream,
        addr: SocketAddr,
        path: &str,
        subprotocol: Option<&str>,
    ) -> io::Result<Self> {
        let subprotocol = subprotocol
            .map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n"))
            .unwrap_or_default();
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             {subprotocol}\r\n"
        )?;
        let mut input = Input::default();
        let end = loop {
            if let Some(at) = memchr::memmem::find(&input.bytes, b"\r\n\r\n") {
                break at + 4;
            }
            if !input.fill(&mut stream)? {
                return Err(io::Error::other("the server closed during the handshake"));
            }
        };
        if !input.bytes.starts_with(b"HTTP/1.1 101") {
            let head = String::from_utf8_lossy(&input.bytes[..end]).into_owned();
            return Err(io::Error::other(format!("the server refused the handshake: {head}")));
        }
        input.start = end;
        Ok(Self { stream, input, out: Vec::new() })
    }

    /// Connects and logs in; `hello` and `welcome` have been read.
    pub(crate) fn login<'a>(peer: impl Into<Peer<'a>>, author: &str) -> io::Result<Self> {
        let peer = peer.into();
        Self::to_roomlog(TcpStream::connect(peer.addr)?, peer, author)
    }

    /// As [`Socket::login`], from a port of the local address `from`.
    pub(crate) fn login_from(peer: Peer<'_>, from: IpAddr, author: &str) -> io::Result<Self> {
        // The standard library cannot bind before it connects.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stream = runtime.block_on(async {
            let socket = if from.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            socket.bind(SocketAddr::new(from, 0))?;
            socket.connect(peer.addr).await?.into_std()
        })?;
        stream.set_nonblocking(false)?;
        Self::to_roomlog(stream, peer, author)
    }

    fn to_roomlog(stream: TcpStream, peer: Peer<'_>, author: &str) -> io::Result<Self> {
        let mut socket = Self::shake_hands(stream, peer.addr, "/v1/ws", Some("roomlog.v1"))?;
        socket.send(&[peer.login(author)?])?;
        socket.expect("hello")?;
        socket.expect("welcome")?;
        Ok(socket)
    }

    /// Follows a room from its end.
    pub(crate) fn join(&mut self, room: &str) -> io::Result<()> {
        self.send(&[&format!(r#"{{"type":"join","room":"{room}","count":0}}"#)])?;
        self.expect("reply")
    }

    /// Sends each text as a frame, all in one write.
    pub(crate) fn send(&mut self, texts: &[impl AsRef<str>]) -> io::Result<()> {
        for text in texts {
            put_text(&mut self.out, text.as_ref().as_bytes());
        }
        self.flush()
    }

    /// Appends one entry and waits for the ack; returns how long that took.
    pub(crate) fn append(&mut self, room: &str, body: &str) -> io::Result<Duration> {
        let frame = append_frame(room, body, None);
        let start = Instant::now();
        self.send(&[frame])?;
        self.expect("appended")?;
        Ok(start.elapsed())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// Waits for the next text frame, which must be of type `kind`.
    ///
    /// # Errors
    /// If another frame comes, or none within 30 s.
    pub(crate) fn expect(&mut self, kind: &str) -> io::Result<()> {
        let text = self.text(kind)?;
        if !text.contains(&format!(r#""type":"{kind}""#)) {
            return Err(io::Error::other(format!("expected {kind}, got {text}")));
        }
        Ok(())
    }

    /// Waits for the next text frame, which an error calls `what`.
    ///
    /// # Errors
    /// If none comes within 30 s.
    pub(crate) fn text(&mut self, what: &str) -> io::Result<String> {
        loop {
            if let Some(text) = self.input.next_text(&mut self.out)? {
                return Ok(String::from_utf8_lossy(text).into_owned());
            }
            if !self.out.is_empty() {
                self.flush()?;
            }
            match self.input.fill(&mut self.stream) {
                Ok(true) => {}
                Ok(false) => {
                    return Err(io::Error::other(format!("the server closed, expected {what}")));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let why = format!("the server sent nothing for {ANSWER:?}, expected {what}");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, why));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The underlying stream.
    ///
    /// # Errors
    /// If frames were received that nobody has read: they would be lost.
    pub(crate) fn into_stream(self) -> io::Result<TcpStream> {
        if self.input.start < self.input.bytes.len() {
            return Err(io::Error::other("the server sent unexpected frames"));
        }
        Ok(self.stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_assembled_from_single_bytes() {
        let long = vec![b'x'; 300];
        let mut wire = vec![0x81, 2, b'h', b'i', 0x89, 0];
        wire.extend(server_text(&long));
        let (mut input, mut out, mut got) = (Input::default(), Vec::new(), Vec::new());
        for byte in wire.chunks(1) {
            assert!(input.fill(&mut &*byte).expect("a read"));
            if let Some(text) = input.next_text(&mut out).expect("frames") {
                got.push(text.to_vec());
            }
        }
        assert_eq!(got, [b"hi".to_vec(), long]);
        assert_eq!(out, [0x8A, 0x80, 0, 0, 0, 0], "a pong for the ping");
    }

    #[test]
    fn a_close_is_an_error_with_its_code() {
        let mut input = Input::default();
        input.fill(&mut &[0x88, 2, 0x03, 0xF4][..]).expect("a read");
        let error = input.next_text(&mut Vec::new()).expect_err("a close");
        assert!(error.to_string().contains("1012"), "{error}");
    }
}
