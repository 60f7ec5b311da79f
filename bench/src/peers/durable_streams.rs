//! Durable Streams, its reference server with the file store: a stream per room, a POST per append, server-sent
//! events for followers.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    path::Path,
};

use super::{
    http1::{self, Client},
    node::Script,
    system::{Ack, Author, Connected, Running, System, connect, entry, name},
};

const JSON: &str = "content-type: application/json\r\n";

/// The server.
pub(crate) struct DurableStreams(pub(crate) Script);

/// An author: one POST at a time.
struct Posts(SocketAddr);

fn path(room: u32) -> String {
    format!("/{}", name(room))
}

impl Author for Posts {
    fn append(&mut self, out: &mut Vec<u8>, room: u32, body: &str, _place: usize) {
        let entry = entry(body);
        http1::put_request(out, ("POST", &path(room)), self.0, JSON, Some(entry.as_bytes()));
    }

    fn answers(
        &mut self,
        input: &[u8],
        _out: &mut Vec<u8>,
        acks: &mut Vec<Ack>,
    ) -> io::Result<usize> {
        let mut taken = 0;
        while let Some(answer) = http1::response(&input[taken..])? {
            http1::is_success(answer.status, &answer.body)?;
            acks.push(Ack::Oldest);
            taken += answer.length;
        }
        Ok(taken)
    }
}

impl System for DurableStreams {
    fn name(&self) -> &'static str {
        "Durable Streams"
    }

    /// Its file store awaits fdatasync of the log, then an LMDB commit whose own flush it does not await.
    fn ack(&self) -> &'static str {
        "fdatasync, then an LMDB commit"
    }

    fn start(&self, dir: &Path) -> io::Result<Running> {
        self.0.start(dir, Some(&dir.join("data")))
    }

    fn prepare(&self, addr: SocketAddr, rooms: u32) -> io::Result<()> {
        let mut client = Client::connect(addr, JSON)?;
        (0..rooms).try_for_each(|room| client.ask("PUT", &path(room), Some(b"")).map(drop))
    }

    fn most_in_flight(&self) -> usize {
        1
    }

    /// Its file store keeps so many files open. With more, it answers 404 when one is closed before it is synced.
    fn most_rooms(&self) -> u32 {
        100
    }

    fn author(&self, addr: SocketAddr, _number: usize) -> io::Result<Connected> {
        Ok((connect(addr)?, Box::new(Posts(addr))))
    }

    fn follower(&self, addr: SocketAddr, room: u32) -> io::Result<Option<TcpStream>> {
        let live = format!("{}?offset=now&live=sse", path(room));
        http1::open(addr, &live, "accept: text/event-stream\r\n").map(Some)
    }

    /// An entry costs it half a millisecond for each: a thousand would take an hour.
    fn most_followers(&self) -> usize {
        100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_an_ack_when_it_is_complete() {
        let addr = ([127, 0, 0, 1], 80).into();
        let wire = b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 204 No Content\r\n\r";
        let mut acks = Vec::new();
        let taken = Posts(addr).answers(wire, &mut Vec::new(), &mut acks).expect("answers");
        assert_eq!((taken, acks), (27, vec![Ack::Oldest]));
        let refused = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
        assert!(Posts(addr).answers(refused, &mut Vec::new(), &mut Vec::new()).is_err());
    }
}
