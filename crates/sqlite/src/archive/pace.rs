//! How fast a fold goes: in steps so short that appends hardly wait for one, with pauses between them; or,
//! when it falls behind, as fast as it can.
//!
//! Enters: whether a window is hurried. Leaves: how much a transaction holds, how long to pause behind it.
//! Why steps and not a low priority alone: a thread that was woken does not always go before one that
//! runs, however low, but when that one's slice is over, which is milliseconds.

use std::{thread, time::Duration};

use roomlog_core::archive::{Hurry, Window};

/// How fast a fold goes; looked at anew for each step.
#[derive(Debug)]
pub(super) struct Pace(Hurry);

/// What one of the two paces is.
struct Measures {
    rows: usize,
    merged: u64,
    wal_pages: i32,
    pause: Duration,
}

/// Some 0.3 ms of work, and a pause. A window of 65,536 entries then takes two thirds of a second, in
/// which processor and disk are mostly left to appends.
const GENTLE: Measures =
    Measures { rows: 256, merged: 2_048, wal_pages: 128, pause: Duration::from_millis(1) };

/// Larger transactions, and copies of 4 MiB instead of 1, write fewer pages twice.
const HURRIED: Measures =
    Measures { rows: 2_048, merged: 8_192, wal_pages: 512, pause: Duration::ZERO };

impl Pace {
    /// The pace of a window.
    pub(super) fn of(window: &Window) -> Self {
        Self(window.hurry.clone())
    }

    fn now(&self) -> &'static Measures {
        if self.0.is_set() { &HURRIED } else { &GENTLE }
    }

    /// How many entries, or ids, one transaction writes at least, when there are as many.
    pub(super) fn rows(&self) -> usize {
        self.now().rows
    }

    /// How many ids one transaction merges.
    pub(super) fn merged(&self) -> u64 {
        self.now().merged
    }

    /// How many pages the WAL has when it is copied into the file: what is copied at once is synced at
    /// once, and the journal's next block waits for that.
    pub(super) fn wal_pages(&self) -> i32 {
        self.now().wal_pages
    }

    /// Pauses.
    pub(super) fn pause(&self) {
        let pause = self.now().pause;
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
}
