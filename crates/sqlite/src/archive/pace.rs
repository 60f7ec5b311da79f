//! How fast a fold goes: in steps so short that appends hardly wait for one, with pauses between them; or,
//! when it falls behind, as fast as it can.
//!
//! Enters: whether a window is hurried. Leaves: how much a transaction holds, how long to pause behind it.
//! Why steps and not a low priority alone: a thread that was woken does not always go before one that
//! runs, however low, but when that one's slice is over, which is milliseconds.

use std::{thread, time::Duration};

use roomlog_core::archive::Window;

/// How fast a fold goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// How many entries, or ids, one transaction writes at least, when there are as many.
    pub(super) rows: usize,
    /// How many ids one transaction merges.
    pub(super) merged: u64,
    pause: Duration,
}

/// Some 0.3 ms of work, and a pause. A window of 65,536 entries then takes two thirds of a second, in
/// which processor and disk are mostly left to appends.
const GENTLE: Pace = Pace { rows: 256, merged: 2_048, pause: Duration::from_millis(1) };

/// Larger transactions write fewer pages twice.
const HURRIED: Pace = Pace { rows: 1_024, merged: 8_192, pause: Duration::ZERO };

impl Pace {
    /// The pace of a window.
    pub(super) fn of(window: &Window) -> Self {
        if window.hurried { HURRIED } else { GENTLE }
    }

    /// Pauses.
    pub(super) fn pause(&self) {
        if !self.pause.is_zero() {
            thread::sleep(self.pause);
        }
    }
}
