//! The rooms, and how much of each was not read.
//!
//! Enters: heads, what was read. Leaves: rooms by name, with counts. Invariant: heads of another log replace
//! all of those before.

use std::collections::BTreeMap;

use roomlog_client::protocol::{Heads, RoomName};

/// How far rooms of one log were read: room to slot.
pub(crate) type Read = BTreeMap<RoomName, i64>;

pub(crate) struct Rooms {
    log: String,
    heads: BTreeMap<RoomName, i64>,
    read: Read,
    open: RoomName,
}

impl Rooms {
    pub(crate) fn new(log: String, read: Read, open: RoomName) -> Self {
        Self { log, heads: BTreeMap::new(), read, open }
    }

    pub(crate) fn log(&self) -> &str {
        &self.log
    }

    pub(crate) fn open(&self) -> &RoomName {
        &self.open
    }

    pub(crate) fn read(&self) -> &Read {
        &self.read
    }

    pub(crate) fn opened(&mut self, room: RoomName) {
        self.open = room;
    }

    /// Takes heads of this log.
    pub(crate) fn moved(&mut self, log: &str, heads: Heads) {
        if self.log != log {
            log.clone_into(&mut self.log);
            self.heads.clear();
            self.read.clear();
        }
        self.heads.extend(heads.rooms);
    }

    /// All of the open room up to this slot was seen.
    pub(crate) fn seen(&mut self, slot: i64) {
        if slot < 0 {
            return;
        }
        let head = self.heads.entry(self.open.clone()).or_insert(slot);
        *head = slot.max(*head);
        let read = self.read.entry(self.open.clone()).or_insert(slot);
        *read = slot.max(*read);
    }

    /// How many entries of a room were not read. Of one that was never opened none: nothing was missed.
    pub(crate) fn unread(&self, room: &RoomName) -> u64 {
        let (Some(head), Some(read)) = (self.heads.get(room), self.read.get(room)) else {
            return 0;
        };
        u64::try_from(head - read).unwrap_or(0)
    }

    /// Whether something was said in the open room, as far as is known.
    pub(crate) fn has_entries(&self) -> bool {
        self.heads.get(&self.open).is_some_and(|head| *head >= 0)
    }

    /// How far the open room was read when it was opened; `None`: never.
    pub(crate) fn read_of_open(&self) -> Option<i64> {
        self.read.get(&self.open).copied()
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
