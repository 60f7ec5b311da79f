//! A TLS session as a state machine in memory: it does I/O only through what it is given.
//!
//! Enters: ciphertext of a client, plaintext for it. Leaves: the reverse. Invariants: no call blocks or
//! waits ([`io::ErrorKind::WouldBlock`] says that the socket has to be waited for); plaintext that was
//! taken is written before any more is taken, so at most one record waits; a handshake is at most
//! [`HANDSHAKE_BYTES`] long.

use std::io::{self, IoSlice, Read, Write};

use rustls::{Error, InvalidMessage, ServerConnection};

/// What a session may hold, in bytes: its state (10 KiB at rest), and at worst a record that has come
/// in part (18 KiB) and one that the socket has not taken (17 KiB).
pub(crate) const TLS_BYTES: usize = 48 << 10;

/// The most plaintext in one record, and so what is taken at a time.
const RECORD_BYTES: usize = 16 << 10;

/// The longest handshake of a client: a hello with all extensions in use is a tenth of it.
const HANDSHAKE_BYTES: usize = 24 << 10;

/// How much of a request in the clear is discarded at most.
const PLAIN_READS: usize = 64;

/// The answer to HTTP in the clear.
const USE_HTTPS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 66\r\nconnection: close\r\n\r\n\
    this port speaks TLS, and the request is plain HTTP: use https://\n";

pub(super) struct TlsSession {
    connection: ServerConnection,
    handshake_bytes: usize,
    /// The client speaks plain HTTP: it is sent nothing of TLS.
    is_refused: bool,
}

impl TlsSession {
    pub(super) fn new(mut connection: ServerConnection) -> Self {
        connection.set_buffer_limit(Some(RECORD_BYTES));
        Self { connection, handshake_bytes: 0, is_refused: false }
    }

    /// Reads plaintext into a buffer that is not empty. 0 is the end: many clients close the socket
    /// without a `close_notify`, and HTTP and WebSocket say themselves where a message ends.
    pub(super) fn read(
        &mut self,
        socket: &mut (impl Read + Write),
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            self.flush_some(socket)?;
            let count = self.receive(socket)?;
            if let Err(error) = self.connection.process_new_packets() {
                // The alert that says what was wrong.
                self.flush_some(socket)?;
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
            if self.connection.is_handshaking() {
                self.handshake_bytes += count;
                if self.handshake_bytes > HANDSHAKE_BYTES {
                    let why = "the client's TLS handshake is too long";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                }
                if count == 0 {
                    return Ok(0);
                }
            }
        }
    }

    /// Reads ciphertext, at most 4 KiB of it.
    fn receive(&mut self, socket: &mut (impl Read + Write)) -> io::Result<usize> {
        if self.handshake_bytes > 0 || !self.connection.is_handshaking() {
            return self.connection.read_tls(socket);
        }
        let mut noting = NotingFirst { from: socket, first: None };
        let count = self.connection.read_tls(&mut noting)?;
        let NotingFirst { from: socket, first } = noting;
        if first.is_some_and(|byte| byte.is_ascii_uppercase()) {
            self.is_refused = true;
            return Err(refuse_plain(socket));
        }
        Ok(count)
    }

    /// Takes plaintext, at most [`RECORD_BYTES`], and writes what the socket takes of it now.
    pub(super) fn write(
        &mut self,
        socket: &mut impl Write,
        pieces: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        self.flush(socket)?;
        let taken = self.connection.writer().write_vectored(pieces)?;
        self.flush_some(socket)?;
        Ok(taken)
    }

    /// Writes what was taken.
    pub(super) fn flush(&mut self, socket: &mut impl Write) -> io::Result<()> {
        while self.connection.wants_write() {
            if self.connection.write_tls(socket)? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(())
    }

    /// Writes what the socket takes now. Whoever waits for a full one writes the rest.
    fn flush_some(&mut self, socket: &mut impl Write) -> io::Result<()> {
        match self.flush(socket) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            flushed => flushed,
        }
    }

    /// Whether something was taken, or has to be answered, that the socket has not taken yet.
    pub(super) fn is_unsent(&self) -> bool {
        self.connection.wants_write()
    }

    /// Says that nothing more comes: [`Self::flush`] writes that.
    pub(super) fn close(&mut self) {
        if !self.is_refused {
            self.connection.send_close_notify();
        }
    }
}

/// A socket of which the first byte is noted.
struct NotingFirst<'a, S> {
    from: &'a mut S,
    first: Option<u8>,
}

impl<S: Read> Read for NotingFirst<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        if self.first.is_none() {
            self.first = buffer[..count].first().copied();
        }
        Ok(count)
    }
}

/// Tells a client that speaks HTTP in the clear to use TLS, as far as its socket takes that. Reads what
/// came before: a socket that is closed with unread bytes discards what was written to it.
fn refuse_plain(socket: &mut (impl Read + Write)) -> io::Error {
    let mut discarded = [0; 1024];
    for _ in 0..PLAIN_READS {
        if !socket.read(&mut discarded).is_ok_and(|count| count > 0) {
            break;
        }
    }
    let _it_may_be_gone = socket.write(USE_HTTPS);
    let why = Error::InvalidMessage(InvalidMessage::InvalidContentType);
    tracing::debug!("plain HTTP on the TLS listener is answered with 400");
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_in_the_clear_has_the_length_that_it_names() {
        let answer = std::str::from_utf8(USE_HTTPS).expect("UTF-8");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
    }
}
