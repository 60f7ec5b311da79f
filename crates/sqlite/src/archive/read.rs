//! Reads of the archive: rows become entries here and nowhere else.
//!
//! Enters: a connection inside a read transaction. Leaves: domain types, the digests of a page
//! checked. Invariant: a row that is not what was stored is an error, never an entry.

use std::ops::Range;

use roomlog_core::{
    archive::{Applied, ArchiveError, IdKey, Keep},
    block::NodeId,
    journal::{Partition, Position},
    proposal::{ContentHash, Stored},
    proposers::Proposer,
    room::{Head, Known},
};
use roomlog_protocol::{Author, Digest, Entry, EntryId, Kind, NameError, RoomName, Slot};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{failed, key, slot};
use crate::sql;

pub(super) fn applied(connection: &Connection, partition: Partition) -> rusqlite::Result<Applied> {
    let position = connection
        .query_row(sql::APPLIED, [partition], |row| row.get::<_, i64>(0))
        .optional()?
        .unwrap_or(0);
    let mut applied =
        Applied { position: Position(position.cast_unsigned()), ..Applied::default() };
    let mut statement = connection.prepare_cached(sql::PROPOSERS)?;
    let mut rows = statement.query([partition])?;
    while let Some(row) = rows.next()? {
        let proposer = Proposer {
            incarnation: row.get::<_, i64>(1)?.cast_unsigned(),
            next: row.get::<_, i64>(2)?.cast_unsigned(),
        };
        applied.proposers.0.insert(NodeId(row.get(0)?), proposer);
    }
    Ok(applied)
}

pub(super) fn room_number(
    connection: &Connection,
    room: &RoomName,
) -> rusqlite::Result<Option<i64>> {
    let mut statement = connection.prepare_cached(sql::ROOM_NUMBER)?;
    statement.query_row([room.as_str()], |row| row.get(0)).optional()
}

fn named_head(row: &Row<'_>) -> rusqlite::Result<(String, Head)> {
    let head = Head {
        end: row.get::<_, i64>(1)?.cast_unsigned(),
        committed_at: row.get::<_, i64>(2)?.cast_unsigned(),
        digest: Digest(row.get(3)?),
    };
    Ok((row.get(0)?, head))
}

pub(super) fn head(connection: &Connection, room: &RoomName) -> Result<Option<Head>, ArchiveError> {
    let read = || {
        let mut statement = connection.prepare_cached(sql::HEAD)?;
        statement.query_row([room.as_str()], named_head).optional()
    };
    Ok(read().map_err(|error| failed(&error))?.map(|(_, head)| head))
}

pub(super) fn rooms(
    connection: &Connection,
    after: Option<&RoomName>,
    limit: usize,
) -> Result<Vec<(RoomName, Head)>, ArchiveError> {
    let read = || {
        let mut statement = connection.prepare_cached(sql::ROOMS_AFTER)?;
        let after = after.map_or("", RoomName::as_str);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        statement
            .query_map(params![after, limit], named_head)?
            .collect::<rusqlite::Result<Vec<_>>>()
    };
    let rooms = read().map_err(|error| failed(&error))?;
    let checked = |(name, head): (String, Head)| {
        let name = RoomName::new(&name)
            .map_err(|error| ArchiveError::Failed(format!("archive.db: a room's name: {error}")))?;
        Ok((name, head))
    };
    rooms.into_iter().map(checked).collect()
}

pub(super) fn find(
    connection: &Connection,
    keys: &[IdKey],
) -> Result<Vec<Option<Known>>, ArchiveError> {
    // Consecutive keys are often of one room.
    let mut last: Option<(&RoomName, Option<i64>)> = None;
    let mut found = Vec::with_capacity(keys.len());
    for asked in keys {
        let number = match last {
            Some((room, number)) if *room == asked.room => number,
            _ => room_number(connection, &asked.room).map_err(|error| failed(&error))?,
        };
        last = Some((&asked.room, number));
        found.push(match number {
            Some(number) => find_one(connection, number, asked)?,
            None => None,
        });
    }
    Ok(found)
}

fn find_one(
    connection: &Connection,
    number: i64,
    asked: &IdKey,
) -> Result<Option<Known>, ArchiveError> {
    let IdKey { room, author, id } = asked;
    let there = slot_of_id(connection, number, author, id).map_err(|error| failed(&error))?;
    let Some(slot) = there else { return Ok(None) };
    let stored = entry(connection, room, number, slot)?.ok_or_else(|| missing(room, slot))?;
    if stored.entry.author != *author || stored.entry.id != *id {
        return Err(damaged(room, slot, "it does not have the id that leads to it"));
    }
    let content = ContentHash::of(&stored.entry);
    Ok(Some(Known { slot, committed_at: stored.entry.committed_at, content }))
}

pub(super) fn slot_of_id(
    connection: &Connection,
    number: i64,
    author: &Author,
    id: &EntryId,
) -> rusqlite::Result<Option<Slot>> {
    let mut statement = connection.prepare_cached(sql::ID)?;
    let slot = |row: &Row<'_>| row.get::<_, i64>(0).map(i64::cast_unsigned);
    statement.query_row(params![number, author.as_str(), id.as_str()], slot).optional()
}

