//! The rooms that a connection deals with.
//!
//! Enters: tails. Leaves: the same by key, and notice when a room moves: its key comes to the mailbox.
//! Invariant: a key is never used for two rooms at once.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use roomlog_core::{
    mailbox::Mailbox,
    tail::{Hearing, Tail},
};
use roomlog_protocol::{Latest, RoomName, Slot};

struct OpenRoom {
    tail: Arc<Tail>,
    hearing: Option<Hearing>,
}

/// The rooms that a connection deals with.
pub(crate) struct OpenRooms {
    mailbox: Arc<Mailbox>,
    keys: HashMap<RoomName, u32>,
    /// Usually few, and looked up for each commit: an ordered map is small and fast.
    rooms: BTreeMap<u32, Box<OpenRoom>>,
    next_key: u32,
}

impl OpenRooms {
    /// No rooms. Keys of rooms that move come to this mailbox.
    pub(crate) fn new(mailbox: Arc<Mailbox>) -> Self {
        Self { mailbox, keys: HashMap::new(), rooms: BTreeMap::new(), next_key: 0 }
    }

    pub(crate) fn key(&self, room: &RoomName) -> Option<u32> {
        self.keys.get(room).copied()
    }

    pub(crate) fn keys(&self) -> Vec<u32> {
        self.rooms.keys().copied().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.rooms.len()
    }

    pub(crate) fn tail(&self, key: u32) -> Option<&Arc<Tail>> {
        self.rooms.get(&key).map(|room| &room.tail)
    }

    /// The slot behind the last entry of a room; 0 if the key is not in use.
    pub(crate) fn end(&self, key: u32) -> Slot {
        self.tail(key).map_or(0, |tail| tail.head().end)
    }

    /// The latest slot of a room; −1 if it is empty.
    pub(crate) fn latest(&self, key: u32) -> Latest {
        Latest::before(self.end(key))
    }

    pub(crate) fn add(&mut self, tail: Arc<Tail>) -> u32 {
        let key = self.next_key;
        self.next_key = self.next_key.wrapping_add(1);
        self.keys.insert(tail.room().clone(), key);
        self.rooms.insert(key, Box::new(OpenRoom { tail, hearing: None }));
        key
    }

    /// Removes the rooms whose keys are not to be kept.
    pub(crate) fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        let keys = &mut self.keys;
        self.rooms.retain(|key, room| {
            let kept = keep(*key);
            if !kept {
                keys.remove(room.tail.room());
            }
            kept
        });
    }

    /// Asks for notice when the room moves. It may have moved before: look at its end afterwards.
    pub(crate) fn hear(&mut self, key: u32) {
        if let Some(room) = self.rooms.get_mut(&key)
            && room.hearing.is_none()
        {
            room.hearing = Some(room.tail.hear(&self.mailbox, key));
        }
    }

    /// Notes that notice came. If it is still needed, the next one can come; else there is none.
    pub(crate) fn heard(&mut self, key: u32, needed: bool) {
        let Some(room) = self.rooms.get_mut(&key) else { return };
        if !needed {
            room.hearing = None;
        } else if let Some(hearing) = &room.hearing {
            hearing.take();
        }
    }
}
