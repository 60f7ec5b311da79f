//! What the entries of a log remove from it.
//!
//! Enters: a complete log. Leaves: for each slot without a text, the first entry that removes it, and
//! violations. The rules are those of PROTOCOL.md, *Redaction* and *Erasure*.

use std::collections::HashMap;

use crate::entry::Seen;

/// How many slots an `erase` entry concerns, counted back from its `ref`.
const ERASED_SLOTS: u64 = 4_096;

/// By slot, the slot of the first entry that removes its text.
pub(crate) fn removed(log: &[Seen]) -> HashMap<u64, u64> {
    let mut removed = HashMap::new();
    for by in log.iter().filter(|entry| entry.removes()) {
        let Some(reference) = by.reference else { continue };
        let first = match &*by.kind {
            "erase" => (reference + 1).saturating_sub(ERASED_SLOTS),
            _ => reference,
        };
        let of_author = by.said.as_ref().map_or("", |said| &said.body);
        // A `redact` has no body.
        let concerned = |entry: &&Seen| of_author.is_empty() || entry.author == of_author;
        let span = (first..=reference).filter_map(|slot| log.get(usize::try_from(slot).ok()?));
        for entry in span.filter(|entry| !entry.removes()).filter(concerned) {
            removed.entry(entry.slot).or_insert(by.slot);
        }
    }
    removed
}

/// A text that is still there, as a sentence.
pub(crate) fn still_there(log: &[Seen], removed: &HashMap<u64, u64>) -> Option<String> {
    let mut slots: Vec<_> = removed.iter().collect();
    slots.sort_unstable();
    slots.into_iter().find_map(|(slot, by)| {
        let entry = log.get(usize::try_from(*slot).ok()?)?;
        entry.said.as_ref()?;
        Some(format!("slot {slot} has its text, which slot {by} removes"))
    })
}
