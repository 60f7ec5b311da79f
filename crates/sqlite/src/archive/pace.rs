//! How fast a fold goes: in short steps with pauses, so that appends hardly wait for it; or, when
//! it falls behind, as fast as it can.
//!
//! A low priority alone would not do: a thread that wakes up does not always preempt a running one,
//! however low its priority, until that one's time slice is over, which is milliseconds.

use std::{thread, time::Duration};

use roomlog_core::{
    archive::{Urgency, Window},
    yielding::Yielder,
};

/// The pace of a fold, which may change between its steps.
#[derive(Debug)]
pub(super) struct Pace(Urgency);

pub(super) struct Measures {
    /// How many entries, or ids, one transaction writes.
    pub(super) rows: usize,
    /// How many ids one transaction merges.
    pub(super) merged: u64,
    /// How many pages the WAL has when a checkpoint runs. A checkpoint syncs all that it copies at
    /// once, and the journal's next block waits for that.
    pub(super) wal_pages: i32,
    pause: Duration,
}

/// Some 0.3 ms of work, and a pause. A window of 65,536 entries then takes two thirds of a second,
/// in which processor and disk are mostly free for appends.
const GENTLE: Measures =
    Measures { rows: 256, merged: 2_048, wal_pages: 128, pause: Duration::from_millis(1) };

/// Larger transactions, and checkpoints of 4 MiB instead of 1, write fewer pages twice.
const URGENT: Measures =
    Measures { rows: 2_048, merged: 8_192, wal_pages: 512, pause: Duration::ZERO };

impl Pace {
    pub(super) fn of(window: &Window) -> Self {
        Self(window.urgency.clone())
    }

    pub(super) fn now(&self) -> &'static Measures {
        if self.0.is_set() { &URGENT } else { &GENTLE }
    }

    /// Yields the processor in a loop over small pieces.
    pub(super) fn yielder(&self) -> Yielder<'_> {
        Yielder::new(&self.0)
    }

    /// Yields the processor, after work that took as long as many pieces.
    pub(super) fn yield_now(&self) {
        self.0.yield_now();
    }

    pub(super) fn pause(&self) {
        let pause = self.now().pause;
        if !pause.is_zero() {
            thread::sleep(pause);
        }
    }
}
