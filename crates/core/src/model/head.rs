//! The head of a room's log, and what is known of an id in it.

use roomlog_protocol::{Digest, RoomName, Slot};

use crate::model::proposal::Original;

/// Where a room's log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The slot after the last entry, which is the number of entries.
    pub end: Slot,
    /// The time of the last entry, ms since the epoch; 0 if there is none.
    pub committed_at: u64,
    /// The digest after the last entry.
    pub digest: Digest,
}

impl Head {
    /// The head of an empty log.
    #[must_use]
    pub fn empty(room: &RoomName) -> Self {
        Self { end: 0, committed_at: 0, digest: Digest::start(room) }
    }
}

/// The entry that already has a proposal's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Its slot.
    pub slot: Slot,
    /// Its time, ms since the epoch.
    pub committed_at: u64,
    /// What its repeats are compared with.
    pub original: Original,
}
