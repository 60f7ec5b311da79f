//! What is in memory, by room, for as long as somebody holds it.
//!
//! Enters: a room's part in memory, when it is opened; its name, when the last holder has dropped
//! it. Leaves: the same part for all holders. Invariant: nothing here keeps a room in memory, and
//! the memory of a room that nobody holds is given back.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::RwLock;
use roomlog_protocol::RoomName;

#[derive(Debug)]
pub(crate) struct Held<T> {
    /// A tree and not a table, because it shrinks with its rooms.
    rooms: RwLock<BTreeMap<RoomName, Weak<T>>>,
    /// How many rooms were released that had moved while they were held.
    moved: AtomicU64,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self { rooms: RwLock::default(), moved: AtomicU64::new(0) }
    }
}

impl<T> Held<T> {
    pub(crate) fn get(&self, room: &RoomName) -> Option<Arc<T>> {
        self.rooms.read().get(room)?.upgrade()
    }

    pub(crate) fn len(&self) -> usize {
        self.rooms.read().len()
    }

    /// What [`Held::hold`] needs; taken before the room is read.
    pub(crate) fn mark(&self) -> u64 {
        self.moved.load(Ordering::Acquire)
    }

    /// Holds the room that was read since `mark`, or returns the one that is held. `None` if a room
    /// moved and was released meanwhile, because it may be this one: read it again.
    pub(crate) fn hold(&self, room: &RoomName, mark: u64, read: Arc<T>) -> Option<Arc<T>> {
        let mut rooms = self.rooms.write();
        match rooms.get(room).map(Weak::upgrade) {
            Some(Some(held)) => return Some(held),
            Some(None) => {
                // Its last holder is about to release it, so the mark does not show yet that it moved.
                rooms.remove(room);
                self.moved.fetch_add(1, Ordering::AcqRel);
                return None;
            }
            None if self.mark() != mark => return None,
            None => {}
        }
        rooms.insert(room.clone(), Arc::downgrade(&read));
        Some(read)
    }

    /// The last holder of a room has dropped it.
    pub(crate) fn release(&self, room: &RoomName, has_moved: bool) {
        let mut rooms = self.rooms.write();
        self.moved.fetch_add(u64::from(has_moved), Ordering::AcqRel);
        // It may have been opened again.
        if rooms.get(room).is_some_and(|held| held.strong_count() == 0) {
            rooms.remove(room);
        }
    }
}
