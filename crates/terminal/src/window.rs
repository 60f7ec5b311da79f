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

    /// How many slots there are behind what is held.
    pub(crate) fn behind(&self) -> i64 {
        self.latest - self.last().map_or(-1, u64::cast_signed)
    }

    /// Whether the newest entry is held, so that the next one can follow it.
    pub(crate) fn is_live(&self) -> bool {
        self.behind() == 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= MOST_HELD
    }

    pub(crate) fn get(&self, slot: u64) -> Option<&Entry> {
        let at = slot.checked_sub(self.first()?)?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// The room's next entries, as they were followed. Those that do not touch what is held only tell how far
    /// the room goes; so do all, when `keep` asks to hold what is there and there is no more place.
    pub(crate) fn followed(&mut self, entries: &[Entry], keep: bool) {
        let Some(newest) = entries.last() else { return };
        self.latest = self.latest.max(newest.slot.cast_signed());
        if !(keep && self.entries.len() + entries.len() > MOST_HELD) {
            self.join(entries.iter().cloned());
        }
    }

    /// A page that was asked for to stand before or behind what is held; what does not touch it is
    /// dropped. Whether the other end was let go of.
    ///
    /// How far the room goes by a page is not taken from it: what was followed up to there may be on its way.
    pub(crate) fn page(&mut self, entries: Vec<Entry>, end: End) -> bool {
        let before = (self.first(), self.last());
        match end {
            End::Newest => {
                self.join(entries.into_iter());
                before.0 != self.first()
            }
            End::Oldest => {
                for entry in entries.into_iter().rev() {
                    if self.first().is_none_or(|first| entry.slot + 1 == first) {
                        self.entries.push_front(entry);
                    }
                }
                self.entries.truncate(MOST_HELD);
                before.1 != self.last()
            }
        }
    }

    /// Holds this page and nothing else.
    pub(crate) fn replace(&mut self, entries: Vec<Entry>) {
        self.entries.clear();
        self.join(entries.into_iter());
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
        self.latest = self.latest.max(self.last().map_or(-1, u64::cast_signed));
    }
}
