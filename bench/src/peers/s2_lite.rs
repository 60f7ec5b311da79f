//! s2-lite, the server of S2 for one machine, with files: a stream per room, append and read sessions.
//!
//! ```text
//!  frames in both bodies of an HTTP request, each in a chunk:
//!  length (3 bytes) │ flags (1) │ a message of Protocol Buffers; with TERMINAL: status (2), JSON
//! ```

use std::{
    fs,
    io::{self, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    http1::{self, Client},
    system::{
        Ack, Author, Connected, PAGE, Pager, Reader, Running, System, connect, entry, free_addr,
        is_page, name,
    },
};
use crate::{frame::count_entries, receivers::Receivers};

/// What the server makes when it starts.
const INIT: &str = r#"{"basins":[{"name":"roomlog-bench"}]}"#;

/// Header lines of each request.
const JSON: &str =
    "s2-basin: roomlog-bench\r\nauthorization: Bearer any\r\ncontent-type: application/json\r\n";
const PAGES: &str =
    "s2-basin: roomlog-bench\r\nauthorization: Bearer any\r\naccept: application/protobuf\r\n";
const SESSION: &str =
    "s2-basin: roomlog-bench\r\nauthorization: Bearer any\r\ncontent-type: s2s/proto\r\n";

/// The flag of a frame that ends a session.
const TERMINAL: u8 = 0x80;

/// The server.
pub(crate) struct S2Lite {
    pub(crate) binary: PathBuf,
}

/// An author: an append session.
#[derive(Default)]
struct Session {
    /// Whether the head of the response has come.
    open: bool,
    /// Content of chunks that is not a frame yet.
    content: Vec<u8>,
}

/// Puts a field that has a length: its number must be below 16.
fn put_field(out: &mut Vec<u8>, number: u8, value: &[u8]) {
    out.push(number << 3 | 2);
    let mut length = value.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(value);
}

/// Puts a frame with one record, in a chunk. Its body must be shorter than 1 MiB.
fn put_record(out: &mut Vec<u8>, body: &[u8]) {
    let (mut record, mut input) = (Vec::new(), Vec::new());
    put_field(&mut record, 3, body);
    put_field(&mut input, 1, &record);
    let [_, length @ ..] = (input.len() as u32 + 1).to_be_bytes();
    out.extend_from_slice(format!("{:x}\r\n", input.len() + 4).as_bytes());
    out.extend_from_slice(&length);
    out.push(0);
    out.extend_from_slice(&input);
    out.extend_from_slice(b"\r\n");
}

/// The length of the frame at the start of `content`; `None` if it is not complete.
///
/// # Errors
/// If it ends the session.
fn frame(content: &[u8]) -> io::Result<Option<usize>> {
    let &[a, b, c, ..] = content else { return Ok(None) };
    let length = 3 + u32::from_be_bytes([0, a, b, c]) as usize;
    match content.get(3..length) {
        None => Ok(None),
        Some([flags, ..]) if flags & TERMINAL == 0 => Ok(Some(length)),
        Some(end) => {
            let why = String::from_utf8_lossy(end.get(3..).unwrap_or_default()).into_owned();
            Err(io::Error::other(format!("the server ended the session: {why}")))
        }
    }
}

fn records(room: u32) -> String {
    format!("/v1/streams/{}/records", name(room))
}

impl Author for Session {
    fn append(&mut self, out: &mut Vec<u8>, _room: u32, body: &str, _place: usize) {
        put_record(out, entry(body).as_bytes());
    }

    fn answers(
        &mut self,
        input: &[u8],
        _out: &mut Vec<u8>,
        acks: &mut Vec<Ack>,
    ) -> io::Result<usize> {
        let mut taken = 0;
        if !self.open {
            let Some(head) = http1::head(input)? else { return Ok(0) };
            http1::is_success(head.status, &input[head.length..])?;
            (self.open, taken) = (true, head.length);
        }
        while let Some((content, length)) = http1::chunk(&input[taken..])? {
            if content.is_empty() {
                return Err(io::Error::other("the server ended the session"));
            }
            self.content.extend_from_slice(content);
            taken += length;
        }
        let mut done = 0;
        while let Some(length) = frame(&self.content[done..])? {
            acks.push(Ack::Oldest);
            done += length;
        }
        self.content.drain(..done);
        Ok(taken)
    }
}

impl System for S2Lite {
    fn name(&self) -> &'static str {
        "s2-lite"
    }

    /// It flushes what has come every 5 ms into a file of its local object store, with fsync.
    fn ack(&self) -> &'static str {
        "fsync, every 5 ms"
    }

    fn start(&self, dir: &Path) -> io::Result<Running> {
        let (addr, init) = (free_addr()?, dir.join("init.json"));
        fs::write(&init, INIT)?;
        let mut command = Command::new(&self.binary);
        command.args(["--port", &addr.port().to_string(), "--no-dashboard", "--init-file"]);
        command.arg(init).arg("--local-root").arg(dir.join("data")).env("RUST_LOG", "warn");
        Running::start(&mut command, addr, dir)
    }

    fn prepare(&self, addr: SocketAddr, rooms: u32) -> io::Result<()> {
        let mut client = Client::connect(addr, JSON)?;
        (0..rooms).try_for_each(|room| {
            let body = format!(r#"{{"stream":"{}"}}"#, name(room));
            client.ask("POST", "/v1/streams", Some(body.as_bytes())).map(drop)
        })
    }

    /// A session is of one stream.
    fn most_rooms(&self) -> u32 {
        1
    }

    fn author(&self, addr: SocketAddr, _number: usize) -> io::Result<Connected> {
        let (mut stream, mut out) = (connect(addr)?, Vec::new());
        let fields = format!("{SESSION}transfer-encoding: chunked\r\n");
        http1::put_request(&mut out, ("POST", &records(0)), addr, &fields, None);
        stream.write_all(&out)?;
        Ok((stream, Box::<Session>::default()))
    }

    fn follower(&self, addr: SocketAddr, room: u32) -> io::Result<Option<TcpStream>> {
        http1::open(addr, &format!("{}?tail_offset=0", records(room)), SESSION).map(Some)
    }

    fn reader(
        &self,
        addr: SocketAddr,
        room: u32,
        first: u64,
        count: u64,
    ) -> io::Result<Option<Reader>> {
        let (mut stream, mut out) = (connect(addr)?, Vec::new());
        let path = format!("{}?seq_num={first}", records(room));
        http1::put_request(&mut out, ("GET", &path), addr, SESSION, None);
        Ok(Some(Box::new(move || {
            stream.write_all(&out)?;
            Receivers::new(vec![stream])?.take(count)
        })))
    }

    fn pager(&self, addr: SocketAddr, room: u32) -> io::Result<Option<Pager>> {
        let mut client = Client::connect(addr, PAGES)?;
        Ok(Some(Box::new(move |slot| {
            let path = format!("{}?seq_num={slot}&count={PAGE}", records(room));
            is_page(count_entries(&client.ask("GET", &path, None)?))
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acks_are_read_from_single_bytes() {
        // Two frames, of which the second is split between chunks.
        let wire = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
            8\r\n\0\0\x03\0ab\0\0\r\n3\r\n\x02\0c\r\n";
        let (mut author, mut input, mut acks) = (Session::default(), Vec::new(), Vec::new());
        for byte in wire {
            input.push(*byte);
            let taken = author.answers(&input, &mut Vec::new(), &mut acks).expect("acks");
            input.drain(..taken);
        }
        assert_eq!((input.len(), acks), (0, vec![Ack::Oldest; 2]));
        for end in [&b"7\r\n\0\0\x04\x80\x01\x99x\r\n"[..], b"0\r\n\r\n"] {
            assert!(author.answers(end, &mut Vec::new(), &mut Vec::new()).is_err());
        }
    }

    #[test]
    fn a_record_is_a_frame_in_a_chunk() {
        let mut out = Vec::new();
        put_record(&mut out, &[b'x'; 200]);
        let (content, length) = http1::chunk(&out).expect("a chunk").expect("all of it");
        assert_eq!(length, out.len());
        assert_eq!(frame(content).expect("a frame"), Some(content.len()));
        assert_eq!(content[..10], [0, 0, 207, 0, 0x0A, 203, 1, 0x1A, 200, 1]);
        assert_eq!(content.len(), 10 + 200);
    }
}
