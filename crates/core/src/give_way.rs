//! Giving way: a thread that works for long lets those that are ready go first, now and then.
//!
//! Enters: word of each small piece of work. Leaves: nothing. Why a low priority is not enough: a thread
//! that was woken does not always go before one that runs, however low, but when that one's slice is over;
//! and where the kernel looks at its clock 250 times a second, that is up to 4 ms.

use std::thread;

/// How many pieces are done in one go: of some microseconds each, a tenth of a millisecond.
const PIECES: u32 = 32;

/// Counts pieces of work.
#[derive(Debug, Default)]
pub struct GiveWay(u32);

impl GiveWay {
    /// After a piece of some microseconds.
    pub fn after_piece(&mut self) {
        self.0 += 1;
        if self.0 == PIECES {
            self.0 = 0;
            now();
        }
    }
}

/// Gives way now: after what took as long as many pieces.
pub fn now() {
    thread::yield_now();
}
