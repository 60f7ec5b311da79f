//! Limits logging of a failure that may repeat thousands of times a second.
//!
//! Enters: each failure and each success of one kind. Leaves: whether to log it now. Invariant: an
//! episode is logged when it begins and, with a count, when it ends; at most two lines a minute.
//! Shorter episodes are only counted, and the next line includes them.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

/// Nothing is logged for this long after the end of an episode.
const QUIET_FOR: Duration = Duration::from_secs(60);

/// Failures of one kind.
#[derive(Debug, Default)]
pub struct Episode {
    /// A copy of the state, so that a success without a failure before it takes no lock.
    is_on: AtomicBool,
    state: Mutex<EpisodeState>,
}

#[derive(Debug, Default)]
struct EpisodeState {
    /// Failures since the last logged end.
    times: u64,
    /// Whether the beginning was logged.
    is_logged: bool,
    quiet_until: Option<Instant>,
}

impl Episode {
    /// Notes a failure; `true` if the caller should log it.
    pub fn note_failure(&self) -> bool {
        self.failure_at(Instant::now())
    }

    /// Notes a success. If the caller should log the end of an episode: the number of failures.
    pub fn note_success(&self) -> Option<u64> {
        if !self.is_on.load(Ordering::Relaxed) {
            return None;
        }
        self.success_at(Instant::now())
    }

    fn failure_at(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        self.is_on.store(true, Ordering::Relaxed);
        state.times += 1;
        let may_log = state.quiet_until.is_none_or(|until| now >= until);
        may_log && !std::mem::replace(&mut state.is_logged, true)
    }

    fn success_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock();
        self.is_on.store(false, Ordering::Relaxed);
        std::mem::take(&mut state.is_logged).then(|| {
            state.quiet_until = Some(now + QUIET_FOR);
            std::mem::take(&mut state.times)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_the_beginning_and_the_end_with_a_count() {
        let (episode, now) = (Episode::default(), Instant::now());
        assert_eq!(episode.note_success(), None);
        assert!(episode.failure_at(now));
        for _ in 0..999 {
            assert!(!episode.failure_at(now));
        }
        assert_eq!(episode.success_at(now), Some(1_000));
        assert_eq!(episode.success_at(now), None);
    }

    #[test]
    fn short_episodes_are_logged_twice_a_minute_and_all_are_counted() {
        let (episode, start) = (Episode::default(), Instant::now());
        let (mut lines, mut counted) = (0, 0);
        for ms in (0..600_000).step_by(10) {
            let now = start + Duration::from_millis(ms);
            lines += u64::from(episode.failure_at(now));
            if let Some(times) = episode.success_at(now) {
                lines += 1;
                counted += times;
            }
        }
        assert_eq!(lines, 20);
        assert_eq!(counted, 9 * 6_000 + 1);
    }

    #[test]
    fn an_episode_that_outlasts_the_quiet_period_is_logged_after_it() {
        let (episode, start) = (Episode::default(), Instant::now());
        assert!(episode.failure_at(start));
        assert_eq!(episode.success_at(start), Some(1));
        assert!(!episode.failure_at(start));
        assert!(episode.failure_at(start + QUIET_FOR));
        assert_eq!(episode.success_at(start + QUIET_FOR), Some(2));
    }
}
