//! What is to be shown of entries: edits, reactions and redactions belong to the entry that they are about.
//!
//! Enters: entries in any order. Leaves: what to show at a slot. Invariant: what is shown of a slot follows
//! from the entries that were taken, not from their order (the page's `shown.js` has the same rules,
//! PROTOCOL.md's table of kinds).

use std::collections::BTreeMap;

use roomlog_client::protocol::{Author, Entry};

/// An entry as it stands now.
pub(crate) struct Shown<'a> {
    pub(crate) body: &'a str,
    pub(crate) is_edited: bool,
    pub(crate) is_gone: bool,
    /// Emoji and how many stand by it, in the order of the first.
    pub(crate) reactions: Vec<(&'a str, usize)>,
}

/// What entries are about which slots.
#[derive(Default)]
pub(crate) struct Abouts {
    by_slot: BTreeMap<u64, BTreeMap<u64, Entry>>,
}

/// Whether an entry is a line of its own.
pub(crate) fn is_line(entry: &Entry) -> bool {
    entry.reference.is_none() || !matches!(entry.kind.as_str(), "reaction" | "edit" | "redact")
}

impl Abouts {
    pub(crate) fn take(&mut self, entries: &[Entry]) {
        for entry in entries.iter().filter(|entry| !is_line(entry)) {
            if let Some(slot) = entry.reference {
                self.by_slot.entry(slot).or_default().insert(entry.slot, entry.clone());
            }
        }
    }

    pub(crate) fn shown<'a>(&'a self, entry: &'a Entry) -> Shown<'a> {
        let mut shown =
            Shown { body: &entry.body, is_edited: false, is_gone: false, reactions: Vec::new() };
        let mut reactions: Vec<(&Author, &str)> = Vec::new();
        for about in self.by_slot.get(&entry.slot).into_iter().flat_map(BTreeMap::values) {
            match about.kind.as_str() {
                "edit" if about.author == entry.author => {
                    (shown.body, shown.is_edited) = (&about.body, true);
                }
                // From another author it is an admin's: the server takes it from nobody else.
                "redact" => shown.is_gone = true,
                "reaction" => {
                    reactions.retain(|(author, _)| *author != &about.author);
                    if !about.body.is_empty() {
                        reactions.push((&about.author, &about.body));
                    }
                }
                _ => {}
            }
        }
        for (_, emoji) in reactions {
            match shown.reactions.iter_mut().find(|(other, _)| *other == emoji) {
                Some((_, count)) => *count += 1,
                None => shown.reactions.push((emoji, 1)),
            }
        }
        shown
    }
}
