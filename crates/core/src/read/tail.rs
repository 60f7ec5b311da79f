//! The tail of a room: its newest commits in memory, and who is notified of the next one.
//!
//! Enters: commits, from apply, in slot order. Leaves: what follows a reader's cursor, shared, not
//! copied. Invariants: the tail is contiguous and ends where the log ends; an entry leaves it only
//! when the archive has it; followers keep their own cursors, so nothing here grows with their lag;
//! the room leaves memory with the last reference to its tail.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use roomlog_protocol::{Author, EntryId, Removal, RoomName, Slot};

use crate::{
    model::{commit::Commit, head::Head, mailbox::Mailbox, removals::Removals},
    read::{
        held::Held,
        interests::{CommitSink, Interest, Interests},
    },
};

#[derive(Debug)]
pub(crate) enum After {
    Nothing,
    Commits {
        /// The commits; the first one contains the cursor's slot.
        commits: Vec<Arc<Commit>>,
        more: bool,
    },
    /// The tail begins later: the archive has it.
    Archived,
}

/// A registration for notifications of a room, until dropped.
#[derive(Debug)]
pub struct Subscription {
    tail: Arc<Tail>,
    interest: Arc<Interest>,
}

impl Subscription {
    /// Whether the room moved since the last call; enables the next notification.
    pub fn take(&self) -> bool {
        self.interest.take()
    }

    /// Notifies the connection when the room moves next, whether a sink takes what is new or not. Look at
    /// the room afterwards: it may have moved before.
    pub fn ask_for_notice(&self) {
        self.interest.ask_for_notice();
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.tail.interests.remove(&self.interest);
    }
}

/// A room in memory.
#[derive(Debug)]
pub struct Tail {
    room: RoomName,
    held: Weak<Held<Tail>>,
    /// Where the log ended when it was opened.
    opened_at: Slot,
    state: Mutex<TailState>,
    interests: Interests,
}

#[derive(Debug)]
struct TailState {
    head: Head,
    first: Slot,
    commits: VecDeque<Arc<Commit>>,
    /// What the archive may not have removed yet.
    removals: Removals,
}

impl TailState {
    fn remove(&mut self, removal: &Removal) {
        self.removals.add(removal);
        for commit in self.commits.range_mut(self.overlapping(removal)) {
            if let Some(without) = commit.without(removal) {
                *commit = Arc::new(without);
            }
        }
    }

    /// The commits with slots that a removal may concern.
    fn overlapping(&self, removal: &Removal) -> Range<usize> {
        let slots = removal.slots();
        self.commits.partition_point(|commit| commit.end() <= *slots.start())
            ..self.commits.partition_point(|commit| commit.first() <= *slots.end())
    }
}

impl Tail {
    /// A tail of a log that ends at `head` and is completely in the archive, among those that are
    /// `held`.
    #[must_use]
    pub(crate) fn new(room: RoomName, head: Head, held: &Arc<Held<Tail>>) -> Self {
        let (held, opened_at) = (Arc::downgrade(held), head.end);
        let (commits, removals) = (VecDeque::new(), Removals::default());
        let state = TailState { head, first: head.end, commits, removals };
        let (state, interests) = (Mutex::new(state), Interests::default());
        Self { room, held, opened_at, state, interests }
    }

    /// The room's name.
    #[must_use]
    pub fn room(&self) -> &RoomName {
        &self.room
    }

    /// The head, as readers may see it.
    #[must_use]
    pub fn head(&self) -> Head {
        self.state.lock().head
    }

    /// Adds a commit, which readers see from now on, and removes what it removes. Followers are told by
    /// [`Deliveries`](crate::read::delivery::Deliveries).
    pub(crate) fn publish(&self, commit: Arc<Commit>) {
        let mut state = self.state.lock();
        debug_assert_eq!(commit.first(), state.head.end, "a tail has no holes");
        state.head = commit.head();
        commit.removes.iter().for_each(|removal| state.remove(removal));
        state.commits.push_back(commit);
    }

    /// Those who are interested in it.
    pub(crate) fn interests(&self) -> &Interests {
        &self.interests
    }

