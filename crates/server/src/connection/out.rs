//! What waits to be written to one socket.
//!
//! Enters: frames, whole, as bytes that may be shared with other connections. Leaves: the same bytes,
//! in order, all that waits in one write. Invariant: a frame is written whole before the next; how
//! much may wait is the connection's to keep in bounds ([`Out::bytes`]).

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
};

use bytes::{Buf, Bytes};
use tokio::net::tcp::OwnedWriteHalf;

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
