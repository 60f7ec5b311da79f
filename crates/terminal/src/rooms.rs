//! The rooms, and how much of each was not read.
//!
//! Enters: heads, what was read, who wrote what came since. Leaves: rooms by name, with counts. Invariant:
//! heads and marks are of one log, and those of another replace them; nobody's own lines are unread.

use std::collections::{BTreeMap, BTreeSet};

use roomlog_client::protocol::{Author, Entry, Heads, Reply, RoomName};

use crate::{limits::PEEK, marks::Marks};

/// What is known of the lines of a room that is not open: up to this slot, so many are one's own.
#[derive(Clone, Copy)]
struct Looked {
    upto: i64,
    own: u64,
}

pub(crate) struct Rooms {
    log: String,
    heads: BTreeMap<RoomName, i64>,
    marks: Marks,
    open: RoomName,
    /// Of the slots that were not read.
    looked: BTreeMap<RoomName, Looked>,
    /// Rooms that moved, and are to be looked at.
    curious: BTreeSet<RoomName>,
}

impl Rooms {
    pub(crate) fn new(log: String, marks: Marks, open: RoomName) -> Self {
        let mut rooms = Self {
            log: String::new(),
            heads: BTreeMap::new(),
            marks,
            open,
            looked: BTreeMap::new(),
            curious: BTreeSet::new(),
        };
        rooms.use_log(&log);
        rooms
    }

