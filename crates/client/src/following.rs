//! One room that is followed: its place, what is unanswered, and when to ask next.
//!
//! Enters: refusals and the clock. Leaves: when to ask again, and what a follower is told of it.
//! Invariant: a follower that gets nothing was told why, once.

use std::time::Duration;

use roomlog_protocol::{Entry, ErrorCode, ErrorFrame};

use crate::{
    backoff::{Backoff, stretched},
    timeline::{Reset, Timeline},
};

/// How long to wait after a refusal that names no time.
const DEFAULT_RETRY: Duration = Duration::from_millis(500);

/// How many refusals in a row pass without a word when the server is only busy.
const PASSING: u32 = 3;

/// What a follower gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// The next entries, in slot order, without a gap to those before. None, after a
    /// [`Followed::Waiting`]: the server can be read again, and there is nothing new.
    Entries(Vec<Entry>),
    /// What came before is no longer the log: drop it. Entries from the newest page on follow.
    Reset(Reset),
    /// The server cannot give what comes next, for this reason. Said once until entries come again;
    /// the client goes on asking, less and less often.
    Waiting(String),
}

pub(crate) struct Following {
    /// Which following of the client it is.
    pub(crate) number: u64,
    pub(crate) timeline: Timeline,
    pub(crate) joined: bool,
    /// Whether the server may send the room's entries: for this following, or for one that it replaced.
    pub(crate) is_served: bool,
    /// The mark of the `join` or `update` that is unanswered.
    pub(crate) asked: Option<i64>,
    /// When to ask next.
    pub(crate) due: Option<Duration>,
    /// Refusals since it was answered last.
    refusals: Backoff,
    /// Whether the follower was told that it has to wait.
    told: bool,
    /// Whether that is over, and the follower does not know it.
    pub(crate) recovered: bool,
}

impl Following {
    pub(crate) fn new(number: u64, timeline: Timeline, now: Duration) -> Self {
        let refusals = Backoff::default();
        Self {
            number,
            timeline,
            joined: false,
            is_served: false,
            asked: None,
            due: Some(now),
            refusals,
            told: false,
            recovered: false,
        }
    }

    /// Whether the server sends the room's entries, or will when it has taken what is on its way.
    pub(crate) fn may_be_served(&self) -> bool {
        self.is_served || self.asked.is_some()
    }

    /// The connection is another one.
    pub(crate) fn lost(&mut self, now: Duration) {
        (self.joined, self.is_served, self.asked, self.due) = (false, false, None, Some(now));
    }

    /// The server served it: the next refusal is a new one.
    pub(crate) fn served(&mut self) {
        self.refusals.reset();
        self.recovered |= std::mem::take(&mut self.told);
    }

    /// When to ask again after a refusal, and what to tell the follower, unless it knows.
    pub(crate) fn postponed(
        &mut self,
        error: &ErrorFrame,
        now: Duration,
        unit: f64,
    ) -> Option<Followed> {
        self.due = Some(now + wait_of(error, unit).max(self.refusals.next(unit)));
        // A busy server mostly is so for a moment; one that goes on refusing is worth a word.
        let is_worth_it = !matches!(error.code, ErrorCode::Busy | ErrorCode::RateLimited)
            || self.refusals.tries() > PASSING;
        let news = is_worth_it && !std::mem::replace(&mut self.told, true);
        news.then(|| Followed::Waiting(format!("{}: {}", error.code, error.message)))
    }
}

/// How long to wait before what was refused is asked again.
pub(crate) fn wait_of(error: &ErrorFrame, unit: f64) -> Duration {
    stretched(error.retry_after_ms.map_or(DEFAULT_RETRY, Duration::from_millis), unit)
}
