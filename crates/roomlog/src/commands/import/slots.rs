//! The slots of imported entries, for entries that refer to them.
//!
//! Input: keys of entries, when they are sent and when they are answered. Output: slots. The logs
//! of an import use the same numbers, so an answer for one log never counts for another.

use std::collections::HashMap;

use roomlog_protocol::Slot;

use crate::import::Key;

/// The entries of the log that is being imported.
#[derive(Default)]
pub(super) struct Slots {
    log: u32,
    /// `None`: not answered yet.
    slots: HashMap<u64, Option<Slot>>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    At(Slot),
    InFlight,
    /// No entry has the key, or it was rejected.
    Missing,
}

impl Slots {
    pub(super) fn expect(&mut self, key: Key) {
        if key.log != self.log {
            self.slots.clear();
            self.log = key.log;
        }
        self.slots.entry(key.number).or_default();
    }

    /// An entry was answered: it has a slot, or it was rejected.
    pub(super) fn answered(&mut self, key: Option<Key>, slot: Option<Slot>) {
        let Some(key) = key.filter(|key| key.log == self.log) else { return };
        match slot {
            Some(_) => drop(self.slots.insert(key.number, slot)),
            None => drop(self.slots.remove(&key.number)),
        }
    }

    pub(super) fn find(&self, key: Key) -> Lookup {
        match self.slots.get(&key.number).filter(|_| key.log == self.log) {
            None => Lookup::Missing,
            Some(None) => Lookup::InFlight,
            Some(Some(slot)) => Lookup::At(*slot),
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
        assert_eq!(slots.find(first), Lookup::InFlight);
        slots.answered(Some(first), Some(9));
        assert_eq!(slots.find(first), Lookup::At(9));
        assert_eq!(slots.find(second), Lookup::Missing);
        slots.expect(second);
        slots.answered(Some(first), Some(8));
        assert_eq!(slots.find(second), Lookup::InFlight);
        slots.answered(Some(second), None);
        assert_eq!(slots.find(second), Lookup::Missing);
    }
}
