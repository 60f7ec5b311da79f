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
    /// Not in the tail any more: read [`Follower::span`], then call [`Follower::advance`].
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

/// The cursor of a follower: whoever delivers to the follower writes it, the lag is read from it.
#[derive(Debug)]
pub struct FollowerCursor {
    tail: Arc<Tail>,
    next: AtomicU64,
}

impl FollowerCursor {
    /// The slot after the last that was delivered.
    #[must_use]
    pub fn next_slot(&self) -> Slot {
        self.next.load(Ordering::Relaxed)
    }

    /// Notes that everything before a slot was delivered, and nothing else.
    pub fn move_to(&self, next: Slot) {
        self.next.store(next, Ordering::Relaxed);
    }

    fn lag(&self) -> u64 {
        // The cursor first: the log only grows in between.
        let next = self.next_slot();
        self.tail.head().end.saturating_sub(next)
    }
}

impl Follower {
    /// Its cursor, for whoever delivers to it besides: never at the same time.
    #[must_use]
    pub fn cursor(&self) -> &Arc<FollowerCursor> {
        &self.cursor
    }

    /// Returns the next batch, of at most about `bytes` but at least one commit, and advances past
    /// it.
    pub fn next(&mut self, bytes: usize) -> Next {
        let next = self.cursor.next_slot();
        match self.cursor.tail.after(next, bytes) {
            After::Nothing => Next::Nothing,
            After::Archived => Next::Archived,
            After::Commits { commits, more } => {
                let end = commits.last().map_or(next, |commit| commit.end());
                self.cursor.move_to(end);
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
        Span::After(Latest::before(self.cursor.next_slot()))
    }

    /// Advances past what was read of [`Follower::span`].
    pub fn advance(&mut self, read: &[Stored]) {
        if let Some(last) = read.last() {
            self.cursor.move_to(last.entry.slot + 1);
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.followers.count.fetch_sub(1, Ordering::Relaxed);
        self.followers.part(self.number).lock().remove(&self.number);
    }
}

/// The list of followers is split into this many parts, to reduce lock contention and what one call
/// of [`Followers::slowest_lag`] reads.
const PARTS: usize = 512;

/// As soon as the lags of this many followers are read, those of other parts are not.
const LAGS_READ: usize = 10_000;

type Cursors = HashMap<usize, Arc<FollowerCursor>>;

#[derive(Debug)]
pub(crate) struct Followers {
    parts: Vec<Mutex<Cursors>>,
    numbers: AtomicUsize,
    count: AtomicUsize,
    lags: Mutex<Lags>,
}

/// The greatest lag of each part, when it was read last.
#[derive(Debug)]
struct Lags {
    of_part: Vec<u64>,
    /// The part to read next.
    next: usize,
}

impl Default for Followers {
    fn default() -> Self {
        let (numbers, count) = Default::default();
        let lags = Mutex::new(Lags { of_part: vec![0; PARTS], next: 0 });
        Self { parts: (0..PARTS).map(|_| Mutex::default()).collect(), numbers, count, lags }
    }
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

    fn part(&self, number: usize) -> &Mutex<Cursors> {
        &self.parts[number % PARTS]
    }

    #[must_use]
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The lag of the slowest follower, in entries; 0 if there are none. Reads the lags of at least
    /// [`LAGS_READ`] followers if there are so many, the next parts of the list in turn; for the
    /// other parts it takes what it read last.
    #[must_use]
    pub(crate) fn slowest_lag(&self) -> u64 {
        let mut lags = self.lags.lock();
        let mut read = 0;
        for _ in 0..PARTS {
            if read >= LAGS_READ {
                break;
            }
            let part = lags.next;
            lags.next = (part + 1) % PARTS;
            // Copied, so that starting and ending followers wait for that only.
            let cursors: Vec<_> = self.part(part).lock().values().cloned().collect();
            read += cursors.len();
            lags.of_part[part] = cursors.iter().map(|it| it.lag()).max().unwrap_or(0);
        }
        lags.of_part.iter().copied().max().unwrap_or(0)
    }
}

#[cfg(test)]
#[path = "tests/follower.rs"]
mod tests;
