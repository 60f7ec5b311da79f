//! Which rooms moved, for those who watch all of them.
//!
//! Enters: the name of a room that moved. Leaves: the rooms that moved since a mark, each once.
//! Invariant: bounded; a watcher that comes too late to be told what moved is told to look at all.

use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::{AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use roomlog_protocol::RoomName;

/// How many moved rooms are remembered.
pub const MOVED_ROOMS: usize = 65_536;

/// Which rooms moved, newest last.
#[derive(Default)]
pub struct Heads {
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

/// What moved since a mark.
#[derive(Debug, PartialEq, Eq)]
pub enum Moved {
    /// These rooms, and the mark to ask with next.
    Rooms(Vec<RoomName>, u64),
    /// Too much: look at all rooms, then ask with this mark.
    All(u64),
}

impl Heads {
    /// Begins to watch: rooms that move from now on are found after the mark that this gives.
    pub fn watch(&self) -> u64 {
        self.watchers.fetch_add(1, Ordering::AcqRel);
        self.state.lock().next
    }

    /// Ends what [`Heads::watch`] began.
    pub fn unwatch(&self) {
        if self.watchers.fetch_sub(1, Ordering::AcqRel) == 1 {
            let mut state = self.state.lock();
            let next = state.next;
            *state = State { next, floor: next, ..State::default() };
        }
    }

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

    /// Up to `limit` rooms that moved since `mark`.
    #[must_use]
    pub fn since(&self, mark: u64, limit: usize) -> Moved {
        let state = self.state.lock();
        if mark < state.floor {
            return Moved::All(state.next);
        }
        let mut next = mark;
        let rooms = state.by_mark.range(mark..).take(limit).map(|(mark, room)| {
            next = mark + 1;
            room.clone()
        });
        let rooms = rooms.collect();
        Moved::Rooms(rooms, next)
    }
}
