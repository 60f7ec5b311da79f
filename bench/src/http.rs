//! An HTTP client that costs next to nothing: one kept-alive connection, one request at a time.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

use crate::peer::Peer;

/// A connection.
pub(crate) struct Http {
    stream: TcpStream,
    /// Header lines of each request.
    head: String,
    response: Vec<u8>,
}

impl Http {
    /// Connects, as one author.
    pub(crate) fn connect<'a>(peer: impl Into<Peer<'a>>) -> io::Result<Self> {
        let peer = peer.into();
        let stream = TcpStream::connect(peer.addr)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, head: peer.header("reader")?, response: Vec::new() })
    }

    /// Requests a path and returns the body of the response.
    ///
    /// # Errors
    /// If the status is not 200, or the response has no `content-length`.
    pub(crate) fn get(&mut self, path: &str) -> io::Result<&[u8]> {
        let head = &self.head;
        let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{head}\r\n");
        self.stream.write_all(request.as_bytes())?;
        self.response.clear();
        let mut body = None;
        loop {
            let mut buffer = [0; 65_536];
            let count = self.stream.read(&mut buffer)?;
            self.response.extend_from_slice(&buffer[..count]);
            if body.is_none() {
                body = body_span(&self.response)?;
            }
            match body {
                Some((start, end)) if self.response.len() >= end => {
                    return Ok(&self.response[start..end]);
                }
                _ if count == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => {}
            }
        }
    }
}

/// Start and end of the body; `None` until the head is complete.
fn body_span(response: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let Some(head) = memchr::memmem::find(response, b"\r\n\r\n") else { return Ok(None) };
    let text = String::from_utf8_lossy(&response[..head]).to_ascii_lowercase();
    let length: Option<usize> =
        text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    match length {
        Some(length) if text.starts_with("http/1.1 200") => Ok(Some((head + 4, head + 4 + length))),
        _ => Err(io::Error::other(format!("unexpected response: {text}"))),
    }
}
