//! One direction of a simulated connection.
//!
//! Enters: bytes, and when they arrive. Leaves: the same bytes, in order. Invariant: at most [`ROOM`] bytes are
//! on the way; a pipe that breaks loses them.

use std::{
    collections::VecDeque,
    io,
    task::{Context, Poll, Waker},
};

use tokio::io::ReadBuf;

use crate::clock;

/// What is on the way at most, in bytes: so little that slow readers fill it.
const ROOM: usize = 32 << 10;

#[derive(Default)]
pub(crate) struct Pipe {
    /// When they arrive, and bytes; empty bytes are the end.
    segments: VecDeque<(u64, Vec<u8>)>,
    bytes: usize,
    is_broken: bool,
    /// The writer has said that nothing more comes.
    is_ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    /// Writes what it takes.
    pub(crate) fn write(&mut self, pieces: &[io::IoSlice<'_>], arrives: u64) -> io::Result<usize> {
        if self.is_broken || self.is_ended {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let room = ROOM - self.bytes;
        if room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut taken = Vec::new();
        for piece in pieces {
            taken.extend_from_slice(&piece[..piece.len().min(room - taken.len())]);
        }
        let count = taken.len();
        if count > 0 {
            self.put(taken, arrives);
        }
        Ok(count)
    }

    /// The last that comes.
    pub(crate) fn end(&mut self, arrives: u64) {
        if !self.is_broken && !self.is_ended {
            self.is_ended = true;
            self.put(Vec::new(), arrives);
        }
    }

    fn put(&mut self, bytes: Vec<u8>, arrives: u64) {
        // Nothing overtakes what was written before.
        let arrives = self.segments.back().map_or(arrives, |(before, _)| arrives.max(*before));
        self.bytes += bytes.len();
        self.segments.push_back((arrives, bytes));
    }

    pub(crate) fn break_off(&mut self) {
        self.is_broken = true;
        self.segments.clear();
        self.bytes = 0;
        self.wake();
    }

    fn wake(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }

    /// Wakes whoever waits for what has arrived; nothing arrives while the link is cut.
    pub(crate) fn advance(&mut self, is_cut: bool) {
        let has_arrived = self.segments.front().is_some_and(|(at, _)| *at <= clock::now());
        if has_arrived
            && !is_cut
            && let Some(reader) = self.reader.take()
        {
            reader.wake();
        }
    }

    pub(crate) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        is_cut: bool,
    ) -> Poll<io::Result<()>> {
        if self.is_broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let now = clock::now();
        let mut has_read = false;
        while !is_cut && buffer.remaining() > 0 {
            let Some((_, bytes)) = self.segments.front_mut().filter(|(at, _)| *at <= now) else {
                break;
            };
            if bytes.is_empty() {
                // The end stays.
                return Poll::Ready(Ok(()));
            }
            let count = bytes.len().min(buffer.remaining());
            buffer.put_slice(&bytes[..count]);
            bytes.drain(..count);
            self.bytes -= count;
            has_read = true;
            if bytes.is_empty() {
                self.segments.pop_front();
            }
        }
        if has_read {
            if let Some(writer) = self.writer.take() {
                writer.wake();
            }
            return Poll::Ready(Ok(()));
        }
        self.reader = Some(context.waker().clone());
        Poll::Pending
    }

    pub(crate) fn poll_writable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_broken || self.bytes < ROOM {
            return Poll::Ready(Ok(()));
        }
        self.writer = Some(context.waker().clone());
        Poll::Pending
    }
}
