//! The rooms in memory.
//!
//! Enters: names. Leaves: a room's [`Tail`], the same one for all callers while anyone holds it.
//! Invariant: a room not in memory is completely in the archive, so its head can be read there;
//! loading retries if a room was evicted meanwhile, because that head may have moved.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::RwLock;
use roomlog_protocol::RoomName;

use crate::{
    model::{
        archive::{Archive, ArchiveError},
        head::Head,
    },
    read::tail::Tail,
};

/// Above this many rooms, idle ones are evicted.
pub(crate) const ROOMS_HELD: usize = 65_536;

pub(crate) struct Rooms {
    held: RwLock<HashMap<RoomName, Arc<Tail>>>,
    evictions: AtomicU64,
    archive: Arc<dyn Archive>,
}

impl Rooms {
    #[must_use]
    pub(crate) fn new(archive: Arc<dyn Archive>) -> Self {
        Self { held: RwLock::default(), evictions: AtomicU64::new(0), archive }
    }

    #[must_use]
    pub(crate) fn held(&self, room: &RoomName) -> Option<Arc<Tail>> {
        self.held.read().get(room).cloned()
    }

    /// The room, kept in memory as long as the caller holds it. A short read of the archive if it
    /// is not in memory. Fails if the archive cannot be read.
    pub(crate) fn open(&self, room: &RoomName) -> Result<Arc<Tail>, ArchiveError> {
        loop {
            if let Some(tail) = self.held(room) {
                return Ok(tail);
            }
            let before = self.evictions.load(Ordering::Acquire);
            let head = self.archive.head(room)?.unwrap_or_else(|| Head::empty(room));
            let mut held = self.held.write();
            if self.evictions.load(Ordering::Acquire) != before {
                continue;
            }
            let tail =
                held.entry(room.clone()).or_insert_with(|| Arc::new(Tail::new(room.clone(), head)));
            return Ok(tail.clone());
        }
    }

    /// The heads of the rooms in memory that have an entry and a name after `after`, unordered.
    #[must_use]
    pub(crate) fn heads_after(&self, after: Option<&RoomName>) -> Vec<(RoomName, Head)> {
        let held = self.held.read();
        let later = held.iter().filter(|(room, _)| after.is_none_or(|after| *room > after));
        let heads = later.map(|(room, tail)| (room.clone(), tail.head()));
        heads.filter(|(_, head)| head.end > 0).collect()
    }

    /// Evicts rooms that nobody else holds and that have no entries in memory, if there are more
    /// than [`ROOMS_HELD`].
    pub(crate) fn evict_idle(&self) {
        if self.held.read().len() <= ROOMS_HELD {
            return;
        }
        let mut held = self.held.write();
        held.retain(|_, tail| Arc::strong_count(tail) > 1 || !tail.is_idle());
        self.evictions.fetch_add(1, Ordering::AcqRel);
    }
}
