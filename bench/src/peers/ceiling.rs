//! The floor of appends: what a server of this protocol can do at the most here, in whole turns.
//!
//! ```text
//!  every ready socket ─► frames ─► slots, digests ─► one write, one fdatasync ─► one write per socket
//! ```
//!
//! Enters: appends over WebSockets. Leaves: their answers, after the fdatasync of their turn. Invariants: one
//! thread does all; the file was written in full before the first append. It folds nothing, keeps no tail, and
//! checks no more than that an id is new, so it cannot be followed or read: nobody should use it for anything else.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io,
    net::SocketAddr,
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
    process::Command,
    time::SystemTime,
};

use mio::{Events, Interest, Poll, Token, event::Event, net::TcpListener};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use siphasher::sip128::{Hasher128, SipHasher13};

use super::{
    roomlog::Frames,
    system::{Connected, Running, System, free_addr},
};
use crate::{
    nonblocking,
    ws::{Socket, put_server_text},
};

/// The subcommand that starts the server.
const COMMAND: &str = "ceiling-floor";

/// Bytes in the file. When it is full, it is written from its start again.
const SEGMENT: usize = 64 << 20;

/// Limit on the bytes of a frame.
const MAX_FRAME: usize = 1 << 20;

/// The answer to an upgrade; the key in it is that of our client, which is always the same.
const UPGRADED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Protocol: roomlog.v1\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

const LISTENER: Token = Token(usize::MAX);

/// The system.
pub(crate) struct Ceiling;

impl System for Ceiling {
    fn name(&self) -> &'static str {
        "floor: whole turns"
    }

    fn ack(&self) -> &'static str {
        "fdatasync; nothing else is done"
    }

    fn start(&self, dir: &Path) -> io::Result<Running> {
        let addr = free_addr()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args([COMMAND, &addr.to_string()]).arg(dir);
        Running::start(&mut command, addr, dir)
    }

    fn author(&self, addr: SocketAddr, number: usize) -> io::Result<Connected> {
        let stream = Socket::login(addr, &format!("author-{number}"))?.into_stream()?;
        Ok((stream, Box::<Frames>::default()))
    }
}

/// What a client sends: a login or an append.
#[derive(Deserialize)]
struct Message<'a> {
    r#type: &'a str,
    #[serde(default)]
    author: &'a str,
    #[serde(default)]
    room: &'a str,
    #[serde(default)]
    id: &'a str,
    #[serde(default)]
    body: std::borrow::Cow<'a, str>,
    #[serde(default)]
    req: u64,
}

