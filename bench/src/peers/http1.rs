//! HTTP/1.1 as far as peers need it: responses with a length or in chunks, on connections that are kept.
//!
//! Enters: requests. Leaves: responses, as soon as all of their bytes have come. Invariants: what is not a
//! response is an error; trailers are not supported, because no peer sends them.

use std::{
    borrow::Cow,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
};

use super::system::connect;

/// Limit on the bytes of a head, and of the line before a chunk.
const MAX_HEAD: usize = 64 << 10;
const MAX_LINE: usize = 256;

/// How the end of a body is found.
#[derive(Debug, PartialEq, Eq)]
enum Body {
    Bytes(usize),
    Chunks,
}

/// The head of a response.
pub(crate) struct Head {
    pub(crate) status: u16,
    /// Bytes of the head.
    pub(crate) length: usize,
    body: Body,
}

/// A response.
pub(crate) struct Response<'a> {
    pub(crate) status: u16,
    pub(crate) body: Cow<'a, [u8]>,
    /// Bytes of all of it.
    pub(crate) length: usize,
}

fn odd(what: &str, bytes: &[u8]) -> io::Error {
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    io::Error::other(format!("odd {what} from the server: {start:?}"))
}

/// The head at the start of `input`; `None` if it is not complete.
///
/// # Errors
/// If it is none, or its body ends with the connection.
pub(crate) fn head(input: &[u8]) -> io::Result<Option<Head>> {
    let Some(end) = memchr::memmem::find(input, b"\r\n\r\n") else {
        return if input.len() > MAX_HEAD { Err(odd("head", input)) } else { Ok(None) };
    };
    let wrong = || odd("head", input);
    let text = str::from_utf8(&input[..end]).map_err(|_| wrong())?;
    let mut lines = text.split("\r\n");
    let status =
        lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let status: u16 = status.ok_or_else(wrong)?;
    // These have no body, whatever their fields say.
    let mut body = matches!(status, 204 | 304).then_some(Body::Bytes(0));
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let found = match name {
            _ if body.is_some() => break,
            _ if name.eq_ignore_ascii_case("content-length") => {
                Body::Bytes(value.trim().parse().map_err(|_| wrong())?)
            }
            _ if name.eq_ignore_ascii_case("transfer-encoding") => Body::Chunks,
            _ => continue,
        };
        body = Some(found);
    }
    Ok(Some(Head { status, length: end + 4, body: body.ok_or_else(wrong)? }))
}

/// The chunk at the start of `input`, and how many bytes it takes; `None` if it is not complete. The last one
/// of a body is empty.
pub(crate) fn chunk(input: &[u8]) -> io::Result<Option<(&[u8], usize)>> {
    let wrong = || odd("chunk", input);
    let Some(line) = memchr::memmem::find(input, b"\r\n") else {
        return if input.len() > MAX_LINE { Err(wrong()) } else { Ok(None) };
    };
    let size = str::from_utf8(&input[..line]).ok().and_then(|text| text.split(';').next());
    let size = size.and_then(|size| u32::from_str_radix(size.trim(), 16).ok()).ok_or_else(wrong)?;
    let (from, to) = (line + 2, line + 2 + size as usize);
    match input.get(to..to + 2) {
        None => Ok(None),
        Some(b"\r\n") => Ok(Some((&input[from..to], to + 2))),
        Some(_) => Err(wrong()),
    }
}

/// The response at the start of `input`; `None` if it is not complete.
pub(crate) fn response(input: &[u8]) -> io::Result<Option<Response<'_>>> {
    let Some(Head { status, length: mut at, body }) = head(input)? else { return Ok(None) };
    let count = match body {
        Body::Bytes(count) => count,
        Body::Chunks => {
            let mut body = Vec::new();
            while let Some((content, taken)) = chunk(&input[at..])? {
                at += taken;
                if content.is_empty() {
                    return Ok(Some(Response { status, body: body.into(), length: at }));
                }
                body.extend_from_slice(content);
            }
            return Ok(None);
        }
    };
    let body = at.checked_add(count).and_then(|end| input.get(at..end));
    Ok(body.map(|body| Response { status, body: body.into(), length: at + count }))
}

