//! How long to wait before the next try.
//!
//! Enters: which try it is and a random number from 0 to 1. Leaves: a duration. Invariant: two
//! clients that lost one server at once do not come back at once, and nobody waits longer than
//! [`LONGEST`]. No clock and no randomness of its own.

use std::time::Duration;

/// The wait before the first try after a loss, before jitter.
const FIRST: Duration = Duration::from_millis(100);

/// The longest wait between two tries.
pub(crate) const LONGEST: Duration = Duration::from_secs(5);

/// Counts tries and says how long to wait before the next: twice as long each time, jittered.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// The wait before the next try: between half of this try's step and all of it.
    pub(crate) fn next(&mut self, unit: f64) -> Duration {
        let step = FIRST.saturating_mul(1 << self.tries.min(16)).min(LONGEST);
        self.tries = self.tries.saturating_add(1);
        step.mul_f64(0.5 + unit.clamp(0.0, 1.0) / 2.0)
    }

    /// How many tries there were since one succeeded.
    pub(crate) fn tries(&self) -> u32 {
        self.tries
    }

    /// A try succeeded.
    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }
}

/// A wait that a server asked for, up to half longer, never shorter.
pub(crate) fn stretched(wait: Duration, unit: f64) -> Duration {
    wait.mul_f64(1.0 + unit.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_seconds_and_are_spread_over_half_of_each() {
        let mut backoff = Backoff::default();
        let most: Vec<_> = (0..8).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(most, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(backoff.next(0.0), LONGEST / 2);
        backoff.reset();
        assert_eq!(backoff.next(0.0).as_millis(), 50);
    }

    #[test]
    fn a_wait_that_was_asked_for_is_never_cut_short() {
        let asked = Duration::from_millis(500);
        assert_eq!((stretched(asked, 0.0), stretched(asked, 1.0)), (asked, asked * 3 / 2));
    }
}
