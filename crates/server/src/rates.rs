//! Rates: how much of something a principal may do per second.
//!
//! Enters: what was just done. Leaves: nothing, or how long to wait before it may be done. A rate
//! is GCRA, a token bucket that costs one word ([`governor`]). Invariants: what is refused uses up
//! nothing; a rate of [`UNLIMITED_RATE`] costs nothing either.

use std::{num::NonZeroU32, time::Duration};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use roomlog_protocol::limits::{Limits, UNLIMITED_RATE};

/// The rates of one principal.
#[derive(Debug)]
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
        let rate = |per_second, least| Rate::new(per_second, limits.burst_for, least);
        Self {
            frames: rate(limits.frames_per_second, 1),
            entries: rate(limits.entries_per_second, 1),
            bytes: rate(limits.bytes_per_second, message_bytes),
            rooms: rate(limits.rooms_per_second, 1),
        }
    }

    /// How long until every allowance is full again, if nothing is done meanwhile.
    pub(crate) fn refill(&self) -> Duration {
        let all = [&self.frames, &self.entries, &self.bytes, &self.rooms];
        all.map(Rate::refill).into_iter().max().unwrap_or_default()
    }
}

/// A rate; `None` if there is no limit.
#[derive(Debug)]
pub(crate) struct Rate(Option<Bucket>);

#[derive(Debug)]
struct Bucket {
    limiter: DefaultDirectRateLimiter,
    refill: Duration,
}

impl Rate {
    fn new(per_second: usize, burst_for: Duration, least: usize) -> Self {
        if per_second >= UNLIMITED_RATE {
            return Self(None);
        }
        let saved = per_second as u128 * burst_for.as_millis() / 1_000;
        let burst = cells(usize::try_from(saved).unwrap_or(usize::MAX).max(least));
        let quota = Quota::per_second(cells(per_second)).allow_burst(burst);
        let refill = quota.burst_size_replenished_in();
        Self(Some(Bucket { limiter: RateLimiter::direct(quota), refill }))
    }

    /// Takes `count` from the allowance; `None`, or how long to wait until it has as much.
    pub(crate) fn take(&self, count: usize) -> Option<Duration> {
        let bucket = self.0.as_ref().filter(|_| count > 0)?;
        match bucket.limiter.check_n(cells(count)) {
            Ok(Ok(())) => None,
            Ok(Err(until)) => Some(until.wait_time_from(DefaultClock::default().now())),
            // More than a full allowance.
            Err(_) => Some(bucket.refill),
        }
    }

    fn refill(&self) -> Duration {
        self.0.as_ref().map_or(Duration::ZERO, |bucket| bucket.refill)
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

    #[test]
    fn a_full_allowance_is_what_the_rate_gives_in_the_burst_and_at_least_one_message() {
        let second = Duration::from_secs(1);
        let rate = Rate::new(10, 2 * second, 1);
        assert_eq!(rate.take(20), None);
        assert!(rate.take(1).is_some_and(|wait| wait > Duration::ZERO && wait <= second / 10));
        assert_eq!(rate.refill(), 2 * second);
        let rate = Rate::new(10, second, 1_000);
        assert_eq!((rate.take(1_000), rate.refill()), (None, 100 * second));
    }

    #[test]
    fn the_largest_rate_is_no_limit_and_what_is_refused_uses_up_nothing() {
        let unlimited = Rate::new(UNLIMITED_RATE, Duration::from_secs(1), 1);
        assert!((0..1_000).all(|_| unlimited.take(usize::MAX).is_none()));
        let rate = Rate::new(1, Duration::from_secs(3_600), 1);
        assert_eq!(rate.take(3_000), None);
        assert!(rate.take(1_000).is_some());
        assert_eq!(rate.take(600), None);
    }
}
