//! What is held of the open room: one run of slots without a hole.
//!
//! Enters: entries that were followed, and pages. Leaves: entries by slot. Invariant: the slots are contiguous
//! and at most [`MOST_HELD`]; whether the end is held is arithmetic, `last == latest`.

use std::collections::VecDeque;

use roomlog_client::protocol::Entry;

use crate::limits::MOST_HELD;

/// Which end grows; the other is let go of when there are too many.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Oldest,
    Newest,
}

pub(crate) struct Window {
    entries: VecDeque<Entry>,
    /// The latest slot that is known of the room; −1: none.
    latest: i64,
}

impl Window {
    pub(crate) fn new() -> Self {
        Self { entries: VecDeque::new(), latest: -1 }
    }

    pub(crate) fn latest(&self) -> i64 {
        self.latest
    }

    pub(crate) fn first(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.slot)
    }

    pub(crate) fn last(&self) -> Option<u64> {
        self.entries.back().map(|entry| entry.slot)
    }

    /// Whether the newest entry is held, so that the next one can follow it.
    pub(crate) fn is_live(&self) -> bool {
        self.last().map_or(-1, |last| last.cast_signed()) == self.latest
    }

    pub(crate) fn get(&self, slot: u64) -> Option<&Entry> {
        let at = slot.checked_sub(self.first()?)?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// The room's next entries, as they were followed. While the end is not held, only how far the room
    /// goes is kept of them; so it is, too, when `keep` asks to hold what is there and there is no
    /// more place.
    pub(crate) fn followed(&mut self, entries: &[Entry], keep: bool) {
        let Some(newest) = entries.last() else { return };
        let before = self.latest;
        self.latest = self.latest.max(newest.slot.cast_signed());
        let is_live = self.entries.back().map_or(-1, |last| last.slot.cast_signed()) == before;
        if is_live && !(keep && self.entries.len() + entries.len() > MOST_HELD) {
            self.join(entries.iter().cloned());
        }
    }

    /// A page that was asked for to stand before or behind what is held. One that does not touch it is
    /// dropped: what is held has changed since.
    pub(crate) fn page(&mut self, entries: Vec<Entry>, latest: i64, end: End) {
        self.latest = self.latest.max(latest);
        match end {
            End::Newest => self.join(entries.into_iter()),
            End::Oldest => {
                for entry in entries.into_iter().rev() {
                    if self.first().is_none_or(|first| entry.slot + 1 == first) {
                        self.entries.push_front(entry);
                    }
                }
                self.entries.truncate(MOST_HELD);
            }
        }
    }

    /// Holds this page and nothing else.
    pub(crate) fn replace(&mut self, entries: Vec<Entry>, latest: i64) {
        self.entries = entries.into();
        self.latest = self.latest.max(latest);
    }

    /// Puts those behind what is held that follow it.
    fn join(&mut self, entries: impl Iterator<Item = Entry>) {
        for entry in entries {
            if self.last().is_none_or(|last| entry.slot == last + 1) {
                self.entries.push_back(entry);
            }
        }
        let surplus = self.entries.len().saturating_sub(MOST_HELD);
        self.entries.drain(..surplus);
    }
}
