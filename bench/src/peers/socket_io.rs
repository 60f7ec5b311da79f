//! Socket.IO 4 over WebSocket: events with acks, rooms in memory, nothing stored.
//!
//! ```text
//!  42<id>["append",room,entry] ──► 42["entry",…] to the room, 43<id>[slot] to the author
//! ```

use std::{
    io,
    net::{SocketAddr, TcpStream},
    path::Path,
};

use super::{
    node::Script,
    system::{Ack, Author, Connected, Running, System, connect, entry, name},
};
use crate::ws::{Input, Socket, put_text};

/// The server.
pub(crate) struct SocketIo(pub(crate) Script);

/// An author.
#[derive(Default)]
struct Events(Input);

/// A packet that an author gets.
#[derive(Debug, PartialEq, Eq)]
enum Packet {
    Ping,
    Ack(usize),
}

/// Parses a packet: of Engine.IO the first digit, of Socket.IO the second.
fn packet(text: &[u8]) -> io::Result<Packet> {
    let wrong = || io::Error::other(format!("got {}", String::from_utf8_lossy(text)));
    if text == b"2" {
        return Ok(Packet::Ping);
    }
    let ack = text.strip_prefix(b"43").ok_or_else(wrong)?;
    let digits = ack.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (id, slots) = ack.split_at(digits);
    let id = str::from_utf8(id).ok().and_then(|id| id.parse().ok()).ok_or_else(wrong)?;
    if slots.starts_with(b"[") { Ok(Packet::Ack(id)) } else { Err(wrong()) }
}

/// Connects to the default namespace.
fn log_in(addr: SocketAddr) -> io::Result<Socket> {
    let path = "/socket.io/?EIO=4&transport=websocket";
    let mut socket = Socket::shake_hands(connect(addr)?, addr, path, None)?;
    expect(&mut socket, "0{")?;
    socket.send(&["40"])?;
    expect(&mut socket, "40{")?;
    Ok(socket)
}

/// Waits for a packet that starts with `start`.
fn expect(socket: &mut Socket, start: &str) -> io::Result<()> {
    let text = socket.text(start)?;
    match text.starts_with(start) {
        true => Ok(()),
        false => Err(io::Error::other(format!("expected {start}, got {text}"))),
    }
}

impl Author for Events {
    fn append(&mut self, out: &mut Vec<u8>, room: u32, body: &str, place: usize) {
        let (room, entry) = (name(room), entry(body));
        put_text(out, format!(r#"42{place}["append","{room}",{entry}]"#).as_bytes());
    }

    fn answers(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        acks: &mut Vec<Ack>,
    ) -> io::Result<usize> {
        self.0.add(input);
        while let Some(text) = self.0.next_text(out)? {
            match packet(text)? {
                Packet::Ping => put_text(out, b"3"),
                Packet::Ack(place) => acks.push(Ack::Place(place)),
            }
        }
        Ok(input.len())
    }
}

impl System for SocketIo {
    fn name(&self) -> &'static str {
        "Socket.IO"
    }

    fn ack(&self) -> &'static str {
        "in memory; nothing is stored"
    }

    fn start(&self, dir: &Path) -> io::Result<Running> {
        self.0.start(dir, None)
    }

    fn author(&self, addr: SocketAddr, _number: usize) -> io::Result<Connected> {
        Ok((log_in(addr)?.into_stream()?, Box::<Events>::default()))
    }

    fn follower(&self, addr: SocketAddr, room: u32) -> io::Result<Option<TcpStream>> {
        let mut socket = log_in(addr)?;
        socket.send(&[format!(r#"420["join","{}"]"#, name(room))])?;
        expect(&mut socket, "430")?;
        socket.into_stream().map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::server_text;

    #[test]
    fn packets_are_read_from_single_bytes() {
        let wire = [&b"2"[..], b"4312[7]", b"430[]"].map(server_text).concat();
        let (mut author, mut out, mut acks) = (Events::default(), Vec::new(), Vec::new());
        for byte in wire.chunks(1) {
            assert_eq!(author.answers(byte, &mut out, &mut acks).expect("packets"), 1);
        }
        assert_eq!(acks, [Ack::Place(12), Ack::Place(0)]);
        let mut pong = Vec::new();
        put_text(&mut pong, b"3");
        assert_eq!(out, pong);
    }

    #[test]
    fn other_packets_are_errors() {
        for text in ["", "43", "43[]", "431", "43x[]", "44{}", "41", r#"42["entry"]"#] {
            assert!(packet(text.as_bytes()).is_err(), "{text}");
        }
    }
}
