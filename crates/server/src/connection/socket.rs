//! The two halves of a WebSocket: frames are read by a library ([`Socket`]), and written by us ([`Out`]).
//!
//! Enters: bytes of a client; frames for it, whole, as bytes that may be shared with other connections.
//! Leaves: messages; the same frames, in order, all that waits in one write. Invariants: a frame is
//! written whole before the next; how much may wait is the connection's to keep in bounds
//! ([`Out::bytes`]); what the library buffers of a long frame is charged, and given back after it.
//!
//! The server's frames are unmasked and whole, so one commit's bytes serve every follower; a library
//! that writes would frame, copy and flush them for each (`docs/decisions/0001`). What the library
//! would write by itself, pongs and closes, is discarded here and written by the connection.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use roomlog_core::budget::{Account, Charge};
use roomlog_protocol::{CloseCode, ServerFrame};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    time::timeout,
};
use tokio_websockets::{Error, Limits, Message, ServerBuilder, WebSocketStream};

use super::position::FramePosition;
use crate::{
    stream::{ReadHalf, Stream, WriteHalf, into_split},
    wire,
};

/// The buffer that every connection has for what it reads: as large as the library's at first.
const READ_BYTES: usize = 8 << 10;

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
pub(super) struct Socket {
    stream: WebSocketStream<ReadOnly>,
    limits: Limits,
    /// How many messages and control frames it has given.
    given: u64,
}

/// The reading half of the socket, behind what came with the handshake.
struct ReadOnly {
    read: Bytes,
    half: ReadHalf,
    position: FramePosition,
    /// What the library buffers beyond [`READ_BYTES`].
    charge: Charge,
}

impl Socket {
    pub(super) fn new(
        stream: Stream,
        read: Bytes,
        frame_bytes: usize,
        account: &Account,
    ) -> (Self, WriteHalf) {
        let (half, write) = into_split(stream);
        // Even when it is empty it would hold the buffer that the handshake was read into.
        let read = if read.is_empty() { Bytes::new() } else { read };
        let limits = Limits::default().max_payload_len(Some(frame_bytes));
        let (position, charge) = (FramePosition::default(), account.open());
        let stream = ReadOnly { read, half, position, charge };
        let stream = ServerBuilder::new().limits(limits).serve(stream);
        (Self { stream, limits, given: 0 }, write)
    }

    /// The next frame; `None` when the client is gone. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<Result<Message, Error>> {
        let next = self.stream.next().await;
        self.given += u64::from(matches!(next, Some(Ok(_))));
        next
    }

    /// Whether all that was read of the socket was given.
    pub(super) fn is_at_rest(&self) -> bool {
        let reader = self.stream.get_ref();
        reader.read.is_empty()
            && reader.position.is_between_messages()
            && reader.position.complete() == self.given
    }

    /// Whether a long frame has left a large buffer, which is empty now.
    pub(super) fn has_spare_buffer(&self) -> bool {
        self.stream.get_ref().charge.bytes() > 0 && self.is_at_rest()
    }

    /// The half that is read, of a socket that is at rest: the library's buffer is empty.
    pub(super) fn into_half(self) -> ReadHalf {
        self.stream.into_inner().half
    }

    /// The same socket with a buffer as at first: the library would keep an empty one for ever.
    pub(super) fn without_spare_buffer(mut self) -> Self {
        let mut reader = self.stream.into_inner();
        reader.charge = reader.charge.account().open();
        self.stream = ServerBuilder::new().limits(self.limits).serve(reader);
        self
    }
}

impl ReadOnly {
    /// Charges the library's buffer, of which `spare` bytes are free: it has grown before it asks for
    /// more to put there, and none of that is memory in use yet.
    fn charge_buffer(&mut self, spare: usize) -> io::Result<()> {
        let charged = READ_BYTES + self.charge.bytes();
        let lacking = (self.position.partial() + spare).saturating_sub(charged);
        if lacking == 0 || self.charge.grow(lacking) {
            return Ok(());
        }
        Err(io::ErrorKind::OutOfMemory.into())
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
        Error::Io(problem) if problem.kind() == io::ErrorKind::OutOfMemory => {
            let reason = "the server holds too much for this client; send this frame again later";
            End::close(CloseCode::TryLater, reason)
        }
        _ => End::GONE,
    }
}

