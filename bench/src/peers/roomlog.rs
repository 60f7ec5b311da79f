//! Roomlog itself: appends and entries over a WebSocket, pages over HTTP.

use std::{
    io,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

use super::system::{
    Ack, Author, Connected, PAGE, Pager, Reader, Running, System, free_addr, is_page, name,
};
use crate::{
    frame::{append_frame, count_entries},
    http::Http,
    ws::{Input, Socket, put_text},
};

/// The server.
pub(crate) struct Roomlog {
    pub(crate) binary: PathBuf,
}

/// The fields of an answer that matter here.
#[derive(Deserialize)]
struct Answer<'a> {
    r#type: &'a str,
    req: Option<usize>,
}

/// An author of this protocol.
#[derive(Default)]
pub(super) struct Frames(Input);

impl Author for Frames {
    fn append(&mut self, out: &mut Vec<u8>, room: u32, body: &str, place: usize) {
        put_text(out, append_frame(&name(room), body, Some(place)).as_bytes());
    }

    fn answers(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        acks: &mut Vec<Ack>,
    ) -> io::Result<usize> {
        self.0.add(input);
        while let Some(text) = self.0.next_text(out)? {
            match serde_json::from_slice(text) {
                Ok(Answer { r#type: "appended", req: Some(req) }) => acks.push(Ack::Place(req)),
                _ => {
                    return Err(io::Error::other(format!("got {}", String::from_utf8_lossy(text))));
                }
            }
        }
        Ok(input.len())
    }
}

impl System for Roomlog {
    fn name(&self) -> &'static str {
        "Roomlog"
    }

    fn ack(&self) -> &'static str {
        "fdatasync"
    }

    fn start(&self, dir: &Path) -> io::Result<Running> {
        let addr = free_addr()?;
        let mut command = Command::new(&self.binary);
        command.args(["serve", "--admin-listen", "off", "--listen", &addr.to_string(), "--data"]);
        // Followers that count do not answer pings.
        command.arg(dir.join("data")).args(["--ping-ms", "3600000", "--idle-ms", "7200000"]);
        Running::start(&mut command, addr, dir)
    }

    fn author(&self, addr: SocketAddr, number: usize) -> io::Result<Connected> {
        let stream = Socket::login(addr, &format!("author-{number}"))?.into_stream()?;
        Ok((stream, Box::<Frames>::default()))
    }

    fn follower(&self, addr: SocketAddr, room: u32) -> io::Result<Option<TcpStream>> {
        let mut socket = Socket::login(addr, "follower")?;
        socket.join(&name(room))?;
        socket.into_stream().map(Some)
    }

    fn reader(
        &self,
        addr: SocketAddr,
        room: u32,
        first: u64,
        count: u64,
    ) -> io::Result<Option<Reader>> {
        let mut socket = Socket::login(addr, "reader")?;
        let room = name(room);
        Ok(Some(Box::new(move || {
            let after = i64::try_from(first).unwrap_or(i64::MAX) - 1;
            socket.send(&[format!(r#"{{"type":"join","room":"{room}","after":{after}}}"#)])?;
            let mut found = 0;
            while found < count {
                found += count_entries(socket.text("entries")?.as_bytes());
            }
            Ok(())
        })))
    }

    fn pager(&self, addr: SocketAddr, room: u32) -> io::Result<Option<Pager>> {
        let mut http = Http::connect(addr)?;
        Ok(Some(Box::new(move |slot| {
            let (room, upto) = (name(room), slot + PAGE - 1);
            let path = format!("/v1/rooms/{room}/entries?count={PAGE}&upto={upto}");
            is_page(count_entries(http.get(&path)?))
        })))
    }
}
