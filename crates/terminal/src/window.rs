//! The entries of the open room in memory: one run of slots without a gap.
//!
//! Invariant: the slots are contiguous and at most [`MAX_HELD`]; it is live if `last == latest`.

use std::collections::VecDeque;

use roomlog_client::protocol::Entry;

use crate::limits::MAX_HELD;

/// The end that grows; the other is trimmed when the window is full.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Oldest,
    Newest,
}

pub(crate) struct Window {
    entries: VecDeque<Entry>,
    /// The room's latest known slot; −1: none.
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

    pub(crate) fn behind(&self) -> i64 {
        self.latest - self.last().map_or(-1, u64::cast_signed)
    }

    /// Whether it has the newest entry.
    pub(crate) fn is_live(&self) -> bool {
        self.behind() == 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= MAX_HELD
    }

    pub(crate) fn get(&self, slot: u64) -> Option<&Entry> {
        let at = slot.checked_sub(self.first()?)?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Takes followed entries, and removes what they redact. Those that are not adjacent to the window only update `latest`; so
    /// do all if the window is full and `keep` is set.
    pub(crate) fn followed(&mut self, entries: &[Entry], keep: bool) {
        let Some(newest) = entries.last() else { return };
        self.latest = self.latest.max(newest.slot.cast_signed());
        if !(keep && self.entries.len() + entries.len() > MAX_HELD) {
            self.join(entries.iter().cloned());
        }
        for removal in entries.iter().filter_map(Entry::removes) {
            for entry in self.entries.iter_mut().filter(|entry| removal.covers(entry)) {
                entry.redact();
            }
        }
    }

    /// Takes a page at one end; returns whether the other end was trimmed. It does not change
    /// `latest`: followed entries up to it may still be on their way.
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
                self.entries.truncate(MAX_HELD);
                before.1 != self.last()
            }
        }
    }

    pub(crate) fn replace(&mut self, entries: Vec<Entry>) {
        self.entries.clear();
        self.join(entries.into_iter());
    }

    /// Appends those that follow the window without a gap.
    fn join(&mut self, entries: impl Iterator<Item = Entry>) {
        for entry in entries {
            if self.last().is_none_or(|last| entry.slot == last + 1) {
                self.entries.push_back(entry);
            }
        }
        let surplus = self.entries.len().saturating_sub(MAX_HELD);
        self.entries.drain(..surplus);
        self.latest = self.latest.max(self.last().map_or(-1, u64::cast_signed));
    }
}
