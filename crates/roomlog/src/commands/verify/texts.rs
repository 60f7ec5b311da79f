//! Checks that exactly the texts that a room's removals cover are gone.
//!
//! Enters: the entries of a room, from slot 0. Leaves: which slots to read again, once all removals are
//! known; and whether an entry there is as they say. Digests do not show this: an entry has the same one
//! before and after its text is removed. Memory: a few bytes for each removal, and for each
//! [`PAGE_ENTRIES`] slots of which some are concerned.

use std::{collections::BTreeSet, ops::Range};

use roomlog_core::removals::Removals;
use roomlog_protocol::{Entry, Slot};

use super::report::Wrong;
use crate::commands::replayed::PAGE_ENTRIES;

/// The removals of a room, and where entries are redacted.
#[derive(Default)]
pub(super) struct Texts {
    removals: Removals,
    /// The numbers of the pages.
    pages: BTreeSet<u64>,
}

impl Texts {
    /// Notes an entry of the first reading.
    pub(super) fn note(&mut self, entry: &Entry) {
        if entry.content.is_redacted() {
            self.pages.insert(entry.slot / PAGE_ENTRIES);
        }
        self.note_removal(entry);
    }

    /// Notes what an entry removes, if it does.
    pub(super) fn note_removal(&mut self, entry: &Entry) {
        let Some(removal) = entry.removes() else { return };
        let slots = removal.slots();
        self.pages.extend(slots.start() / PAGE_ENTRIES..=slots.end() / PAGE_ENTRIES);
        self.removals.add(&removal);
    }

    /// Whether there is nothing to read again.
    pub(super) fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// The slots before `end` to read again: ascending, each at most [`PAGE_ENTRIES`].
    pub(super) fn to_read(&self, end: Slot) -> impl Iterator<Item = Range<Slot>> {
        let page =
            move |number: &u64| number * PAGE_ENTRIES..((number + 1) * PAGE_ENTRIES).min(end);
        self.pages.iter().map(page).filter(|page| !page.is_empty())
    }

    /// Whether an entry is redacted without a removal.
    pub(super) fn is_stray(&self, entry: &Entry) -> bool {
        entry.content.is_redacted() && !self.removals.covers(entry)
    }

    /// Checks an entry of the second reading.
    pub(super) fn check(&self, entry: &Entry) -> Result<(), Wrong> {
        if self.is_stray(entry) {
            let why = "it is redacted, but no later entry removes its text";
            return Err(Wrong::at(entry.slot, why));
        }
        if !entry.content.is_redacted() && self.removals.covers(entry) {
            let why = "a later entry removes its text, but the text is still there";
            return Err(Wrong::at(entry.slot, why));
        }
        Ok(())
    }
}
