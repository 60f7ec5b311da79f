//! Redis with `appendfsync always`: XADD to a stream per room, PUBLISH to its followers, XRANGE to read.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
};

use super::system::{
    Ack, Author, Connected, PAGE, Pager, Reader, Running, System, connect, free_addr, is_page,
    name, read_pages,
};
use crate::frame::count_entries;

/// How many entries a reader asks for at once.
const READ: u64 = 1_000;

/// The server.
pub(crate) struct Redis;

/// An author, and what it puts.
enum Resp {
    /// Entries whose ids Redis chooses.
    Entries,
    /// Entries of which the one at slot N has the id N+1, and the next slot.
    Slots(u64),
    /// Entries, and a message to the followers of the room for each.
    Told,
}

/// Puts a command: an array of bulk strings (RESP2).
fn put(out: &mut Vec<u8>, words: &[&str]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
}

/// The first line of a reply and what follows it; `None` if it is not complete.
fn line(input: &[u8]) -> Option<(&str, &[u8])> {
    let end = memchr::memmem::find(input, b"\r\n")?;
    Some((str::from_utf8(&input[..end]).ok()?, &input[end + 2..]))
}

/// What follows a reply; `None` if it is not complete.
fn after_reply(input: &[u8]) -> Option<&[u8]> {
    let (head, mut rest) = line(input)?;
    let count: i64 = head.get(1..)?.parse().unwrap_or(0);
    match head.as_bytes().first()? {
        b'$' if count >= 0 => rest.get(usize::try_from(count).ok()? + 2..),
        b'*' => {
            for _ in 0..count {
                rest = after_reply(rest)?;
            }
            Some(rest)
        }
        _ => Some(rest),
    }
}

/// Sends a command and reads its reply.
fn ask(stream: &mut TcpStream, words: &[&str], reply: &mut Vec<u8>) -> io::Result<()> {
    let mut out = Vec::new();
    put(&mut out, words);
    stream.write_all(&out)?;
    reply.clear();
    let mut buffer = vec![0; 256 << 10];
    while after_reply(reply).is_none() {
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => reply.extend_from_slice(&buffer[..count]),
        }
    }
    if reply.starts_with(b"-") {
        return Err(refused(reply));
    }
    Ok(())
}

fn refused(reply: &[u8]) -> io::Error {
    io::Error::other(String::from_utf8_lossy(reply).into_owned())
}

impl Author for Resp {
    fn append(&mut self, out: &mut Vec<u8>, room: u32, body: &str, _place: usize) {
        let (key, id) = (name(room), ulid::Ulid::generate().to_string());
        let at = match self {
            Self::Slots(slot) => {
                *slot += 1;
                format!("{slot}-0")
            }
            Self::Entries | Self::Told => "*".into(),
        };
        put(out, &["XADD", &key, &at, "author", "ada", "id", &id, "body", body]);
        if let Self::Told = self {
            put(out, &["PUBLISH", &key, &format!("ada {id} {body}")]);
        }
    }

    fn answers(
        &mut self,
        input: &[u8],
        _out: &mut Vec<u8>,
        acks: &mut Vec<Ack>,
    ) -> io::Result<usize> {
        let mut rest = input;
        while let Some(after) = after_reply(rest) {
            match rest.first() {
                // Of PUBLISH: how many received it.
                Some(b':') => {}
                Some(b'-') => return Err(refused(rest)),
                _ => acks.push(Ack::Oldest),
            }
            rest = after;
        }
        Ok(input.len() - rest.len())
    }
}

impl System for Redis {
    fn name(&self) -> &'static str {
        "Redis"
    }

    fn ack(&self) -> &'static str {
        "fdatasync (appendfsync always)"
    }

    fn start(&self, dir: &Path) -> io::Result<Running> {
        let addr = free_addr()?;
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &addr.port().to_string(), "--dir"]).arg(dir);
        // Without snapshots, whose forks would be measured too.
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
        command.args(["--maxclients", "20000", "--tcp-keepalive", "0"]);
        Running::start(&mut command, addr, dir)
    }

    fn author(&self, addr: SocketAddr, _number: usize) -> io::Result<Connected> {
        Ok((connect(addr)?, Box::new(Resp::Entries)))
    }

    fn loader(&self, addr: SocketAddr) -> io::Result<Connected> {
        Ok((connect(addr)?, Box::new(Resp::Slots(0))))
    }

    fn teller(&self, addr: SocketAddr) -> io::Result<Connected> {
        Ok((connect(addr)?, Box::new(Resp::Told)))
    }

    fn follower(&self, addr: SocketAddr, room: u32) -> io::Result<Option<TcpStream>> {
        let mut stream = connect(addr)?;
        ask(&mut stream, &["SUBSCRIBE", &name(room)], &mut Vec::new())?;
        Ok(Some(stream))
    }

    fn reader(
        &self,
        addr: SocketAddr,
        room: u32,
        first: u64,
        count: u64,
    ) -> io::Result<Option<Reader>> {
        let (mut stream, key) = (connect(addr)?, name(room));
        Ok(Some(Box::new(move || {
            let (mut reply, most) = (Vec::new(), READ.to_string());
            read_pages(first, count, |slot| {
                let from = format!("{}-0", slot + 1);
                ask(&mut stream, &["XRANGE", &key, &from, "+", "COUNT", &most], &mut reply)?;
                Ok(count_entries(&reply))
            })
        })))
    }

    fn pager(&self, addr: SocketAddr, room: u32) -> io::Result<Option<Pager>> {
        let (mut stream, key, mut reply) = (connect(addr)?, name(room), Vec::new());
        Ok(Some(Box::new(move |slot| {
            let (from, most) = (format!("{}-0", slot + 1), PAGE.to_string());
            ask(&mut stream, &["XRANGE", &key, &from, "+", "COUNT", &most], &mut reply)?;
            is_page(count_entries(&reply))
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_taken_when_they_are_complete() {
        let wire = b"$3\r\n1-0\r\n:4\r\n*2\r\n$-1\r\n*1\r\n+OK\r\n";
        let whole = |bytes: &[u8]| after_reply(bytes).map(<[u8]>::len);
        assert_eq!(whole(wire), Some(wire.len() - 9));
        assert_eq!(whole(&wire[13..]), Some(0));
        for length in 0..9 {
            assert_eq!(whole(&wire[..length]), None, "{length} bytes");
        }
        let mut acks = Vec::new();
        let taken = Resp::Told.answers(&wire[..13], &mut Vec::new(), &mut acks).expect("replies");
        assert_eq!((taken, acks), (13, vec![Ack::Oldest]));
    }
}
