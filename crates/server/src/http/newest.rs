//! The newest pages of rooms as they were answered last: what everyone who comes into a room asks for.
//!
//! Enters: a page's text, with the count that was asked for and where the log ended. Leaves: the same
//! text, to who asks for as many while the log ends there still. Invariants: a text is never given for
//! another end; all of them together take at most [`NEWEST_BYTES`].

use std::collections::HashMap;

use bytes::Bytes;
use parking_lot::Mutex;
use roomlog_protocol::{RoomName, Slot};

/// How much memory the texts may take, in bytes.
pub(crate) const NEWEST_BYTES: usize = 16 << 20;

/// What a text takes beside its bytes: names and the map's own, at a guess.
const BESIDE_TEXT: usize = 256;

/// The newest pages of rooms, as texts.
#[derive(Default)]
pub(crate) struct Newest(Mutex<Generations>);

/// Two generations: what was not asked for while the young one filled is let go of with the old one.
#[derive(Default)]
struct Generations {
    young: HashMap<RoomName, Text>,
    old: HashMap<RoomName, Text>,
    /// What the young one takes.
    bytes: usize,
}

#[derive(Clone)]
struct Text {
    count: u64,
    end: Slot,
    text: Bytes,
}

impl Newest {
    /// The page of `count` entries of a log that ends at `end`.
    pub(crate) fn get(&self, room: &RoomName, count: u64, end: Slot) -> Option<Bytes> {
        let mut generations = self.0.lock();
        let is_it = |text: &&Text| (text.count, text.end) == (count, end);
        if let Some(text) = generations.young.get(room).filter(is_it) {
            return Some(text.text.clone());
        }
        let text = generations.old.get(room).filter(is_it)?.clone();
        generations.put(room, text.clone());
        Some(text.text)
    }

    /// Takes note of a page.
    pub(crate) fn put(&self, room: &RoomName, count: u64, end: Slot, text: Bytes) {
        self.0.lock().put(room, Text { count, end, text });
    }
}

impl Generations {
    fn put(&mut self, room: &RoomName, text: Text) {
        let weight = |text: &Text| text.text.len() + BESIDE_TEXT;
        let weighs = weight(&text);
        if weighs > NEWEST_BYTES / 2 {
            return;
        }
        if self.bytes + weighs > NEWEST_BYTES / 2 {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        self.bytes += weighs;
        if let Some(before) = self.young.insert(room.clone(), text) {
            self.bytes -= weight(&before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(n: usize) -> RoomName {
        RoomName::new(&format!("room-{n}")).expect("a name")
    }

    #[test]
    fn a_page_is_given_for_the_same_count_and_end_only() {
        let (newest, room, other) = (Newest::default(), room(1), room(2));
        newest.put(&room, 50, 7, "seven".into());
        assert_eq!(newest.get(&room, 50, 7), Some("seven".into()));
        assert_eq!(newest.get(&room, 50, 8), None);
        assert_eq!(newest.get(&room, 49, 7), None);
        assert_eq!(newest.get(&other, 50, 7), None);
        newest.put(&room, 50, 8, "eight".into());
        assert_eq!(newest.get(&room, 50, 8), Some("eight".into()));
        assert_eq!(newest.get(&room, 50, 7), None);
    }

    #[test]
    fn what_is_asked_for_stays_and_all_of_it_is_bounded() {
        let newest = Newest::default();
        let text = Bytes::from(vec![0; 100_000 - BESIDE_TEXT]);
        for n in 0..1_000 {
            newest.put(&room(n), 50, 1, text.clone());
            assert!(newest.get(&room(0), 50, 1).is_some(), "asked for each time: {n}");
            let generations = newest.0.lock();
            let held = generations.young.len() + generations.old.len();
            assert!(held * 100_000 <= NEWEST_BYTES, "{held} texts");
            let young: usize =
                generations.young.values().map(|it| it.text.len() + BESIDE_TEXT).sum();
            assert_eq!(young, generations.bytes);
        }
        assert!(newest.get(&room(1), 50, 1).is_none());
        assert!(newest.get(&room(999), 50, 1).is_some());
        newest.put(&room(1), 50, 1, Bytes::from(vec![0; NEWEST_BYTES / 2]));
        assert!(newest.get(&room(1), 50, 1).is_none(), "larger than a generation");
    }
}
