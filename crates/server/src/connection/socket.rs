//! The two halves of a WebSocket: frames are read ([`Socket`]), and written ([`Out`]).
//!
//! Enters: bytes of a client; frames for it, whole, as bytes that may be shared with other connections.
//! Leaves: messages; the same frames, in order, all that waits in one write. Invariants: a frame is
//! written whole before the next; how much may wait is the connection's to keep in bounds
//! ([`Out::bytes`]); a connection at rest has no buffer, and what a long frame needs is charged.
//!
//! The server's frames are unmasked and whole, so one commit's bytes serve every follower; a library
//! that writes would frame, copy and flush them for each (`docs/decisions/0001`). One that reads would
//! have a buffer of 8 KiB for each connection, most of which are idle: here all connections of a thread read
//! into the same one.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::poll_fn,
    io::{self, IoSlice},
    pin::pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use roomlog_core::budget::{Account, Charge};
use roomlog_protocol::{CloseCode, ServerFrame};
use thiserror::Error;
use tokio::{io::AsyncReadExt, time::timeout};

use super::frames::{BadFrame, Frames, Message};
use crate::{
    stream::{ReadHalf, Stream, WriteHalf, into_split},
    wire,
};

/// How much is read at once into the buffer of the thread: so much of what has come and was not taken yet
/// is not charged.
const READ_BYTES: usize = 8 << 10;

/// How often a socket is read for one message before others have their turn.
const READS_A_TURN: usize = 8;

/// The buffer of a thread. It is used again when no message lies in it any more.
const BUFFER_BYTES: usize = 64 << 10;

thread_local! {
    static BUFFER: RefCell<BytesMut> = RefCell::default();
}

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

/// Why nothing more is read.
#[derive(Debug, Error)]
pub(super) enum ReadFailure {
    #[error(transparent)]
    Frame(#[from] BadFrame),
    #[error("what has come of a frame may not be held")]
    NoMemory,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What [`Socket::next`] gives; `None` when the client is gone.
pub(super) type Next = Option<Result<Message, ReadFailure>>;

/// The reading half.
pub(super) struct Socket {
    half: ReadHalf,
    frames: Frames,
    /// What was read and is not taken.
    bytes: BytesMut,
    /// `bytes` is a part of the buffer of a thread.
    is_shared: bool,
    /// What is held beyond [`READ_BYTES`].
    charge: Charge,
}

impl Socket {
    /// `read` is what came with the handshake.
    pub(super) fn new(
        stream: Stream,
        read: Bytes,
        frame_bytes: usize,
        account: &Account,
    ) -> (Self, WriteHalf) {
        let (half, write) = into_split(stream);
        let (frames, bytes) = (Frames::new(frame_bytes), BytesMut::from(&*read));
        (Self { half, frames, bytes, is_shared: false, charge: account.open() }, write)
    }

    /// The next message. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Next {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        for _ in 0..READS_A_TURN {
            match self.frames.next(&mut self.bytes) {
                Ok(Some(message)) => {
                    if self.bytes.is_empty() {
                        self.release();
                    }
                    return Poll::Ready(Some(Ok(message)));
                }
                Ok(None) => {}
                Err(bad) => return Poll::Ready(Some(Err(bad.into()))),
            }
            match ready!(self.poll_read(context)) {
                Ok(0) => return Poll::Ready(None),
                Ok(_) => {}
                Err(failure) => return Poll::Ready(Some(Err(failure))),
            }
        }
        // Others have their turn: it is a long message, or its pieces are small.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads what has come. What was read before is copied out of the buffer of the thread.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<usize, ReadFailure>> {
        self.keep()?;
        if !self.bytes.is_empty() {
            let most = self.grow()?;
            let mut into = (&mut self.bytes).limit(most);
            return pin!(self.half.read_buf(&mut into)).poll(context).map_err(Into::into);
        }
        self.release();
        BUFFER.with_borrow_mut(|buffer| {
            if buffer.capacity() < READ_BYTES {
                buffer.reserve(BUFFER_BYTES);
            }
            let mut into = (&mut *buffer).limit(READ_BYTES);
            let read = ready!(pin!(self.half.read_buf(&mut into)).poll(context))?;
            (self.bytes, self.is_shared) = (buffer.split(), true);
            Poll::Ready(Ok(read))
        })
    }

    /// Gives back the buffer of the thread: what is in it and not taken is copied.
    pub(super) fn keep(&mut self) -> Result<(), ReadFailure> {
        if self.is_shared {
            self.bytes = BytesMut::from(&*self.bytes);
            self.is_shared = false;
        }
        self.charge_held()
    }

