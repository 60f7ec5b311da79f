//! How long to wait before the next attempt.
//!
//! Enters: the number of attempts or a refusal, and jitter from 0 to 1. Leaves: a duration.
//! Invariant: clients that lost one server together do not all return together.

use std::time::Duration;

use roomlog_protocol::ErrorFrame;

/// The wait before the first attempt, before jitter.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait between two attempts.
pub(crate) const LONGEST: Duration = Duration::from_secs(5);
/// How long to wait after a refusal without `retry_after_ms`.
const DEFAULT_RETRY: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
pub(crate) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// The wait before the next attempt: from half of its step to all of it.
    pub(crate) fn next(&mut self, jitter: f64) -> Duration {
        let step = FIRST.saturating_mul(1 << self.tries.min(16)).min(LONGEST);
        self.tries = self.tries.saturating_add(1);
        step.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }

    /// Attempts since the last success.
    pub(crate) fn tries(&self) -> u32 {
        self.tries
    }

    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }
}

/// A requested wait, up to half longer, never shorter.
pub(crate) fn stretched(wait: Duration, jitter: f64) -> Duration {
    wait.mul_f64(1.0 + jitter.clamp(0.0, 1.0) / 2.0)
}

/// How long to wait before a refused request is sent again.
pub(crate) fn wait_of(error: &ErrorFrame, jitter: f64) -> Duration {
    stretched(error.retry_after_ms.map_or(DEFAULT_RETRY, Duration::from_millis), jitter)
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
    fn a_requested_wait_is_never_cut_short() {
        let asked = Duration::from_millis(500);
        assert_eq!((stretched(asked, 0.0), stretched(asked, 1.0)), (asked, asked * 3 / 2));
    }
}
