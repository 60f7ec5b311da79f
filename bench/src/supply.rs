//! When the next append is due, and how many there are.
//!
//! Enters: a time, a number of appends, or a number at a rate. Leaves: for each append, when its ack
//! time begins. Invariant: an append at a rate counts from the tick at which it was due, however late
//! it can be sent, so that a stall shows in every append that it holds up.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::{Duration, Instant},
};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// Appends at a rate are due at ticks of this, some at each, not one by one: a wake-up for each of
/// 50,000 a second would take the server's cores.
const TICK: Duration = Duration::from_micros(250);
/// Between lines of progress.
const PROGRESS: Duration = Duration::from_secs(5);

/// What there is to append.
pub(crate) struct Supply {
    start: Instant,
    /// Nothing is taken so long after the start.
    time: Duration,
    entries: u64,
    taken: u64,
    /// Appends a second, when they are paced.
    rate: Option<f64>,
    timed: bool,
    /// When progress was told, and how many appends had been acked; none of what tells none.
    told: Option<(Instant, u64)>,
}

impl Supply {
    fn new(entries: u64, time: Duration) -> Self {
        let start = Instant::now();
        Self { start, time, entries, taken: 0, rate: None, timed: true, told: None }
    }

    /// Time begins now: what was made before the connections were must not be late from the start.
    pub(crate) fn begin(&mut self) {
        self.start = Instant::now();
        self.told = self.told.map(|_| (self.start, 0));
    }

    /// How long ago it began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// As many as can be appended in `time`.
    pub(crate) fn lasting(time: Duration) -> Self {
        Self::new(u64::MAX, time)
    }

    /// This many, as fast as can be, not timed, with progress on standard error; none after `most`.
    pub(crate) fn of(entries: u64, most: Duration) -> Self {
        let supply = Self::new(entries, most);
        Self { timed: false, told: Some((supply.start, 0)), ..supply }
    }

    /// This many, `rate` of them due each second; none after `most`.
    pub(crate) fn paced(entries: u64, rate: u32, most: Duration) -> Self {
        Self { rate: Some(f64::from(rate)), ..Self::new(entries, most) }
    }

    /// Takes an append if one is due: when its ack time begins.
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

    /// Nothing will be taken any more.
    pub(crate) fn ended(&self) -> bool {
        self.taken == self.entries || Instant::now() >= self.end()
    }

    /// When that is at the latest.
    pub(crate) fn end(&self) -> Instant {
        self.start + self.time
    }

    /// Whether ack times are of interest.
    pub(crate) fn timed(&self) -> bool {
        self.timed
    }

    /// A timer that is readable at each tick, of what is paced.
    ///
    /// # Errors
    /// When the system has none.
    pub(crate) fn ticks(&self) -> io::Result<Option<OwnedFd>> {
        if self.rate.is_none() {
            return Ok(None);
        }
        // Polling waits whole milliseconds, a timer does not.
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        let tick = Timespec { tv_sec: 0, tv_nsec: i64::from(TICK.subsec_nanos()) };
        let every = Itimerspec { it_interval: tick, it_value: tick };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &every)?;
        Ok(Some(timer))
    }

    /// Tells how far it is, now and then.
    pub(crate) fn progress(&mut self, now: Instant, acked: u64) {
        let Some((told, before)) = self.told else { return };
        let since = now - told;
        if since >= PROGRESS {
            let rate = (acked - before) as f64 / since.as_secs_f64();
            eprintln!("  {acked} of {}, {rate:.0} a second", self.entries);
            self.told = Some((now, acked));
        }
    }
}

/// Waits for the next tick.
///
/// # Errors
/// When the system has none.
pub(crate) fn wait(ticks: &impl AsFd) -> io::Result<()> {
    let mut poll = [rustix::event::PollFd::new(ticks, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut poll, None)?;
    let mut count = [0; 8];
    rustix::io::read(ticks, &mut count)?;
    Ok(())
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
    fn nothing_is_taken_when_the_time_is_over() {
        let mut supply = Supply::of(3, Duration::from_secs(60));
        let start = supply.start;
        assert_eq!(supply.take(start), Some(start));
        assert_eq!(supply.take(supply.end()), None);
    }
}
