//! The archive's tables, keys and statements, and the errors that reading them gives.

use roomlog_core::archive::ArchiveError;
use roomlog_protocol::{RoomName, Slot};
use rusqlite::{Connection, OptionalExtension, Params, Row};

use crate::{
    error::{is_full, is_index_full, sentence},
    schema::Schema,
};

pub(super) const FORMAT: i64 = 4;

pub(crate) const SCHEMA: Schema = Schema { tables: TABLES, format: FORMAT };

/// Rows of `rooms` and `id_…` count only as far as `state` says so. A room that an unfinished fold
/// has begun has end 0. Keys: [`key`] for `runs`, [`part_key`] for the parts of a segment.
pub(super) const TABLES: &str = "
    CREATE TABLE log (id TEXT NOT NULL, format INTEGER NOT NULL) STRICT;
    CREATE TABLE state (
        one   INTEGER PRIMARY KEY CHECK (one = 1),
        state TEXT NOT NULL,
        crc   INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE rooms (
        name         TEXT NOT NULL PRIMARY KEY,
        number       INTEGER NOT NULL,
        end          INTEGER NOT NULL,
        committed_at INTEGER NOT NULL,
        digest       BLOB NOT NULL,
        sum          INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE runs (key INTEGER PRIMARY KEY, run BLOB NOT NULL) STRICT;
    CREATE TABLE id_buckets (key INTEGER PRIMARY KEY, ids BLOB NOT NULL) STRICT;
    CREATE TABLE id_filters (key INTEGER PRIMARY KEY, bits BLOB NOT NULL) STRICT;
    CREATE TABLE durable (partition INTEGER PRIMARY KEY, position INTEGER NOT NULL) STRICT;";

pub(super) const IS_MADE: &str =
    "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'log')";
pub(super) const LOG: &str = "SELECT id, format FROM log";
pub(super) const SET_LOG: &str = "UPDATE log SET id = ?1";
pub(super) const MAKE_LOG: &str = "INSERT INTO log VALUES (?1, ?2)";
pub(super) const STATE: &str = "SELECT state, crc FROM state WHERE one = 1";
pub(super) const SET_STATE: &str = "INSERT OR REPLACE INTO state VALUES (1, ?1, ?2)";

pub(super) const ROOM: &str =
    "SELECT name, number, end, committed_at, digest, sum FROM rooms WHERE name = ?1";
pub(super) const ROOMS: &str =
    "SELECT name, number, end, committed_at, digest, sum FROM rooms ORDER BY name";
pub(super) const ROOMS_OF: &str = "SELECT name, number, end, committed_at, digest, sum FROM rooms
    WHERE name >= ?1 AND name < ?2 AND end > 0 ORDER BY name LIMIT ?3";
pub(super) const SET_ROOM: &str = "INSERT OR REPLACE INTO rooms VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

pub(super) const MAKE_RUN: &str = "INSERT INTO runs VALUES (?1, ?2) ON CONFLICT DO NOTHING";
pub(super) const SET_RUN: &str = "UPDATE runs SET run = ?2 WHERE key = ?1";
pub(super) const DROP_RUNS: &str = "DELETE FROM runs WHERE key >= ?1 AND key < ?2";
/// The run that holds a key, or the one before it.
pub(super) const RUN_AT: &str =
    "SELECT key, run FROM runs WHERE key <= ?1 ORDER BY key DESC LIMIT 1";
pub(super) const RUNS_FROM: &str = "SELECT key, run FROM runs
    WHERE key >= (SELECT key FROM runs WHERE key <= ?1 ORDER BY key DESC LIMIT 1) AND key < ?2
    ORDER BY key";
pub(super) const RUNS_BEFORE: &str = "SELECT key, run FROM runs
    WHERE key >= (SELECT key FROM runs WHERE key <= ?1 ORDER BY key DESC LIMIT 1) AND key < ?2
    ORDER BY key DESC";

pub(super) const BUCKET: &str = "SELECT ids FROM id_buckets WHERE key = ?1";
pub(super) const MAKE_BUCKET: &str = "INSERT INTO id_buckets VALUES (?1, ?2)";
pub(super) const FILTER: &str =
    "SELECT key, bits FROM id_filters WHERE key >= ?1 AND key < ?2 ORDER BY key";
pub(super) const MAKE_FILTER: &str = "INSERT INTO id_filters VALUES (?1, ?2)";
/// The first key at or after another.
pub(super) const PART_FROM: [&str; 2] = [
    "SELECT key FROM id_buckets WHERE key >= ?1 ORDER BY key LIMIT 1",
    "SELECT key FROM id_filters WHERE key >= ?1 ORDER BY key LIMIT 1",
];
pub(super) const DROP_PARTS: [&str; 2] = [
    "DELETE FROM id_buckets WHERE key >= ?1 AND key < ?2",
    "DELETE FROM id_filters WHERE key >= ?1 AND key < ?2",
];

/// Runs a statement; how many rows it changed.
pub(super) fn execute(
    connection: &Connection,
    statement: &str,
    row: impl Params,
) -> Result<usize, ArchiveError> {
    let run = || connection.prepare_cached(statement)?.execute(row);
    run().map_err(failed)
}

pub(super) fn find<T>(
    connection: &Connection,
    query: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, ArchiveError> {
    let run = || connection.prepare_cached(query)?.query_row(params, read).optional();
    run().map_err(failed)
}

/// How many bits of an entry's key are the slot: 2^40 entries per room, 2^23 rooms.
const SLOT_BITS: u32 = 40;

/// How many bits of a part's key are the part; the others are the segment's number.
const PART_BITS: u32 = 32;

/// The key of an entry, and of a run by its first entry.
pub(super) fn key(room: i64, slot: Slot) -> i64 {
    room << SLOT_BITS | slot.cast_signed()
}

pub(super) fn slot_of(key: i64) -> Slot {
    key.cast_unsigned() & ((1 << SLOT_BITS) - 1)
}

pub(super) fn number_of(key: i64) -> i64 {
    key >> SLOT_BITS
}

/// The key of a segment's bucket, or of a part of its filter.
pub(super) fn part_key(segment: i64, part: i64) -> i64 {
    segment << PART_BITS | part
}

pub(super) fn segment_of(key: i64) -> i64 {
    key >> PART_BITS
}

/// An error of SQLite. After a full disk the fold can be repeated: the journal has the entries, and
/// a repeated fold finds the same rows. So it does not matter whether the last commit was in the
/// WAL when there was no space for the WAL's index.
pub(crate) fn failed(error: rusqlite::Error) -> ArchiveError {
    let why = format!("archive.db: {}", sentence(&error));
    if is_full(&error) || is_index_full(&error) {
        return ArchiveError::NoRoom(why);
    }
    ArchiveError::Failed(why)
}

/// Damage that belongs to no one slot.
pub(super) fn damaged(problem: &str) -> ArchiveError {
    ArchiveError::Failed(format!("archive.db is damaged: {problem}"))
}

/// Damage at a slot of a room.
pub(super) fn damaged_at(room: &RoomName, slot: Slot, problem: impl Into<String>) -> ArchiveError {
    ArchiveError::Damaged { room: room.clone(), slot, problem: problem.into() }
}
