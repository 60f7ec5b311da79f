//! Trouble that may come again thousands of times a second, told in two lines.
//!
//! Enters: each time that something went wrong, and that it went well. Leaves: whether that is to be said
//! now. Invariants: an episode is said when it begins, and when it ends with how often it went wrong;
//! whatever clients, disks or networks do, there are no more than two lines a minute. What comes and goes
//! faster is counted, and the next word has the count.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

/// How long it is quiet behind the end of an episode.
const QUIET: Duration = Duration::from_secs(60);

/// Trouble of one kind.
#[derive(Debug, Default)]
pub struct Episode {
    /// As in the state: what goes well looks no further.
    is_on: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How often it went wrong since the last word of an end.
    times: u64,
    /// Whether it was said that this episode began.
    is_said: bool,
    quiet_until: Option<Instant>,
}

impl Episode {
    /// It went wrong: whether to say so, because it is the first time.
    pub fn begins(&self) -> bool {
        self.begins_at(Instant::now())
    }

    /// It went well: how often it went wrong before, when that is to be said.
    pub fn ends(&self) -> Option<u64> {
        if !self.is_on.load(Ordering::Relaxed) {
            return None;
        }
        self.ends_at(Instant::now())
    }

    fn begins_at(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        self.is_on.store(true, Ordering::Relaxed);
        state.times += 1;
        let may_be_said = state.quiet_until.is_none_or(|until| now >= until);
        may_be_said && !std::mem::replace(&mut state.is_said, true)
    }

    fn ends_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock();
        self.is_on.store(false, Ordering::Relaxed);
        std::mem::take(&mut state.is_said).then(|| {
            state.quiet_until = Some(now + QUIET);
            std::mem::take(&mut state.times)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_when_it_begins_and_once_when_it_ends_with_a_count() {
        let (episode, now) = (Episode::default(), Instant::now());
        assert_eq!(episode.ends(), None);
        assert!(episode.begins_at(now));
        for _ in 0..999 {
            assert!(!episode.begins_at(now));
        }
        assert_eq!(episode.ends_at(now), Some(1_000));
        assert_eq!(episode.ends_at(now), None);
    }

    #[test]
    fn what_comes_and_goes_is_said_twice_a_minute_and_all_of_it_is_counted() {
        let (episode, start) = (Episode::default(), Instant::now());
        let (mut lines, mut counted) = (0, 0);
        for ms in (0..600_000).step_by(10) {
            let now = start + Duration::from_millis(ms);
            lines += u64::from(episode.begins_at(now));
            if let Some(times) = episode.ends_at(now) {
                lines += 1;
                counted += times;
            }
        }
        assert_eq!(lines, 20);
        assert_eq!(counted, 9 * 6_000 + 1);
    }

    #[test]
    fn one_that_begins_in_the_quiet_and_goes_on_is_said_when_the_quiet_is_over() {
        let (episode, start) = (Episode::default(), Instant::now());
        assert!(episode.begins_at(start));
        assert_eq!(episode.ends_at(start), Some(1));
        assert!(!episode.begins_at(start));
        assert!(episode.begins_at(start + QUIET));
        assert_eq!(episode.ends_at(start + QUIET), Some(2));
    }
}
