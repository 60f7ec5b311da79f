//! The rooms, and how many entries of each are unread.
//!
//! Invariant: heads and marks are of one log, and those of another replace them; the user's own
//! entries are not unread.

use std::collections::{BTreeMap, BTreeSet};

use roomlog_client::protocol::{Author, Entry, Heads, Latest, Reply, RoomName};

use crate::{limits::PEEK, marks::Marks};

/// What is known of the unread entries of a room: up to this slot, this many are the user's own.
#[derive(Clone, Copy)]
struct Peeked {
    upto: i64,
    own: u64,
}

pub(crate) struct Rooms {
    log: String,
    heads: BTreeMap<RoomName, i64>,
    marks: Marks,
    open: RoomName,
    peeked: BTreeMap<RoomName, Peeked>,
    to_peek: BTreeSet<RoomName>,
}

impl Rooms {
    pub(crate) fn new(log: String, marks: Marks, open: RoomName) -> Self {
        let mut rooms = Self {
            log: String::new(),
            heads: BTreeMap::new(),
            marks,
            open,
            peeked: BTreeMap::new(),
            to_peek: BTreeSet::new(),
        };
        rooms.use_log(&log);
        rooms
    }

    pub(crate) fn into_marks(self) -> Marks {
        self.marks
    }

    pub(crate) fn log(&self) -> &str {
        &self.log
    }

