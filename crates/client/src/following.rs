//! One followed room: its timeline, the unanswered request, and when to send the next.
//!
//! Enters: refusals and the clock. Leaves: when to retry, and what the follower is told. Invariant:
//! a follower that receives nothing was told why, once.

use std::time::Duration;

use roomlog_protocol::{Entry, ErrorCode, ErrorFrame};

use crate::{
    backoff::{Backoff, wait_of},
    timeline::{Reset, Timeline},
};

/// How many refusals in a row go unreported while the server is only busy.
const UNREPORTED: u32 = 3;

/// What a follower receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// The next entries, in slot order, without a gap to the previous ones. Empty after a
    /// [`Followed::Waiting`] if the server can be read again and there is nothing new.
    Entries(Vec<Entry>),
    /// Drop the previous entries: they are not in the server's log. The newest entries follow.
    Reset(Reset),
    /// The server cannot send the next entries, for this reason. Reported once; the client retries.
    Waiting(String),
}

pub(crate) struct Following {
    /// Distinguishes this follow from others of the same room.
    pub(crate) number: u64,
    pub(crate) timeline: Timeline,
    pub(crate) joined: bool,
    /// Whether the server may be sending entries, for this follow or one that it replaced.
    pub(crate) is_served: bool,
    /// The `req` of the unanswered `join` or `update`.
    pub(crate) asked: Option<i64>,
    pub(crate) due: Option<Duration>,
    /// Refusals since the last answer.
    refusals: Backoff,
    /// Whether the follower was told to wait.
    told: bool,
    /// Whether the wait is over and the follower was not told.
    pub(crate) recovered: bool,
}

impl Following {
    pub(crate) fn new(number: u64, timeline: Timeline, now: Duration) -> Self {
        Self {
            number,
            timeline,
            joined: false,
            is_served: false,
            asked: None,
            due: Some(now),
            refusals: Backoff::default(),
            told: false,
            recovered: false,
        }
    }

    /// Whether the server sends entries, now or once it has read the latest request.
    pub(crate) fn may_be_served(&self) -> bool {
        self.is_served || self.asked.is_some()
    }

    pub(crate) fn disconnected(&mut self, now: Duration) {
        (self.joined, self.is_served, self.asked, self.due) = (false, false, None, Some(now));
    }

    /// The server answered: the next refusal is the first again.
    pub(crate) fn answered(&mut self) {
        self.refusals.reset();
        self.recovered |= std::mem::take(&mut self.told);
    }

    /// Schedules a retry after a refusal. Returns what to tell the follower, unless it knows.
    pub(crate) fn retry_later(
        &mut self,
        error: &ErrorFrame,
        now: Duration,
        jitter: f64,
    ) -> Option<Followed> {
        self.due = Some(now + wait_of(error, jitter).max(self.refusals.next(jitter)));
        let is_reported = !matches!(error.code, ErrorCode::Busy | ErrorCode::RateLimited)
            || self.refusals.tries() > UNREPORTED;
        let is_news = is_reported && !std::mem::replace(&mut self.told, true);
        is_news.then(|| Followed::Waiting(format!("{}: {}", error.code, error.message)))
    }
}