    /// How far rooms were read, for the next run.
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
        self.curious.remove(&room);
        let left = std::mem::replace(&mut self.open, room);
        // Of what came while it was scrolled up, nobody has looked at.
        if left != self.open && self.unlooked(&left) > 0 {
            self.curious.insert(left);
        }
    }

    /// From now on the server has this log.
    pub(crate) fn use_log(&mut self, log: &str) {
        if self.log != log {
            log.clone_into(&mut self.log);
            self.heads.clear();
            self.looked.clear();
            self.curious.clear();
            self.marks.of(log);
        }
    }

    /// Takes heads of this log.
    pub(crate) fn moved(&mut self, log: &str, heads: Heads) {
        self.use_log(log);
        for (room, head) in heads.rooms {
            let known = self.heads.entry(room.clone()).or_insert(head);
            *known = head.max(*known);
            if room != self.open && self.unlooked(&room) > 0 {
                self.curious.insert(room);
            }
        }
    }

    /// All of the open room up to this slot was seen.
    pub(crate) fn seen(&mut self, slot: i64) {
        if slot < 0 {
            return;
        }
        let head = self.heads.entry(self.open.clone()).or_insert(slot);
        *head = slot.max(*head);
        let mark = self.marks.of(&self.log).entry(self.open.clone()).or_insert(slot);
        if slot > *mark {
            *mark = slot;
            self.looked.remove(&self.open);
        }
    }

    /// A room to look at, and the newest slots of it whose authors are wanted: how many, up to which.
    pub(crate) fn next_look(&mut self) -> Option<(RoomName, u64, u64)> {
        while let Some(room) = self.curious.pop_first() {
            let (count, head) = (self.unlooked(&room), self.heads.get(&room).copied());
            if let Some(upto) = head.and_then(|head| u64::try_from(head).ok())
                && count > 0
            {
                return Some((room, count.min(PEEK), upto));
            }
        }
        None
    }

    /// Takes what was looked at; what could not be read counts as written by others.
    pub(crate) fn looked(&mut self, room: &RoomName, reply: Option<&Reply>, me: &Author) {
        let Some(mark) = self.mark(room) else { return };
        let known = self.looked.get(room).map_or(mark, |looked| looked.upto.max(mark));
        let is_new = |entry: &&Entry| entry.slot.cast_signed() > known;
        let entries = reply.map_or(&[][..], |reply| &reply.entries);
        let own = entries.iter().filter(is_new).filter(|entry| entry.author == *me).count() as u64;
        let last = entries.last().map(|entry| entry.slot.cast_signed());
        let upto = last.or_else(|| self.heads.get(room).copied()).unwrap_or(known);
        let looked = self.looked.entry(room.clone()).or_insert(Looked { upto, own: 0 });
        (looked.upto, looked.own) = (upto.max(looked.upto), looked.own + own);
        if self.unread(room) == 0 && room != &self.open {
            // All of them are one's own: they are read.
            if let Some(mark) = self.marks.of(&self.log).get_mut(room) {
                *mark = upto.max(*mark);
            }
            self.looked.remove(room);
        }
    }

    /// How many entries of a room were not read. Of one that was never opened none: nothing was missed. Those
    /// that nobody has looked at yet are not counted: they may be one's own.
    pub(crate) fn unread(&self, room: &RoomName) -> u64 {
        let (Some(mark), Some(looked)) = (self.mark(room), self.looked.get(room)) else { return 0 };
        u64::try_from(looked.upto - mark).unwrap_or(0).saturating_sub(looked.own)
    }

    /// How many of the room's lines nobody has looked at.
    fn unlooked(&self, room: &RoomName) -> u64 {
        let (Some(head), Some(mark)) = (self.heads.get(room), self.mark(room)) else { return 0 };
        let known = self.looked.get(room).map_or(mark, |looked| looked.upto.max(mark));
        u64::try_from(head - known).unwrap_or(0)
    }

    fn mark(&self, room: &RoomName) -> Option<i64> {
        self.marks.read(&self.log)?.get(room).copied()
    }

    /// Whether something was said in the open room, as far as is known.
    pub(crate) fn has_entries(&self) -> bool {
        self.heads.get(&self.open).is_some_and(|head| *head >= 0)
    }

    /// How far the open room was read when it was opened; `None`: never.
    pub(crate) fn mark_of_open(&self) -> Option<i64> {
        self.mark(&self.open)
    }

    /// The room beside the open one, by name, around the end.
    pub(crate) fn beside(&self, forward: bool) -> Option<RoomName> {
        let after = || self.heads.range(self.open.clone()..).find(|(room, _)| **room != self.open);
        let before = || self.heads.range(..self.open.clone()).next_back();
        let beside = match forward {
            true => after().or_else(|| self.heads.first_key_value()),
            false => before().or_else(|| self.heads.last_key_value()),
        };
        beside.map(|(room, _)| room.clone()).filter(|room| *room != self.open)
    }

    /// The next room with something that was not read.
    pub(crate) fn next_unread(&self) -> Option<RoomName> {
        let after = self.heads.range(self.open.clone()..);
        let mut all = after.chain(self.heads.range(..self.open.clone())).map(|(room, _)| room);
        all.find(|room| **room != self.open && self.unread(room) > 0).cloned()
    }

    /// At most `rows` rooms around the open one, in order of their names, and how many stand before and
    /// behind.
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
        let rooms = rooms.iter().map(|(name, head)| (room(name), *head)).collect();
        Heads { rooms, more: None, req: None }
    }

    /// The newest entries of room a, by these authors, the last in this slot.
    fn reply(authors: &[&str], last: u64) -> Reply {
        let first = last + 1 - authors.len() as u64;
        let entry = |(at, author): (usize, &&str)| {
            serde_json::json!({"slot": first + at as u64, "author": author, "id": "i", "body": "",
                "committed_at": 1})
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
    fn lines_of_others_are_unread_and_ones_own_are_not() {
        let (mut rooms, me) = (read_to_4(), Author::new("ada").expect("an author"));
        rooms.moved("log", heads(&[("a", 7), ("c", 9)]));
        assert_eq!(rooms.next_look(), Some((room("a"), 3, 7)), "c was never opened");
        assert_eq!(rooms.unread(&room("a")), 0, "they may be one's own");
        rooms.looked(&room("a"), Some(&reply(&["ada", "bo", "ada"], 7)), &me);
        assert_eq!(rooms.unread(&room("a")), 1);
        rooms.moved("log", heads(&[("a", 8)]));
        assert_eq!(rooms.next_look(), Some((room("a"), 1, 8)));
        rooms.looked(&room("a"), Some(&reply(&["ada"], 8)), &me);
        assert_eq!(rooms.unread(&room("a")), 1);
        rooms.moved("log", heads(&[("a", 9)]));
        rooms.looked(&room("a"), None, &me);
        assert_eq!(rooms.unread(&room("a")), 2, "what cannot be read may be another's");
    }

    #[test]
    fn a_room_that_is_left_before_its_end_was_seen_is_looked_at() {
        let mut rooms = read_to_4();
        rooms.opened(room("a"));
        rooms.moved("log", heads(&[("a", 6)]));
        assert_eq!(rooms.next_look(), None, "it is open");
        rooms.opened(room("b"));
        assert_eq!(rooms.next_look(), Some((room("a"), 2, 6)));
    }

    #[test]
    fn marks_of_a_log_stay_with_it_when_the_server_has_another_for_a_while() {
        let mut rooms = read_to_4();
        rooms.moved("other", heads(&[("a", 900)]));
        assert_eq!((rooms.next_look(), rooms.unread(&room("a"))), (None, 0));
        rooms.moved("log", heads(&[("a", 5)]));
        assert_eq!(rooms.next_look(), Some((room("a"), 1, 5)));
    }
}
