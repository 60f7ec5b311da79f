//! The removals of a room that some reader has yet to apply.
//!
//! Enters: removals, as they are committed; and, when the archive has them, the same again. Leaves: which
//! entries they cover. Invariant: an entry is looked up in the removals of the [`ERASE_SLOTS`] slots after
//! it, not in all.

use std::{
    collections::BTreeSet,
    ops::{Range, RangeInclusive},
};

use roomlog_protocol::{Author, ERASE_SLOTS, Entry, Removal, Slot};

/// A set of removals of one room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removals {
    entries: BTreeSet<Slot>,
    /// By the last slot.
    spans: BTreeSet<(Slot, Option<Author>)>,
}

impl Removals {
    /// Adds one.
    pub fn add(&mut self, removal: &Removal) {
        match removal {
            Removal::Entry(slot) => self.entries.insert(*slot),
            Removal::Span { last, author } => self.spans.insert((*last, author.clone())),
        };
    }

    /// Takes one away.
    pub(crate) fn take(&mut self, removal: &Removal) {
        match removal {
            Removal::Entry(slot) => self.entries.remove(slot),
            Removal::Span { last, author } => self.spans.remove(&(*last, author.clone())),
        };
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.spans.is_empty()
    }

    /// Those that may concern some of these slots.
    #[must_use]
    pub(crate) fn within(&self, slots: Range<Slot>) -> Self {
        if slots.is_empty() || self.is_empty() {
            return Self::default();
        }
        let spans = (slots.start, None)..(slots.end.saturating_add(ERASE_SLOTS - 1), None);
        Self {
            entries: self.entries.range(slots).copied().collect(),
            spans: self.spans.range(spans).cloned().collect(),
        }
    }

    /// Whether one of them removes the text of an entry.
    #[must_use]
    pub fn covers(&self, entry: &Entry) -> bool {
        !entry.kind.removes() && self.covers_slot(entry.slot, &entry.author)
    }

    /// As [`Removals::covers`], of an entry of this author whose kind removes nothing.
    #[must_use]
    pub fn covers_slot(&self, slot: Slot, author: &Author) -> bool {
        let mut spans = self.spans.range((slot, None)..(slot.saturating_add(ERASE_SLOTS), None));
        self.entries.contains(&slot)
            || spans.any(|(_, of)| of.as_ref().is_none_or(|of| of == author))
    }

    /// The slots that they may concern: disjoint, ascending.
    #[must_use]
    pub fn slots(&self) -> Vec<RangeInclusive<Slot>> {
        let entries = self.entries.iter().map(|slot| Removal::Entry(*slot).slots());
        let spans = self.spans.iter().map(|(last, _)| Removal::Span { last: *last, author: None });
        let mut all: Vec<_> = entries.chain(spans.map(|span| span.slots())).collect();
        all.sort_unstable_by_key(|slots| *slots.start());
        let mut merged: Vec<RangeInclusive<Slot>> = Vec::new();
        for slots in all {
            match merged.last_mut() {
                Some(last) if *slots.start() <= last.end() + 1 => {
                    *last = *last.start()..=*last.end().max(slots.end());
                }
                _ => merged.push(slots),
            }
        }
        merged
    }
}

impl<'a> FromIterator<&'a Removal> for Removals {
    fn from_iter<I: IntoIterator<Item = &'a Removal>>(removals: I) -> Self {
        let mut all = Self::default();
        removals.into_iter().for_each(|removal| all.add(removal));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn author(name: &str) -> Author {
        Author::new(name).expect("an author")
    }

    fn span(last: Slot, of: Option<&str>) -> Removal {
        Removal::Span { last, author: of.map(author) }
    }

    #[test]
    fn a_slot_is_covered_by_the_spans_that_reach_it() {
        let of_ada = span(5_000, Some("ada"));
        let mut removals: Removals = [&Removal::Entry(3), &of_ada].into_iter().collect();
        let covers = |removals: &Removals, slot, name| removals.covers_slot(slot, &author(name));
        assert!(covers(&removals, 3, "bob") && !covers(&removals, 4, "ada"));
        for (slot, is_covered) in [(904, false), (905, true), (5_000, true), (5_001, false)] {
            assert_eq!(covers(&removals, slot, "ada"), is_covered, "slot {slot}");
            assert!(!covers(&removals, slot, "bob"));
        }
        assert!(covers(&removals.within(905..906), 905, "ada"));
        assert!(removals.within(5_001..9_000).is_empty() && removals.within(7..7).is_empty());
        removals.take(&of_ada);
        assert!(!covers(&removals, 905, "ada") && !removals.is_empty());
    }

    #[test]
    fn slots_are_merged_where_they_touch() {
        let all = [span(9_000, None), span(4_903, Some("ada")), Removal::Entry(9_002)];
        let removals: Removals = all.iter().chain([&Removal::Entry(9_001)]).collect();
        assert_eq!(removals.slots(), [808..=4_903, 4_905..=9_002]);
    }
}
