//! Yields the processor now and then from a thread that works for long.
//!
//! A low priority is not enough: a woken thread does not always preempt a running one, however low
//! its priority, but waits for the end of its time slice; with a 250 Hz kernel tick that is up to 4
//! ms.

use std::thread;

/// Pieces between two yields: of some microseconds each, about 0.1 ms.
const PIECES: u32 = 32;

/// Counts pieces of work and yields after every 32.
#[derive(Debug, Default)]
pub struct Yielder(u32);

impl Yielder {
    /// Call this after each piece of some microseconds.
    pub fn after_piece(&mut self) {
        self.0 += 1;
        if self.0 == PIECES {
            self.0 = 0;
            now();
        }
    }
}

/// Yields now, after work that took as long as many pieces.
pub fn now() {
    thread::yield_now();
}