/// Writes what is left and the close frame, then lets the client read them: closing a TCP connection
/// that still has something to read would throw them away.
pub(super) async fn finish(
    socket: Socket,
    mut write: WriteHalf,
    mut out: Out,
    close: Option<(CloseCode, String)>,
) {
    let Some((code, reason)) = close else { return };
    out.push(wire::close_frame(code, &reason));
    let mut left = socket.stream.into_inner().half.take(LINGER_BYTES);
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
        self.charge_buffer(buffer.remaining())?;
        let before = buffer.filled().len();
        if self.read.is_empty() {
            ready!(Pin::new(&mut self.half).poll_read(context, buffer))?;
        } else {
            let count = self.read.len().min(buffer.remaining());
            buffer.put_slice(&self.read[..count]);
            self.read.advance(count);
            if self.read.is_empty() {
                self.read = Bytes::new();
            }
        }
        self.position.advance(&buffer.filled()[before..]);
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

/// A piece of more answers than this is closed: its memory is held until all of it is written.
const ANSWERS_BYTES: usize = 4 << 10;

/// For how many frames an idle connection keeps memory.
const FRAMES_KEPT: usize = 4;

/// What a frame that waits takes besides its bytes.
const FRAME_OVERHEAD: usize = 128;

/// What waits to be written to one socket.
#[derive(Default)]
pub(crate) struct Out {
    frames: VecDeque<Bytes>,
    /// Answers behind the frames, which become one piece together.
    answers: Vec<u8>,
    bytes: usize,
    /// The place of the newest pong.
    pong: Option<usize>,
    /// How much of the first frame is written. It counts whole until it is gone: its memory is one
    /// piece.
    begun: usize,
}

impl Out {
    /// Puts a frame behind the others.
    pub(crate) fn push(&mut self, frame: Bytes) {
        self.close_answers();
        self.bytes += frame.len() + FRAME_OVERHEAD;
        self.frames.push_back(frame);
    }

    /// Puts an answer behind the others.
    pub(super) fn say(&mut self, frame: &ServerFrame) {
        if self.answers.is_empty() {
            self.bytes += FRAME_OVERHEAD;
        }
        let before = self.answers.len();
        wire::put_server_frame(&mut self.answers, frame);
        self.bytes += self.answers.len() - before;
        if self.answers.len() > ANSWERS_BYTES {
            self.close_answers();
        }
    }

    fn close_answers(&mut self) {
        if !self.answers.is_empty() {
            self.frames.push_back(wire::exact(std::mem::take(&mut self.answers)));
        }
    }

    /// Puts the rest of a frame, which must go first, before the others. None of them has begun.
    pub(super) fn push_rest(&mut self, rest: Bytes) {
        self.bytes += rest.len() + FRAME_OVERHEAD;
        self.frames.push_front(rest);
        self.pong = self.pong.map(|place| place + 1);
    }

    /// Answers a ping, in place of a pong that waits: only the newest needs an answer (RFC 6455, 5.5.3).
    pub(super) fn pong(&mut self, frame: Bytes) {
        let place = self.pong.filter(|place| *place > 0 || self.begun == 0);
        if let Some(waiting) = place.and_then(|place| self.frames.get_mut(place)) {
            self.bytes = self.bytes + frame.len() - waiting.len();
            *waiting = frame;
        } else {
            self.close_answers();
            self.pong = Some(self.frames.len());
            self.push(frame);
        }
    }

    /// Takes the first frame.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        self.close_answers();
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len() + FRAME_OVERHEAD;
        self.pong = self.pong.and_then(|place| place.checked_sub(1));
        self.begun = 0;
        Some(frame)
    }

    /// How much memory the frames that wait take, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.answers.is_empty()
    }

    /// Writes what the socket takes now. Gives whether it is full: then it takes more when it is
    /// writable.
    pub(super) fn write(&mut self, socket: &WriteHalf) -> io::Result<bool> {
        self.close_answers();
        while !self.frames.is_empty() {
            let mut pieces = [IoSlice::new(&[]); PIECES];
            let mut count = 0;
            for (piece, frame) in pieces.iter_mut().zip(&self.frames) {
                let begun = if count == 0 { self.begun } else { 0 };
                *piece = IoSlice::new(&frame[begun..]);
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
        match socket.try_flush() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            flushed => flushed.map(|()| false),
        }
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(frame) = self.frames.front() {
            let left = frame.len() - self.begun;
            if written < left {
                self.begun += written;
                return;
            }
            written -= left;
            self.pop();
        }
    }
}

/// What a number of frames takes while they wait, in bytes.
pub(crate) fn bytes_of(frames: &[Bytes]) -> usize {
    frames.iter().map(|frame| frame.len() + FRAME_OVERHEAD).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_pong_waits_unless_the_one_before_is_half_written() {
        let mut out = Out::default();
        out.push(Bytes::from_static(b"answer"));
        for payload in [&b"1"[..], b"22", b"333"] {
            out.pong(wire::pong_frame(payload));
        }
        assert_eq!(
            out.bytes(),
            bytes_of(&[Bytes::from_static(b"answer"), wire::pong_frame(b"333")])
        );
        out.advance("answer".len() + 1);
        out.pong(wire::pong_frame(b"4"));
        out.pong(wire::pong_frame(b"5"));
        out.advance(wire::pong_frame(b"333").len() - 1);
        assert_eq!(out.pop(), Some(wire::pong_frame(b"5")));
        assert!(out.is_empty() && out.bytes() == 0);
    }

    #[test]
    fn a_frame_that_is_written_in_part_counts_whole_until_its_last_byte() {
        let (mut out, page) = (Out::default(), Bytes::from(vec![0; 1 << 20]));
        out.push(page.clone());
        let whole = out.bytes();
        for _ in 0..1_023 {
            out.advance(1 << 10);
            assert_eq!(out.bytes(), whole);
        }
        out.advance(1 << 10);
        assert!(out.is_empty() && out.bytes() == 0);
    }
}
