//! The rooms in memory.
//!
//! Enters: names; from the applier, which rooms have entries that the archive may lack. Leaves: a
//! room's [`Tail`], the same one for all callers while anyone holds it. Invariants: a room not in
//! memory is completely in the archive, so its head can be read there; a room is in memory only
//! while it has entries that the archive may lack or the tail keeps, or somebody holds it, or it is
//! one of the last [`RECENT_ROOMS`] that a read brought into memory.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound::{Excluded, Included},
    sync::Arc,
};

use parking_lot::{Mutex, RwLock};
use roomlog_protocol::{RoomName, RoomRange, Slot};

use crate::{
    blocking::InPlace,
    model::{
        archive::{Archive, ArchiveError, Keep},
        head::Head,
        proposal::Stored,
    },
    read::{held::Held, tail::Tail},
};

/// How many rooms that were read stay in memory, so that reading them again does not read the archive
/// for their heads.
const RECENT_ROOMS: usize = 1_024;

pub(crate) struct Rooms {
    held: Arc<Held<Tail>>,
    /// Those with entries that the archive may lack. Held here and not by the applier, so that
    /// readers see these entries even after it has ended.
    unfolded: RwLock<BTreeMap<RoomName, Arc<Tail>>>,
    /// Those that reads brought into memory last, oldest first.
    recent: Mutex<VecDeque<Arc<Tail>>>,
    archive: Arc<dyn Archive>,
    in_place: InPlace,
}

impl Rooms {
    #[must_use]
    pub(crate) fn new(archive: Arc<dyn Archive>) -> Self {
        Self {
            held: Arc::default(),
            unfolded: RwLock::default(),
            recent: Mutex::default(),
            archive,
            in_place: InPlace::default(),
        }
    }

    #[must_use]
    pub(crate) fn held(&self, room: &RoomName) -> Option<Arc<Tail>> {
        self.held.get(room)
    }

    /// How many are in memory.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// The room, kept in memory as long as the caller holds it. A short read of the archive if it
    /// is not in memory. Fails if the archive cannot be read.
    pub(crate) fn open(&self, room: &RoomName) -> Result<Arc<Tail>, ArchiveError> {
        loop {
            if let Some(tail) = self.held(room) {
                return Ok(tail);
            }
            let mark = self.held.mark();
            let head = self.in_place.run(|| self.archive.head(room))?;
            let head = head.unwrap_or_else(|| Head::empty(room));
            let tail = Arc::new(Tail::new(room.clone(), head, &self.held));
            if let Some(tail) = self.held.hold(room, mark, tail) {
                return Ok(tail);
            }
        }
    }

    /// The same room as [`Rooms::open`], for a read: it stays in memory until many others were read,
    /// unless it was never written, so that such names take the place of none.
    pub(crate) fn open_to_read(&self, room: &RoomName) -> Result<Arc<Tail>, ArchiveError> {
        if let Some(tail) = self.held(room) {
            return Ok(tail);
        }
        let tail = self.open(room)?;
        if tail.head().end > 0 {
            let mut recent = self.recent.lock();
            recent.push_back(tail.clone());
            let evicted = if recent.len() > RECENT_ROOMS { recent.pop_front() } else { None };
            drop(recent);
            // Not under the lock: it may be the last reference.
            drop(evicted);
        }
        Ok(tail)
    }

    /// An entry of a room; `None` if the log has not reached its slot. A short read of the archive if it is
    /// not in memory. Fails if the archive cannot be read.
    pub(crate) fn entry(&self, tail: &Tail, slot: Slot) -> Result<Option<Stored>, ArchiveError> {
        let view = tail.view(|_| (slot, slot.saturating_add(1)));
        if slot >= view.head.end {
            return Ok(None);
        }
        let held = view.commits.iter().flat_map(|commit| &commit.entries);
        if let Some(stored) = held.into_iter().find(|stored| stored.entry.slot == slot) {
            return Ok(Some(stored.clone()));
        }
        let page = || self.archive.page(tail.room(), slot, slot + 1, 0, Keep::Oldest);
        Ok(self.in_place.run(page)?.pop())
    }

    /// Notes that a room has entries that the archive may lack.
    pub(crate) fn note_unfolded(&self, tail: &Arc<Tail>) {
        self.unfolded.write().insert(tail.room().clone(), tail.clone());
    }

    /// Notes that all of a room is in the archive.
    pub(crate) fn note_folded(&self, room: &RoomName) {
        let folded = self.unfolded.write().remove(room);
        // Not under the lock: it may be the last reference.
        drop(folded);
    }

    /// The heads of the first `limit` rooms of a range, in byte order, of those with entries that
    /// the archive may lack.
    #[must_use]
    pub(crate) fn unfolded_of(&self, range: &RoomRange, limit: usize) -> Vec<(RoomName, Head)> {
        let unfolded = self.unfolded.read();
        let rooms = unfolded.range::<str, _>((Included(&*range.from), Excluded(&*range.to)));
        rooms.take(limit).map(|(room, tail)| (room.clone(), tail.head())).collect()
    }
}

#[cfg(test)]
#[path = "tests/rooms.rs"]
mod tests;
