//! The two halves of a WebSocket: frames are read by a library ([`Socket`]), and written by us ([`Out`]).
//!
//! Enters: bytes of a client; frames for it, whole, as bytes that may be shared with other connections.
//! Leaves: messages; the same frames, in order, all that waits in one write. Invariant: a frame is
//! written whole before the next; how much may wait is the connection's to keep in bounds
//! ([`Out::bytes`]).
//!
//! The server's frames are unmasked and whole, so one commit's bytes serve every follower; a library
//! that writes would frame, copy and flush them for each (`docs/decisions/0001`). What the library
//! would write by itself, pongs and closes, is discarded here and written by the connection.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use roomlog_protocol::CloseCode;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};
use tokio_websockets::{Error, Limits, Message, ServerBuilder, WebSocketStream};

use crate::wire;

/// How long a client that is told why it is closed may take to read that.
const LINGER: Duration = Duration::from_secs(2);

/// How much a client that is closed may still send before it is cut, in bytes.
const LINGER_BYTES: u64 = 16 << 20;

/// How a connection ends: the close frame that says why, or `None` if there is nobody to tell.
pub(super) struct End(pub(super) Option<(CloseCode, String)>);

impl End {
    pub(super) fn close(code: CloseCode, reason: impl Into<String>) -> Self {
        Self(Some((code, reason.into())))
    }

    pub(super) const GONE: Self = Self(None);
}

/// The reading half.
pub(super) struct Socket(WebSocketStream<ReadOnly>);

/// The reading half of the TCP connection, behind what came with the handshake.
struct ReadOnly {
    read: Bytes,
    half: OwnedReadHalf,
}

impl Socket {
    pub(super) fn new(
        stream: TcpStream,
        read: Bytes,
        frame_bytes: usize,
    ) -> (Self, OwnedWriteHalf) {
        let (half, write) = stream.into_split();
        // Even when it is empty it would hold the buffer that the handshake was read into.
        let read = if read.is_empty() { Bytes::new() } else { read };
        let limits = Limits::default().max_payload_len(Some(frame_bytes));
        let stream = ServerBuilder::new().limits(limits).serve(ReadOnly { read, half });
        (Self(stream), write)
    }

    /// The next frame; `None` when the client is gone. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<Result<Message, Error>> {
        self.0.next().await
    }
}

/// How a connection ends whose bytes are not WebSocket frames that we take.
pub(super) fn end_of(error: &Error) -> End {
    use tokio_websockets::proto::ProtocolError;
    match error {
        Error::PayloadTooLong { max_len, .. } => {
            End::close(CloseCode::TooBig, format!("a frame may have {max_len} bytes"))
        }
        Error::Protocol(ProtocolError::InvalidUtf8) => {
            End::close(CloseCode::NotUtf8, "a text frame must be UTF-8")
        }
        Error::Protocol(problem) => End::close(CloseCode::Protocol, problem.to_string()),
        _ => End::GONE,
    }
}

/// Writes what is left and the close frame, then lets the client read them: closing a TCP connection
/// that still has something to read would throw them away.
pub(super) async fn finish(
    socket: Socket,
    mut write: OwnedWriteHalf,
    mut out: Out,
    close: Option<(CloseCode, String)>,
) {
    let Some((code, reason)) = close else { return };
    out.push(wire::close_frame(code, &reason));
    let mut left = socket.0.into_inner().half.take(LINGER_BYTES);
    let _cut_off = timeout(LINGER, async {
        while out.write(&write)? {
            write.writable().await?;
        }
        write.shutdown().await?;
        tokio::io::copy(&mut left, &mut tokio::io::sink()).await
    })
    .await;
}

impl AsyncRead for ReadOnly {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.half).poll_read(context, buffer);
        }
        let count = self.read.len().min(buffer.remaining());
        buffer.put_slice(&self.read[..count]);
        self.read.advance(count);
        if self.read.is_empty() {
            self.read = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ReadOnly {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// How much is queued for a socket at once for those who follow over it, in bytes.
pub(crate) const BATCH_BYTES: usize = 128 << 10;

/// Above this many queued bytes the socket is not read and no page is begun.
pub(super) const OUT_BYTES: usize = 256 << 10;

/// How many pieces one write takes.
const PIECES: usize = 64;

/// For how many frames an idle connection keeps memory.
const FRAMES_KEPT: usize = 4;

/// What waits to be written to one socket.
#[derive(Default)]
pub(crate) struct Out {
    frames: VecDeque<Bytes>,
    bytes: usize,
}

impl Out {
    /// Puts a frame behind the others.
    pub(crate) fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    /// Puts frames that others may share behind the others.
    pub(crate) fn extend(&mut self, frames: &[Bytes]) {
        frames.iter().for_each(|frame| self.push(frame.clone()));
    }

    /// Takes the first frame.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }

    /// How many bytes wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Writes what the socket takes now. Gives whether it is full: then it takes more when it is
    /// writable.
    pub(super) fn write(&mut self, socket: &OwnedWriteHalf) -> io::Result<bool> {
        while !self.frames.is_empty() {
            let mut pieces = [IoSlice::new(&[]); PIECES];
            let mut count = 0;
            for (piece, frame) in pieces.iter_mut().zip(&self.frames) {
                *piece = IoSlice::new(frame);
                count += 1;
            }
            match socket.try_write_vectored(&pieces[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        self.frames.shrink_to(FRAMES_KEPT);
        Ok(false)
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(frame) = self.frames.front_mut() {
            if written < frame.len() {
                return frame.advance(written);
            }
            written -= frame.len();
            self.frames.pop_front();
        }
    }
}
