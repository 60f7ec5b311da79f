//! A commit: the entries that one block added to one room.

use std::sync::OnceLock;

use bytes::Bytes;
use roomlog_protocol::{RoomName, Slot};

use crate::model::{head::Head, journal::Position, proposal::Stored};

/// What one block did to one room: at least one entry.
#[derive(Debug)]
pub struct Commit {
    /// The room.
    pub room: RoomName,
    /// Where the block stands in the journal.
    pub position: Position,
    /// The entries with their digests, in slot order.
    pub entries: Vec<Stored>,
    /// The commit as the gateway sends it, encoded once by whoever is first to send it.
    pub frames: OnceLock<Vec<Bytes>>,
}

impl Commit {
    /// The slot of its first entry.
    #[must_use]
    pub fn first(&self) -> Slot {
        self.entries.first().map_or(0, |stored| stored.entry.slot)
    }

    /// The slot behind its last entry.
    #[must_use]
    pub fn end(&self) -> Slot {
        self.entries.last().map_or(0, |stored| stored.entry.slot + 1)
    }

    /// The head of the room after it.
    #[must_use]
    pub fn head(&self) -> Head {
        match self.entries.last() {
            Some(Stored { entry, digest }) => {
                Head { end: entry.slot + 1, committed_at: entry.committed_at, digest: *digest }
            }
            None => Head::empty(&self.room),
        }
    }

    /// What it weighs in memory, near enough for a bound: entries and, about as much, the frame.
    #[must_use]
    pub(crate) fn weight(&self) -> usize {
        self.entries.iter().map(|stored| 2 * stored.text_bytes() + ENTRY_WEIGHT).sum()
    }
}

/// What an entry weighs besides its texts, in bytes: names, digest, the frame's members.
const ENTRY_WEIGHT: usize = 512;
