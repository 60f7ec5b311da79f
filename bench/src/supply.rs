//! When the next append is due, and how many there are.
//!
//! Enters: a duration, a number of appends, or a number at a rate. Leaves: for each append, the
//! time from which its ack counts. Invariant: a paced append counts from the tick at which it was
//! due, however late it is sent, so a stall shows in every append that it delays.

use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// Paced appends are due in groups, at ticks of this length: a wake-up for each of 50,000 per
/// second would use up the server's cores.
const TICK: Duration = Duration::from_micros(250);
/// Interval of progress lines.
const PROGRESS: Duration = Duration::from_secs(5);

/// What there is to append.
pub(crate) struct Supply {
    start: Instant,
    /// Nothing is due later than this after the start.
    limit: Duration,
    entries: u64,
    taken: u64,
    /// Appends per second, if they are paced.
    rate: Option<f64>,
    /// Acks before this one are not timed.
    pub(crate) warm_up: u64,
    /// Time and acks of the last progress line, if progress is printed.
    progress: Option<(Instant, u64)>,
}

impl Supply {
    fn new(entries: u64, limit: Duration) -> Self {
        let start = Instant::now();
        Self { start, limit, entries, taken: 0, rate: None, warm_up: 0, progress: None }
    }

    /// As many appends as possible for `time`.
    pub(crate) fn lasting(time: Duration) -> Self {
        Self::new(u64::MAX, time)
    }

    /// This many, as fast as possible within `limit`; prints progress to stderr.
    pub(crate) fn unpaced(entries: u64, limit: Duration) -> Self {
        let supply = Self::new(entries, limit);
        Self { progress: Some((supply.start, 0)), ..supply }
    }

    /// This many, `rate` per second, within `limit`.
    pub(crate) fn paced(entries: u64, rate: u32, limit: Duration) -> Self {
        Self { rate: Some(f64::from(rate)), ..Self::new(entries, limit) }
    }

    /// Restarts the clock: connecting must not make the first appends late.
    pub(crate) fn begin(&mut self) {
        self.start = Instant::now();
        self.progress = self.progress.map(|_| (self.start, 0));
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Takes an append if one is due; returns the time from which its ack counts.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Instant> {
        if self.taken == self.entries || now >= self.end() {
            return None;
        }
        let since = match self.rate {
            None => now,
            Some(rate) => {
                let ticks = (self.taken as f64 / rate / TICK.as_secs_f64()).ceil();
                Some(self.start + TICK.mul_f64(ticks)).filter(|due| *due <= now)?
            }
        };
        self.taken += 1;
        Some(since)
    }

    /// Whether no append will be due any more.
    pub(crate) fn ended(&self) -> bool {
        self.taken == self.entries || Instant::now() >= self.end()
    }

    /// The latest time at which an append can be due.
    pub(crate) fn end(&self) -> Instant {
        self.start + self.limit
    }

    /// A timer that is readable at each tick; `None` if appends are not paced.
    pub(crate) fn ticks(&self) -> io::Result<Option<OwnedFd>> {
        if self.rate.is_none() {
            return Ok(None);
        }
        // A poll timeout has a resolution of 1 ms, a timer does not.
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        let tick = Timespec { tv_sec: 0, tv_nsec: i64::from(TICK.subsec_nanos()) };
        let every = Itimerspec { it_interval: tick, it_value: tick };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &every)?;
        Ok(Some(timer))
    }

    /// Prints a progress line if one is due.
    pub(crate) fn progress(&mut self, now: Instant, acked: u64) {
        let Some((last, before)) = self.progress else { return };
        let since = now - last;
        if since >= PROGRESS {
            let rate = (acked - before) as f64 / since.as_secs_f64();
            eprintln!("  {acked} of {}, {rate:.0} per second", self.entries);
            self.progress = Some((now, acked));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paced_appends_count_from_the_tick_at_which_they_were_due() {
        let mut supply = Supply::paced(3, 2_000, Duration::from_secs(60));
        let start = supply.start;
        let late = start + Duration::from_millis(700);
        assert_eq!(supply.take(start), Some(start));
        assert_eq!(supply.take(start + Duration::from_micros(499)), None, "the next is not due");
        assert_eq!(supply.take(late), Some(start + Duration::from_micros(500)));
        assert_eq!(supply.take(late), Some(start + Duration::from_micros(1_000)));
        assert_eq!(supply.take(late), None, "there were three");
        assert!(supply.ended());
    }

    #[test]
    fn nothing_is_due_after_the_limit() {
        let mut supply = Supply::unpaced(3, Duration::from_secs(60));
        let start = supply.start;
        assert_eq!(supply.take(start), Some(start));
        assert_eq!(supply.take(supply.end()), None);
    }
}