    pub(crate) fn open(&self) -> &RoomName {
        &self.open
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &RoomName> {
        self.heads.keys()
    }

    pub(crate) fn opened(&mut self, room: RoomName) {
        self.to_peek.remove(&room);
        let left = std::mem::replace(&mut self.open, room);
        // What came while it was scrolled up was not peeked at.
        if left != self.open && self.unpeeked(&left) > 0 {
            self.to_peek.insert(left);
        }
    }

    pub(crate) fn use_log(&mut self, log: &str) {
        if self.log != log {
            log.clone_into(&mut self.log);
            self.heads.clear();
            self.peeked.clear();
            self.to_peek.clear();
            self.marks.of(log);
        }
    }

    pub(crate) fn moved(&mut self, log: &str, heads: Heads) {
        self.use_log(log);
        for (room, Latest(head)) in heads.rooms {
            let known = self.heads.entry(room.clone()).or_insert(head);
            *known = head.max(*known);
            if room != self.open && self.unpeeked(&room) > 0 {
                self.to_peek.insert(room);
            }
        }
    }

    /// The open room was read up to this slot.
    pub(crate) fn seen(&mut self, slot: i64) {
        if slot < 0 {
            return;
        }
        let head = self.heads.entry(self.open.clone()).or_insert(slot);
        *head = slot.max(*head);
        let mark = self.marks.of(&self.log).entry(self.open.clone()).or_insert(slot);
        if slot > *mark {
            *mark = slot;
            self.peeked.remove(&self.open);
        }
    }

    /// A room whose newest authors are wanted: of how many slots, up to which.
    pub(crate) fn next_peek(&mut self) -> Option<(RoomName, u64, u64)> {
        while let Some(room) = self.to_peek.pop_first() {
            let (count, head) = (self.unpeeked(&room), self.heads.get(&room).copied());
            if let Some(upto) = head.and_then(|head| u64::try_from(head).ok())
                && count > 0
            {
                return Some((room, count.min(PEEK), upto));
            }
        }
        None
    }

    /// Takes the entries of a peek; those that could not be read count as written by others.
    pub(crate) fn peeked(&mut self, room: &RoomName, reply: Option<&Reply>, me: &Author) {
        let Some(mark) = self.mark(room) else { return };
        let known = self.peeked.get(room).map_or(mark, |peeked| peeked.upto.max(mark));
        let is_new = |entry: &&Entry| entry.slot.cast_signed() > known;
        let entries = reply.map_or(&[][..], |reply| &reply.entries);
        let own = entries.iter().filter(is_new).filter(|entry| entry.author == *me).count() as u64;
        let last = entries.last().map(|entry| entry.slot.cast_signed());
        let upto = last.or_else(|| self.heads.get(room).copied()).unwrap_or(known);
        let peeked = self.peeked.entry(room.clone()).or_insert(Peeked { upto, own: 0 });
        (peeked.upto, peeked.own) = (upto.max(peeked.upto), peeked.own + own);
        if self.unread(room) == 0 && room != &self.open {
            // All of them are the user's own, and so read.
            if let Some(mark) = self.marks.of(&self.log).get_mut(room) {
                *mark = upto.max(*mark);
            }
            self.peeked.remove(room);
        }
    }

    /// The number of unread entries of a room; 0 if it was never opened. Entries before the peek do
    /// not count, because they may be the user's own.
    pub(crate) fn unread(&self, room: &RoomName) -> u64 {
        let (Some(mark), Some(peeked)) = (self.mark(room), self.peeked.get(room)) else { return 0 };
        u64::try_from(peeked.upto - mark).unwrap_or(0).saturating_sub(peeked.own)
    }

    /// The number of unread entries after the last peek.
    fn unpeeked(&self, room: &RoomName) -> u64 {
        let (Some(head), Some(mark)) = (self.heads.get(room), self.mark(room)) else { return 0 };
        let known = self.peeked.get(room).map_or(mark, |peeked| peeked.upto.max(mark));
        u64::try_from(head - known).unwrap_or(0)
    }

    fn mark(&self, room: &RoomName) -> Option<i64> {
        self.marks.read(&self.log)?.get(room).copied()
    }

    pub(crate) fn has_entries(&self) -> bool {
        self.heads.get(&self.open).is_some_and(|head| *head >= 0)
    }

    /// How far the open room was read; `None`: never opened before.
    pub(crate) fn mark_of_open(&self) -> Option<i64> {
        self.mark(&self.open)
    }

    /// The next or previous room by name, wrapping around.
    pub(crate) fn beside(&self, forward: bool) -> Option<RoomName> {
        let after = || self.heads.range(self.open.clone()..).find(|(room, _)| **room != self.open);
        let before = || self.heads.range(..self.open.clone()).next_back();
        let beside = match forward {
            true => after().or_else(|| self.heads.first_key_value()),
            false => before().or_else(|| self.heads.last_key_value()),
        };
        beside.map(|(room, _)| room.clone()).filter(|room| *room != self.open)
    }

    pub(crate) fn next_unread(&self) -> Option<RoomName> {
        let after = self.heads.range(self.open.clone()..);
        let mut all = after.chain(self.heads.range(..self.open.clone())).map(|(room, _)| room);
        all.find(|room| **room != self.open && self.unread(room) > 0).cloned()
    }

    /// At most `rows` rooms around the open one, and how many there are before and after them.
    pub(crate) fn around(&self, rows: usize) -> (usize, Vec<&RoomName>, usize) {
        let before = self.heads.range(..self.open.clone()).count();
        let mut rooms: Vec<_> = self.heads.keys().collect();
        if !self.heads.contains_key(&self.open) {
            rooms.insert(before, &self.open);
        }
        let first = before.saturating_sub(rows / 2).min(rooms.len().saturating_sub(rows));
        let last = rooms.len().min(first + rows);
        (first, rooms[first..last].to_vec(), rooms.len() - last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(name: &str) -> RoomName {
        RoomName::new(name).expect("a room")
    }

    fn heads(rooms: &[(&str, i64)]) -> Heads {
        let rooms = rooms.iter().map(|(name, head)| (room(name), Latest(*head))).collect();
        Heads { rooms, more: None, req: None }
    }

    /// The newest entries of room a, by these authors, the last in this slot.
    fn reply(authors: &[&str], last: u64) -> Reply {
        let first = last + 1 - authors.len() as u64;
        let entry = |(at, author): (usize, &&str)| {
            serde_json::json!({"slot": first + at as u64, "author": author, "id": "i", "body": "",
                "committed_at": 1, "salt": "cm9vbWxvZy1zbHQw"})
        };
        let entries: Vec<_> = authors.iter().enumerate().map(entry).collect();
        let digest = "0".repeat(64);
        let json = serde_json::json!({"room": "a", "entries": entries, "latest": last,
            "digest_at": last, "digest": digest});
        serde_json::from_value(json).expect("a reply")
    }

    /// Room a was read to slot 4, and room b is open.
    fn read_to_4() -> Rooms {
        let mut rooms = Rooms::new("log".into(), Marks::default(), room("a"));
        rooms.seen(4);
        rooms.opened(room("b"));
        rooms
    }

    #[test]
    fn entries_of_others_are_unread_and_ones_own_are_not() {
        let (mut rooms, me) = (read_to_4(), Author::new("ada").expect("an author"));
        rooms.moved("log", heads(&[("a", 7), ("c", 9)]));
        assert_eq!(rooms.next_peek(), Some((room("a"), 3, 7)), "c was never opened");
        assert_eq!(rooms.unread(&room("a")), 0, "they may be one's own");
        rooms.peeked(&room("a"), Some(&reply(&["ada", "bo", "ada"], 7)), &me);
        assert_eq!(rooms.unread(&room("a")), 1);
        rooms.moved("log", heads(&[("a", 8)]));
        assert_eq!(rooms.next_peek(), Some((room("a"), 1, 8)));
        rooms.peeked(&room("a"), Some(&reply(&["ada"], 8)), &me);
        assert_eq!(rooms.unread(&room("a")), 1);
        rooms.moved("log", heads(&[("a", 9)]));
        rooms.peeked(&room("a"), None, &me);
        assert_eq!(rooms.unread(&room("a")), 2, "what cannot be read may be another's");
    }

    #[test]
    fn a_room_that_is_left_before_its_end_was_seen_is_peeked_at() {
        let mut rooms = read_to_4();
        rooms.opened(room("a"));
        rooms.moved("log", heads(&[("a", 6)]));
        assert_eq!(rooms.next_peek(), None, "it is open");
        rooms.opened(room("b"));
        assert_eq!(rooms.next_peek(), Some((room("a"), 2, 6)));
    }

    #[test]
    fn marks_of_a_log_stay_with_it_when_the_server_has_another_for_a_while() {
        let mut rooms = read_to_4();
        rooms.moved("other", heads(&[("a", 900)]));
        assert_eq!((rooms.next_peek(), rooms.unread(&room("a"))), (None, 0));
        rooms.moved("log", heads(&[("a", 5)]));
        assert_eq!(rooms.next_peek(), Some((room("a"), 1, 5)));
    }
}
