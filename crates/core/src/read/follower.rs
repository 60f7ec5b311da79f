//! Followers: a cursor in the log of a room each, and nothing else.
//!
//! ```text
//!  slots  0 ──────────── where the tail begins ──────── end
//!              archive            │        tail
//!                 ▲ next                      ▲ next: what a follower is given next
//! ```
//!
//! Enters: a tail and the slot to go on from; pages of the archive. Leaves: what comes next, up to one
//! batch, from the tail while it is there. Invariants: every slot from the first on is given once, in
//! order; a follower holds no entry, so it costs the same however far behind it is, and nobody else
//! waits for it. All followers of a node are counted, and how far behind the slowest is can be asked
//! without holding up any of them.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use roomlog_protocol::{Slot, Span, latest_of};

use crate::{
    model::{commit::Commit, proposal::Stored},
    read::tail::{After, Tail},
};

/// What comes next for a follower.
#[derive(Debug)]
pub enum Next {
    /// Nothing yet.
    Nothing,
    /// What the tail had; the follower has moved behind it.
    Tail {
        /// In slot order.
        pieces: Vec<Piece>,
        /// Whether there is more behind it already.
        more: bool,
    },
    /// The tail has left it behind: [`Follower::span`] is to be read, and [`Follower::took`] told.
    Archived,
}

/// A commit, or the end of one in which the cursor stood.
#[derive(Debug)]
pub struct Piece {
    commit: Arc<Commit>,
    from: usize,
}

impl Piece {
    /// The commit, when it is all of it: it may be encoded already, for all who follow.
    #[must_use]
    pub fn whole(&self) -> Option<&Commit> {
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
    place: Arc<Place>,
    number: usize,
    followers: Arc<Followers>,
}

/// Where a follower stands: written by it alone, looked at by who asks for the slowest.
#[derive(Debug)]
struct Place {
    tail: Arc<Tail>,
    next: AtomicU64,
}

impl Follower {
    /// The next slot that it is given.
    #[must_use]
    pub(crate) fn next_slot(&self) -> Slot {
        self.place.next.load(Ordering::Relaxed)
    }

    /// What comes next, of at most about `bytes`, at least one commit; moves on behind it.
    pub fn next(&mut self, bytes: usize) -> Next {
        let next = self.next_slot();
        match self.place.tail.after(next, bytes) {
            After::Nothing => Next::Nothing,
            After::Archived => Next::Archived,
            After::Commits { commits, more } => {
                let end = commits.last().map_or(next, |commit| commit.end());
                self.place.next.store(end, Ordering::Relaxed);
                let piece = |commit: Arc<Commit>| {
                    let inside = next.saturating_sub(commit.first());
                    Piece { commit, from: usize::try_from(inside).unwrap_or(usize::MAX) }
                };
                Next::Tail { pieces: commits.into_iter().map(piece).collect(), more }
            }
        }
    }

    /// What to read when the tail has left it behind.
    #[must_use]
    pub fn span(&self) -> Span {
        Span::After(latest_of(self.next_slot()))
    }

    /// Moves on behind what was read of [`Follower::span`].
    pub fn took(&mut self, read: &[Stored]) {
        if let Some(last) = read.last() {
            self.place.next.store(last.entry.slot + 1, Ordering::Relaxed);
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.followers.count.fetch_sub(1, Ordering::Relaxed);
        self.followers.part(self.number).lock().remove(&self.number);
    }
}

/// How many parts the list of followers has, so that who comes, goes or looks holds up few others.
const PARTS: usize = 32;

/// The followers of a node.
#[derive(Debug, Default)]
pub(crate) struct Followers {
    parts: [Mutex<HashMap<usize, Arc<Place>>>; PARTS],
    numbers: AtomicUsize,
    count: AtomicUsize,
}

impl Followers {
    /// A follower that is given slot `next` first.
    #[must_use]
    pub(crate) fn follow(self: &Arc<Self>, tail: Arc<Tail>, next: Slot) -> Follower {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let place = Arc::new(Place { tail, next: next.into() });
        self.part(number).lock().insert(number, place.clone());
        self.count.fetch_add(1, Ordering::Relaxed);
        Follower { place, number, followers: self.clone() }
    }

    fn part(&self, number: usize) -> &Mutex<HashMap<usize, Arc<Place>>> {
        &self.parts[number % PARTS]
    }

    /// How many there are.
    #[must_use]
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How many entries the slowest still has to be given; 0 when there is none.
    ///
    /// Takes time with their number, and nobody's: what follows is copied a part at a time, under a
    /// lock that only those take who begin or end, and is looked at when it is free again.
    #[must_use]
    pub(crate) fn slowest_lag(&self) -> u64 {
        let lag = |place: &Arc<Place>| {
            // First where it stands: the log may move on between, and never back.
            let next = place.next.load(Ordering::Relaxed);
            place.tail.head().end.saturating_sub(next)
        };
        let slowest_of = |part: &Mutex<HashMap<usize, Arc<Place>>>| {
            let places: Vec<_> = part.lock().values().cloned().collect();
            places.iter().map(lag).max().unwrap_or(0)
        };
        self.parts.iter().map(slowest_of).max().unwrap_or(0)
    }
}

#[cfg(test)]
#[path = "tests/follower.rs"]
mod tests;
