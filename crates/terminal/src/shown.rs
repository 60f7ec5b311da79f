//! Annotations: the edits, reactions and removals of an entry.
//!
//! Enters: entries in any order. Leaves: what to show at a slot. Invariant: the result depends on
//! the entries taken, not on their order, by the rules of PROTOCOL.md's table of kinds (as in the
//! JavaScript SDK's `fold.js`). Only the latest annotation of each author is kept.

use std::{collections::BTreeMap, ops::RangeInclusive};

use roomlog_client::protocol::{Author, Body, Entry, Removal};

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
    /// Those of many entries.
    erasures: Vec<Removal>,
    /// How many were taken since the last eviction.
    taken: usize,
}

/// Whether an entry is a line of its own, not an annotation.
pub(crate) fn is_line(entry: &Entry) -> bool {
    let kind = &entry.kind;
    entry.reference.is_none() || !(kind.removes() || matches!(kind.as_str(), "reaction" | "edit"))
}

impl Annotations {
    pub(crate) fn take(&mut self, entries: &[Entry]) {
        for entry in entries.iter().filter(|entry| !is_line(entry)) {
            let Some(slot) = entry.reference else { continue };
            self.taken += 1;
            if let Some(removal) = entry.removes() {
                self.remove(removal);
                continue;
            }
            let about = self.by_slot.entry(slot).or_default();
            match entry.kind.as_str() {
                _ if entry.content.is_redacted() => {}
                "edit" => keep_later(&mut about.edits, entry),
                _ => keep_later(&mut about.reactions, entry),
            }
        }
    }

    /// Drops the edits and reactions that it covers, and the edits of the messages that it covers.
    fn remove(&mut self, removal: Removal) {
        for (slot, about) in &mut self.by_slot {
            let is_covered = |at: u64, author: &Author| removal.covers_slot(at, author);
            about
                .edits
                .retain(|author, (at, _)| !is_covered(*slot, author) && !is_covered(*at, author));
            about.reactions.retain(|author, (at, _)| !is_covered(*at, author));
        }
        match removal {
            Removal::Entry(slot) => self.by_slot.entry(slot).or_default().is_redacted = true,
            span @ Removal::Span { .. } => self.erasures.push(span),
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
            self.erasures.retain(|erasure| erasure.slots().end() >= slots.start());
            self.taken = 0;
        }
    }

    pub(crate) fn shown<'a>(&'a self, entry: &'a Entry) -> Shown<'a> {
        let is_redacted =
            entry.content.is_redacted() || self.erasures.iter().any(|it| it.covers(entry));
        let Some(about) = self.by_slot.get(&entry.slot) else {
            let (body, reactions) = (entry.body(), Vec::new());
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
            is_redacted: about.is_redacted || is_redacted,
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
