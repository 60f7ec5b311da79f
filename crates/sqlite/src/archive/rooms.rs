//! The rooms: name, number and head of each.
//!
//! Invariants: rooms have the numbers 1, 2, 3, … in the order in which they first came; each
//! row has a sum, and the state the sum of those: a changed or missing row is detected.

use roomlog_core::{archive::ArchiveError, head::Head};
use roomlog_protocol::{Digest, RoomName, RoomRange};
use rusqlite::{Connection, Params, Row, params};
use sha2::{Digest as _, Sha256};

use super::{
    sql::{self, damaged, failed},
    state::State,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) number: i64,
    pub(super) head: Head,
}

impl Room {
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

/// The head of a room; `None` if it has no entry.
pub(super) fn head(connection: &Connection, name: &RoomName) -> Result<Option<Head>, ArchiveError> {
    Ok(room(connection, name)?.map(|room| room.head).filter(|head| head.end > 0))
}

/// A room by its name, also one without entries.
pub(super) fn room(connection: &Connection, name: &RoomName) -> Result<Option<Room>, ArchiveError> {
    let mut found = None;
    each_of(connection, sql::ROOM, [name.as_str()], |_, room, _| {
        found = Some(room);
        Ok(())
    })?;
    Ok(found)
}

/// The first `limit` rooms of a range that have entries.
pub(super) fn of(
    connection: &Connection,
    range: &RoomRange,
    limit: usize,
) -> Result<Vec<(RoomName, Head)>, ArchiveError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rooms = Vec::new();
    each_of(connection, sql::ROOMS_OF, params![range.from, range.to, limit], |name, room, _| {
        rooms.push((name, room.head));
        Ok(())
    })?;
    Ok(rooms)
}

/// Calls `take` with the name, the room and the sum of every row, in the order of names.
pub(super) fn each(
    connection: &Connection,
    take: impl FnMut(RoomName, Room, i64) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    each_of(connection, sql::ROOMS, [], take)
}

fn each_of(
    connection: &Connection,
    query: &str,
    params: impl Params,
    mut take: impl FnMut(RoomName, Room, i64) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    let mut statement = connection.prepare_cached(query).map_err(failed)?;
    let mut rows = statement.query(params).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let (name, room, sum) = read(row)?;
        take(name, room, sum)?;
    }
    Ok(())
}

/// Compares all rows with their count and sum in the state.
pub(super) fn check(connection: &Connection, state: &State) -> Result<(), ArchiveError> {
    let (mut count, mut sums, mut last) = (0, 0_i64, None);
    each(connection, |name, _, sum| {
        if last.as_ref().is_some_and(|last| *last >= name) {
            return Err(damaged("its rooms are not in order"));
        }
        (count, sums, last) = (count + 1, sums.wrapping_add(sum), Some(name));
        Ok(())
    })?;
    if (count, sums) == (state.rooms, state.rooms_sum) {
        return Ok(());
    }
    let known = state.rooms;
    Err(damaged(&format!("it holds {count} rooms and knows of {known}, or one was changed")))
}

/// Writes a room, new or moved on from `before`, and updates the state's sum.
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
    sql::execute(connection, sql::SET_ROOM, row)?;
    let before = before.map_or(0, |before| before.sum(name));
    state.rooms_sum = state.rooms_sum.wrapping_sub(before).wrapping_add(sum);
    Ok(())
}

/// Reads a row, and checks its sum.
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
        error @ rusqlite::Error::SqliteFailure(..) => failed(error),
        error => damaged(&format!("a room cannot be read: {error}")),
    })?;
    let name =
        RoomName::stored(&name).map_err(|error| damaged(&format!("a room's name: {error}")))?;
    if room.sum(&name) == sum {
        return Ok((name, room, sum));
    }
    Err(damaged(&format!("the row of room {name} does not have the sum it was given")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_rooms_is_a_range_of_the_index_by_name() {
        let connection = Connection::open_in_memory().expect("a file");
        connection.execute_batch(sql::SCHEMA.tables).expect("a schema");
        let explain = format!("EXPLAIN QUERY PLAN {}", sql::ROOMS_OF);
        let mut explain = connection.prepare(&explain).expect("a plan");
        let steps = explain.query_map(params!["a", "b", 1], |step| step.get::<_, String>(3));
        let steps: Vec<_> = steps.expect("steps").map(|step| step.expect("a step")).collect();
        assert_eq!(steps, ["SEARCH rooms USING PRIMARY KEY (name>? AND name<?)"]);
    }
}
