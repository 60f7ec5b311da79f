//! Yields the processor now and then from a thread that works for long.
//!
//! A low priority is not enough: a woken thread does not always preempt a running one, however low
//! its priority, but waits for the end of its time slice; with a 250 Hz kernel tick that is up to 4
//! ms.

use crate::model::archive::Urgency;

/// Pieces between two yields: of some microseconds each, about 0.1 ms.
const PIECES: u32 = 32;

/// Counts pieces of work and yields after every 32, if the urgency allows it.
#[derive(Debug)]
pub struct Yielder<'a> {
    pieces: u32,
    urgency: &'a Urgency,
}

impl<'a> Yielder<'a> {
    /// At the first piece.
    #[must_use]
    pub fn new(urgency: &'a Urgency) -> Self {
        Self { pieces: 0, urgency }
    }

    /// Call this after each piece of some microseconds.
    pub fn after_piece(&mut self) {
        self.pieces += 1;
        if self.pieces == PIECES {
            self.pieces = 0;
            self.urgency.yield_now();
        }
    }
}
