//! A WebSocket client that costs next to nothing.
//!
//! Enters: text. Leaves: masked frames with the mask 0, which a server unmasks at the price of any
//! other, and the text of what the server sends. Invariant: only whole frames leave; a server that
//! masks or splits a frame is an error, for ours does neither.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);
/// The longest frame and the longest handshake that are read.
const MOST: usize = 4 << 20;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Adds a masked text frame to `out`.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put_frame(out, TEXT, text);
}

fn put_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=0xFFFF => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

/// The bytes that came and the frames in them.
#[derive(Default)]
pub(crate) struct Input {
    bytes: Vec<u8>,
    /// Where the first byte is that no frame has taken.
    start: usize,
}

impl Input {
    /// Takes what one read gives; false at the end of the stream.
    ///
    /// # Errors
    /// What reading gives, `WouldBlock` included.
    pub(crate) fn fill(&mut self, from: &mut impl Read) -> io::Result<bool> {
        self.bytes.drain(..self.start);
        self.start = 0;
        if self.bytes.len() > MOST {
            return Err(io::Error::other("the server sent a frame that is too long"));
        }
        let held = self.bytes.len();
        self.bytes.resize(held + 16 * 1024, 0);
        let read = from.read(&mut self.bytes[held..]);
        self.bytes.truncate(held + *read.as_ref().unwrap_or(&0));
        read.map(|n| n > 0)
    }

    /// The next whole frame: opcode and payload.
    ///
    /// # Errors
    /// When the server masked or split a frame.
    pub(crate) fn next(&mut self) -> io::Result<Option<(u8, &[u8])>> {
        let bytes = &self.bytes[self.start..];
        let &[first, second, ..] = bytes else { return Ok(None) };
        if first & 0xF0 != 0x80 || second & 0x80 != 0 {
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
        if len > MOST {
            return Err(io::Error::other("the server sent a frame that is too long"));
        }
        if bytes.len() < head + len {
            return Ok(None);
        }
        let from = self.start + head;
        self.start = from + len;
        Ok(Some((first & 0x0F, &self.bytes[from..from + len])))
    }

    /// The next text frame, as [`Input::next`]; what else comes is answered into `out`.
    ///
    /// # Errors
    /// As [`Input::next`], and when the server closes.
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
                    put_frame(out, PONG, payload);
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
    /// Connects and shakes hands.
    ///
    /// # Errors
    /// When the server does not answer 101.
    pub(crate) fn connect(addr: SocketAddr) -> io::Result<Self> {
        let mut stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER))?;
        write!(
            stream,
            "GET /v1/ws HTTP/1.1\r\nHost: {addr}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: roomlog.v1\r\n\r\n"
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

    /// Connects and logs in at an open server: `hello` and `welcome` have come.
    ///
    /// # Errors
    /// When the server answers anything else.
    pub(crate) fn login(addr: SocketAddr, author: &str) -> io::Result<Self> {
        let mut socket = Self::connect(addr)?;
        socket.send(&[&format!(r#"{{"type":"login","author":"{author}"}}"#)])?;
        socket.expect("hello")?;
        socket.expect("welcome")?;
        Ok(socket)
    }

    /// Follows a room from its end on.
    ///
    /// # Errors
    /// When the server answers anything but the reply.
    pub(crate) fn join(&mut self, room: &str) -> io::Result<()> {
        self.send(&[&format!(r#"{{"type":"join","room":"{room}","count":0}}"#)])?;
        self.expect("reply").map(drop)
    }

    /// Sends texts, each a frame, in one write.
    ///
    /// # Errors
    /// What writing gives.
    pub(crate) fn send(&mut self, texts: &[impl AsRef<str>]) -> io::Result<()> {
        for text in texts {
            put_text(&mut self.out, text.as_ref().as_bytes());
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.out)?;
        self.out.clear();
        Ok(())
    }

    /// Waits for the next text frame and checks its type.
    ///
    /// # Errors
    /// When another frame comes, or none in 30 s.
    pub(crate) fn expect(&mut self, kind: &str) -> io::Result<String> {
        loop {
            if let Some(text) = self.input.next_text(&mut self.out)? {
                let text = String::from_utf8_lossy(text).into_owned();
                if !text.contains(&format!(r#""type":"{kind}""#)) {
                    return Err(io::Error::other(format!("expected {kind}, got {text}")));
                }
                return Ok(text);
            }
            if !self.out.is_empty() {
                self.flush()?;
            }
            if !self.input.fill(&mut self.stream)? {
                return Err(io::Error::other(format!("the server closed, {kind} was to come")));
            }
        }
    }

    /// The bare stream, for readers that only count; nothing is read that this would lose.
    ///
    /// # Errors
    /// When frames are already here.
    pub(crate) fn into_stream(self) -> io::Result<TcpStream> {
        if self.input.start < self.input.bytes.len() {
            return Err(io::Error::other("frames came before they were asked for"));
        }
        Ok(self.stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_leave_whole_however_they_come() {
        let long = vec![b'x'; 300];
        let mut wire = vec![0x81, 2, b'h', b'i', 0x89, 0, 0x81, 126, 1, 44];
        wire.extend_from_slice(&long);
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
