//! Sockets that do not block: what is there is read, what fits is written.
//!
//! Enters: bytes to send. Leaves: bytes received. Invariant: a call ends when the socket has nothing or takes
//! nothing; an event tells when to call again.

use std::io::{self, ErrorKind, Read, Write};

/// Adds all that has come to `input`.
///
/// # Errors
/// As reading, and [`ErrorKind::UnexpectedEof`] at the end of the stream.
pub(crate) fn read(from: &mut impl Read, input: &mut Vec<u8>, buffer: &mut [u8]) -> io::Result<()> {
    loop {
        match from.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => input.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes as much of `out` as the socket accepts, and removes that from it.
///
/// # Errors
/// As writing.
pub(crate) fn write(to: &mut impl Write, out: &mut Vec<u8>) -> io::Result<()> {
    while !out.is_empty() {
        match to.write(out) {
            Ok(count) => drop(out.drain(..count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
