//! Durations, counted by size.
//!
//! Enters: durations. Leaves: percentiles, at most a sixteenth too large. Invariant: memory does not
//! grow with what is counted.

use std::time::Duration;

/// Buckets for each doubling.
const PARTS: u32 = 16;

/// Durations in microseconds, by size.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; (64 * PARTS) as usize], count: 0 }
    }
}

impl Histogram {
    pub(crate) fn record(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(micros)] += 1;
        self.count += 1;
    }

    /// The duration that this share (0 to 1) of all does not exceed; none when there are none.
    pub(crate) fn percentile(&self, share: f64) -> Option<Duration> {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss
        )]
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut before = 0;
        let bucket = self.buckets.iter().position(|count| {
            before += count;
            before >= rank
        })?;
        Some(Duration::from_micros(longest(bucket)))
    }
}

/// Small numbers have a bucket each; from 16 on every doubling has 16.
fn bucket(micros: u64) -> usize {
    let doublings = micros.checked_ilog2().unwrap_or(0).saturating_sub(PARTS.ilog2());
    let part = micros >> doublings;
    (doublings * PARTS) as usize + usize::try_from(part).unwrap_or(usize::MAX)
}

/// The largest number of a bucket.
fn longest(bucket: usize) -> u64 {
    let parts = PARTS as usize;
    let doublings = (bucket / parts).saturating_sub(1);
    let part = (bucket - doublings * parts) as u64;
    ((part + 1) << doublings) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_at_most_a_sixteenth_too_large() {
        for micros in [0, 1, 15, 16, 17, 31, 32, 33, 1_000, 123_456_789, u64::MAX >> 8] {
            let told = longest(bucket(micros));
            assert!(told >= micros && told - micros <= micros / 16, "{micros}: {told}");
        }
    }

    #[test]
    fn half_of_all_are_at_most_the_median() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(0.5), None);
        (1..=10).for_each(|micros| histogram.record(Duration::from_micros(micros)));
        assert_eq!(histogram.percentile(0.5), Some(Duration::from_micros(5)));
        assert_eq!(histogram.percentile(0.99), Some(Duration::from_micros(10)));
    }
}
