//! A commit: the entries that one block added to one room.

use std::sync::OnceLock;

use bytes::Bytes;
use roomlog_protocol::{RoomName, Slot};

use crate::model::{head::Head, journal::Position, proposal::Stored};

/// A commit; it has at least one entry.
#[derive(Debug)]
pub struct Commit {
    /// The room.
    pub room: RoomName,
    /// The position of the block.
    pub position: Position,
    /// The entries with their digests, in slot order.
    pub entries: Vec<Stored>,
    /// The frames that the gateway sends, encoded once, by the first sender.
    pub frames: OnceLock<Vec<Bytes>>,
}

impl Commit {
    /// The slot of its first entry.
    #[must_use]
    pub fn first(&self) -> Slot {
        self.entries.first().map_or(0, |stored| stored.entry.slot)
    }

    /// The slot after its last entry.
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

    /// Approximate bytes in memory: the entries and frames of about the same size.
    #[must_use]
    pub(crate) fn weight(&self) -> usize {
        self.entries.iter().map(|stored| entry_weight(stored.text_bytes())).sum()
    }
}

/// Approximate bytes in memory of an entry with so many bytes of texts: these twice, because a block
/// or a frame has them too, and [`ENTRY_WEIGHT`].
pub(crate) fn entry_weight(text_bytes: usize) -> usize {
    2 * text_bytes + ENTRY_WEIGHT
}

/// Bytes per entry besides its texts: names, digest, frame members.
pub(crate) const ENTRY_WEIGHT: usize = 512;
