//! The recorder: every frame, in the order of one clock.
//!
//! A frame that is sent is noted before it leaves, and one that comes after it was read: so what stands
//! before another here was there before it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use roomlog_checker::{Direction, Frame};

/// Where all connections note their frames.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recorder {
    frames: Arc<Mutex<Vec<Frame>>>,
    connections: Arc<AtomicU64>,
}

impl Recorder {
    /// The number of a new connection.
    pub(crate) fn connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn note(&self, connection: u64, direction: Direction, text: String) {
        self.frames.lock().push(Frame { connection, direction, text });
    }

    pub(crate) fn take(&self) -> Vec<Frame> {
        std::mem::take(&mut self.frames.lock())
    }
}
