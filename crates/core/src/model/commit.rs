//! A commit: the entries that one block added to one room.

use std::sync::OnceLock;

use bytes::Bytes;
use roomlog_protocol::{Removal, RoomName, Slot, json::json_bytes};

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
    /// What they remove, all before the first of them.
    pub removes: Vec<Removal>,
    /// The frames that the gateway sends, encoded once, by the first sender.
    pub frames: OnceLock<Vec<Bytes>>,
    weight: usize,
}

impl Commit {
    /// A commit of these entries.
    #[must_use]
    pub fn new(room: RoomName, position: Position, entries: Vec<Stored>) -> Self {
        let weigh = |Stored { entry, .. }: &Stored| entry_weight(entry.body(), entry.meta());
        let weight = entries.iter().map(weigh).sum();
        let removes = entries.iter().filter_map(|stored| stored.entry.removes()).collect();
        Self { room, position, entries, removes, frames: OnceLock::new(), weight }
    }

    /// The commit without the texts that `removal` covers; `None` if it has none of them.
    #[must_use]
    pub(crate) fn without(&self, removal: &Removal) -> Option<Self> {
        let is_covered =
            |stored: &Stored| removal.covers(&stored.entry) && !stored.entry.content.is_redacted();
        let at = self.entries.iter().position(is_covered)?;
        let mut entries = self.entries.clone();
        for stored in entries[at..].iter_mut().filter(|stored| is_covered(stored)) {
            stored.entry.redact();
        }
        Some(Self::new(self.room.clone(), self.position, entries))
    }

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

    /// Approximate bytes in memory: of the entries, and of their frames, whether these are encoded yet
    /// or not.
    #[must_use]
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }
}

/// Approximate bytes in memory of an entry.
pub(crate) fn entry_weight(body: &str, meta: Option<&str>) -> usize {
    texts_weight(body) + meta.map_or(0, texts_weight) + ENTRY_WEIGHT
}

/// Approximate bytes in memory of a body or meta: once as it is, in a block or an entry, and once in a
/// frame, where a control character takes six bytes.
fn texts_weight(text: &str) -> usize {
    text.len() + json_bytes(text)
}

/// Bytes per entry besides its texts: names, digest, frame members.
pub(crate) const ENTRY_WEIGHT: usize = 512;