    /// Makes room for more of a frame that has come in part, by doubling; gives how much to read. That is no
    /// more than the frame has: then the buffer is empty after it, and the thread's is used again.
    fn grow(&mut self) -> Result<usize, ReadFailure> {
        let length = self.bytes.len();
        let wanted = self.frames.wanted(&self.bytes).max(length + 1);
        if length == self.bytes.capacity() {
            let mut larger = BytesMut::with_capacity(wanted.min((2 * length).max(READ_BYTES)));
            larger.extend_from_slice(&self.bytes);
            self.bytes = larger;
        }
        self.charge_held()?;
        Ok(wanted.min(self.bytes.capacity()) - length)
    }

    fn charge_held(&mut self) -> Result<(), ReadFailure> {
        let held = self.bytes.capacity() + self.frames.held();
        let lacking = held.saturating_sub(READ_BYTES + self.charge.bytes());
        if lacking == 0 || self.charge.grow(lacking) { Ok(()) } else { Err(ReadFailure::NoMemory) }
    }

    /// Frees the buffer, in which nothing is left.
    fn release(&mut self) {
        (self.bytes, self.is_shared) = (BytesMut::new(), false);
        if self.charge.bytes() > 0 && self.frames.is_between_messages() {
            self.charge = self.charge.account().open();
        }
    }

    /// Whether all that was read was given.
    pub(super) fn is_at_rest(&self) -> bool {
        self.bytes.is_empty() && self.frames.is_between_messages()
    }

    /// The half that is read, of a socket that is at rest.
    pub(super) fn into_half(self) -> ReadHalf {
        self.half
    }
}

/// How a connection ends whose bytes are not WebSocket frames that we take.
pub(super) fn end_of(failure: &ReadFailure) -> End {
    match failure {
        ReadFailure::Frame(bad @ BadFrame::TooLong(_)) => {
            End::close(CloseCode::TooBig, bad.to_string())
        }
        ReadFailure::Frame(bad @ BadFrame::NotUtf8) => {
            End::close(CloseCode::NotUtf8, bad.to_string())
        }
        ReadFailure::Frame(bad @ BadFrame::Protocol(_)) => {
            End::close(CloseCode::Protocol, bad.to_string())
        }
        ReadFailure::NoMemory => {
            let reason = "the server holds too much for this client; send this frame again later";
            End::close(CloseCode::TryLater, reason)
        }
        ReadFailure::Io(_) => End::GONE,
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
    let mut left = socket.into_half().take(LINGER_BYTES);
    let _cut_off = timeout(LINGER, async {
        while out.write(&write)? {
            write.writable().await?;
        }
        write.shutdown().await?;
        tokio::io::copy(&mut left, &mut tokio::io::sink()).await
    })
    .await;
}

/// How much is queued for a socket at once for those who follow over it, in bytes.
pub(crate) const BATCH_BYTES: usize = 128 << 10;

/// Above this many queued bytes the socket is not read and no page is begun.
pub(super) const OUT_BYTES: usize = 256 << 10;

/// How many pieces one write takes.
const PIECES: usize = 64;

/// A piece of more answers than this is closed: its memory is held until all of it is written.
const ANSWERS_BYTES: usize = 4 << 10;

/// What a piece of answers has room for at first: a few.
const FIRST_ANSWERS_BYTES: usize = 512;

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
            self.answers.reserve(FIRST_ANSWERS_BYTES);
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
        self.pop_frame()
    }

    fn pop_frame(&mut self) -> Option<Bytes> {
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
        while !self.is_empty() {
            let written = match (self.frames.is_empty(), &*self.answers) {
                (true, answers) => socket.try_write(answers),
                (false, answers) => {
                    let mut pieces = [IoSlice::new(&[]); PIECES];
                    let mut count = 0;
                    let frames = self.frames.iter().map(|frame| &**frame);
                    for (piece, frame) in pieces.iter_mut().zip(frames.chain([answers])) {
                        let begun = if count == 0 { self.begun } else { 0 };
                        *piece = IoSlice::new(&frame[begun..]);
                        count += 1;
                    }
                    socket.try_write_vectored(&pieces[..count])
                }
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.close_answers();
                    return Ok(true);
                }
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
            self.pop_frame();
        }
        if written > 0 && written == self.answers.len() {
            self.bytes -= std::mem::take(&mut self.answers).len() + FRAME_OVERHEAD;
        } else if written > 0 {
            self.close_answers();
            self.begun = written;
        }
    }
}

/// What a number of frames takes while they wait, in bytes.
pub(crate) fn bytes_of(frames: &[Bytes]) -> usize {
    frames.iter().map(|frame| frame.len() + FRAME_OVERHEAD).sum()
}

#[cfg(test)]
#[path = "tests/out.rs"]
mod tests;
