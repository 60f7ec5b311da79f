//! Reads of the archive that need more than one of its tables.
//!
//! Enters: a connection inside a read transaction. Leaves: domain types. Invariant: what is not what was
//! stored is an error, never an entry, and never "not there".

use std::{ops::Range, sync::Arc};

use roomlog_core::{
    archive::{ArchiveError, IdKey, Keep},
    head::Known,
    proposal::{ContentHash, Stored},
};
use roomlog_protocol::{RoomName, Slot};
use rusqlite::Connection;

use super::{
    entries,
    ids::{self, Segment},
    number_of, rooms,
    run::damaged,
    slot_of,
};

/// A page of entries.
pub(super) fn page(
    connection: &Connection,
    room: &RoomName,
    span: Range<Slot>,
    bytes: usize,
    keep: Keep,
) -> Result<Vec<Stored>, ArchiveError> {
    if span.is_empty() {
        return Ok(Vec::new());
    }
    let number = rooms::room(connection, room)?.map(|room| room.number);
    let number = number.ok_or_else(|| damaged(room, span.start, "the entry is missing"))?;
    entries::page(connection, room, number, span, bytes, keep)
}

/// The entry that has an id, when one has. Its digest was checked: an id that was changed on the disk
/// is damage, and not an id that is not there.
pub(super) fn known(
    connection: &Connection,
    segments: &[Arc<Segment>],
    asked: &IdKey,
    hash: u64,
) -> Result<Option<Known>, ArchiveError> {
    let keys = ids::entries_of(connection, segments, hash)?;
    if keys.is_empty() {
        return Ok(None);
    }
    let Some(room) = rooms::room(connection, &asked.room)? else { return Ok(None) };
    for key in keys.into_iter().filter(|key| number_of(*key) == room.number) {
        let slot = slot_of(key);
        let entry = entries::entry(connection, &asked.room, room.number, slot)?.entry;
        if (&entry.author, &entry.id) == (&asked.author, &asked.id) {
            let content = ContentHash::of(&entry);
            return Ok(Some(Known { slot, committed_at: entry.committed_at, content }));
        }
    }
    Ok(None)
}