/// Finds the text frame at the start of `bytes` and takes its mask off: where its text is; `None` if it is
/// not complete. The frame ends with its text.
///
/// # Errors
/// If it is no whole, masked text frame, or too long.
fn frame(bytes: &mut [u8]) -> io::Result<Option<Range<usize>>> {
    let &mut [first, second, ..] = bytes else { return Ok(None) };
    if first != 0x81 || second & 0x80 == 0 {
        return Err(io::Error::other(format!("not a client's text frame: {first:#x} {second:#x}")));
    }
    let (head, length) = match (second & 0x7F, &*bytes) {
        (126, [_, _, a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
        (126 | 127, _) if bytes.len() < 10 => return Ok(None),
        (127, [_, _, length @ ..]) => {
            let length = length.first_chunk().map_or(0, |it| u64::from_be_bytes(*it));
            (10, usize::try_from(length).unwrap_or(usize::MAX))
        }
        (length, _) => (2, usize::from(length)),
    };
    if length > MAX_FRAME {
        return Err(io::Error::other("a frame that is too long"));
    }
    let text = head + 4..head + 4 + length;
    let Some(&mask) = bytes[head..].first_chunk::<4>() else { return Ok(None) };
    let Some(masked) = bytes.get_mut(text.clone()) else { return Ok(None) };
    let (words, rest) = masked.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
    Ok(Some(text))
}

/// The end of a room.
#[derive(Default)]
struct Room {
    next: u64,
    digest: [u8; 32],
}

/// The file, and what is known of the entries in it.
struct Log {
    file: File,
    at: u64,
    /// The entries of this turn.
    block: Vec<u8>,
    /// When this turn began, in Unix milliseconds.
    now: u64,
    rooms: HashMap<String, Room>,
    ids: HashSet<u128>,
}

impl Log {
    fn new(dir: &Path) -> io::Result<Self> {
        let file = File::create(dir.join("entries"))?;
        file.write_all_at(&vec![0; SEGMENT], 0)?;
        file.sync_all()?;
        let (block, rooms, ids) = (Vec::new(), HashMap::new(), HashSet::new());
        Ok(Self { file, at: 0, block, now: 0, rooms, ids })
    }

    /// Gives an append the next slot of its room, and puts its entry into the block.
    fn add(&mut self, author: &str, message: &Message<'_>) -> io::Result<u64> {
        let Message { room, id, body, .. } = message;
        let mut key = SipHasher13::new();
        std::hash::Hash::hash(&(room, author, id), &mut key);
        if !self.ids.insert(key.finish128().as_u128()) {
            return Err(io::Error::other("a repeat, which this floor has no answer for"));
        }
        if !self.rooms.contains_key(*room) {
            self.rooms.insert((*room).to_owned(), Room::default());
        }
        let end = self.rooms.get_mut(*room).ok_or(io::ErrorKind::NotFound)?;
        let (slot, now) = (end.next.to_be_bytes(), self.now.to_be_bytes());
        let salt: [u8; 12] = rand::random();
        let commitment = Sha256::new().chain_update(salt).chain_update(&**body).finalize();
        let digest = Sha256::new().chain_update(end.digest).chain_update(slot).chain_update(now);
        let digest = digest.chain_update(author).chain_update(id).chain_update(commitment);
        end.digest = digest.finalize().into();
        // What a repeat would be compared with.
        let content = Sha256::new().chain_update(room).chain_update(&**body).finalize();
        for part in [&slot[..], &now, &salt, &end.digest, &content] {
            self.block.extend_from_slice(part);
        }
        for text in [room, author, id, body] {
            self.block.extend_from_slice(&(text.len() as u32).to_be_bytes());
            self.block.extend_from_slice(text.as_bytes());
        }
        end.next += 1;
        Ok(end.next - 1)
    }

    /// Writes the block and waits for stable storage.
    fn commit(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let length = self.block.len() as u64;
        if self.at + length > SEGMENT as u64 {
            self.at = 0;
        }
        self.file.write_all_at(&self.block, self.at)?;
        self.file.sync_data()?;
        self.at += length;
        self.block.clear();
        Ok(())
    }
}

/// A client.
struct Connection {
    tcp: mio::net::TcpStream,
    input: Vec<u8>,
    out: Vec<u8>,
    upgraded: bool,
    author: String,
}

impl Connection {
    /// Reads all that has come, and puts the answers into `out`.
    fn read(&mut self, log: &mut Log, buffer: &mut [u8]) -> io::Result<()> {
        nonblocking::read(&mut self.tcp, &mut self.input, buffer)?;
        let mut taken = 0;
        if !self.upgraded {
            let Some(end) = memchr::memmem::find(&self.input, b"\r\n\r\n") else { return Ok(()) };
            if !self.input.starts_with(b"GET /v1/ws ") {
                return Err(io::Error::other("not a request for /v1/ws"));
            }
            self.upgraded = true;
            self.out.extend_from_slice(UPGRADED);
            put_server_text(&mut self.out, br#"{"type":"hello","protocol":1}"#);
            taken = end + 4;
        }
        while let Some(text) = frame(&mut self.input[taken..])? {
            let end = taken + text.end;
            let message: Message<'_> =
                serde_json::from_slice(&self.input[taken + text.start..end])?;
            match message.r#type {
                "login" => {
                    message.author.clone_into(&mut self.author);
                    let welcome = format!(r#"{{"type":"welcome","author":"{}"}}"#, self.author);
                    put_server_text(&mut self.out, welcome.as_bytes());
                }
                "append" => {
                    let slot = log.add(&self.author, &message)?;
                    // Names that were borrowed from JSON had no escapes, and need none.
                    let (Message { room, id, req, .. }, now) = (message, log.now);
                    let answer = format!(
                        r#"{{"type":"appended","room":"{room}","id":"{id}","slot":{slot},"committed_at":{now},"req":{req}}}"#
                    );
                    put_server_text(&mut self.out, answer.as_bytes());
                }
                other => return Err(io::Error::other(format!("a frame of type {other}"))),
            }
            taken = end;
        }
        self.input.drain(..taken);
        Ok(())
    }

    /// Writes as much as the socket accepts; an event comes when it accepts more.
    fn flush(&mut self) -> io::Result<()> {
        nonblocking::write(&mut self.tcp, &mut self.out)
    }
}

/// The connections, by their tokens.
#[derive(Default)]
struct Connections(Vec<Option<Connection>>);

impl Connections {
    fn accept(&mut self, listener: &TcpListener, poll: &Poll) -> io::Result<()> {
        loop {
            let mut tcp = match listener.accept() {
                Ok((tcp, _)) => tcp,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            tcp.set_nodelay(true)?;
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut tcp, Token(self.0.len()), both)?;
            let (input, out, author) = (Vec::new(), Vec::new(), String::new());
            self.0.push(Some(Connection { tcp, input, out, upgraded: false, author }));
        }
    }

    /// Does this with each connection that has an event; one that fails is dropped.
    fn each_ready(
        &mut self,
        events: &Events,
        mut act: impl FnMut(&mut Connection) -> io::Result<()>,
    ) {
        for Token(number) in events.iter().map(Event::token) {
            let Some(place) = self.0.get_mut(number) else { continue };
            let Some(connection) = place else { continue };
            if let Err(error) = act(connection) {
                eprintln!("floor: client {number}: {error}");
                *place = None;
            }
        }
    }
}

/// Runs the server on `addr`, with its file in `dir`, until it is killed.
pub(crate) fn serve(addr: SocketAddr, dir: &Path) -> io::Result<()> {
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1_024));
    let (mut log, mut buffer) = (Log::new(dir)?, vec![0; 256 << 10]);
    let mut connections = Connections::default();
    let mut listener = TcpListener::bind(addr)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        log.now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        if events.iter().any(|event| event.token() == LISTENER) {
            connections.accept(&listener, &poll)?;
        }
        connections.each_ready(&events, |it| it.read(&mut log, &mut buffer));
        log.commit()?;
        connections.each_ready(&events, Connection::flush);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client's frame of this text, masked.
    fn masked(text: &[u8]) -> Vec<u8> {
        let mask = [7, 0, 250, 33];
        let mut bytes = vec![0x81];
        match text.len() {
            length @ 0..=125 => bytes.push(0x80 | length as u8),
            length @ 126..=0xFFFF => {
                bytes.push(0x80 | 126);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                bytes.push(0x80 | 127);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(&mask);
        bytes.extend(text.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    #[test]
    fn frames_are_found_when_they_are_complete() {
        for length in [0, 1, 125, 126, 203, 0xFFFF, 0x1_0000] {
            let text: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let mut bytes = masked(&text);
            let whole = bytes.len();
            for part in (0..whole.min(20)).chain([whole - 1]) {
                assert_eq!(frame(&mut bytes[..part]).expect("a frame"), None, "{part} of {whole}");
            }
            bytes.extend_from_slice(&[0x81, 0x80]);
            let found = frame(&mut bytes).expect("a frame").expect("all of it");
            assert_eq!(found.end, whole);
            assert_eq!(bytes[found], text);
        }
    }

    #[test]
    fn other_frames_are_refused() {
        frame(&mut [0x81, 0x05]).expect_err("without a mask");
        frame(&mut [0x88, 0x80]).expect_err("not a text");
        frame(&mut [0x01, 0x80]).expect_err("a part of a message");
        let mut long = [0x81, 0xFF, 255, 255, 255, 255, 255, 255, 255, 255];
        frame(&mut long).expect_err("too long");
    }
}
