//! Rates: how much of something a principal may do per second.
//!
//! Enters: what was just done. Leaves: nothing, or how long to wait before it may be done. A rate
//! is GCRA, a token bucket that costs one word ([`governor`]). Invariants: what is refused uses up
//! nothing; a rate of [`UNLIMITED_RATE`] costs nothing either; a rate that is set again begins with a
//! full allowance.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use parking_lot::RwLock;
use roomlog_protocol::limits::{Limits, UNLIMITED_RATE};

/// The rates of one principal.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    /// Frames and HTTP requests.
    pub(crate) frames: Rate,
    /// Appends.
    pub(crate) entries: Rate,
    /// Bytes of frames and of HTTP bodies.
    pub(crate) bytes: Rate,
    /// New rooms.
    pub(crate) rooms: Rate,
}

impl Rates {
    /// Full allowances. The largest message has `message_bytes`: it always fits an allowance that is
    /// full.
    pub(crate) fn new(limits: &Limits, message_bytes: usize) -> Self {
        let rates = Self::default();
        rates.set(limits, message_bytes);
        rates
    }

    /// Replaces the rates by those of other limits.
    pub(crate) fn set(&self, limits: &Limits, message_bytes: usize) {
        let burst_for = limits.burst_for;
        self.frames.set(limits.frames_per_second, burst_for, 1);
        self.entries.set(limits.entries_per_second, burst_for, 1);
        self.bytes.set(limits.bytes_per_second, burst_for, message_bytes);
        self.rooms.set(limits.rooms_per_second, burst_for, 1);
    }

    /// How long until every allowance is full again, if nothing is done meanwhile.
    pub(crate) fn refill(&self) -> Duration {
        let all = [&self.frames, &self.entries, &self.bytes, &self.rooms];
        all.map(Rate::refill).into_iter().max().unwrap_or_default()
    }
}

/// A rate; by default without a limit.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    /// Whether there is a bucket. All threads read it for each frame; a lock would cost more.
    is_limited: AtomicBool,
    bucket: RwLock<Option<Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    limiter: DefaultDirectRateLimiter,
    refill: Duration,
}

impl Rate {
    fn set(&self, per_second: usize, burst_for: Duration, least: usize) {
        let mut bucket = self.bucket.write();
        *bucket = Bucket::new(per_second, burst_for, least);
        self.is_limited.store(bucket.is_some(), Ordering::Relaxed);
    }

    /// Takes `count` from the allowance; `None`, or how long to wait until it has as much.
    pub(crate) fn take(&self, count: usize) -> Option<Duration> {
        if count == 0 || !self.is_limited.load(Ordering::Relaxed) {
            return None;
        }
        let bucket = self.bucket.read();
        let bucket = bucket.as_ref()?;
        match bucket.limiter.check_n(cells(count)) {
            Ok(Ok(())) => None,
            Ok(Err(until)) => Some(until.wait_time_from(DefaultClock::default().now())),
            // More than a full allowance.
            Err(_) => Some(bucket.refill),
        }
    }

    fn refill(&self) -> Duration {
        self.bucket.read().as_ref().map_or(Duration::ZERO, |bucket| bucket.refill)
    }
}

impl Bucket {
    /// `None` if there is no limit.
    fn new(per_second: usize, burst_for: Duration, least: usize) -> Option<Self> {
        if per_second >= UNLIMITED_RATE {
            return None;
        }
        let saved = per_second as u128 * burst_for.as_millis() / 1_000;
        let burst = cells(usize::try_from(saved).unwrap_or(usize::MAX).max(least));
        let quota = Quota::per_second(cells(per_second)).allow_burst(burst);
        let refill = quota.burst_size_replenished_in();
        Some(Self { limiter: RateLimiter::direct(quota), refill })
    }
}

fn cells(count: usize) -> NonZeroU32 {
    u32::try_from(count)
        .ok()
        .map_or(NonZeroU32::MAX, |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: usize, burst_for: Duration, least: usize) -> Rate {
        let rate = Rate::default();
        rate.set(per_second, burst_for, least);
        rate
    }

    #[test]
    fn a_full_allowance_is_what_the_rate_gives_in_the_burst_and_at_least_one_message() {
        let second = Duration::from_secs(1);
        let limited = rate(10, 2 * second, 1);
        assert_eq!(limited.take(20), None);
        assert!(limited.take(1).is_some_and(|wait| wait > Duration::ZERO && wait <= second / 10));
        assert_eq!(limited.refill(), 2 * second);
        let limited = rate(10, second, 1_000);
        assert_eq!((limited.take(1_000), limited.refill()), (None, 100 * second));
    }

    #[test]
    fn the_largest_rate_is_no_limit_and_what_is_refused_uses_up_nothing() {
        let unlimited = rate(UNLIMITED_RATE, Duration::from_secs(1), 1);
        assert!((0..1_000).all(|_| unlimited.take(usize::MAX).is_none()));
        let limited = rate(1, Duration::from_secs(3_600), 1);
        assert_eq!(limited.take(3_000), None);
        assert!(limited.take(1_000).is_some());
        assert_eq!(limited.take(600), None);
    }

    #[test]
    fn a_rate_that_is_set_again_begins_with_a_full_allowance() {
        let limited = rate(1, Duration::from_secs(2), 1);
        assert!(limited.take(2).is_none() && limited.take(1).is_some());
        limited.set(1, Duration::from_secs(3), 1);
        assert!(limited.take(3).is_none() && limited.take(1).is_some());
        limited.set(UNLIMITED_RATE, Duration::from_secs(1), 1);
        assert_eq!((limited.take(usize::MAX), limited.refill()), (None, Duration::ZERO));
    }
}
