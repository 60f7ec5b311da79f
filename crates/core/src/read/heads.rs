//! Which rooms moved, for those who watch all of them.
//!
//! Enters: the name of a room that moved. Leaves: the rooms that moved since a mark, each once.
//! Invariant: bounded; a watcher that comes too late to be told what moved is told to look at all.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use roomlog_protocol::RoomName;

/// How many moved rooms are remembered.
pub(crate) const MOVED_ROOMS: usize = 65_536;

/// Which rooms moved, newest last.
#[derive(Default)]
pub(crate) struct Heads {
    watchers: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    floor: u64,
    by_mark: BTreeMap<u64, RoomName>,
    of_room: HashMap<RoomName, u64>,
}

/// What moved since it was asked last.
#[derive(Debug, PartialEq, Eq)]
pub enum Moved {
    /// These rooms.
    Rooms(Vec<RoomName>),
    /// Too many: list all rooms.
    All,
}

/// Watches which rooms move, until it is dropped.
pub struct Watcher {
    heads: Arc<Heads>,
    /// What moved before this mark was told.
    mark: u64,
}

impl Watcher {
    pub(crate) fn new(heads: Arc<Heads>) -> Self {
        heads.watchers.fetch_add(1, Ordering::AcqRel);
        let mark = heads.state.lock().next;
        Self { heads, mark }
    }

    /// Up to `limit` rooms that moved and were not told yet, each once.
    pub fn moved(&mut self, limit: usize) -> Moved {
        let state = self.heads.state.lock();
        if self.mark < state.floor {
            self.mark = state.next;
            return Moved::All;
        }
        let mut rooms = Vec::new();
        for (mark, room) in state.by_mark.range(self.mark..).take(limit) {
            self.mark = mark + 1;
            rooms.push(room.clone());
        }
        Moved::Rooms(rooms)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if self.heads.watchers.fetch_sub(1, Ordering::AcqRel) == 1 {
            let mut state = self.heads.state.lock();
            let next = state.next;
            *state = State { next, floor: next, ..State::default() };
        }
    }
}

impl Heads {
    pub(crate) fn moved(&self, room: &RoomName) {
        if self.watchers.load(Ordering::Acquire) == 0 {
            return;
        }
        let state = &mut *self.state.lock();
        let mark = state.next;
        state.next += 1;
        if let Some(before) = state.of_room.insert(room.clone(), mark) {
            state.by_mark.remove(&before);
        }
        state.by_mark.insert(mark, room.clone());
        if state.by_mark.len() > MOVED_ROOMS
            && let Some((oldest, room)) = state.by_mark.pop_first()
        {
            state.of_room.remove(&room);
            state.floor = oldest + 1;
        }
    }
}

#[cfg(test)]
#[path = "tests/heads.rs"]
mod tests;
