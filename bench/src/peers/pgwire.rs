//! The messages of PostgreSQL's protocol v3 that the benchmark needs.
//!
//! Enters: statements, parameters. Leaves: messages: a type, a length that counts itself, a body. Invariant: a
//! connection has one prepared statement, `s`; parameters and results are text.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

/// Puts a message of this type, whose body `put` makes.
pub(super) fn message(out: &mut Vec<u8>, kind: u8, put: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    counted(out, put);
}

/// Puts what `put` makes, after its length, which counts itself.
pub(super) fn counted(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    put(out);
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Puts a simple query.
pub(super) fn put_query(out: &mut Vec<u8>, sql: &str) {
    message(out, b'Q', |out| {
        out.extend_from_slice(sql.as_bytes());
        out.push(0);
    });
}

/// Puts a Parse of the connection's only statement, `s`, with the types of its parameters, and a Sync.
pub(super) fn put_parse(out: &mut Vec<u8>, sql: &str, types: &[u32]) {
    message(out, b'P', |out| {
        out.extend_from_slice(b"s\0");
        out.extend_from_slice(sql.as_bytes());
        out.push(0);
        out.extend_from_slice(&u16::try_from(types.len()).unwrap_or(u16::MAX).to_be_bytes());
        types.iter().for_each(|oid| out.extend_from_slice(&oid.to_be_bytes()));
    });
    message(out, b'S', |_| ());
}

/// Puts Bind and Execute of the statement, and a Sync. Parameters and results are text.
pub(super) fn put_execute(out: &mut Vec<u8>, parameters: &[&str]) {
    message(out, b'B', |out| {
        // The unnamed portal, the statement, and no formats, which means text.
        out.extend_from_slice(b"\0s\0\0\0");
        out.extend_from_slice(&u16::try_from(parameters.len()).unwrap_or(u16::MAX).to_be_bytes());
        for parameter in parameters {
            let length = u32::try_from(parameter.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(parameter.as_bytes());
        }
        out.extend_from_slice(&[0, 0]);
    });
    // The unnamed portal, all rows.
    message(out, b'E', |out| out.extend_from_slice(&[0; 5]));
    message(out, b'S', |_| ());
}

/// The type of the first message, its body, and what follows it; `None` if it is not complete.
pub(super) fn first_message(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (kind, rest) = input.split_first()?;
    let length = usize::try_from(u32::from_be_bytes(*rest.first_chunk()?)).ok()?;
    let (message, rest) = rest.split_at_checked(length)?;
    Some((*kind, message.get(4..)?, rest))
}

/// What an ErrorResponse says: its fields start with a letter and end with a zero.
pub(super) fn refused(body: &[u8]) -> io::Error {
    let text = String::from_utf8_lossy(body);
    let field = |letter| text.split('\0').find_map(|field| field.strip_prefix(letter));
    let (code, why) = (field('C').unwrap_or("?"), field('M').unwrap_or("no message"));
    io::Error::other(format!("PostgreSQL: {why} ({code})"))
}

/// Sends messages and reads all that comes until it is ready for the next.
pub(super) fn ask(stream: &mut TcpStream, out: &[u8], reply: &mut Vec<u8>) -> io::Result<()> {
    stream.write_all(out)?;
    reply.clear();
    let (mut buffer, mut seen) = (vec![0; 256 << 10], 0);
    loop {
        while let Some((kind, body, rest)) = first_message(&reply[seen..]) {
            match kind {
                b'E' => return Err(refused(body)),
                b'R' if body != [0; 4] => {
                    return Err(io::Error::other("PostgreSQL wants a password"));
                }
                b'Z' => return Ok(()),
                _ => seen = reply.len() - rest.len(),
            }
        }
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => reply.extend_from_slice(&buffer[..count]),
        }
    }
}
