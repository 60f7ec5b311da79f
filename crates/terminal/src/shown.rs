//! What is to be shown of entries: edits, reactions and redactions belong to the entry that they are about.
//!
//! Enters: entries in any order. Leaves: what to show at a slot. Invariant: what is shown of a slot follows
//! from the entries that were taken, not from their order (the JavaScript SDK's `fold.js` has the same rules,
//! PROTOCOL.md's table of kinds). Of each author only what counts is held.

use std::{collections::BTreeMap, ops::RangeInclusive};

use roomlog_client::protocol::{Author, Body, Entry};

use crate::limits::MOST_ABOUTS;

/// An entry as it stands now.
pub(crate) struct Shown<'a> {
    pub(crate) body: &'a str,
    pub(crate) is_edited: bool,
    pub(crate) is_gone: bool,
    /// Emoji and how many stand by it, in the order of the first.
    pub(crate) reactions: Vec<(&'a str, usize)>,
}

/// The latest of each author: its slot and its body.
type Latest = BTreeMap<Author, (u64, Body)>;

/// What is known about one slot.
#[derive(Default)]
struct About {
    edits: Latest,
    reactions: Latest,
    is_gone: bool,
}

/// What entries are about which slots.
#[derive(Default)]
pub(crate) struct Abouts {
    by_slot: BTreeMap<u64, About>,
    /// How many were taken since those far off were let go of.
    taken: usize,
}

/// Whether an entry is a line of its own.
pub(crate) fn is_line(entry: &Entry) -> bool {
    entry.reference.is_none() || !matches!(entry.kind.as_str(), "reaction" | "edit" | "redact")
}

impl Abouts {
    pub(crate) fn take(&mut self, entries: &[Entry]) {
        for entry in entries.iter().filter(|entry| !is_line(entry)) {
            let Some(slot) = entry.reference else { continue };
            let about = self.by_slot.entry(slot).or_default();
            self.taken += 1;
            match entry.kind.as_str() {
                "edit" => keep_later(&mut about.edits, entry),
                "reaction" => keep_later(&mut about.reactions, entry),
                // From another author it is an admin's: the server takes it from nobody else.
                _ => about.is_gone = true,
            }
        }
    }

    /// Whether a reaction of this author stands at this slot.
    pub(crate) fn reacted(&self, slot: u64, author: &Author) -> bool {
        let reaction = self.by_slot.get(&slot).and_then(|about| about.reactions.get(author));
        reaction.is_some_and(|(_, body)| !body.is_empty())
    }

    /// Lets go of what is about other slots than these, when there is much.
    pub(crate) fn trim(&mut self, slots: RangeInclusive<u64>) {
        if self.taken > MOST_ABOUTS {
            self.by_slot.retain(|slot, _| slots.contains(slot));
            self.taken = 0;
        }
    }

    pub(crate) fn shown<'a>(&'a self, entry: &'a Entry) -> Shown<'a> {
        let mut shown =
            Shown { body: &entry.body, is_edited: false, is_gone: false, reactions: Vec::new() };
        let Some(about) = self.by_slot.get(&entry.slot) else { return shown };
        // An edit counts only from the author of the original.
        if let Some((_, body)) = about.edits.get(&entry.author) {
            (shown.body, shown.is_edited) = (body, true);
        }
        shown.is_gone = about.is_gone;
        let mut emoji: BTreeMap<&str, (u64, usize)> = BTreeMap::new();
        for (slot, body) in about.reactions.values().filter(|(_, body)| !body.is_empty()) {
            let (first, count) = emoji.entry(body).or_insert((*slot, 0));
            (*first, *count) = (*slot.min(first), *count + 1);
        }
        let mut emoji: Vec<_> = emoji.into_iter().collect();
        emoji.sort_by_key(|(_, (first, _))| *first);
        shown.reactions = emoji.into_iter().map(|(emoji, (_, count))| (emoji, count)).collect();
        shown
    }
}

fn keep_later(latest: &mut Latest, entry: &Entry) {
    let kept = latest.entry(entry.author.clone()).or_insert((entry.slot, entry.body.clone()));
    if entry.slot >= kept.0 {
        *kept = (entry.slot, entry.body.clone());
    }
}