/// One entry, its digest not checked.
pub(super) fn entry(
    connection: &Connection,
    room: &RoomName,
    number: i64,
    slot: Slot,
) -> Result<Option<Stored>, ArchiveError> {
    let mut statement = connection.prepare_cached(sql::ENTRY).map_err(|error| failed(&error))?;
    let mut rows = statement.query([key(number, slot)]).map_err(|error| failed(&error))?;
    let row = rows.next().map_err(|error| failed(&error))?;
    row.map(|row| stored(room, row)).transpose()
}

/// A page of entries, each of which has the digest that follows from the one before it.
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
    let number = room_number(connection, room).map_err(|error| failed(&error))?;
    let number = number.ok_or_else(|| missing(room, span.start))?;
    let mut page = rows(connection, room, number, &span, bytes, keep)?;
    if keep == Keep::Newest {
        page.reverse();
    }
    let first = page.first().map(|stored| stored.entry.slot);
    let expected = match keep {
        Keep::Oldest => span.start,
        Keep::Newest => span.end.saturating_sub(page.len().max(1) as u64),
    };
    if first != Some(expected) {
        return Err(missing(room, expected));
    }
    let mut digest = match expected.checked_sub(1) {
        None => Digest::start(room),
        Some(before) => {
            entry(connection, room, number, before)?.ok_or_else(|| missing(room, before))?.digest
        }
    };
    for (slot, stored) in (expected..).zip(&page) {
        if stored.entry.slot != slot {
            return Err(missing(room, slot));
        }
        digest = digest.then(&stored.entry);
        if digest != stored.digest {
            return Err(damaged(room, slot, "the entry does not have the digest it was given"));
        }
    }
    Ok(page)
}

/// The rows of a span from one end, as many as fit `bytes` and at least one.
fn rows(
    connection: &Connection,
    room: &RoomName,
    number: i64,
    span: &Range<Slot>,
    bytes: usize,
    keep: Keep,
) -> Result<Vec<Stored>, ArchiveError> {
    let sql = if keep == Keep::Oldest { sql::PAGE_OLDEST } else { sql::PAGE_NEWEST };
    let mut statement = connection.prepare_cached(sql).map_err(|error| failed(&error))?;
    let bounds = [key(number, span.start), key(number, span.end)];
    let mut rows = statement.query(bounds).map_err(|error| failed(&error))?;
    let (mut page, mut sum) = (Vec::new(), 0);
    while let Some(row) = rows.next().map_err(|error| failed(&error))? {
        let stored = stored(room, row)?;
        sum += stored.text_bytes();
        if sum > bytes && !page.is_empty() {
            return Ok(page);
        }
        page.push(stored);
    }
    // The span was asked for whole: fewer rows are rows that are gone.
    if page.len() as u64 == span.end - span.start {
        return Ok(page);
    }
    let at = match keep {
        Keep::Oldest => span.start + page.len() as u64,
        Keep::Newest => span.end - 1 - page.len() as u64,
    };
    Err(missing(room, at))
}

/// A row of `entries`.
fn stored(room: &RoomName, row: &Row<'_>) -> Result<Stored, ArchiveError> {
    let read = || -> rusqlite::Result<Result<Stored, NameError>> {
        let kind: Option<String> = row.get(6)?;
        let names = || {
            let kind = kind.map_or_else(|| Ok(Kind::default()), |kind| Kind::new(&kind));
            Ok((
                Author::new(row.get_ref(1).and_then(|v| Ok(v.as_str()?)).unwrap_or(""))?,
                EntryId::new(row.get_ref(2).and_then(|v| Ok(v.as_str()?)).unwrap_or(""))?,
                kind?,
            ))
        };
        let (author, id, kind) = match names() {
            Ok(names) => names,
            Err(error) => return Ok(Err(error)),
        };
        let entry = Entry {
            slot: slot(row.get(0)?),
            author,
            id,
            body: row.get(3)?,
            committed_at: row.get::<_, i64>(4)?.cast_unsigned(),
            sent_at: row.get::<_, Option<i64>>(5)?.map(i64::cast_unsigned),
            kind,
            reference: row.get::<_, Option<i64>>(7)?.map(i64::cast_unsigned),
            meta: row.get(8)?,
        };
        Ok(Ok(Stored { entry, digest: Digest(row.get(9)?) }))
    };
    let at = row.get(0).map_or(0, slot);
    match read() {
        Ok(Ok(stored)) => Ok(stored),
        Ok(Err(error)) => Err(damaged(room, at, &error.to_string())),
        Err(error @ rusqlite::Error::SqliteFailure(..)) => Err(failed(&error)),
        Err(error) => Err(damaged(room, at, &error.to_string())),
    }
}

pub(super) fn missing(room: &RoomName, slot: Slot) -> ArchiveError {
    damaged(room, slot, "the entry is missing")
}

pub(super) fn damaged(room: &RoomName, slot: Slot, problem: &str) -> ArchiveError {
    ArchiveError::Damaged { room: room.clone(), slot, problem: problem.into() }
}
