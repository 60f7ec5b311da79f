//! The report: what breaks a promise, and how much was looked at.

use std::fmt;

use crate::{History, logs, walk::Walk};

/// The most sentences that are shown of one kind of trouble.
const SHOWN: usize = 20;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What breaks a promise, a sentence each.
    pub broken: Vec<String>,
    /// Appends that were sent, each counted once.
    pub appends: usize,
    /// Answers `appended`.
    pub acked: usize,
    /// Entries that clients were sent.
    pub seen: usize,
    /// Entries that the log holds.
    pub entries: usize,
}

/// Holds a history against the promises.
#[must_use]
pub fn check(history: &History) -> Report {
    let mut broken = Vec::new();
    let rooms = logs::agree(&history.logs, &mut broken);
    let mut walk = Walk::new(&rooms);
    for frame in &history.frames {
        walk.frame(frame);
    }
    walk.end();
    broken.append(&mut walk.broken);
    let counts = walk.counts;
    Report {
        broken,
        appends: counts.appends,
        acked: counts.acked,
        seen: counts.seen,
        entries: rooms.values().map(|log| log.entries.len()).sum(),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { broken, appends, acked, seen, entries } = self;
        write!(
            f,
            "{entries} entries of {appends} appends, {acked} acks, {seen} entries shown: {}",
            if broken.is_empty() { "every promise holds" } else { "PROMISES ARE BROKEN" }
        )?;
        for sentence in broken.iter().take(SHOWN) {
            write!(f, "\n  {sentence}")?;
        }
        if broken.len() > SHOWN {
            write!(f, "\n  and {} more", broken.len() - SHOWN)?;
        }
        Ok(())
    }
}