/// An error if a request was refused.
pub(crate) fn is_success(status: u16, body: &[u8]) -> io::Result<()> {
    if (200..300).contains(&status) {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&body[..body.len().min(1_000)]).into_owned();
    Err(io::Error::other(format!("the server answered {status}: {why}")))
}

/// Puts a request. `fields` are header lines.
pub(crate) fn put_request(
    out: &mut Vec<u8>,
    (method, path): (&str, &str),
    addr: SocketAddr,
    fields: &str,
    body: Option<&[u8]>,
) {
    out.extend_from_slice(
        format!("{method} {path} HTTP/1.1\r\nhost: {addr}\r\n{fields}").as_bytes(),
    );
    if let Some(body) = body {
        out.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body.unwrap_or_default());
}

/// A connection with one request at a time.
pub(crate) struct Client {
    stream: TcpStream,
    addr: SocketAddr,
    /// Header lines of each request.
    fields: &'static str,
    input: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr, fields: &'static str) -> io::Result<Self> {
        Ok(Self { stream: connect(addr)?, addr, fields, input: Vec::new() })
    }

    /// Sends a request and returns the body of its response.
    ///
    /// # Errors
    /// If it was refused.
    pub(crate) fn ask(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&[u8]>,
    ) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        put_request(&mut out, (method, path), self.addr, self.fields, body);
        self.stream.write_all(&out)?;
        loop {
            if let Some(found) = response(&self.input)? {
                is_success(found.status, &found.body)?;
                let (body, length) = (found.body.into_owned(), found.length);
                self.input.drain(..length);
                return Ok(body);
            }
            fill(&mut self.stream, &mut self.input)?;
        }
    }
}

/// Reads once.
fn fill(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 64 << 10];
    match stream.read(&mut buffer)? {
        0 => Err(io::Error::other("the server closed instead of answering")),
        count => {
            input.extend_from_slice(&buffer[..count]);
            Ok(())
        }
    }
}

/// Requests a body without an end, of which nothing that matters comes yet: reads its head and what comes
/// with it.
pub(crate) fn open(addr: SocketAddr, path: &str, fields: &str) -> io::Result<TcpStream> {
    let (mut stream, mut out, mut input) = (connect(addr)?, Vec::new(), Vec::new());
    put_request(&mut out, ("GET", path), addr, fields, None);
    stream.write_all(&out)?;
    loop {
        if let Some(head) = head(&input)? {
            is_success(head.status, &input[head.length..])?;
            return Ok(stream);
        }
        fill(&mut stream, &mut input)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Status, body and length.
    fn taken(input: &[u8]) -> Option<(u16, String, usize)> {
        let found = response(input).expect("a response")?;
        let body = String::from_utf8_lossy(&found.body).into_owned();
        Some((found.status, body, found.length))
    }

    #[test]
    fn responses_are_taken_when_they_are_complete() {
        let wires = [
            ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na\r\nb", 200, "a\r\nb"),
            ("HTTP/1.1 204 No Content\r\nx: y\r\n\r\n", 204, ""),
            (
                "HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nA;x\r\n0123456789\r\n0\r\n\r\n",
                201,
                "abc0123456789",
            ),
        ];
        for (wire, status, body) in wires {
            for length in 0..wire.len() {
                assert_eq!(taken(&wire.as_bytes()[..length]), None, "{length} bytes of {wire}");
            }
            let followed = format!("{wire}HTTP/1.1 500");
            assert_eq!(taken(followed.as_bytes()), Some((status, body.to_owned(), wire.len())));
        }
    }

    #[test]
    fn what_is_no_response_is_an_error() {
        for wire in [
            "HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabcd",
        ] {
            assert!(response(wire.as_bytes()).is_err(), "{wire}");
        }
        assert!(head(&[b'x'; MAX_HEAD + 1]).is_err());
        assert!(
            is_success(404, b"nothing").is_err_and(|it| it.to_string().contains("404: nothing"))
        );
    }
}
