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

pub(crate) struct TlsSession {
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
    use std::{collections::VecDeque, sync::Arc};

    use rustls::{
        ClientConfig, ClientConnection, RootCertStore, ServerConfig,
        crypto::aws_lc_rs::default_provider, pki_types::ServerName,
    };

    use super::*;

    /// A socket: what came, what was written, and how much more it takes.
    #[derive(Default)]
    struct Wire {
        came: VecDeque<u8>,
        written: VecDeque<u8>,
        room: usize,
    }

    impl Read for Wire {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.came.is_empty() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.came.read(buffer)
        }
    }

    impl Write for Wire {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let count = self.written.write(&bytes[..bytes.len().min(self.room)])?;
            self.room -= count;
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn pair() -> (TlsSession, ClientConnection) {
        let made = rcgen::generate_simple_self_signed(["a".to_owned()]).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("an issuer");
        let provider = || Arc::new(default_provider());
        let server = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], made.signing_key.into())
            .expect("a key");
        let client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("a").expect("a name");
        (
            TlsSession::new(ServerConnection::new(Arc::new(server)).expect("a session")),
            ClientConnection::new(Arc::new(client), name).expect("a session"),
        )
    }

    /// Moves what the client has to send, and gives it what the server has written.
    fn exchange(client: &mut ClientConnection, wire: &mut Wire) {
        while client.wants_write() {
            client.write_tls(&mut wire.came).expect("sent");
        }
        while !wire.written.is_empty() {
            client.read_tls(&mut wire.written).expect("read");
            client.process_new_packets().expect("TLS");
        }
    }

    #[test]
    fn a_full_socket_makes_a_session_hold_one_record_and_what_was_taken_arrives() {
        let ((mut session, mut client), mut wire) = (pair(), Wire::default());
        // The socket takes a byte at a time: whoever waits for it writes the handshake.
        for _ in 0..10_000 {
            exchange(&mut client, &mut wire);
            wire.room = 1;
            let read = session.read(&mut wire, &mut [0; 64]).map_err(|error| error.kind());
            assert_eq!(read, Err(io::ErrorKind::WouldBlock));
        }
        assert!(!client.is_handshaking() && !session.is_unsent());
        let sent: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        let mut taken = 0;
        let mut received = Vec::new();
        while received.len() < sent.len() {
            wire.room = 1_000;
            match session.write(&mut wire, &[IoSlice::new(&sent[taken..])]) {
                Ok(count) => taken += count,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            assert!(taken <= received.len() + 2 * RECORD_BYTES, "{taken} {}", received.len());
            exchange(&mut client, &mut wire);
            let _all_that_is_there = client.reader().read_to_end(&mut received);
        }
        assert_eq!(received, sent);
    }

    #[test]
    fn the_answer_in_the_clear_has_the_length_that_it_names() {
        let answer = std::str::from_utf8(USE_HTTPS).expect("UTF-8");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
    }
}
