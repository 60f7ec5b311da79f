//! Where the entries of a history went in the log that they are imported into.
//!
//! Enters: keys of entries, when they are sent and when they are answered. Leaves: slots. Invariant: an answer of one
//! log is never taken for one of another, though both use the same numbers.

use std::collections::HashMap;

use roomlog_protocol::Slot;

use super::Key;

/// The entries of the log that is imported now.
#[derive(Default)]
pub(crate) struct Slots {
    log: u32,
    /// None: sent, or about to be, and not answered.
    slots: HashMap<u64, Option<Slot>>,
}

/// What is known of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    At(Slot),
    /// It is known when all that was sent is answered.
    OnItsWay,
    /// No entry has that key, or it was refused.
    Nowhere,
}

impl Slots {
    /// An entry is about to be sent.
    pub(crate) fn expect(&mut self, key: Key) {
        if key.log != self.log {
            self.slots.clear();
            self.log = key.log;
        }
        self.slots.entry(key.number).or_default();
    }

    /// An entry was answered: it has a slot, or it was refused.
    pub(crate) fn answered(&mut self, key: Key, slot: Option<Slot>) {
        if key.log != self.log {
            return;
        }
        match slot {
            Some(_) => drop(self.slots.insert(key.number, slot)),
            None => drop(self.slots.remove(&key.number)),
        }
    }

    pub(crate) fn find(&self, key: Key) -> Found {
        match self.slots.get(&key.number) {
            _ if key.log != self.log => Found::Nowhere,
            None => Found::Nowhere,
            Some(None) => Found::OnItsWay,
            Some(Some(slot)) => Found::At(*slot),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_belongs_to_its_log() {
        let mut slots = Slots::default();
        let (first, second) = (Key { log: 0, number: 5 }, Key { log: 1, number: 5 });
        slots.expect(first);
        assert_eq!(slots.find(first), Found::OnItsWay);
        slots.answered(first, Some(9));
        assert_eq!(slots.find(first), Found::At(9));
        assert_eq!(slots.find(second), Found::Nowhere);
        slots.expect(second);
        slots.answered(first, Some(8));
        assert_eq!(slots.find(second), Found::OnItsWay);
        slots.answered(second, None);
        assert_eq!(slots.find(second), Found::Nowhere);
    }
}
