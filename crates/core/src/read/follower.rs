//! Followers: each is a cursor in the log of a room, and nothing else.
//!
//! Enters: a tail and a first slot; pages of the archive. Leaves: the next batch, from the tail if
//! it is there. Invariants: every slot from the first on is delivered once, in order; a follower
//! holds no entry, so its cost does not depend on its lag, and nobody waits for it.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use roomlog_protocol::{Latest, Slot, Span};

use crate::{
    model::{commit::Commit, proposal::Stored},
    read::tail::{After, Tail},
};

/// The next batch for a follower.
#[derive(Debug)]
pub enum Next {
    /// There is none yet.
    Nothing,
    /// From the tail; the follower has advanced past it.
    Tail {
        /// In slot order.
        pieces: Vec<Piece>,
        /// Whether more is already there.
        more: bool,
    },
    /// Not in the tail any more: read [`Follower::span`], then call [`Follower::took`].
    Archived,
}

/// A commit, or the rest of one from the cursor on.
#[derive(Debug)]
pub struct Piece {
    commit: Arc<Commit>,
    from: usize,
}

impl Piece {
    /// The commit, if the piece is all of it: its frames may be encoded already.
    #[must_use]
    pub fn as_commit(&self) -> Option<&Commit> {
        (self.from == 0).then_some(&*self.commit)
    }

    /// The entries.
    #[must_use]
    pub fn entries(&self) -> &[Stored] {
        self.commit.entries.get(self.from..).unwrap_or_default()
    }
}

/// A follower of one room.
#[derive(Debug)]
pub struct Follower {
    cursor: Arc<FollowerCursor>,
    number: usize,
    followers: Arc<Followers>,
}

/// The cursor of a follower: only the follower writes it, the lag is read from it.
#[derive(Debug)]
struct FollowerCursor {
    tail: Arc<Tail>,
    next: AtomicU64,
}

impl Follower {
    #[must_use]
    pub(crate) fn next_slot(&self) -> Slot {
        self.cursor.next.load(Ordering::Relaxed)
    }

    /// Returns the next batch, of at most about `bytes` but at least one commit, and advances past
    /// it.
    pub fn next(&mut self, bytes: usize) -> Next {
        let next = self.next_slot();
        match self.cursor.tail.after(next, bytes) {
            After::Nothing => Next::Nothing,
            After::Archived => Next::Archived,
            After::Commits { commits, more } => {
                let end = commits.last().map_or(next, |commit| commit.end());
                self.cursor.next.store(end, Ordering::Relaxed);
                let piece = |commit: Arc<Commit>| {
                    let inside = next.saturating_sub(commit.first());
                    Piece { commit, from: usize::try_from(inside).unwrap_or(usize::MAX) }
                };
                Next::Tail { pieces: commits.into_iter().map(piece).collect(), more }
            }
        }
    }

    /// What to read from the archive after [`Next::Archived`].
    #[must_use]
    pub fn span(&self) -> Span {
        Span::After(Latest::before(self.next_slot()))
    }

    /// Advances past what was read of [`Follower::span`].
    pub fn advance(&mut self, read: &[Stored]) {
        if let Some(last) = read.last() {
            self.cursor.next.store(last.entry.slot + 1, Ordering::Relaxed);
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.followers.count.fetch_sub(1, Ordering::Relaxed);
        self.followers.part(self.number).lock().remove(&self.number);
    }
}

/// The list of followers is split into this many parts, to reduce lock contention.
const PARTS: usize = 32;

#[derive(Debug, Default)]
pub(crate) struct Followers {
    parts: [Mutex<HashMap<usize, Arc<FollowerCursor>>>; PARTS],
    numbers: AtomicUsize,
    count: AtomicUsize,
}

impl Followers {
    #[must_use]
    pub(crate) fn follow(self: &Arc<Self>, tail: Arc<Tail>, next: Slot) -> Follower {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let cursor = Arc::new(FollowerCursor { tail, next: next.into() });
        self.part(number).lock().insert(number, cursor.clone());
        self.count.fetch_add(1, Ordering::Relaxed);
        Follower { cursor, number, followers: self.clone() }
    }

    fn part(&self, number: usize) -> &Mutex<HashMap<usize, Arc<FollowerCursor>>> {
        &self.parts[number % PARTS]
    }

    #[must_use]
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The lag of the slowest follower, in entries; 0 if there are none. Scans all followers, but
    /// copies one part at a time, under a lock that only starting and ending followers take.
    #[must_use]
    pub(crate) fn slowest_lag(&self) -> u64 {
        let lag = |cursor: &Arc<FollowerCursor>| {
            // The cursor first: the log only grows in between.
            let next = cursor.next.load(Ordering::Relaxed);
            cursor.tail.head().end.saturating_sub(next)
        };
        let slowest_of = |part: &Mutex<HashMap<usize, Arc<FollowerCursor>>>| {
            let cursors: Vec<_> = part.lock().values().cloned().collect();
            cursors.iter().map(lag).max().unwrap_or(0)
        };
        self.parts.iter().map(slowest_of).max().unwrap_or(0)
    }
}

#[cfg(test)]
#[path = "tests/follower.rs"]
mod tests;
