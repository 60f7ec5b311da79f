//! The rooms that are held in memory.
//!
//! Enters: names. Leaves: a room's [`Tail`], which is one and the same for all who ask while anyone
//! holds it. Invariant: a room that is not held is all in the archive, so that its head can be read
//! there; loading looks again when a room was let go meanwhile, because that head may have moved.

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

/// How many rooms are held before those at rest are let go.
pub(crate) const ROOMS_HELD: usize = 65_536;

/// The rooms that are held in memory.
pub(crate) struct Rooms {
    held: RwLock<HashMap<RoomName, Arc<Tail>>>,
    let_go: AtomicU64,
    archive: Arc<dyn Archive>,
}

impl Rooms {
    /// No rooms yet.
    #[must_use]
    pub(crate) fn new(archive: Arc<dyn Archive>) -> Self {
        Self { held: RwLock::default(), let_go: AtomicU64::new(0), archive }
    }

    /// The room, when it is held.
    #[must_use]
    pub(crate) fn held(&self, room: &RoomName) -> Option<Arc<Tail>> {
        self.held.read().get(room).cloned()
    }

    /// The room; it is held as long as the caller holds it. A short read of the archive when it is
    /// not held yet.
    ///
    /// # Errors
    /// When the archive cannot be read.
    pub(crate) fn open(&self, room: &RoomName) -> Result<Arc<Tail>, ArchiveError> {
        loop {
            if let Some(tail) = self.held(room) {
                return Ok(tail);
            }
            let before = self.let_go.load(Ordering::Acquire);
            let head = self.archive.head(room)?.unwrap_or_else(|| Head::empty(room));
            let mut held = self.held.write();
            if self.let_go.load(Ordering::Acquire) != before {
                continue;
            }
            let tail =
                held.entry(room.clone()).or_insert_with(|| Arc::new(Tail::new(room.clone(), head)));
            return Ok(tail.clone());
        }
    }

    /// The heads of the rooms that are held, have an entry and a name after `after`; unordered.
    #[must_use]
    pub(crate) fn heads_after(&self, after: Option<&RoomName>) -> Vec<(RoomName, Head)> {
        let held = self.held.read();
        let later = held.iter().filter(|(room, _)| after.is_none_or(|after| *room > after));
        let heads = later.map(|(room, tail)| (room.clone(), tail.head()));
        heads.filter(|(_, head)| head.end > 0).collect()
    }

    /// Lets go of rooms that nobody but this holds and that have nothing in memory, when there are
    /// more than [`ROOMS_HELD`].
    pub(crate) fn let_go_of_idle(&self) {
        if self.held.read().len() <= ROOMS_HELD {
            return;
        }
        let mut held = self.held.write();
        held.retain(|_, tail| Arc::strong_count(tail) > 1 || !tail.is_idle());
        self.let_go.fetch_add(1, Ordering::AcqRel);
    }
}
