//! Checks what went over the wires of a run against the guarantees of `docs/PROTOCOL.md`. It shares
//! no code with the server.
//!
//! ```text
//!  frames sent and received, in time order ──┐
//!  every node's complete log, at the end ────┴─► violations, a sentence each
//! ```
//!
//! Enters: a [`History`]. Leaves: a [`Report`]. The checks:
//!
//! | guarantee | check |
//! |---|---|
//! | no gap | a node's log has the slots 0, 1, 2, … up to its `latest` |
//! | one order | all nodes' logs are equal, entry by entry, and match their digests, recomputed here |
//! | exactly once | an author's id is in a room once, with a body, kind, `ref` and meta that were sent with it |
//! | acked is durable | what was `appended` is at its slot, with its time; no slot was named that the log has not |
//! | refused is not there | what got an error other than `unknown_outcome` each time that it was sent is not in the log |
//! | every view is a prefix | each entry that any client received is the one at its slot, and so is each digest |
//! | no missed gap | a follow receives one slot after the other, and nothing after `left` |
//! | real time | an append first sent after any client received slot s, or that names it in `after`, is behind s |
//! | queue order | what a connection sent first comes first; with `seq` so does what an author sent, over connections that follow each other |
//! | expected slot | an append with `expect` is at that slot |
//! | no stale answer | a reply has a `latest` that reaches `seen`, `after`, and what its connection received before |
//! | erased is gone | what an entry removes is not in a log, nor in an answer that must have reached that entry; and nothing else is redacted |
//! | rights | a token's connection receives only what its claims allow |
//!
//! Not checked: signatures and lives of tokens, the order by time among connections, `retry_after_ms`.

mod appends;
mod connection;
mod entry;
mod history;
mod logs;
mod removals;
mod rights;
mod walk;

use std::fmt;

use walk::{Counts, Walk};

pub use history::{Direction, Frame, History, HistoryError, NodeLog};

/// The most violations that a report displays.
const SHOWN: usize = 20;

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The violations, a sentence each.
    pub broken: Vec<String>,
    /// Appends that were sent, each id once.
    pub appends: usize,
    /// `appended` answers.
    pub acked: usize,
    /// Entries that clients received.
    pub seen: usize,
    /// Entries in the log.
    pub entries: usize,
}

/// Checks a history.
#[must_use]
pub fn check(history: &History) -> Report {
    let mut broken = Vec::new();
    if history.logs.is_empty() {
        broken.push("no log of any node was read after the run".into());
    }
    let rooms = logs::agree(&history.logs, &mut broken);
    let mut walk = Walk::new(&rooms);
    history.frames.iter().for_each(|frame| walk.frame(frame));
    walk.end();
    broken.append(&mut walk.broken);
    let Counts { appends, acked, seen } = walk.counts;
    let entries = rooms.values().map(|log| log.entries.len()).sum();
    Report { broken, appends, acked, seen, entries }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { broken, appends, acked, seen, entries } = self;
        let verdict = if broken.is_empty() { "no violation" } else { "VIOLATIONS" };
        write!(
            f,
            "{entries} entries of {appends} appends, {acked} acks, {seen} entries received: {verdict}"
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
