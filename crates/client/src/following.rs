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

/// What a follower gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// The next entries, in slot order, without a gap to those before. None, after a
    /// [`Followed::Waiting`]: the server can be read again, and there is nothing new.
    Entries(Vec<Entry>),
    /// What came before is no longer the log: drop it. Entries from the newest page on follow.
    Reset(Reset),
    /// The server cannot read what comes next, for this reason. Said once until entries come again;
    /// the client goes on asking, less and less often.
    Waiting(String),
}

pub(crate) struct Following {
    pub(crate) timeline: Timeline,
    pub(crate) joined: bool,
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
    pub(crate) fn new(timeline: Timeline, now: Duration) -> Self {
        let refusals = Backoff::default();
        Self {
            timeline,
            joined: false,
            asked: None,
            due: Some(now),
            refusals,
            told: false,
            recovered: false,
        }
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
        let news = error.code == ErrorCode::Unavailable && !std::mem::replace(&mut self.told, true);
        news.then(|| Followed::Waiting(format!("{}: {}", error.code, error.message)))
    }
}

/// How long to wait before what was refused is asked again.
pub(crate) fn wait_of(error: &ErrorFrame, unit: f64) -> Duration {
    stretched(error.retry_after_ms.map_or(DEFAULT_RETRY, Duration::from_millis), unit)
}
