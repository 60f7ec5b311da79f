//! The tail of a room: its newest commits in memory, and who wants to hear of the next one.
//!
//! Enters: commits, from apply, in slot order. Leaves: what comes after a reader's cursor, shared, not
//! copied. Invariants: the tail is contiguous and ends where the room ends; an entry leaves it only
//! when the archive has it; a follower is a cursor of its connection, and nothing here grows with
//! how far behind it is.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use roomlog_protocol::{RoomName, Slot};

use crate::model::{commit::Commit, head::Head, mailbox::Mailbox};

/// What a reader finds after its cursor.
#[derive(Debug)]
pub(crate) enum After {
    /// Nothing yet: the cursor is at the end.
    Nothing,
    /// There is something.
    Commits {
        /// These commits, the first of which holds the cursor's slot.
        commits: Vec<Arc<Commit>>,
        /// Whether there is more behind them already.
        more: bool,
    },
    /// The tail begins later: the archive has what comes next.
    Archived,
}

/// Hears when a room moves, as long as it is held.
#[derive(Debug)]
pub struct Hearing {
    tail: Arc<Tail>,
    interest: Arc<Interest>,
}

impl Hearing {
    /// Whether it was told since this was last asked; telling begins anew.
    pub fn take(&self) -> bool {
        self.interest.take()
    }
}

impl Drop for Hearing {
    fn drop(&mut self) {
        self.tail.unregister(&self.interest);
    }
}

/// A connection's wish to hear when a room moves.
#[derive(Debug)]
pub(crate) struct Interest {
    mailbox: Arc<Mailbox>,
    key: u32,
    told: AtomicBool,
}

impl Interest {
    /// Whether it was told since this was last asked; telling begins anew.
    pub(crate) fn take(&self) -> bool {
        self.told.swap(false, Ordering::AcqRel)
    }

    fn tell(&self) {
        if !self.told.swap(true, Ordering::AcqRel) {
            self.mailbox.moved(self.key);
        }
    }
}

/// A room that is held in memory.
#[derive(Debug)]
pub struct Tail {
    room: RoomName,
    state: Mutex<State>,
    interests: Mutex<Vec<Arc<Interest>>>,
}

#[derive(Debug)]
struct State {
    head: Head,
    first: Slot,
    commits: VecDeque<Arc<Commit>>,
}

impl Tail {
    /// The tail of a room whose log ends at `head` and is all in the archive.
    #[must_use]
    pub(crate) fn new(room: RoomName, head: Head) -> Self {
        let state = State { head, first: head.end, commits: VecDeque::new() };
        Self { room, state: Mutex::new(state), interests: Mutex::default() }
    }

    /// The room's name.
    #[must_use]
    pub fn room(&self) -> &RoomName {
        &self.room
    }

    /// Where the log ends, as readers may see it.
    #[must_use]
    pub fn head(&self) -> Head {
        self.state.lock().head
    }

    /// Adds a commit: from now on readers see it. Whoever waits is told by [`Tail::tell`].
    pub(crate) fn publish(&self, commit: Arc<Commit>) {
        let mut state = self.state.lock();
        debug_assert_eq!(commit.first(), state.head.end, "a tail has no holes");
        state.head = commit.head();
        state.commits.push_back(commit);
    }

    /// Tells all who are interested that the room has moved: after it has, so that who registers
    /// first and reads then misses nothing.
    pub(crate) fn tell(&self) {
        for interest in self.interests.lock().iter() {
            interest.tell();
        }
    }

    /// Lets go of the oldest commit; the caller knows that the archive has it.
    pub(crate) fn drop_oldest(&self) {
        let mut state = self.state.lock();
        if let Some(commit) = state.commits.pop_front() {
            state.first = commit.end();
        }
    }

    /// Whether nothing of it is held and nobody waits for it.
    #[must_use]
    pub(crate) fn is_idle(&self) -> bool {
        self.state.lock().commits.is_empty() && self.interests.lock().is_empty()
    }

    /// What comes at and after slot `next`, of at most about `bytes`, at least one commit.
    #[must_use]
    pub(crate) fn after(&self, next: Slot, bytes: usize) -> After {
        let state = self.state.lock();
        if next >= state.head.end {
            return After::Nothing;
        }
        if next < state.first {
            return After::Archived;
        }
        let begin = state.commits.partition_point(|commit| commit.end() <= next);
        let mut sum = 0;
        let commits = state.commits.iter().skip(begin).take_while(|commit| {
            let fits = sum == 0 || sum + commit.weight() <= bytes;
            sum += commit.weight();
            fits
        });
        let commits: Vec<_> = commits.cloned().collect();
        let more = begin + commits.len() < state.commits.len();
        After::Commits { commits, more }
    }

    /// The head, and the commits that hold slots of `first..end`, oldest first, as one view; and the
    /// slot at which the tail begins.
    #[must_use]
    pub(crate) fn view(&self, span: impl FnOnce(&Head) -> (Slot, Slot)) -> View {
        let state = self.state.lock();
        let (first, end) = span(&state.head);
        let begin = state.commits.partition_point(|commit| commit.end() <= first);
        let commits =
            state.commits.iter().skip(begin).take_while(|commit| commit.first() < end).cloned();
        View { head: state.head, first, end, archived: state.first, commits: commits.collect() }
    }

    /// Registers a connection: `mailbox` hears of `key` whenever the room moves.
    pub(crate) fn register(&self, mailbox: &Arc<Mailbox>, key: u32) -> Arc<Interest> {
        let told = AtomicBool::new(false);
        let interest = Arc::new(Interest { mailbox: mailbox.clone(), key, told });
        self.interests.lock().push(interest.clone());
        interest
    }

    /// As [`Tail::register`], until what this gives is dropped, with whatever waited for it.
    #[must_use]
    pub fn hear(self: &Arc<Self>, mailbox: &Arc<Mailbox>, key: u32) -> Hearing {
        Hearing { tail: self.clone(), interest: self.register(mailbox, key) }
    }

    /// Waits until the log ends at `end` or later.
    pub async fn reached(self: &Arc<Self>, end: Slot) {
        if self.head().end >= end {
            return;
        }
        let mailbox = Arc::new(Mailbox::default());
        let hearing = self.hear(&mailbox, 0);
        while self.head().end < end {
            mailbox.wait().await;
            let _moved = mailbox.take();
            hearing.take();
        }
    }

    /// Forgets a registration.
    pub(crate) fn unregister(&self, interest: &Arc<Interest>) {
        let mut interests = self.interests.lock();
        if let Some(index) = interests.iter().position(|held| Arc::ptr_eq(held, interest)) {
            interests.swap_remove(index);
        }
    }
}

/// A consistent look at a tail.
#[derive(Debug)]
pub(crate) struct View {
    /// Where the log ended.
    pub head: Head,
    /// The first slot asked for.
    pub first: Slot,
    /// The slot behind the last one asked for.
    pub end: Slot,
    /// Everything before this slot is in the archive.
    pub archived: Slot,
    /// What the tail has of the slots asked for.
    pub commits: Vec<Arc<Commit>>,
}

#[cfg(test)]
#[path = "tests/tail.rs"]
mod tests;
