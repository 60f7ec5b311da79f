//! Direct sends: whoever delivers a commit writes it to the sockets for which nothing waits.
//!
//! ```text
//!  the connection's task ──frees, closes──► Sink ◄──writes──  delivery
//!                        ◄──what was left──
//! ```
//!
//! So a follower that keeps up costs a write, and its task sleeps on. Enters: commits. Leaves: their frames,
//! to the socket. Invariants: the task and the delivery never write, or move a cursor, at the same time;
//! an entry is sent once, in order, and nothing overtakes what the task has to say; a frame that the socket
//! took in part is finished by the task before anything else; no more than [`FREE_BYTES`] is left of it.

use std::{
    io::IoSlice,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use roomlog_core::{
    follower::FollowerCursor,
    interests::{CommitSink, NewCommits},
};

use super::{held::FREE_BYTES, socket::Out};
use crate::{gateway::Gateway, stream::WriteHalf, wire};

/// The most that commits take in memory, with their frames, in bytes: more are for the task to encode.
const COMMITS_BYTES: usize = 4 * FREE_BYTES;

/// How many frames one write takes.
const FRAMES: usize = 16;

/// The socket of a connection, as far as others may write to it.
#[derive(Default)]
pub(crate) struct Sink(Mutex<SinkState>);

#[derive(Default)]
pub(super) struct SinkState {
    /// `None` before it is served, and after.
    pub(super) socket: Option<Arc<WriteHalf>>,
    /// Nothing waits for the socket, and it may take more.
    pub(super) is_free: bool,
    /// What the socket has not taken of what was sent directly.
    left: Option<Bytes>,
}

impl Sink {
    /// Keeps others from writing.
    pub(super) fn lock(&self) -> MutexGuard<'_, SinkState> {
        self.0.lock()
    }
}

impl SinkState {
    /// Lets nobody write any more; what was left goes before what waits in `out`.
    pub(super) fn close(&mut self, out: &mut Out) {
        (self.socket, self.is_free) = (None, false);
        self.give_rest(out);
    }

    /// Puts what was left before what waits in `out`.
    pub(super) fn give_rest(&mut self, out: &mut Out) {
        if let Some(rest) = self.left.take() {
            out.push_rest(rest);
        }
    }

    /// Sends frames of `length` bytes; `false` if the socket took nothing.
    fn send(&mut self, frames: &[IoSlice<'_>], length: usize) -> bool {
        let Some(socket) = &self.socket else { return false };
        let written = match frames {
            [frame] => socket.try_write(frame),
            _ => socket.try_write_vectored(frames),
        };
        // The task meets the error, if it is one.
        let written = written.unwrap_or(0);
        if written > 0 && written < length {
            self.left = Some(rest_of(frames, written));
        }
        self.is_free = written == length && socket.try_flush().is_ok();
        written > 0
    }
}

/// The bytes of frames after the first `written`.
fn rest_of(frames: &[IoSlice<'_>], mut written: usize) -> Bytes {
    let mut rest = Vec::new();
    for frame in frames {
        let skipped = written.min(frame.len());
        rest.extend_from_slice(&frame[skipped..]);
        written -= skipped;
    }
    wire::exact(rest)
}

/// A following whose entries may be sent directly.
pub(crate) struct DirectFollow {
    sink: Arc<Sink>,
    gateway: Arc<Gateway>,
    cursor: Arc<FollowerCursor>,
    /// Its connection has sent all that it knows of, so that what is new comes next. Set with the sink locked.
    is_open: AtomicBool,
}

impl std::fmt::Debug for DirectFollow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DirectFollow").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}

impl DirectFollow {
    pub(super) fn new(sink: Arc<Sink>, gateway: Arc<Gateway>, cursor: Arc<FollowerCursor>) -> Self {
        Self { sink, gateway, cursor, is_open: AtomicBool::new(false) }
    }

    pub(super) fn set_open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::Release);
    }
}

impl CommitSink for DirectFollow {
    fn take(&self, new: &mut NewCommits<'_>) -> bool {
        // Whoever holds the lock for long is the task, which is told by mail then.
        let Some(mut sink) = self.sink.0.try_lock() else { return false };
        if !sink.is_free || !self.is_open.load(Ordering::Acquire) {
            return false;
        }
        let Some(commits) = new.after(self.cursor.next_slot(), COMMITS_BYTES) else { return false };
        let Some(end) = commits.last().map(|commit| commit.end()) else { return true };
        let limits = &self.gateway.config.limits;
        let mut frames = [IoSlice::new(&[]); FRAMES];
        let (mut count, mut length) = (0, 0);
        for frame in commits.iter().flat_map(|commit| wire::commit_frames(commit, limits)) {
            length += frame.len();
            if count == FRAMES || length > FREE_BYTES {
                return false;
            }
            frames[count] = IoSlice::new(frame);
            count += 1;
        }
        if !sink.send(&frames[..count], length) {
            return false;
        }
        self.cursor.move_to(end);
        sink.is_free
    }
}
