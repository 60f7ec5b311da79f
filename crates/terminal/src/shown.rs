//! Annotations: the edits, reactions and redactions of an entry.
//!
//! Enters: entries in any order. Leaves: what to show at a slot. Invariant: the result depends on
//! the entries taken, not on their order, by the rules of PROTOCOL.md's table of kinds (as in the
//! JavaScript SDK's `fold.js`). Only the latest annotation of each author is kept.

use std::{collections::BTreeMap, ops::RangeInclusive};

use roomlog_client::protocol::{Author, Body, Entry};

use crate::limits::MAX_ANNOTATIONS;

pub(crate) struct Shown<'a> {
    pub(crate) body: &'a str,
    pub(crate) is_edited: bool,
    pub(crate) is_redacted: bool,
    /// Emoji and their counts, in the order of the first reaction.
    pub(crate) reactions: Vec<(&'a str, usize)>,
}

/// The latest annotation of each author: its slot and body.
type ByAuthor = BTreeMap<Author, (u64, Body)>;

#[derive(Default)]
struct OfSlot {
    edits: ByAuthor,
    reactions: ByAuthor,
    is_redacted: bool,
}

#[derive(Default)]
pub(crate) struct Annotations {
    by_slot: BTreeMap<u64, OfSlot>,
    /// How many were taken since the last eviction.
    taken: usize,
}

/// Whether an entry is a line of its own, not an annotation.
pub(crate) fn is_line(entry: &Entry) -> bool {
    entry.reference.is_none() || !matches!(entry.kind.as_str(), "reaction" | "edit" | "redact")
}

impl Annotations {
    pub(crate) fn take(&mut self, entries: &[Entry]) {
        for entry in entries.iter().filter(|entry| !is_line(entry)) {
            let Some(slot) = entry.reference else { continue };
            let about = self.by_slot.entry(slot).or_default();
            self.taken += 1;
            match entry.kind.as_str() {
                "redact" => {
                    about.is_redacted = true;
                    self.forget(slot);
                }
                _ if entry.content.is_redacted() => {}
                "edit" => keep_later(&mut about.edits, entry),
                _ => keep_later(&mut about.reactions, entry),
            }
        }
    }

    /// Drops the edit or reaction in a slot, and the edits of the message in it.
    fn forget(&mut self, redacted: u64) {
        for (slot, about) in &mut self.by_slot {
            about.edits.retain(|_, (at, _)| *slot != redacted && *at != redacted);
            about.reactions.retain(|_, (at, _)| *at != redacted);
        }
    }

    pub(crate) fn reacted(&self, slot: u64, author: &Author) -> bool {
        let reaction = self.by_slot.get(&slot).and_then(|about| about.reactions.get(author));
        reaction.is_some_and(|(_, body)| !body.is_empty())
    }

    /// Evicts annotations of slots outside this range, if there are many.
    pub(crate) fn trim(&mut self, slots: RangeInclusive<u64>) {
        if self.taken > MAX_ANNOTATIONS {
            self.by_slot.retain(|slot, _| slots.contains(slot));
            self.taken = 0;
        }
    }

    pub(crate) fn shown<'a>(&'a self, entry: &'a Entry) -> Shown<'a> {
        let Some(about) = self.by_slot.get(&entry.slot) else {
            let (body, reactions) = (entry.body(), Vec::new());
            let is_redacted = entry.content.is_redacted();
            return Shown { body, is_edited: false, is_redacted, reactions };
        };
        // Only the entry's author can edit it.
        let edit = about.edits.get(&entry.author).map(|(_, body)| &**body);
        let mut emoji: BTreeMap<&str, (u64, usize)> = BTreeMap::new();
        for (slot, body) in about.reactions.values().filter(|(_, body)| !body.is_empty()) {
            let (first, count) = emoji.entry(body).or_insert((*slot, 0));
            (*first, *count) = (*slot.min(first), *count + 1);
        }
        let mut emoji: Vec<_> = emoji.into_iter().collect();
        emoji.sort_by_key(|(_, (first, _))| *first);
        Shown {
            body: edit.unwrap_or(entry.body()),
            is_edited: edit.is_some(),
            is_redacted: about.is_redacted || entry.content.is_redacted(),
            reactions: emoji.into_iter().map(|(emoji, (_, count))| (emoji, count)).collect(),
        }
    }
}

fn keep_later(latest: &mut ByAuthor, entry: &Entry) {
    let kept = latest.entry(entry.author.clone()).or_insert((entry.slot, entry.body().into()));
    if entry.slot >= kept.0 {
        *kept = (entry.slot, entry.body().into());
    }
}
