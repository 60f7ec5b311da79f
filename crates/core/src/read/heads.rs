//! Which rooms moved, for watchers of all rooms.
//!
//! Enters: the rooms that moved, with where they end. Leaves: those that moved since a mark, each
//! once, with its newest end. Invariants: all watchers share one list, in which each is a mark; the
//! list is bounded, and a watcher that is too far behind learns that it has missed rooms.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use roomlog_protocol::{RoomName, Slot};

/// How many rooms are kept for watchers.
pub(crate) const MOVED_ROOMS: usize = 65_536;

#[derive(Default)]
pub(crate) struct Heads {
    watchers: AtomicUsize,
    state: Mutex<MovedRooms>,
}

#[derive(Default)]
struct MovedRooms {
    next: u64,
    floor: u64,
    by_mark: BTreeMap<u64, (RoomName, Slot)>,
    of_room: HashMap<RoomName, u64>,
}

/// The rooms that moved since the last call.
#[derive(Debug, PartialEq, Eq)]
pub struct Moved {
    /// These, with the slot after the last entry of each.
    pub rooms: Vec<(RoomName, Slot)>,
    /// Others moved before these and are not kept any more: read the heads of all rooms.
    pub missed: bool,
}

/// Watches which rooms move until dropped.
pub struct Watcher {
    heads: Arc<Heads>,
    /// Moves before this mark are delivered.
    mark: u64,
}

impl Watcher {
    pub(crate) fn new(heads: Arc<Heads>) -> Self {
        heads.watchers.fetch_add(1, Ordering::AcqRel);
        let mark = heads.state.lock().next;
        Self { heads, mark }
    }

    /// Up to `limit` rooms that moved and were not returned yet, each once.
    pub fn moved(&mut self, limit: usize) -> Moved {
        let state = self.heads.state.lock();
        let missed = self.mark < state.floor;
        self.mark = self.mark.max(state.floor);
        let mut rooms = Vec::new();
        for (mark, moved) in state.by_mark.range(self.mark..).take(limit) {
            self.mark = mark + 1;
            rooms.push(moved.clone());
        }
        Moved { rooms, missed }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if self.heads.watchers.fetch_sub(1, Ordering::AcqRel) == 1 {
            let mut state = self.heads.state.lock();
            let next = state.next;
            *state = MovedRooms { next, floor: next, ..MovedRooms::default() };
        }
    }
}

impl Heads {
    pub(crate) fn moved(&self, room: &RoomName, end: Slot) {
        if self.watchers.load(Ordering::Acquire) == 0 {
            return;
        }
        let state = &mut *self.state.lock();
        let mark = state.next;
        state.next += 1;
        if let Some(before) = state.of_room.insert(room.clone(), mark) {
            state.by_mark.remove(&before);
        }
        state.by_mark.insert(mark, (room.clone(), end));
        if state.by_mark.len() > MOVED_ROOMS
            && let Some((oldest, (room, _))) = state.by_mark.pop_first()
        {
            state.of_room.remove(&room);
            state.floor = oldest + 1;
        }
    }
}

#[cfg(test)]
#[path = "tests/heads.rs"]
mod tests;