    /// Whether the text of an entry was removed that the archive may still have.
    #[must_use]
    pub(crate) fn is_removed(&self, slot: Slot, author: &Author) -> bool {
        self.state.lock().removals.covers_slot(slot, author)
    }

    /// The authors and ids of the entries in memory that a removal covers.
    #[must_use]
    pub(crate) fn covered(&self, removal: &Removal) -> Vec<(Author, EntryId)> {
        let state = self.state.lock();
        let commits = state.commits.range(state.overlapping(removal));
        let entries = commits.flat_map(|commit| &commit.entries).map(|stored| &stored.entry);
        let covered = entries.filter(|it| !it.content.is_redacted() && removal.covers(it));
        covered.map(|entry| (entry.author.clone(), entry.id.clone())).collect()
    }

    /// Notes that the archive has removed what a commit removes.
    pub(crate) fn note_removed(&self, commit: &Commit) {
        if !commit.removes.is_empty() {
            let mut state = self.state.lock();
            commit.removes.iter().for_each(|removal| state.removals.take(removal));
        }
    }

    /// Drops the oldest commit, which must be in the archive.
    pub(crate) fn drop_oldest(&self) {
        let mut state = self.state.lock();
        if let Some(commit) = state.commits.pop_front() {
            state.first = commit.end();
        }
    }

    /// What follows from slot `next` on, of at most about `bytes`, at least one commit.
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

    /// The commits from slot `next` on, of at most about `bytes`, their frames included; `None` if not all of
    /// them are here, the first begins earlier, or they are more.
    pub(crate) fn whole_after(&self, next: Slot, bytes: usize) -> Option<Vec<Arc<Commit>>> {
        match self.after(next, bytes) {
            After::Nothing => Some(Vec::new()),
            After::Commits { commits, more: false } => {
                let weight: usize = commits.iter().map(|commit| commit.weight()).sum();
                let is_whole = commits.first().is_some_and(|first| first.first() == next);
                (is_whole && weight <= bytes).then_some(commits)
            }
            After::Commits { .. } | After::Archived => None,
        }
    }

    /// A consistent view of the head and the commits that overlap the span `first..end` which
    /// `span` chooses.
    #[must_use]
    pub(crate) fn view(&self, span: impl FnOnce(&Head) -> (Slot, Slot)) -> View {
        let state = self.state.lock();
        let (first, end) = span(&state.head);
        let begin = state.commits.partition_point(|commit| commit.end() <= first);
        let commits =
            state.commits.iter().skip(begin).take_while(|commit| commit.first() < end).cloned();
        let (archived, commits) = (state.first, commits.collect());
        let removals = state.removals.within(first..archived.min(end));
        View { head: state.head, first, end, archived, commits, removals }
    }

    /// Registers a connection, until the result is dropped: when the room moves, the `sink` takes what is
    /// new, or else `mailbox` receives `key`.
    #[must_use]
    pub fn subscribe(
        self: &Arc<Self>,
        mailbox: &Arc<Mailbox>,
        key: u32,
        sink: Option<Arc<dyn CommitSink>>,
    ) -> Subscription {
        let interest = self.interests.add(mailbox.clone(), key, sink);
        Subscription { tail: self.clone(), interest }
    }

    /// Waits until the log ends at `end` or later.
    pub async fn reached(self: &Arc<Self>, end: Slot) {
        if self.head().end >= end {
            return;
        }
        let mailbox = Arc::new(Mailbox::default());
        let subscription = self.subscribe(&mailbox, 0, None);
        while self.head().end < end {
            mailbox.wait().await;
            let _moved = mailbox.take();
            subscription.take();
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let has_moved = self.state.get_mut().head.end != self.opened_at;
        // None if the node has ended.
        if let Some(held) = self.held.upgrade() {
            held.release(&self.room, has_moved);
        }
    }
}

#[derive(Debug)]
pub(crate) struct View {
    pub head: Head,
    pub first: Slot,
    pub end: Slot,
    /// Everything before this slot is in the archive.
    pub archived: Slot,
    /// The commits that overlap the slots asked for, oldest first.
    pub commits: Vec<Arc<Commit>>,
    /// What the archive may not have removed yet of the slots asked for.
    pub removals: Removals,
}

#[cfg(test)]
#[path = "tests/tail.rs"]
mod tests;
