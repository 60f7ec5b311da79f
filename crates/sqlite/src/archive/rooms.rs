//! The rooms: name, number, and where each log ends.
//!
//! Enters: names, heads. Leaves: the same, checked. Invariants: rooms have numbers 1, 2, 3, … in the
//! order in which the archive met them; each row carries a sum over itself and the state the sum of
//! those, so that a row that was changed, or is not there, is noticed.

use roomlog_core::{archive::ArchiveError, head::Head};
use roomlog_protocol::{Digest, RoomName};
use rusqlite::{Connection, Row, params};
use sha2::{Digest as _, Sha256};

use super::{failed, is_damaged, state::State};
use crate::sql;

/// A room, as the archive knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) number: i64,
    pub(super) head: Head,
}

impl Room {
    /// The sum of its row.
    fn sum(&self, name: &RoomName) -> i64 {
        let mut sha = Sha256::new();
        sha.update(self.number.to_be_bytes());
        sha.update(self.head.end.to_be_bytes());
        sha.update(self.head.committed_at.to_be_bytes());
        sha.update(self.head.digest.0);
        sha.update(name.as_bytes());
        let mut sum = [0; 8];
        sum.copy_from_slice(&sha.finalize()[..8]);
        i64::from_be_bytes(sum)
    }
}

/// A room that has an entry.
pub(super) fn head(connection: &Connection, name: &RoomName) -> Result<Option<Head>, ArchiveError> {
    Ok(room(connection, name)?.map(|room| room.head).filter(|head| head.end > 0))
}

/// A room by its name.
pub(super) fn room(connection: &Connection, name: &RoomName) -> Result<Option<Room>, ArchiveError> {
    let mut statement = connection.prepare_cached(sql::ROOM).map_err(|error| failed(&error))?;
    let mut rows = statement.query([name.as_str()]).map_err(|error| failed(&error))?;
    let row = rows.next().map_err(|error| failed(&error))?;
    let room = row.map(read).transpose()?;
    Ok(room.map(|(_, room, _)| room))
}

/// Up to `limit` rooms that have an entry, after a name.
pub(super) fn after(
    connection: &Connection,
    after: Option<&RoomName>,
    limit: usize,
) -> Result<Vec<(RoomName, Head)>, ArchiveError> {
    let mut statement =
        connection.prepare_cached(sql::ROOMS_AFTER).map_err(|error| failed(&error))?;
    let after = after.map_or("", RoomName::as_str);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![after, limit]).map_err(|error| failed(&error))?;
    let mut rooms = Vec::new();
    while let Some(row) = rows.next().map_err(|error| failed(&error))? {
        let (name, room, _) = read(row)?;
        rooms.push((name, room.head));
    }
    Ok(rooms)
}

/// All rooms, those too that have no entry yet, to one who takes them one by one.
pub(super) fn each(
    connection: &Connection,
    mut take: impl FnMut(&RoomName, &Room) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let mut statement = connection.prepare(sql::ROOMS).map_err(|error| failed(&error))?;
    let mut rows = statement.query([]).map_err(|error| failed(&error))?;
    while let Some(row) = rows.next().map_err(|error| failed(&error))? {
        let (name, room, _) = read(row)?;
        take(&name, &room)?;
    }
    Ok(())
}

/// Looks at every room: whether they are those, and all those, that the state knows.
pub(super) fn check(connection: &Connection, state: &State) -> Result<(), ArchiveError> {
    let mut statement = connection.prepare(sql::ROOMS).map_err(|error| failed(&error))?;
    let mut rows = statement.query([]).map_err(|error| failed(&error))?;
    let (mut count, mut sums, mut last) = (0, 0_i64, None);
    while let Some(row) = rows.next().map_err(|error| failed(&error))? {
        let (name, _, sum) = read(row)?;
        if last.as_ref().is_some_and(|last| *last >= name) {
            return Err(is_damaged("its rooms are not in order"));
        }
        (count, sums, last) = (count + 1, sums.wrapping_add(sum), Some(name));
    }
    if (count, sums) == (state.rooms, state.rooms_sum) {
        return Ok(());
    }
    let known = state.rooms;
    Err(is_damaged(&format!("it holds {count} rooms and knows of {known}, or one was changed")))
}

/// Writes a room, new or moved on from `before`; the state is told.
pub(super) fn put(
    connection: &Connection,
    state: &mut State,
    name: &RoomName,
    before: Option<&Room>,
    room: &Room,
) -> Result<(), ArchiveError> {
    let Head { end, committed_at, digest } = room.head;
    let sum = room.sum(name);
    let (end, committed_at) = (end.cast_signed(), committed_at.cast_signed());
    let row = params![name.as_str(), room.number, end, committed_at, digest.0, sum];
    let write = || connection.prepare_cached(sql::SET_ROOM)?.execute(row);
    write().map_err(|error| failed(&error))?;
    let before = before.map_or(0, |before| before.sum(name));
    state.rooms_sum = state.rooms_sum.wrapping_sub(before).wrapping_add(sum);
    Ok(())
}

/// A row, with its sum.
fn read(row: &Row<'_>) -> Result<(RoomName, Room, i64), ArchiveError> {
    let columns = || -> rusqlite::Result<(String, Room, i64)> {
        let head = Head {
            end: row.get::<_, i64>(2)?.cast_unsigned(),
            committed_at: row.get::<_, i64>(3)?.cast_unsigned(),
            digest: Digest(row.get(4)?),
        };
        Ok((row.get(0)?, Room { number: row.get(1)?, head }, row.get(5)?))
    };
    let (name, room, sum) = columns().map_err(|error| match error {
        error @ rusqlite::Error::SqliteFailure(..) => failed(&error),
        error => is_damaged(&format!("a room cannot be read: {error}")),
    })?;
    let name =
        RoomName::new(&name).map_err(|error| is_damaged(&format!("a room's name: {error}")))?;
    if room.sum(&name) == sum {
        return Ok((name, room, sum));
    }
    Err(is_damaged(&format!("the row of room {name} does not have the sum it was given")))
}
